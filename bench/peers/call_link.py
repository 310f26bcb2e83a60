"""A connection on which unary gRPC calls of one method are outstanding, as many as wished."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from bench.peers import http2
from bench.peers.closed_loop import Link, LostError
from bench.window import Sample

_SEND_HEADERS = 4_096
"""The size of the table for headers which every server has, unless it says otherwise."""
_REFILL_BYTES = 16 << 20


class Method(NamedTuple):
    """What is called."""

    path: bytes
    answer_bytes_min: int = 1
    """A shorter answer is an error: a get that found nothing is short."""


class _Unsent:
    """The rest of a request that has to wait for the other side's windows."""

    def __init__(self, body: bytes, window: int) -> None:
        self.body = body
        self.window = window


class CallLink(Link):
    """`requests` are messages as gRPC frames them."""

    def __init__(self, sample: Sample, requests: Iterator[bytes], method: Method) -> None:
        super().__init__(sample)
        self._requests = requests
        headers = http2.CallHeaders(method.path, b"localhost")
        self._headers, self._next_headers = headers.first, headers.next
        self._answer_bytes_min = method.answer_bytes_min
        self._next_stream = 1
        self._begun: dict[int, float] = {}
        self._answered: dict[int, int] = {}
        """How long the answers are so far."""
        self._unsent: dict[int, _Unsent] = {}
        self._window = self._stream_window = http2.WINDOW_BYTES
        self._received = 0

    def greet(self) -> None:
        own = http2.settings({http2.INITIAL_WINDOW_SIZE: http2.WINDOW_BYTES_MAX})
        more = http2.window_update(0, http2.WINDOW_BYTES_MAX - http2.WINDOW_BYTES)
        self.transport.write(http2.PREFACE + own + more)

    def begin(self, count: int) -> None:
        parts: list[bytes] = []
        now = time.perf_counter()
        for body in islice(self._requests, count):
            stream = self._next_stream
            self._next_stream += 2
            self._begun[stream] = now
            parts.append(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, self._headers))
            self._headers = self._next_headers
            room = min(self._window, self._stream_window, http2.FRAME_BYTES)
            if len(body) <= room and not self._unsent:
                self._window -= len(body)
                parts.append(http2.frame(http2.DATA, http2.END_STREAM, stream, body))
            else:
                self._unsent[stream] = _Unsent(body, self._stream_window)
        self.transport.write(b"".join(parts))
        if self._unsent:
            self._send_more()

    def take(self, data: bytes) -> None:
        frames, self.rest = http2.cut_frames(data)
        ended = 0
        for kind, flags, stream, payload in frames:
            if kind == http2.DATA:
                self._answered[stream] = self._answered.get(stream, 0) + len(payload)
                self._received += len(payload)
            elif kind != http2.HEADERS:
                ended += self._take_rare(kind, flags, stream, payload)
            if flags & http2.END_STREAM and kind in (http2.DATA, http2.HEADERS):
                self._end(stream)
                ended += 1
        if self._received > _REFILL_BYTES:
            self.transport.write(http2.window_update(0, self._received))
            self._received = 0
        if ended:
            self.begin(ended)

    def _end(self, stream: int) -> None:
        waited = time.perf_counter() - self._begun.pop(stream)
        self._unsent.pop(stream, None)
        if self._answered.pop(stream, 0) >= self._answer_bytes_min:
            self.sample.latencies.append(waited)
        else:
            self.sample.errors += 1

    def _take_rare(self, kind: int, flags: int, stream: int, payload: bytes) -> int:
        """A frame that is no answer; 1 when it ends a call."""
        if kind == http2.WINDOW_UPDATE:
            self._open(stream, http2.number_of(payload))
        elif kind == http2.PING and not flags & http2.ACK:
            self.transport.write(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.SETTINGS and not flags & http2.ACK:
            self._settle(http2.settings_of(payload))
        elif kind == http2.GOAWAY:
            raise LostError(f"the server ends the connection: {payload[8:].decode()}")
        elif kind == http2.RST_STREAM and stream in self._begun:
            self._answered.pop(stream, None)
            self._end(stream)
            return 1
        return 0

    def _settle(self, asked: dict[int, int]) -> None:
        if asked.get(http2.HEADER_TABLE_SIZE, _SEND_HEADERS) < _SEND_HEADERS:
            raise LostError("the server wants a smaller table of headers than all others")
        window = asked.get(http2.INITIAL_WINDOW_SIZE, self._stream_window)
        for call in self._unsent.values():
            call.window += window - self._stream_window
        self._stream_window = window
        self.transport.write(http2.frame(http2.SETTINGS, http2.ACK, 0, b""))
        self.welcome()
        self._send_more()

    def _open(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
        elif stream in self._unsent:
            self._unsent[stream].window += size
        self._send_more()

    def _send_more(self) -> None:
        """As much as the windows allow of what waits, the oldest first."""
        parts: list[bytes] = []
        for stream, call in list(self._unsent.items()):
            while (
                call.body
                and (room := min(self._window, call.window, http2.FRAME_BYTES, len(call.body))) > 0
            ):
                piece, call.body = call.body[:room], call.body[room:]
                self._window -= room
                call.window -= room
                last = http2.END_STREAM if not call.body else 0
                parts.append(http2.frame(http2.DATA, last, stream, piece))
            if not call.body:
                del self._unsent[stream]
            if self._window <= 0:
                break
        self.transport.write(b"".join(parts))
