"""The clients' side of a node: connections, pipelining, ordered answers, bounded buffers."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

from flo.wire.connection import (
    REQUEST_BYTES_MAX_DEFAULT,
    Rejected,
    Request,
    ServerConnection,
    encode_answer,
)
from flo.wire.limits import VALUE_BYTES_MAX_DEFAULT
from flo.wire.messages import CancelWait, Done
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.calls import Call
    from cluster.config import Limits
    from cluster.operation import Answer
    from cluster.router import Router

logger = logging.getLogger("flo.gateway")

_PROGRESS_BYTES = 64 << 10
"""A client that takes less than this of its answers within the stall time has stayed away."""


class _Slot:
    """One request that waits for its answer, and its place in the order of answers."""

    __slots__ = ("call", "connection", "frame", "request")

    def __init__(self, connection: "ClientConnection", request: Request | Rejected) -> None:
        self.connection = connection
        self.request = request
        self.frame: bytes | None = None
        self.call: Call | None = None
        """Set while it waits for something to come."""

    def done(self, answer: "Answer") -> None:
        """The router's answer to a request; a rejected frame was answered when it was read."""
        request = cast(Request, self.request)
        self.frame = encode_answer(
            request.revision,
            request.request_id,
            request.op,
            answer,
            extended=request.extended,
        )
        if self.call is not None:
            self.call = None
            self.connection.waiting.discard(self)
        if request.extended:
            self.connection.answered_out_of_order(self.frame)
        else:
            self.connection.answered()


class ClientConnection(asyncio.Protocol):
    """One client. Requests are run as they come.

    Answers leave in the order of the requests, which official SDKs rely on. Our own client
    matches answers by their id, so its answers leave as they come: one partition without a
    leader does not hold up the others.

    A client with too many unanswered requests, or one that does not read its answers, is not
    read from until it has caught up; one that stays away too long is cut off.
    """

    __slots__ = (
        "_closing",
        "_codec",
        "_flush_scheduled",
        "_gateway",
        "_held",
        "_linger_timer",
        "_lost",
        "_out_of_order",
        "_read_paused",
        "_ready",
        "_refused",
        "_slots",
        "_stall_timer",
        "_taken_bytes",
        "_transport",
        "_write_paused",
        "_written_bytes",
        "waiting",
    )

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        value_bytes_max = gateway.limits.value_bytes_max
        self._codec = ServerConnection(
            max_frame_bytes=REQUEST_BYTES_MAX_DEFAULT
            + max(0, value_bytes_max - VALUE_BYTES_MAX_DEFAULT),
            max_value_bytes=value_bytes_max,
        )
        self._transport: asyncio.Transport
        self._slots: deque[_Slot] = deque()
        self._out_of_order = 0
        """Unanswered requests of our own client; they have no place in `_slots`."""
        self._ready: list[bytes] = []
        self.waiting: set[_Slot] = set()
        """Requests that wait for something to come."""
        self._held: deque[Request | Rejected] = deque()
        """Read, but not yet run: the connection is at its bound."""
        self._write_paused = False
        self._read_paused = False
        self._closing = False
        self._lost = False
        self._flush_scheduled = False
        self._stall_timer: asyncio.TimerHandle | None = None
        self._refused = False
        """The client was told that nothing more is read from it."""
        self._linger_timer: asyncio.TimerHandle | None = None
        self._written_bytes = 0
        self._taken_bytes = 0
        """What the client had taken when the stall timer began."""

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        message = self._gateway.admit(self)
        if message is not None:
            refusal = Rejected(2, 0, Refusal(Reason.SHARD_BUSY, Ran.NO, message), close=True)
            self._transport.write(refusal.encode())
            self._closing = self._refused = True
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._held.clear()
        self._slots.clear()
        for call in self._waiting_calls():
            call.cancel()
        self.waiting.clear()
        for timer in (self._stall_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._gateway.dismiss(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        items = self._codec.receive(data)
        if items:
            self._held.extend(items)
            self._run_held()

    def eof_received(self) -> bool:
        """A client that only stopped writing still gets its answers."""
        if not self._unanswered and not self._held:
            return False
        # It may as well have gone altogether: nothing must be taken for it any more.
        for call in self._waiting_calls():
            call.stop_waiting()
        self._closing = True
        return True

    def _waiting_calls(self) -> "list[Call]":
        return [slot.call for slot in self.waiting if slot.call is not None]

    @property
    def _unanswered(self) -> int:
        """Requests whose answers have not been written."""
        return len(self._slots) + self._out_of_order + len(self._ready)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._watch_stall()
        self._pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        self._run_held()

    # --- requests ---

    def _run_held(self) -> None:
        held, router = self._held, self._gateway.router
        most = self._gateway.limits.connection_requests_max
        while held and self._unanswered < most and not self._write_paused:
            item = held.popleft()
            if isinstance(item, Rejected):
                self._reject(item)
                if item.close:
                    held.clear()
                    return
            else:
                slot = _Slot(self, item)
                if item.extended:
                    self._out_of_order += 1
                else:
                    self._slots.append(slot)
                if isinstance(item.body, CancelWait):
                    self._stop_waiting(item.body.request_id)
                    slot.done(Done())
                    continue
                call = router.run(item, slot.done)
                if call is not None and slot.frame is None:
                    slot.call = call
                    self.waiting.add(slot)
        if held:
            self._pause_reading()
        elif self._read_paused and not self._write_paused and not self._closing:
            self._read_paused = False
            self._transport.resume_reading()

    def _stop_waiting(self, request_id: int) -> None:
        for slot in list(self.waiting):
            if cast(Request, slot.request).request_id == request_id and slot.call is not None:
                slot.call.stop_waiting()

    def _reject(self, item: Rejected) -> None:
        slot = _Slot(self, item)
        slot.frame = item.encode()
        self._slots.append(slot)
        if item.close:
            self._closing = self._refused = True
            logger.info(
                "client %s: %s", self._gateway.name_of(self._transport), item.refusal.message
            )
        self.answered()

    def _pause_reading(self) -> None:
        if not self._read_paused and not self._closing and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    # --- answers ---

    def answered(self) -> None:
        """An answer is there; all answers of this turn leave in one write."""
        if not self._flush_scheduled and not self._lost:
            self._flush_scheduled = True
            self._gateway.flush_later(self)

    def answered_out_of_order(self, frame: bytes) -> None:
        """An answer for our own client is there."""
        self._out_of_order -= 1
        self._ready.append(frame)
        self.answered()

    def flush(self) -> None:
        """Writes the answers that may leave."""
        self._flush_scheduled = False
        if self._lost or self._transport.is_closing():
            return
        slots = self._slots
        frames, self._ready = self._ready, []
        while slots:
            frame = slots[0].frame
            if frame is None:
                break
            frames.append(frame)
            slots.popleft()
        if frames:
            data = b"".join(frames)
            self._written_bytes += len(data)
            self._transport.write(data)
            self._check_unsent()
        if self._held:
            self._run_held()
        elif self._closing and not self._unanswered:
            self._end()

    def _end(self) -> None:
        """All answers are written. A refused client first hears why.

        Closing while it still sends would make the kernel reset the connection and throw the answer
        away, so what it sends is taken and dropped until it stops, for a moment.
        """
        if not self._refused or not self._transport.can_write_eof():
            self._transport.close()
        elif self._linger_timer is None:
            self._transport.write_eof()
            if self._read_paused:
                self._read_paused = False
                self._transport.resume_reading()
            self._linger_timer = self._gateway.loop.call_later(
                self._gateway.limits.connection_close_s, self._transport.abort
            )

    def close(self) -> None:
        """The node stops: what runs is still answered, nothing else is begun."""
        self._held.clear()
        self._pause_reading()
        self._closing = True
        if not self._unanswered:
            self._transport.close()

    def abort(self) -> None:
        """The node stops and waits no longer."""
        self._transport.abort()

    def _check_unsent(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent > self._gateway.limits.connection_unsent_bytes_max:
            self._cut_off(f"left {unsent} bytes of answers unread")

    def _watch_stall(self) -> None:
        self._taken_bytes = self._written_bytes - self._transport.get_write_buffer_size()
        self._stall_timer = self._gateway.loop.call_later(
            self._gateway.limits.connection_stall_s, self._check_stall
        )

    def _check_stall(self) -> None:
        taken_bytes = self._written_bytes - self._transport.get_write_buffer_size()
        if taken_bytes - self._taken_bytes >= _PROGRESS_BYTES:
            self._watch_stall()
        else:
            self._cut_off("read no answer for too long")

    def _cut_off(self, why: str) -> None:
        if not self._lost:
            logger.warning(
                "client %s is cut off: it %s", self._gateway.name_of(self._transport), why
            )
            self._transport.abort()


class Gateway:
    """Listens for clients and keeps their connections."""

    def __init__(self, router: "Router", limits: "Limits", loop: asyncio.AbstractEventLoop) -> None:
        self.router = router
        self.limits = limits
        self.loop = loop
        self._connections: set[ClientConnection] = set()
        self._to_flush: list[ClientConnection] = []
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._all_gone = asyncio.Event()

    async def listen(self, host: str, port: int) -> int:
        """Starts to accept clients, returns the port. OSError when the address is taken."""
        self._server = await self.loop.create_server(lambda: ClientConnection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops accepting, and closes every connection once what runs is answered and read.

        Connections that are not done after `connection_close_s` are cut off.
        """
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            try:
                async with asyncio.timeout(self.limits.connection_close_s):
                    await self._all_gone.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def admit(self, connection: ClientConnection) -> str | None:
        """Why the connection is turned away; None when it is welcome."""
        if self._stopping:
            return "this node is stopping"
        if len(self._connections) >= self.limits.connections_max:
            return "this node has too many connections"
        self._connections.add(connection)
        return None

    def dismiss(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        if self._stopping and not self._connections:
            self._all_gone.set()

    def flush_later(self, connection: ClientConnection) -> None:
        """Answers made in one pass of the loop share a write."""
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.append(connection)

    @staticmethod
    def name_of(transport: asyncio.BaseTransport) -> str:
        name = cast("tuple[object, ...] | None", transport.get_extra_info("peername"))
        return f"{name[0]}:{name[1]}" if name else "unknown"

    def _flush(self) -> None:
        to_flush, self._to_flush = self._to_flush, []
        for connection in to_flush:
            connection.flush()
