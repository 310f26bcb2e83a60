"""Clients of the simulated cluster: they ask the router of any node, and record what they hear."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.histories.operations import NEVER, Answer, Kind, Operation, Outcome, counter_bytes

if TYPE_CHECKING:
    from random import Random

    from cluster.operation import Answer as WireAnswer
    from cluster.raft.types import NodeId
    from flo.wire.messages import Body, CallContext
    from tests.simulation.world import World

NAMESPACE = b"sim"
_REGISTER = (Kind.PUT, Kind.CAS, Kind.PUT_IF_ABSENT, Kind.DELETE, Kind.GET, Kind.GET)
KEYS: dict[str, tuple[Kind, ...]] = {
    "count": (Kind.INCR, Kind.INCR, Kind.GET),
    "score": (Kind.INCR, Kind.DELETE, Kind.GET),
    "one": _REGISTER,
    "two": _REGISTER,
    "three": _REGISTER,
}
"""Few, so that clients meet."""

_GIVE_UP = 0.08
_UNIQUE = 0.15
_READ_ALL = 0.1
_LOOK_ROUND = 0.03
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


class History:
    """All calls, on one clock that counts their beginnings and ends."""

    def __init__(self) -> None:
        self.ended: list[Operation] = []
        self._open: dict[int, Operation] = {}
        self._clock = 0
        self._names = 0

    def new_name(self) -> int:
        """For a client that is one sequence of calls."""
        self._names += 1
        return self._names

    def begin(
        self, client: int, kind: Kind, key: str, *, value: bytes = b"", number: int = 0
    ) -> Operation:
        begun = Operation(client, kind, key, self._tick(), NEVER, Outcome.UNKNOWN, value, number)
        self._open[begun.start] = begun
        return begun

    def end(self, begun: Operation, outcome: Outcome, answer: Answer | None = None) -> None:
        del self._open[begun.start]
        self.ended.append(replace(begun, end=self._tick(), outcome=outcome, answer=answer))

    def all(self) -> list[Operation]:
        """Those that were never answered are unknown."""
        return self.ended + list(self._open.values())

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


@dataclass
class _Slot:
    """A session in one partition."""

    session: int
    next_sequence: int = 1
    awaited: set[int] = field(default_factory=set[int])


class Session:
    """What clients share that retry with the same (session, sequence)."""

    def __init__(self) -> None:
        self.slots: dict[int, _Slot] = {}


@dataclass(eq=False)
class Call:
    """One call of a client, over all its tries. What is not in the history has no `begun`."""

    body: Body
    begun: list[Operation]
    slot: _Slot | None = None
    sequence: int = 0
    tries: int = 0
    ended: bool = False
    said: WireAnswer | None = None


class Worker:
    """One call at a time, at any node. With a session a call is repeated there or elsewhere until
    it is answered; without, what is unknown stays so, and the answer counts whenever it comes."""

    def __init__(
        self, world: World, history: History, rng: Random, session: Session | None
    ) -> None:
        self._world = world
        self._history = history
        self._rng = rng
        self._session = session
        self._name = history.new_name()
        self._versions: dict[str, int] = {}
        self._values = 0
        self._partition_count = world.founding.partition_count
        self.call: Call | None = None
        self.waits_at: NodeId = 0
        self.kept: dict[str, bytes] = {}
        """Acknowledged puts to keys that nobody else writes."""

    def act(self) -> None:
        """Goes on: a new call, another try, or patience."""
        if self.waits_at:
            if self._rng.random() < _GIVE_UP:
                self._hears_nothing()
        elif self.call is not None:
            self._try(self.call)
        else:
            self._begin(self._next_call())

    def finish(self) -> None:
        """After the faults: waits for every answer, and repeats what has to be."""
        if self.call is not None and not self.waits_at:
            self._try(self.call)

    def ask(self, kind: Kind, keys: list[str], node_id: NodeId) -> None:
        """One call at that node, after all faults."""
        assert self.call is None
        call = self._call(kind, keys[0], unique=False) if len(keys) == 1 else self._read(keys)
        self.call = call
        self._send(call, node_id)

    def crashed(self, node_id: NodeId) -> None:
        """Whoever waited for this node hears nothing."""
        if self.waits_at == node_id:
            self._hears_nothing()

    # --- a call ---

    def _next_call(self) -> Call:
        rng = self._rng
        draw = rng.random()
        if draw < _READ_ALL:
            return self._read(list(KEYS))
        if draw < _READ_ALL + _LOOK_ROUND:
            return Call(rng.choice((wire.PartitionTableRequest(), wire.KvScan(NAMESPACE, b""))), [])
        if draw < _READ_ALL + _LOOK_ROUND + _UNIQUE:
            self._values += 1
            return self._call(Kind.PUT, f"only {self._name}-{self._values}", unique=True)
        key = rng.choice(list(KEYS))
        return self._call(rng.choice(KEYS[key]), key, unique=False)

    def _read(self, keys: list[str]) -> Call:
        begun = [self._history.begin(self._name, Kind.GET, key) for key in keys]
        return Call(wire.KvMget(NAMESPACE, tuple(key.encode() for key in keys)), begun)

    def _call(self, kind: Kind, key: str, *, unique: bool) -> Call:
        slot = None
        if self._session is not None and kind is not Kind.GET:
            partition = partition_of(NAMESPACE, key.encode(), self._partition_count)
            slot = self._session.slots.get(partition)
            if slot is None:
                return Call(wire.OpenSession(partition), [])
        self._values += 1
        value = b"%d-%d" % (self._name, self._values) if kind.name.endswith(_STORES) else b""
        number = self._versions.get(key, 0) if kind is Kind.CAS else int(kind is Kind.INCR)
        begun = self._history.begin(self._name, kind, key, value=value, number=number)
        call = Call(_body(begun), [begun], slot)
        if slot is not None:
            call.sequence = slot.next_sequence
            slot.next_sequence += 1
            slot.awaited.add(call.sequence)
        return call

    def _begin(self, call: Call) -> None:
        self.call = call
        self._try(call)

    def _try(self, call: Call) -> None:
        node_id = self._rng.choice(self._world.node_ids)
        if self._world.nodes[node_id].alive:
            self._send(call, node_id)

    def _send(self, call: Call, node_id: NodeId) -> None:
        self.waits_at = node_id
        call.tries += 1
        context = _context(call, self._rng.choice(_DEADLINES_MS))
        request = Request(1, 0, OP_OF_REQUEST[type(call.body)], call.body, context)
        answered = partial(self._answered, call, call.tries)
        self._world.nodes[node_id].ask(request, answered)

    def _hears_nothing(self) -> None:
        """It gives up this try. The command may still be on its way."""
        self.waits_at = 0
        if self.call is not None and self.call.slot is None:
            self._leave(self.call)

    def _leave(self, call: Call) -> None:
        if call is self.call:
            self.call = None
            if call.begun and not call.ended:
                self._name = self._history.new_name()

    # --- an answer ---

    def _answered(self, call: Call, number: int, answer: WireAnswer) -> None:
        is_last_try = call is self.call and number == call.tries
        if is_last_try:
            self.waits_at = 0
        said = _said(call, answer)
        if said is None:
            assert isinstance(answer, Refusal)
            self._refused(call, answer)
        elif call.ended:
            assert call.said in (None, answer), f"{call.body}: first {call.said}, then {answer}"
        else:
            call.said = answer
            self._succeeded(call, said)
        if call is self.call and (call.ended or (is_last_try and call.slot is None)):
            self._leave(call)

    def _succeeded(self, call: Call, said: list[Answer]) -> None:
        self._end(call)
        for begun, answer in zip(call.begun, said, strict=True):
            self._history.end(begun, Outcome.OK, answer)
            if answer.version:
                self._versions[begun.key] = answer.version
            if begun.key.startswith("only"):
                self.kept[begun.key] = begun.value
        if isinstance(call.said, wire.SessionOpened) and self._session is not None:
            assert isinstance(call.body, wire.OpenSession)
            self._session.slots.setdefault(call.body.partition, _Slot(call.said.session))

    def _refused(self, call: Call, refusal: Refusal) -> None:
        assert refusal.reason in _NOT_NOW, f"{call.body}: {refusal}"
        is_write = any(each.kind is not Kind.GET for each in call.begun)
        assert is_write or not call.begun or refusal.ran is Ran.NO, f"{call.body}: {refusal}"
        self._world.faults[f"refused: {refusal.reason.name.lower()}"] += 1
        if call.ended:
            return
        if refusal.reason is Reason.SESSION_UNKNOWN:
            self._session_lost(call, refusal.ran)
        elif call.slot is None and refusal.ran is Ran.NO:
            self._fail(call)

    def _session_lost(self, call: Call, ran: Ran) -> None:
        assert self._world.clock_leaps, "a session was lost"
        assert call.slot is not None, f"{call.body} has no session"
        assert self._session is not None
        slots = self._session.slots
        for partition, slot in list(slots.items()):
            if slot is call.slot:
                del slots[partition]
        if call.tries == 1 and ran is Ran.NO:
            self._fail(call)
        else:
            self._end(call)  # An earlier try may have run: nobody will know.

    def _fail(self, call: Call) -> None:
        """It had no effect and never will: the verdict takes the cluster at its word."""
        self._end(call)
        for begun in call.begun:
            self._history.end(begun, Outcome.FAILED)

    def _end(self, call: Call) -> None:
        call.ended = True
        if call.slot is not None:
            call.slot.awaited.discard(call.sequence)


_STORES = ("PUT", "CAS", "ABSENT")


def _context(call: Call, deadline_ms: int) -> CallContext:
    if call.slot is None:
        return wire.CallContext(deadline_ms=deadline_ms)
    floor = min(call.slot.awaited, default=call.sequence)
    return wire.CallContext(call.slot.session, call.sequence, floor, deadline_ms=deadline_ms)


def _body(call: Operation) -> Body:
    key = call.key.encode()
    if call.kind is Kind.GET:
        return wire.KvGet(NAMESPACE, key)
    if call.kind is Kind.DELETE:
        return wire.KvDelete(NAMESPACE, key)
    if call.kind is Kind.INCR:
        return wire.KvIncr(NAMESPACE, key, call.number)
    is_cas = call.kind is Kind.CAS
    absent = call.kind is Kind.PUT_IF_ABSENT
    cas = call.number if is_cas else None
    return wire.KvPut(NAMESPACE, key, call.value, if_absent=absent, cas=cas)


def _said(call: Call, answer: WireAnswer) -> list[Answer] | None:
    """What an answer tells about each operation of a call; None when it refuses."""
    if isinstance(answer, Refusal):
        if answer.reason is Reason.NOT_FOUND and isinstance(call.body, wire.KvGet):
            return [Answer()]
        if answer.reason in (Reason.CAS_MISMATCH, Reason.CONDITION_FAILED):
            return [Answer(happened=False)]
        return None
    if isinstance(answer, wire.Stored):
        return [Answer(version=cast(int, answer.version))]
    if isinstance(answer, wire.Value):
        return [Answer(version=answer.version, value=answer.value)]
    if isinstance(answer, wire.Deleted):
        return [Answer(happened=bool(answer.existed))]
    if isinstance(answer, wire.Counter):
        count = counter_bytes(cast(int, answer.value))
        return [Answer(version=cast(int, answer.version), value=count)]
    if isinstance(answer, wire.Values):
        return [
            Answer(version=each.version, value=each.value) if each.found else Answer()
            for each in answer.entries
        ]
    return []
