"""Clients that send at a fixed rate whatever comes back, and keep account of every answer.

Frames are made before, and answers are only cut at their headers, so that one process can offer
many times what three nodes can serve.
"""

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, cast

from flo.wire.answers import decode_refusal
from flo.wire.connection import encode_request
from flo.wire.frames import HEADER_BYTES
from flo.wire.messages import CallContext, KvGet, KvIncr, KvPut
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.status import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = b"overload"
DEADLINE_MS = 5_000
_STEP_S = 0.01
_UNSENT_MAX = 64 << 10
"""What waits in a client; past it the node takes no more, and nothing is added for a while."""
_LENGTH = Struct("<I")
_LENGTH_AT, _REVISION_AT, _STATUS_AT = 4, 20, 21


def increment(key: bytes, *, revision: int) -> bytes:
    """A request that shows later how often it took effect; as v1, one of our own client."""
    return _encode(KvIncr(NAMESPACE, key), revision)


def put(key: bytes, value: bytes, *, revision: int) -> bytes:
    return _encode(KvPut(NAMESPACE, key, value), revision)


def get(key: bytes, *, revision: int) -> bytes:
    return _encode(KvGet(NAMESPACE, key), revision)


def _encode(body: KvIncr | KvPut | KvGet, revision: int) -> bytes:
    context = CallContext(deadline_ms=DEADLINE_MS) if revision == 1 else None
    return encode_request(revision, 1, OP_OF_REQUEST[type(body)], body, context)


@dataclass
class Tally:
    """What clients sent, and what they were told."""

    sent: int = 0
    done: int = 0
    refused: Counter[tuple[int, int, bytes]] = field(
        default_factory=Counter[tuple[int, int, bytes]]
    )
    """By revision, status and content of the answer."""
    ended_by_node: int = 0
    """Connections."""

    @property
    def unanswered(self) -> int:
        return self.sent - self.done - self.refused.total()

    def refusals(self) -> list[tuple[Refusal, int]]:
        """Each refusal with how often it was given."""
        return [
            (decode_refusal(revision, status, data, extended=True), count)
            for (revision, status, data), count in self.refused.items()
        ]

    @classmethod
    def total(cls, tallies: "Sequence[Tally]") -> "Tally":
        whole = cls()
        for each in tallies:
            whole.sent += each.sent
            whole.done += each.done
            whole.refused += each.refused
            whole.ended_by_node += each.ended_by_node
        return whole


class OpenConnection(asyncio.Protocol):
    """Sends its frame again and again, `per_second` times, without waiting for answers.

    With a `window` it sends once so many, and then one for each answer.
    """

    def __init__(
        self, frame: bytes, per_second: float, *, window: int = 0, reads: bool = True
    ) -> None:
        self.tally = Tally()
        self.window = window
        self.lost = asyncio.get_running_loop().create_future()
        self._frame = frame
        self._per_step = per_second * _STEP_S
        self._owed = 0.0
        self._reads = reads
        self._closing = False
        self._rest = bytearray()
        self._wanted = HEADER_BYTES
        self._transport: asyncio.Transport

    @property
    def is_open(self) -> bool:
        return not self.lost.done()

    def step(self) -> None:
        """A step of time has passed."""
        self._owed += self._per_step
        count = int(self._owed)
        self._owed -= count
        if count and self.is_open and self._transport.get_write_buffer_size() < _UNSENT_MAX:
            self.send(self._frame * count, count)

    def send(self, data: bytes, count: int) -> None:
        """Writes `count` requests, or part of one."""
        self.tally.sent += count
        self._transport.write(data)

    def read_on(self) -> None:
        """For a connection that did not read so far."""
        self._transport.resume_reading()

    def close(self) -> None:
        self._closing = True
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connected = cast(socket.socket, transport.get_extra_info("socket"))
        # Else the system takes megabytes that the nodes would still have to serve at the end.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_MAX)
        if not self._reads:
            self._transport.pause_reading()
        self.send(self._frame * self.window, self.window)

    def connection_lost(self, exc: Exception | None) -> None:
        self.tally.ended_by_node += not self._closing
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), bytearray()
        at, size, tally = 0, len(data), self.tally
        before = tally.unanswered
        self._wanted = HEADER_BYTES
        while size - at >= HEADER_BYTES:
            end = at + HEADER_BYTES + _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
            if end > size:
                self._wanted = end - at
                break
            if data[at + _STATUS_AT] == 0:
                tally.done += 1
            else:
                content = data[at + HEADER_BYTES : end]
                tally.refused[data[at + _REVISION_AT], data[at + _STATUS_AT], content] += 1
            at = end
        self._rest += data[at:]
        if self.window:
            answered = before - tally.unanswered
            self.send(self._frame * answered, answered)


class OpenLoad:
    """Connections that send together for a while; then all answers are waited for."""

    def __init__(self) -> None:
        self.connections: list[OpenConnection] = []

    async def connect(
        self, port: int, frame: bytes, per_second: float, *, window: int = 0, reads: bool = True
    ) -> OpenConnection:
        loop = asyncio.get_running_loop()
        connection = OpenConnection(frame, per_second, window=window, reads=reads)
        await loop.create_connection(lambda: connection, "127.0.0.1", port)
        self.connections.append(connection)
        return connection

    async def run(self, seconds: float) -> None:
        """Sends for so long, then no more."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            for connection in self.connections:
                connection.step()
            await asyncio.sleep(_STEP_S)
        for connection in self.connections:
            connection.window = 0

    async def drain(self, patience_s: float) -> None:
        """Returns when everything is answered, or its connection has ended."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while any(each.is_open and each.tally.unanswered for each in self.connections):
            assert loop.time() < until, f"unanswered: {self.tally.unanswered}"
            await asyncio.sleep(_STEP_S)

    async def __aenter__(self) -> "OpenLoad":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Also when a test fails: uvloop's loop may never close with connections that write."""
        for connection in self.connections:
            connection.close()
        await asyncio.gather(*(connection.lost for connection in self.connections))

    @property
    def tally(self) -> Tally:
        return Tally.total([connection.tally for connection in self.connections])
