"""The answers of one client: their order, what of them waits to be read, and for how long."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from flo.wire import messages as wire
from flo.wire.connection import Rejected, Request, encode_answer
from flo.wire.messages import CancelWait
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.calls import Call
    from cluster.config import Limits
    from cluster.operation import Answer
    from cluster.room import Room
    from cluster.router import Router

_PROGRESS_BYTES = 64 << 10
"""A client that takes less than this of its answers within the stall time has stayed away."""

_READ_RESULTS = frozenset(
    (wire.Value, wire.Values, wire.Page, wire.PartitionTable, wire.ClusterStatus)
)
"""Of any length, and of requests that changed nothing: a refusal in their place is as true."""
_UNREAD = Refusal(Reason.SHARD_BUSY, Ran.NO, "too many answers wait to be read: try again later")


class AnswerOwner(Protocol):
    """What the answers of a client need of its gateway."""

    @property
    def limits(self) -> "Limits": ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def answers(self) -> "Room":
        """What the answers of all clients take."""
        ...

    def has_room(self, nbytes: int) -> bool:
        """Whether one more answer of so many bytes may wait."""
        ...

    def flush_later(self, answers: "ClientAnswers") -> None:
        """All answers of this turn leave in one write."""
        ...


class _Slot:
    """One request that waits for its answer, and its place in the order of answers."""

    __slots__ = ("answers", "call", "frame", "request")

    def __init__(self, answers: "ClientAnswers", request: Request | Rejected) -> None:
        self.answers = answers
        self.request = request
        self.frame: bytes | None = None
        self.call: Call | None = None
        """Set while it waits for something to come."""

    def done(self, answer: "Answer") -> None:
        """The router's answer to a request; a rejected frame was answered when it was read."""
        answers = self.answers
        frame = self._encode(answer)
        if type(answer) in _READ_RESULTS and not answers.has_room(len(frame)):
            frame = self._encode(_UNREAD)
        self.frame = frame
        if self.call is not None:
            self.call = None
            answers.waiting.discard(self)
        answers.add(frame, out_of_order=cast(Request, self.request).extended)

    def _encode(self, answer: "Answer") -> bytes:
        request = cast(Request, self.request)
        return encode_answer(
            request.revision,
            request.request_id,
            request.op,
            answer,
            extended=request.extended,
        )


class ClientAnswers:
    """Answers leave in the order of the requests, which official SDKs rely on. Our own client
    matches answers by their id, so its answers leave as they come: one partition without a
    leader does not hold up the others.

    `on_flush` is called when some may have left, `on_stall` when the client takes none for too
    long.
    """

    __slots__ = (
        "_counted_bytes",
        "_flush_scheduled",
        "_gateway",
        "_made_bytes",
        "_on_flush",
        "_on_stall",
        "_out_of_order",
        "_ready",
        "_slots",
        "_stall_timer",
        "_taken_bytes",
        "_transport",
        "_written_bytes",
        "is_paused",
        "waiting",
    )

    def __init__(
        self,
        gateway: AnswerOwner,
        transport: asyncio.Transport,
        *,
        on_flush: "Callable[[], None]",
        on_stall: "Callable[[], None]",
    ) -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport | None = transport
        self._on_flush = on_flush
        self._on_stall = on_stall
        self._slots: deque[_Slot] = deque()
        self._out_of_order = 0
        """Unanswered requests of our own client; they have no place in `_slots`."""
        self._ready: list[bytes] = []
        self.waiting: set[_Slot] = set()
        """Requests that wait for something to come."""
        self._made_bytes = 0
        """Of answers that are not written yet."""
        self._counted_bytes = 0
        """What the gateway knows of those, and of what is written and unsent."""
        self._flush_scheduled = False
        self._stall_timer: asyncio.TimerHandle | None = None
        self._written_bytes = 0
        self._taken_bytes = 0
        """What the client had taken when the stall timer began."""
        self.is_paused = False
        """The client does not read: nothing of it should be run."""

    @property
    def unanswered(self) -> int:
        """Requests whose answers have not been written."""
        return len(self._slots) + self._out_of_order + len(self._ready)

    def run(self, request: Request, router: "Router") -> None:
        """Runs the next request; its answer comes here."""
        slot = _Slot(self, request)
        if request.extended:
            self._out_of_order += 1
        else:
            self._slots.append(slot)
        if type(request.body) is CancelWait:
            self.stop_waiting(request.body.request_id)
            slot.done(wire.Done())
            return
        call = router.run(request, slot.done)
        if call is not None and slot.frame is None:
            slot.call = call
            self.waiting.add(slot)

    def stop_waiting(self, request_id: int | None = None) -> None:
        """Requests that wait are answered as when their time is over; all, or one."""
        for slot in list(self.waiting):
            is_meant = request_id in (None, cast(Request, slot.request).request_id)
            if is_meant and slot.call is not None:
                slot.call.stop_waiting()

    def reject(self, item: Rejected) -> None:
        """The answer to what is no request, in its turn."""
        slot = _Slot(self, item)
        slot.frame = item.encode()
        self._slots.append(slot)
        self.add(slot.frame, out_of_order=False)

    def has_room(self, nbytes: int) -> bool:
        """Whether an answer of this length may wait for the client to read it."""
        most = self._gateway.limits.connection_unsent_bytes_max
        if self._counted_bytes + nbytes > most:
            self.count()
            if self._counted_bytes + nbytes > most:
                return False
        return self._gateway.has_room(nbytes)

    def add(self, frame: bytes, *, out_of_order: bool) -> None:
        """An answer is there."""
        if self._transport is None:
            return
        if out_of_order:
            self._out_of_order -= 1
            self._ready.append(frame)
        nbytes = len(frame)
        self._made_bytes += nbytes
        self._counted_bytes += nbytes
        self._gateway.answers.take(nbytes)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._gateway.flush_later(self)

    def flush(self) -> None:
        """Writes the answers that may leave."""
        self._flush_scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
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
            self._made_bytes -= len(data)
            transport.write(data)
            self.count()
        self._on_flush()

    def count(self) -> bool:
        """Tells the gateway what waits here; false when that is nothing."""
        waits = self._made_bytes + self._unsent_bytes()
        self._gateway.answers.take(waits - self._counted_bytes)
        self._counted_bytes = waits
        return waits > 0

    def pause(self) -> None:
        """The client does not read what is written."""
        self.is_paused = True
        self._watch_stall()

    def resume(self) -> None:
        """It has read nearly everything."""
        self.is_paused = False
        self._cancel_timer()
        self.count()

    def lose(self) -> None:
        """The client is gone; answers that still come go nowhere."""
        self._transport = None
        waiting = [slot.call for slot in self.waiting if slot.call is not None]
        self.waiting.clear()
        for call in waiting:
            call.cancel()
        self._slots.clear()
        self._ready.clear()
        self._made_bytes = 0
        self.count()
        self._cancel_timer()

    def _unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _watch_stall(self) -> None:
        self._taken_bytes = self._written_bytes - self._unsent_bytes()
        self._stall_timer = self._gateway.loop.call_later(
            self._gateway.limits.connection_stall_s, self._check_stall
        )

    def _check_stall(self) -> None:
        taken_bytes = self._written_bytes - self._unsent_bytes()
        if taken_bytes - self._taken_bytes >= _PROGRESS_BYTES:
            self._watch_stall()
        else:
            self._on_stall()

    def _cancel_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
