"""One client of the simulated cluster: one call at a time, at the router of any node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.group_messages import GroupRead
from flo.wire.queue_messages import QueueDequeue
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import StreamRead

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from cluster.operation import Answer
    from cluster.raft.types import NodeId
    from flo.wire.messages import Body, CallContext
    from tests.simulation.world import World

NAMESPACE = b"sim"
_HANG_UP = 0.5
_DEADLINES_MS = (200, 600, 2_000)
_NOT_NOW = frozenset(
    (
        Reason.LEADER_UNKNOWN,
        Reason.ANSWER_LOST,
        Reason.SHARD_BUSY,
        Reason.WRITES_STOPPED,
        Reason.SESSION_UNKNOWN,
    )
)
"""What faults explain. Any other refusal is a mistake of the cluster."""

_WAITING = (QueueDequeue, StreamRead, GroupRead)


@dataclass
class Slot:
    """A session in one partition."""

    session: int
    next_sequence: int = 1
    awaited: set[int] = field(default_factory=set[int])


class Session:
    """What clients share that retry with the same (session, sequence)."""

    def __init__(self) -> None:
        self.slots: dict[int, Slot] = {}


@dataclass(eq=False)
class Call:
    """One call of a client, over all its tries."""

    body: Body
    slot: Slot | None = None
    is_write: bool = True
    may_repeat: bool = False
    """It is tried until it is answered: with a slot, or because the body itself makes that safe."""
    sequence: int = 0
    tries: int = 0
    ended: bool = False
    said: Answer | None = None

    @property
    def repeats(self) -> bool:
        return self.slot is not None or self.may_repeat

    @property
    def wait_ms(self) -> int:
        """How long it may wait at the leader for something to come."""
        return self.body.wait_ms if isinstance(self.body, _WAITING) else 0


C = TypeVar("C", bound=Call)


class Actor(Protocol):
    """What the schedule does with a client."""

    pace: float

    @property
    def is_busy(self) -> bool:
        """Whether it has something to finish after the faults."""
        ...

    def act(self) -> None:
        """Goes on: a new call, another try, or patience."""
        ...

    def finish(self) -> None:
        """After the faults: waits for every answer, and repeats what has to be."""
        ...

    def crashed(self, node_id: NodeId) -> None:
        """Whoever waited for this node hears nothing."""
        ...


class Client(ABC, Generic[C]):
    """One call at a time. One that repeats is tried at any node until it is answered; of another,
    what is unknown stays so, and the answer counts whenever it comes."""

    accepted = _NOT_NOW
    """Refusals that are no mistake of the cluster."""
    pace = 0.3
    """How likely it acts in a step."""
    gives_up = 0.08
    """How likely it then gives up a try that it waits for."""

    def __init__(self, world: World, rng: Random, session: Session | None) -> None:
        self.world = world
        self.rng = rng
        self.session = session
        self.call: C | None = None
        self.waits_at: NodeId = 0
        self._hang_up: Callable[[], None] | None = None

    # --- what the schedule does: see `Actor` ---

    @property
    def is_busy(self) -> bool:
        return self.call is not None

    def act(self) -> None:
        if self.waits_at:
            if self.rng.random() < self.gives_up:
                self._hears_nothing()
        elif self.call is not None:
            self._try(self.call)
        else:
            self.call = self.next_call()
            self._try(self.call)

    def finish(self) -> None:
        if self.call is not None and not self.waits_at:
            self._try(self.call)

    def crashed(self, node_id: NodeId) -> None:
        if self.waits_at == node_id:
            self._hang_up = None
            self._hears_nothing()

    def ask(self, call: C, node_id: NodeId) -> None:
        """One call at that node, after all faults."""
        assert self.call is None
        self.call = call
        self._send(call, node_id)

    # --- what a kind of client adds ---

    @abstractmethod
    def next_call(self) -> C:
        """What it does next."""

    def is_answer(self, call: C, refusal: Refusal) -> bool:
        """Whether a refusal says what there is to say."""
        return False

    def heard(self, call: C, answer: Answer) -> None:
        """The first answer."""

    def heard_again(self, call: C, answer: Answer) -> None:
        """Another answer to a call that has ended."""
        assert call.said in (None, answer), f"{call.body}: first {call.said}, then {answer}"

    def not_run(self, call: C) -> None:
        """It had no effect and never will: the verdict takes the cluster at its word."""

    def left(self, call: C) -> None:
        """Nobody waits for this call any more; it may have no answer yet."""

    # --- sessions ---

    def slot_of(self, partition: int) -> Slot | None:
        """The session in a partition, if it is open."""
        return None if self.session is None else self.session.slots.get(partition)

    @staticmethod
    def give_sequence(call: C) -> C:
        """Takes the next sequence of the call's slot, if it has one."""
        slot = call.slot
        if slot is not None:
            call.sequence = slot.next_sequence
            slot.next_sequence += 1
            slot.awaited.add(call.sequence)
        return call

    # --- a call ---

    def choose_node(self) -> NodeId:
        """Where the next try goes."""
        return self.rng.choice(self.world.node_ids)

    def _try(self, call: C) -> None:
        node_id = self.choose_node()
        if self.world.nodes[node_id].alive:
            self._send(call, node_id)

    def _send(self, call: C, node_id: NodeId) -> None:
        self.waits_at = node_id
        call.tries += 1
        context = _context(call, self.rng.choice(_DEADLINES_MS) + call.wait_ms)
        request = Request(1, 0, OP_OF_REQUEST[type(call.body)], call.body, context)
        answered = partial(self._answered, call, call.tries)
        self._hang_up = self.world.nodes[node_id].ask(request, answered)

    def _hears_nothing(self) -> None:
        """It gives up this try. The command may still be on its way."""
        self.waits_at = 0
        call = self.call
        if call is None:
            return
        if call.wait_ms and self._hang_up is not None and self.rng.random() < _HANG_UP:
            self._hang_up()
        if not call.repeats:
            self._leave(call)

    def _leave(self, call: C) -> None:
        if call is self.call:
            self.call = None
            self.waits_at = 0
            self.left(call)

    # --- an answer ---

    def _answered(self, call: C, number: int, answer: Answer) -> None:
        is_last_try = call is self.call and number == call.tries
        if is_last_try:
            self.waits_at = 0
        if isinstance(answer, Refusal) and not self.is_answer(call, answer):
            self._refused(call, answer)
        elif call.ended:
            self.heard_again(call, answer)
        else:
            call.said = answer
            self._end(call)
            self._opened(call)
            self.heard(call, answer)
        if call is self.call and (call.ended or (is_last_try and not call.repeats)):
            self._leave(call)

    def _opened(self, call: C) -> None:
        if isinstance(call.said, wire.SessionOpened) and self.session is not None:
            assert isinstance(call.body, wire.OpenSession)
            self.session.slots.setdefault(call.body.partition, Slot(call.said.session))

    def _refused(self, call: C, refusal: Refusal) -> None:
        assert refusal.reason in self.accepted, f"{call.body}: {refusal}"
        assert call.is_write or refusal.ran is Ran.NO, f"{call.body}: {refusal}"
        self.world.faults[f"refused: {refusal.reason.name.lower()}"] += 1
        if call.ended:
            return
        if refusal.reason is Reason.SESSION_UNKNOWN:
            self._session_lost(call, refusal.ran)
        elif not call.repeats and refusal.ran is Ran.NO:
            self._fail(call)

    def _session_lost(self, call: C, ran: Ran) -> None:
        assert self.world.clock_leaps, "a session was lost"
        assert call.slot is not None, f"{call.body} has no session"
        assert self.session is not None
        slots = self.session.slots
        for partition, slot in list(slots.items()):
            if slot is call.slot:
                del slots[partition]
        if call.tries == 1 and ran is Ran.NO:
            self._fail(call)
        else:
            self._end(call)  # An earlier try may have run: nobody will know.

    def _fail(self, call: C) -> None:
        self._end(call)
        self.not_run(call)

    def _end(self, call: C) -> None:
        call.ended = True
        if call.slot is not None:
            call.slot.awaited.discard(call.sequence)


def _context(call: Call, deadline_ms: int) -> CallContext:
    if call.slot is None:
        return wire.CallContext(deadline_ms=deadline_ms)
    floor = min(call.slot.awaited, default=call.sequence)
    return wire.CallContext(call.slot.session, call.sequence, floor, deadline_ms=deadline_ms)
