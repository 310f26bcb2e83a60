"""Clients of the keys of a simulated cluster, which record what they hear."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from flo.wire import messages as wire
from flo.wire.routing import partition_of
from flo.wire.status import Reason, Refusal
from tests.histories.operations import NEVER, Answer, Kind, Operation, Outcome, counter_bytes
from tests.simulation.caller import NAMESPACE, Call, Client, Session

if TYPE_CHECKING:
    from random import Random

    from cluster.operation import Answer as WireAnswer
    from cluster.raft.types import NodeId
    from flo.wire.messages import Body
    from tests.simulation.world import World

_REGISTER = (Kind.PUT, Kind.CAS, Kind.PUT_IF_ABSENT, Kind.DELETE, Kind.GET, Kind.GET)
KEYS: dict[str, tuple[Kind, ...]] = {
    "count": (Kind.INCR, Kind.INCR, Kind.GET),
    "score": (Kind.INCR, Kind.DELETE, Kind.GET),
    "one": _REGISTER,
    "two": _REGISTER,
    "three": _REGISTER,
}
"""Few, so that clients meet."""

_UNIQUE = 0.15
_READ_ALL = 0.1
_LOOK_ROUND = 0.03


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


@dataclass(eq=False)
class KeyCall(Call):
    """A call on keys. What is not in the history has no `begun`."""

    begun: list[Operation] = field(default_factory=list[Operation])


class Worker(Client[KeyCall]):
    """A client of keys. With a session a write is repeated until it is answered."""

    def __init__(
        self, world: World, history: History, rng: Random, session: Session | None
    ) -> None:
        super().__init__(world, rng, session)
        self._history = history
        self._name = history.new_name()
        self._versions: dict[str, int] = {}
        self._values = 0
        self._partition_count = world.founding.partition_count
        self.kept: dict[str, bytes] = {}
        """Acknowledged puts to keys that nobody else writes."""

    def ask_for(self, kind: Kind, keys: list[str], node_id: NodeId) -> None:
        """One call at that node, after all faults."""
        call = self._call(kind, keys[0], unique=False) if len(keys) == 1 else self._read(keys)
        self.ask(call, node_id)

    # --- a call ---

    def next_call(self) -> KeyCall:
        rng = self.rng
        draw = rng.random()
        if draw < _READ_ALL:
            return self._read(list(KEYS))
        if draw < _READ_ALL + _LOOK_ROUND:
            return KeyCall(rng.choice((wire.PartitionTableRequest(), wire.KvScan(NAMESPACE, b""))))
        if draw < _READ_ALL + _LOOK_ROUND + _UNIQUE:
            self._values += 1
            return self._call(Kind.PUT, f"only {self._name}-{self._values}", unique=True)
        key = rng.choice(list(KEYS))
        return self._call(rng.choice(KEYS[key]), key, unique=False)

    def _read(self, keys: list[str]) -> KeyCall:
        begun = [self._history.begin(self._name, Kind.GET, key) for key in keys]
        body = wire.KvMget(NAMESPACE, tuple(key.encode() for key in keys))
        return KeyCall(body, is_write=False, begun=begun)

    def _call(self, kind: Kind, key: str, *, unique: bool) -> KeyCall:
        slot = None
        is_write = kind is not Kind.GET
        if self.session is not None and is_write:
            partition = partition_of(NAMESPACE, key.encode(), self._partition_count)
            slot = self.slot_of(partition)
            if slot is None:
                return KeyCall(wire.OpenSession(partition))
        self._values += 1
        value = b"%d-%d" % (self._name, self._values) if kind.name.endswith(_STORES) else b""
        number = self._versions.get(key, 0) if kind is Kind.CAS else int(kind is Kind.INCR)
        begun = self._history.begin(self._name, kind, key, value=value, number=number)
        return self.give_sequence(KeyCall(_body(begun), slot, is_write=is_write, begun=[begun]))

    # --- an answer ---

    def is_answer(self, call: KeyCall, refusal: Refusal) -> bool:
        if refusal.reason is Reason.NOT_FOUND:
            return isinstance(call.body, wire.KvGet)
        return refusal.reason in (Reason.CAS_MISMATCH, Reason.CONDITION_FAILED)

    def heard(self, call: KeyCall, answer: WireAnswer) -> None:
        for begun, each in zip(call.begun, _said(answer), strict=True):
            self._history.end(begun, Outcome.OK, each)
            if each.version:
                self._versions[begun.key] = each.version
            if begun.key.startswith("only"):
                self.kept[begun.key] = begun.value

    def not_run(self, call: KeyCall) -> None:
        for begun in call.begun:
            self._history.end(begun, Outcome.FAILED)

    def left(self, call: KeyCall) -> None:
        if call.begun and not call.ended:
            self._name = self._history.new_name()


_STORES = ("PUT", "CAS", "ABSENT")


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


def _said(answer: WireAnswer) -> list[Answer]:
    """What an answer tells about each operation of a call."""
    if isinstance(answer, Refusal):
        return [Answer(happened=answer.reason is Reason.NOT_FOUND)]
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
