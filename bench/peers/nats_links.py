"""Connections to NATS: publishing and getting, reading as a group, and what sets them up."""

import asyncio
import json
import time
from collections.abc import Iterator
from secrets import token_hex
from typing import cast

from bench.dialogues import RanDryError
from bench.peers.closed_loop import Link, LostError
from bench.peers.nats_text import Message, cut_events, publication, status_of
from bench.window import Sample

Request = tuple[bytes, bytes]
"""What comes before its reply subject and after it."""

_CONNECT = json.dumps(
    {"verbose": False, "pedantic": False, "headers": True, "no_responders": True}
).encode()
_OK, _NOT_FOUND, _TIMED_OUT = 200, 404, 408
_PULL_NS = 2_000_000_000


class NatsLink(Link):
    """One that receives whatever is sent to subjects which begin with its inbox."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.inbox = b"_INBOX.%s." % token_hex(8).encode()

    def greet(self) -> None:
        self.transport.write(b"CONNECT %s\r\nSUB %s* 1\r\nPING\r\n" % (_CONNECT, self.inbox))

    def take(self, data: bytes) -> None:
        events, self.rest = cut_events(data)
        messages: list[Message] = []
        for event in events:
            if isinstance(event, Message):
                messages.append(event)
            elif event.startswith(b"PING"):
                self.transport.write(b"PONG\r\n")
            elif event.startswith(b"PONG"):
                self.welcome()
            elif event.startswith(b"-ERR"):
                raise LostError(event.decode())
        if messages:
            self.receive(messages)

    def receive(self, messages: list[Message]) -> None:
        raise NotImplementedError

    def number_of(self, message: Message) -> int:
        """What stands behind the inbox in its subject."""
        return int(message.subject[len(self.inbox) :])


class RequestReplyLink(NatsLink):
    """Each operation is a request with a reply subject of its own."""

    def __init__(self, sample: Sample, requests: Iterator[Request]) -> None:
        super().__init__(sample)
        self._requests = requests
        self._begun: list[float] = []
        self._free: list[int] = []
        """Reply subjects without a request, by number."""

    def begin(self, count: int) -> None:
        parts: list[bytes] = []
        now = time.perf_counter()
        for _ in range(count):
            request = next(self._requests, None)
            if request is None:
                break
            if not self._free:
                self._free.append(len(self._begun))
                self._begun.append(now)
            number = self._free.pop()
            self._begun[number] = now
            parts.append(b"%s%s%d%s" % (request[0], self.inbox, number, request[1]))
        self.transport.write(b"".join(parts))

    def receive(self, messages: list[Message]) -> None:
        now = time.perf_counter()
        for message in messages:
            number = self.number_of(message)
            if status_of(message) == _OK and not message.payload.startswith(b'{"error"'):
                self.sample.latencies.append(now - self._begun[number])
            else:
                self.sample.errors += 1
            self._free.append(number)
        self.begin(len(messages))


class GroupLink(NatsLink):
    """Pulls as many records as may be outstanding, acknowledges each, and waits for all of that.

    An acknowledgement is confirmed: it has a reply subject. An operation lasts from the pull to
    that reply.
    """

    def __init__(self, sample: Sample, consumer: bytes) -> None:
        super().__init__(sample)
        self._next = b"$JS.API.CONSUMER.MSG.NEXT." + consumer
        self._batch = self._left = self._acknowledged = 0
        self._pulled = 0.0

    def begin(self, count: int) -> None:
        self._batch = self._left = count
        self._acknowledged = 0
        self._pulled = time.perf_counter()
        before, after = publication(self._next, b'{"batch":%d,"expires":%d}' % (count, _PULL_NS))
        self.transport.write(b"%s%s0%s" % (before, self.inbox, after))

    def receive(self, messages: list[Message]) -> None:
        now = time.perf_counter()
        acks: list[bytes] = []
        for message in messages:
            if message.reply:
                self._acknowledged += 1
                acks.append(
                    b"PUB %s %s%d 4\r\n+ACK\r\n" % (message.reply, self.inbox, self._acknowledged)
                )
            elif self.number_of(message):
                self._left -= 1
                self._count(message, now)
            elif status_of(message) in (_NOT_FOUND, _TIMED_OUT):
                raise RanDryError
            else:
                raise LostError(f"a pull was refused: {message.headers.decode()}")
        self.transport.write(b"".join(acks))
        if self._left == 0:
            self.begin(self._batch)

    def _count(self, message: Message, now: float) -> None:
        if status_of(message) == _OK:
            self.sample.latencies.append(now - self._pulled)
        else:
            self.sample.errors += 1


class ControlLink(NatsLink):
    """Asks for one thing after the other, in JSON."""

    def __init__(self) -> None:
        super().__init__(Sample())
        self._waiting: asyncio.Future[bytes] | None = None
        self._number = 0

    async def ask(self, subject: str, body: object = None) -> dict[str, object]:
        """The answer. Raises TimeoutError after two seconds."""
        self._number += 1
        self._waiting = asyncio.get_running_loop().create_future()
        text = b"" if body is None else json.dumps(body).encode()
        before, after = publication(b"$JS.API." + subject.encode(), text)
        self.transport.write(b"%s%s%d%s" % (before, self.inbox, self._number, after))
        async with asyncio.timeout(2):
            return cast(dict[str, object], json.loads(await self._waiting))

    def receive(self, messages: list[Message]) -> None:
        for message in messages:
            waiting = self._waiting
            if waiting and not waiting.done() and self.number_of(message) == self._number:
                waiting.set_result(message.payload or b'{"error":"nobody answers"}')
