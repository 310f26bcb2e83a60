"""A TCP connection to one node, shared by all tasks of a client."""

import asyncio
from functools import partial
from typing import cast

from flo._endpoints import Endpoint
from flo._transport import Channel, Expired, Lost, LostCallback, Reply
from flo.exceptions import (
    FloError,
    IncompleteResponseError,
    InvalidChecksumError,
    InvalidMagicError,
    PayloadTooLargeError,
    ProtocolError,
    UnexpectedEofError,
    ValidationError,
)
from flo.wire.client import ClientConnection
from flo.wire.connection import REQUEST_BYTES_MAX_DEFAULT
from flo.wire.errors import Fault, LocalProtocolError
from flo.wire.errors import ProtocolError as WireError
from flo.wire.messages import Body, CallContext, CancelWait
from flo.wire.status import Ran, Reason, Refusal

# More than the in-flight limit of a client: a cancelled call leaves its request here until the
# answer comes, and this bounds those.
UNANSWERED_MAX = 20_000
UNSENT_BYTES_MAX = 4 << 20
_CANCEL_MS = 1000

_ERROR_OF_FAULT: dict[Fault, type[ProtocolError]] = {
    "magic": InvalidMagicError,
    "length": PayloadTooLargeError,
    "checksum": InvalidChecksumError,
    "content": IncompleteResponseError,
    "other": ProtocolError,
    "refused": ProtocolError,
}


class TcpConnector:
    """Implements `Connector` over TCP.

    Replies longer than `answer_bytes_max` end the connection.
    """

    def __init__(self, *, answer_bytes_max: int = 64 << 20) -> None:
        self._answer_bytes_max = answer_bytes_max

    async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
        loop = asyncio.get_running_loop()
        codec = ClientConnection(
            max_frame_bytes=self._answer_bytes_max, max_outstanding=UNANSWERED_MAX + 1
        )
        _, connection = await loop.create_connection(
            lambda: Connection(endpoint, codec, on_lost), endpoint.host, endpoint.port
        )
        return connection


class Connection(asyncio.Protocol):
    """Implements `Channel`. Requests of one event-loop turn leave with one write."""

    def __init__(self, endpoint: Endpoint, codec: ClientConnection, on_lost: LostCallback) -> None:
        self._endpoint = endpoint
        self._peer = endpoint
        self._codec = codec
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._long: dict[int, int] = {}
        """Requests so long that a server may take them for no frame at all, with their lengths."""
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._lost = Lost(UnexpectedEofError, f"the connection to {endpoint} ended")
        self._last_received_s = 0.0
        self._busy_since_s = 0.0

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def peer(self) -> Endpoint:
        return self._peer

    @property
    def congested(self) -> bool:
        return (
            self._paused
            or self._unsent_bytes > UNSENT_BYTES_MAX
            or len(self._replies) >= UNANSWERED_MAX
        )

    @property
    def unanswered(self) -> int:
        return len(self._replies)

    @property
    def end_reason(self) -> str:
        return self._lost.message

    def send(self, body: Body, context: CallContext) -> asyncio.Future[Reply]:
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if self._closed.is_set() or self._transport is None:
            reply.set_result(self._lost)
            return reply
        try:
            request_id, frame = self._codec.request(body, context=context)
        except LocalProtocolError as error:
            raise ValidationError(str(error)) from error
        if not self._replies:
            self._busy_since_s = self._loop.time()
        self._replies[request_id] = reply
        if not self._unsent:
            self._loop.call_soon(self._flush)
        if len(frame) > REQUEST_BYTES_MAX_DEFAULT:
            self._long[request_id] = len(frame)
        if getattr(body, "wait_ms", 0):
            reply.add_done_callback(partial(self._end_wait, request_id))
        self._unsent.append(frame)
        self._unsent_bytes += len(frame)
        return reply

    async def writable(self) -> None:
        while self.congested and not self._closed.is_set():
            self._writable.clear()
            await self._writable.wait()

    def silence_s(self, now: float) -> float:
        if not self._replies:
            return 0.0
        return now - max(self._last_received_s, self._busy_since_s)

    def close(self, reason: str) -> None:
        self._end(UnexpectedEofError, f"the connection to {self._endpoint} was closed: {reason}")

    async def wait_closed(self) -> None:
        await self._closed.wait()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if address is not None:
            self._peer = Endpoint(address[0], address[1])

    def data_received(self, data: bytes) -> None:
        self._last_received_s = self._loop.time()
        codec = self._codec
        try:
            answers = codec.receive(data)
        except WireError as error:
            self._garbage(error)
            return
        replies = self._replies
        for request_id, result in answers:
            reply = replies.pop(request_id)
            # It is done already when its caller was cancelled or ran out of time.
            if not reply.done():
                reply.set_result(result)
        if codec.failure is not None:
            self._garbage(codec.failure)
        elif not self._writable.is_set() and not self.congested:
            self._writable.set()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._lost = self._lost._replace(message=f"{self._lost.message}: {exc}")
        self._transport = None
        self._closed.set()
        self._writable.set()
        # First, while what is unanswered can still be told.
        self._on_lost(self)
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            if not reply.done():
                reply.set_result(self._lost)

    def _end_wait(self, request_id: int, reply: "asyncio.Future[Reply]") -> None:
        """Nobody waits here any more, so the node shall not: it might take something for us."""
        if request_id in self._replies and (
            reply.cancelled() or isinstance(reply.result(), Expired)
        ):
            self.send(CancelWait(request_id), CallContext(deadline_ms=_CANCEL_MS))

    def _flush(self) -> None:
        frames, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if self._transport is not None:
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if not self._writable.is_set() and not self.congested:
            self._writable.set()

    def _garbage(self, error: WireError) -> None:
        what = "broke the protocol"
        if error.fault == "refused":
            self._blame_longest(error.refusal.message)
            what = "ended the connection"
        self._end(_ERROR_OF_FAULT[error.fault], f"{self._endpoint} {what}: {error}")

    def _blame_longest(self, message: str) -> None:
        """A frame too long is refused unread, so without its id: it was the longest, if any."""
        unanswered = self._long.keys() & self._replies.keys()
        if unanswered:
            reply = self._replies.pop(max(unanswered, key=self._long.__getitem__))
            if not reply.done():
                reply.set_result(Refusal(Reason.FIELD_TOO_LONG, Ran.NO, message))

    def _end(self, error: type[FloError], message: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._lost = Lost(error, message)
            self._transport.abort()
