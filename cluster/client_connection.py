"""One client of a node: its requests are read and run within bounds, whatever it sends."""

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from cluster.client_answers import AnswerOwner, ClientAnswers
from flo.wire.connection import (
    REQUEST_BYTES_MAX_DEFAULT,
    Rejected,
    Request,
    ServerConnection,
)
from flo.wire.limits import VALUE_BYTES_MAX_DEFAULT
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.intake import Intake
    from cluster.router import Router

logger = logging.getLogger("flo.gateway")

_PORTION_BYTES = 4 << 10
"""Of what was read, turned into requests at a time: they take several times as much memory."""
_REQUEST_BYTES = 512
"""What a request takes beside its content."""
_SYSTEM_BYTES = 128 << 10
"""What the system may keep of a connection that is not read. By itself it grows to megabytes, and
when a crowd of clients has gone, the node would be busy with what they have left there."""


class ConnectionOwner(AnswerOwner, Protocol):
    """What a connection needs of its gateway."""

    @property
    def router(self) -> "Router": ...

    @property
    def intake(self) -> "Intake": ...

    @property
    def read_buffer(self) -> memoryview: ...

    def admit(self, connection: "ClientConnection") -> str | None:
        """Why the connection is turned away; None when it is welcome."""
        ...

    def may_linger(self, connection: "ClientConnection") -> bool:
        """Whether one more client that is turned away is given time to hear why."""
        ...

    def dismiss(self, connection: "ClientConnection", answers: ClientAnswers) -> None:
        """The connection is gone."""
        ...


class ClientConnection(asyncio.BufferedProtocol):
    """One client. Requests are run as they come, or, when there are too many, in their turn.

    A client with too many unanswered requests, or one that does not read its answers, is not
    read from until it has caught up; one that stays away too long is cut off. Implements `Sender`.
    """

    __slots__ = (
        "_answers",
        "_closing",
        "_codec",
        "_gateway",
        "_held",
        "_is_starved",
        "_linger_timer",
        "_lost",
        "_read_paused",
        "_refused",
        "_transport",
        "_unread",
        "_unread_at",
        "_waits",
    )

    def __init__(self, gateway: ConnectionOwner) -> None:
        self._gateway = gateway
        value_bytes_max = gateway.limits.value_bytes_max
        self._codec = ServerConnection(
            max_frame_bytes=REQUEST_BYTES_MAX_DEFAULT
            + max(0, value_bytes_max - VALUE_BYTES_MAX_DEFAULT),
            max_value_bytes=value_bytes_max,
        )
        self._transport: asyncio.Transport
        self._answers: ClientAnswers
        self._unread = b""
        self._unread_at = 0
        """What has come, and how far it is turned into requests."""
        self._held: deque[Request | Rejected] = deque()
        """Requests not yet run: the connection is at its bound, or waits for its turn."""
        self._waits = False
        """For its turn."""
        self._is_starved = False
        """It may not read on: clients have sent too much that is not complete."""
        self._read_paused = False
        self._closing = False
        self._lost = False
        self._refused = False
        """The client was told that nothing more is read from it."""
        self._linger_timer: asyncio.TimerHandle | None = None

    # --- asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connected = cast("socket.socket | None", transport.get_extra_info("socket"))
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SYSTEM_BYTES)
        self._answers = ClientAnswers(
            self._gateway,
            self._transport,
            on_flush=self._flushed,
            on_stall=lambda: self._cut_off("read no answer for too long"),
        )
        message = self._gateway.admit(self)
        if message is not None:
            refusal = Rejected(2, 0, Refusal(Reason.SHARD_BUSY, Ran.NO, message), close=True)
            self._transport.write(refusal.encode())
            self._closing = self._refused = True
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._drop_requests()
        self._answers.lose()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._gateway.dismiss(self, self._answers)

    def get_buffer(self, sizehint: int) -> memoryview:
        # One for all connections: what is read is copied at once.
        return self._gateway.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._closing:
            self.received(bytes(self._gateway.read_buffer[:nbytes]))

    def received(self, data: bytes) -> None:
        """Takes what has come from the client."""
        self._unread = self._unread[self._unread_at :] + data if self._unread else data
        self._unread_at = 0
        self._go_on()

    def eof_received(self) -> bool:
        """A client that only stopped writing still gets its answers."""
        if not self._answers.unanswered and not self._has_requests:
            return False
        # It may as well have gone altogether: nothing must be taken for it any more.
        self._answers.stop_waiting()
        self._closing = True
        return True

    def pause_writing(self) -> None:
        self._answers.pause()
        self._settle()

    def resume_writing(self) -> None:
        self._answers.resume()
        self._go_on()

    # --- requests ---

    @property
    def _has_requests(self) -> bool:
        return len(self._held) > 0 or len(self._unread) > 0

    @property
    def _may_run(self) -> bool:
        """False until the client has read answers, or other answers have come."""
        answers = self._answers
        most = self._gateway.limits.connection_requests_max
        return not answers.is_paused and answers.unanswered < most and not self._lost

    def _can_run(self) -> bool:
        return self._has_requests and self._may_run

    def run_more(self) -> bool:
        """Its turn: runs a portion; true when there is more."""
        self._run_portion()
        self._waits = self._can_run()
        self._settle()
        return self._waits

    def read_on(self) -> None:
        """Others have finished what they held."""
        self._is_starved = False
        self._settle()

    def end_unfinished(self) -> None:
        """It held up others with a request that does not end."""
        self._cut_off("sent a request too slowly while others had to wait for it")

    def _go_on(self) -> None:
        """Runs what has come, now or in its turn."""
        if not self._waits and self._can_run():
            intake = self._gateway.intake
            if intake.begin():
                self._run_portion()
                while self._can_run() and not intake.is_over():
                    self._run_portion()
            if self._can_run():
                self._waits = True
                intake.wait(self)
        self._settle()

    def _run_portion(self) -> None:
        if not self._held and self._unread:
            self._parse()
        if not self._may_run:
            return
        held, router, answers = self._held, self._gateway.router, self._answers
        # No answer leaves meanwhile, so all that are run here stay unanswered.
        room = self._gateway.limits.connection_requests_max - answers.unanswered
        while held and room > 0:
            room -= 1
            item = held.popleft()
            if type(item) is Request:
                answers.run(item, router)
            else:
                self._reject(cast(Rejected, item))

    def _parse(self) -> None:
        """Turns a portion of what has come into requests."""
        at, end = self._unread_at, len(self._unread)
        if not self._codec.buffered_bytes:
            end = min(end, at + _PORTION_BYTES)
        items = self._codec.receive(self._unread[at:end])
        if end == len(self._unread):
            self._unread, self._unread_at = b"", 0
        else:
            self._unread_at = end
        if items:
            self._held.extend(items)
            self._gateway.intake.forget(self)

    def _reject(self, item: Rejected) -> None:
        self._answers.reject(item)
        if item.close:
            self._closing = self._refused = True
            self._drop_requests()
            logger.info("client %s: %s", self._name, item.refusal.message)

    def _drop_requests(self) -> None:
        self._held.clear()
        self._unread, self._unread_at = b"", 0
        self._gateway.intake.forget(self)

    def _settle(self) -> None:
        """Counts what is held, and decides whether to read, or whether this is the end."""
        if self._lost:
            return
        if self._closing:
            if not self._has_requests and not self._answers.unanswered:
                self._end()
            return
        waiting = len(self._unread) - self._unread_at + _REQUEST_BYTES * len(self._held)
        if not self._gateway.intake.hold(self, waiting + self._codec.buffered_bytes):
            self._is_starved = True
        if waiting or self._answers.is_paused or self._is_starved:
            self._pause_reading()
        else:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._read_paused and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    # --- answers, and the end ---

    def _flushed(self) -> None:
        if self._has_requests:
            self._go_on()
        elif self._closing:
            self._settle()

    @property
    def _name(self) -> str:
        name = cast("tuple[object, ...] | None", self._transport.get_extra_info("peername"))
        return f"{name[0]}:{name[1]}" if name else "unknown"

    def close(self) -> None:
        """The node stops: what runs is still answered, nothing else is begun."""
        self._drop_requests()
        self._pause_reading()
        self._closing = True
        if not self._answers.unanswered:
            self._transport.close()

    def abort(self) -> None:
        """The node stops and waits no longer."""
        self._transport.abort()

    def _end(self) -> None:
        """All answers are written. A refused client first hears why.

        Closing while it still sends would make the kernel reset the connection and throw the answer
        away, so what it sends is taken and dropped until it stops, for a moment.
        """
        if self._linger_timer is not None:
            return
        may_linger = self._refused and self._transport.can_write_eof()
        if not may_linger or not self._gateway.may_linger(self):
            self._transport.close()
            return
        self._transport.write_eof()
        self._resume_reading()
        self._linger_timer = self._gateway.loop.call_later(
            self._gateway.limits.connection_close_s, self._transport.abort
        )

    def _cut_off(self, why: str) -> None:
        if not self._lost:
            logger.warning("client %s is cut off: it %s", self._name, why)
            self._transport.abort()
