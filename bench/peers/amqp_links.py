"""Connections to RabbitMQ: publishing with confirms, consuming with acks, and single methods."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

from bench.dialogues import RanDryError
from bench.peers import amqp
from bench.peers.closed_loop import Link, LostError
from bench.window import Sample

FRAME_BYTES_MAX = 131_072
_CHANNELS_MAX = 8
_CLIENT = amqp.table({b"product": b"bench"})
_LOGIN = b"\x00guest\x00guest"
_NO_WAIT = b"\x08"


class AmqpLink(Link):
    """One with an open channel on which these methods were called, one after the other."""

    def __init__(self, sample: Sample, methods: Sequence[bytes] = ()) -> None:
        super().__init__(sample)
        self._methods = deque(methods)

    def greet(self) -> None:
        self.transport.write(amqp.PREAMBLE)

    def take(self, data: bytes) -> None:
        frames, self.rest = amqp.cut_frames(data)
        if self.ready.done():
            self.receive(frames)
            return
        for frame in frames:
            self._set_up(frame)

    def receive(self, frames: list[amqp.Frame]) -> None:
        """What comes when the channel is set up. Raises LostError when the server closes it."""
        for frame in frames:
            _refuse_an_end(frame)

    def _set_up(self, frame: amqp.Frame) -> None:
        """Goes one step further with each method of the server."""
        _refuse_an_end(frame)
        match amqp.method_of(frame):
            case amqp.CONNECTION_START:
                self._say(
                    amqp.CONNECTION_START_OK,
                    _CLIENT + amqp.short_string(b"PLAIN"),
                    amqp.long_string(_LOGIN) + amqp.short_string(b"en_US"),
                )
            case amqp.CONNECTION_TUNE:
                limits = amqp.short(_CHANNELS_MAX) + amqp.long(FRAME_BYTES_MAX)
                self._say(amqp.CONNECTION_TUNE_OK, limits + amqp.short(0))
                self._say(amqp.CONNECTION_OPEN, amqp.short_string(b"/") + b"\x00\x00")
            case amqp.CONNECTION_OPEN_OK:
                self.transport.write(amqp.method(amqp.CHANNEL_OPEN, b"\x00"))
            case _:
                self._next()

    def _say(self, number: int, *arguments: bytes) -> None:
        """On the connection's own channel."""
        self.transport.write(amqp.method(number, *arguments, channel=0))

    def _next(self) -> None:
        if self._methods:
            self.transport.write(self._methods.popleft())
        else:
            self.welcome()


class ConfirmLink(AmqpLink):
    """Publishes; an operation ends when the server confirms the message."""

    def __init__(self, sample: Sample, messages: Iterator[bytes]) -> None:
        super().__init__(sample, [amqp.method(amqp.CONFIRM_SELECT, b"\x00")])
        self._messages = messages
        self._next_tag = 1
        self._begun: dict[int, float] = {}
        """By delivery tag, the oldest first."""

    def begin(self, count: int) -> None:
        messages = list(islice(self._messages, count))
        now = time.perf_counter()
        for tag in range(self._next_tag, self._next_tag + len(messages)):
            self._begun[tag] = now
        self._next_tag += len(messages)
        self.transport.write(b"".join(messages))

    def receive(self, frames: list[amqp.Frame]) -> None:
        now = time.perf_counter()
        ended = 0
        for frame in frames:
            number = amqp.method_of(frame)
            if number in (amqp.BASIC_ACK, amqp.BASIC_NACK):
                begun = self._confirmed(*amqp.tag_of(frame))
                ended += len(begun)
                if number == amqp.BASIC_ACK:
                    self.sample.latencies += [now - each for each in begun]
                else:
                    self.sample.errors += len(begun)
            else:
                _refuse_an_end(frame)
        self.begin(ended)

    def _confirmed(self, tag: int, multiple: bool) -> list[float]:
        """When those were begun which this confirms."""
        if not multiple:
            return [self._begun.pop(tag)]
        tags = list(takewhile(tag.__ge__, self._begun))
        return [self._begun.pop(each) for each in tags]


class Deliveries:
    """How many messages are left for all consumers together."""

    def __init__(self, left: int) -> None:
        self.left = left


class ConsumeLink(AmqpLink):
    """Consumes, and acknowledges each message. AMQP does not confirm that.

    So an operation lasts from an acknowledgement to the delivery that it makes room for.
    """

    def __init__(self, sample: Sample, queue: bytes, deliveries: Deliveries) -> None:
        super().__init__(sample)
        self._queue = queue
        self._deliveries = deliveries
        self._acknowledged: deque[float] = deque()
        self._tag = 0
        self._body_left = 0

    def begin(self, count: int) -> None:
        self._acknowledged.extend([time.perf_counter()] * count)
        prefetch = amqp.method(amqp.BASIC_QOS, amqp.long(0) + amqp.short(count) + b"\x00")
        name = amqp.short_string(self._queue) + amqp.short_string(b"")
        consume = amqp.method(amqp.BASIC_CONSUME, amqp.short(0), name, _NO_WAIT, amqp.table({}))
        self.transport.write(prefetch + consume)

    def receive(self, frames: list[amqp.Frame]) -> None:
        now = time.perf_counter()
        acks: list[bytes] = []
        for frame in frames:
            if not self._is_delivered(frame):
                continue
            self._deliveries.left -= 1
            if self._deliveries.left <= 0:
                raise RanDryError
            self.sample.latencies.append(now - self._acknowledged.popleft())
            self._acknowledged.append(now)
            acks.append(amqp.acknowledgement(self._tag))
        self.transport.write(b"".join(acks))

    def _is_delivered(self, frame: amqp.Frame) -> bool:
        """Whether this is the last frame of a message."""
        if frame.kind == amqp.BODY:
            self._body_left -= len(frame.payload)
            return self._body_left == 0
        if frame.kind == amqp.HEADER:
            self._body_left = amqp.body_bytes(frame)
            return self._body_left == 0
        if amqp.method_of(frame) == amqp.BASIC_DELIVER:
            self._tag = amqp.delivery_tag(frame)
        else:
            _refuse_an_end(frame)
        return False


def _refuse_an_end(frame: amqp.Frame) -> None:
    if amqp.method_of(frame) in (amqp.CONNECTION_CLOSE, amqp.CHANNEL_CLOSE):
        size = frame.payload[6]
        raise LostError(f"RabbitMQ says: {frame.payload[7 : 7 + size].decode()}")
