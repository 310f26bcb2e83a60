"""Clients of transactions: each writes the same value to two keys, so they are always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.txn_outcomes import OUTCOME_MS
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted, TxnRollback
from flo.wire.routing import partition_of
from flo.wire.status import Reason, Refusal
from tests.histories.operations import Answer, Kind, Operation, Outcome
from tests.simulation.caller import NAMESPACE, Call, Client

if TYPE_CHECKING:
    from random import Random

    from cluster.operation import Answer as WireAnswer
    from cluster.raft.types import NodeId
    from flo.wire.messages import Body
    from tests.simulation.caller import Session
    from tests.simulation.clients import History
    from tests.simulation.world import World

PAIR = "{pair} one"
"""The history has the two keys as one."""
_KEYS = (PAIR.encode(), b"{pair} two")
_COUNT = b"{pair} count"
"""Written by some."""
_READ, _ROLL_BACK, _COMMIT_AGAIN = 0.2, 0.1, 0.3
_CAREFUL = 0.8
_COUNTS, _LOOKS = 0.5, 0.2


@dataclass(eq=False)
class TxnCall(Call):
    """A call of a transaction, or the read of both keys."""

    begun: Operation | None = None
    writes: int = 0
    """Of the transaction that it commits."""
    stamp_ms: int = 0
    """When it began, by its partition's entries."""


class _Committed(NamedTuple):
    """One that is asked for again."""

    txn: int
    stamp_ms: int
    answer: TxnCommitted


class TxnClient(Client[TxnCall]):
    """Begins, writes and reads, commits or rolls back. Where it uses its session it repeats a call
    until it is answered; else it begins anew when it hears nothing. It is quick and patient, or it
    would hardly ever come as far as to commit."""

    pace = 1.0
    gives_up = 0.02

    def __init__(
        self, world: World, history: History, rng: Random, session: Session | None
    ) -> None:
        super().__init__(world, rng, session)
        self._history = history
        self._name = history.new_name()
        self._partition = partition_of(NAMESPACE, _COUNT, world.founding.partition_count)
        self._values = 0
        self._txn = 0
        self._committed: _Committed | None = None
        self._steps: list[Body] = []
        self._writes = 0
        self._value = b""
        self._wrote: set[bytes] = set()

    def next_call(self) -> TxnCall:
        if self._committed is not None:
            txn, stamp_ms, _ = self._committed
            return TxnCall(TxnCommit(NAMESPACE, None, txn), stamp_ms=stamp_ms)
        if self._txn:
            return self._careful(self._steps[0]) if self._steps else self._end_of_transaction()
        if self.rng.random() < _READ:
            return self.read()
        return self._made(TxnBegin(NAMESPACE, _KEYS[0]))

    def read(self) -> TxnCall:
        """All keys at once; in one partition that is one moment."""
        begun = self._history.begin(self._name, Kind.GET, PAIR)
        body = wire.KvMget(NAMESPACE, _KEYS)
        return TxnCall(body, is_write=False, begun=begun)

    def _made(self, body: Body) -> TxnCall:
        return TxnCall(body, stamp_ms=self.world.stamp_ms(self._partition))

    def _careful(self, body: Body) -> TxnCall:
        if self.session is None or self.rng.random() >= _CAREFUL:
            return self._made(body)
        call = self._made(body)
        call.slot = self.slot_of(self._partition)
        if call.slot is None:
            return TxnCall(wire.OpenSession(self._partition))
        return self.give_sequence(call)

    def _end_of_transaction(self) -> TxnCall:
        if self.rng.random() < _ROLL_BACK:
            return self._careful(TxnRollback(NAMESPACE, None, self._txn))
        call = self._careful(TxnCommit(NAMESPACE, None, self._txn))
        if isinstance(call.body, TxnCommit):
            call.begun = self._history.begin(self._name, Kind.PUT, PAIR, value=self._value)
            call.writes = self._writes
        return call

    def choose_node(self) -> NodeId:
        """Half of the time the leader."""
        leaders = [
            node.node_id
            for node in self.world.nodes.values()
            if node.alive
            and self._partition in node.partitions
            and node.partitions[self._partition].group.is_leader
        ]
        return self.rng.choice(
            leaders if leaders and self.rng.random() < 0.5 else self.world.node_ids
        )

    # --- answers ---

    def is_answer(self, call: TxnCall, refusal: Refusal) -> bool:
        if refusal.reason is Reason.NOT_FOUND:
            return isinstance(call.body, wire.KvGet)
        return refusal.reason is Reason.NO_SUCH_TRANSACTION

    def heard(self, call: TxnCall, answer: WireAnswer) -> None:
        body = call.body
        if isinstance(answer, Refusal) and answer.reason is Reason.NO_SUCH_TRANSACTION:
            self._is_unknown(call)
        elif isinstance(body, TxnCommit):
            self._has_committed(call, body, answer)
        elif isinstance(answer, wire.Values):
            self._has_read(call, answer)
        elif isinstance(answer, TxnBegun):
            if call is self.call:
                self._begin(answer.txn)
        elif isinstance(body, TxnRollback):
            if call is self.call:
                self._txn = 0
        elif isinstance(body, wire.KvPut | wire.KvIncr | wire.KvGet) and call is self.call:
            self._has_done(body, answer)

    def heard_again(self, call: TxnCall, answer: WireAnswer) -> None:
        both = (call.said, answer)
        if isinstance(call.body, TxnCommit) and call.said is not None:
            known = [each for each in both if isinstance(each, TxnCommitted)]
            same = len(known) == 0 or known == list(both)
            assert same or self._is_forgotten(call), f"{call.body}: {both}"

    def not_run(self, call: TxnCall) -> None:
        if call.begun is not None:
            self._history.end(call.begun, Outcome.FAILED)

    def left(self, call: TxnCall) -> None:
        if call.said is None:
            # Nobody knows how far it came; what it has not committed is nowhere.
            self._txn, self._committed = 0, None
            if call.begun is not None and not call.ended:
                self._name = self._history.new_name()

    def _begin(self, txn: int) -> None:
        rng = self.rng
        self._values += 1
        self._value = b"%d-%d" % (self._name, self._values)
        self._txn = txn
        self._wrote.clear()
        self._steps = [wire.KvPut(NAMESPACE, key, self._value, txn=txn) for key in _KEYS]
        if rng.random() < _COUNTS:
            self._steps.append(wire.KvIncr(NAMESPACE, _COUNT, txn=txn))
        self._writes = len(self._steps)
        if rng.random() < _LOOKS:
            self._steps.append(wire.KvGet(NAMESPACE, rng.choice(_KEYS), txn=txn))
        rng.shuffle(self._steps)

    def _has_done(self, body: wire.KvPut | wire.KvIncr | wire.KvGet, answer: WireAnswer) -> None:
        self._steps.pop(0)
        if not isinstance(body, wire.KvGet):
            self._wrote.add(body.key)
        elif body.key in self._wrote:
            assert answer == wire.Value(0, self._value), f"{body} does not see its own: {answer}"

    def _has_committed(self, call: TxnCall, body: TxnCommit, answer: WireAnswer) -> None:
        assert isinstance(answer, TxnCommitted)
        if call.begun is not None:
            assert answer.operations == call.writes, f"{body}: {answer}, not {call.writes}"
            self._history.end(call.begun, Outcome.OK, Answer(version=answer.commit_index))
        elif call is self.call and self._committed is not None:
            assert self._committed.answer == answer, f"{self._committed}, then {answer}"
        if call is self.call:
            self._txn, self._committed = 0, None
            if call.begun is not None and self.rng.random() < _COMMIT_AGAIN:
                self._committed = _Committed(body.txn, call.stamp_ms, answer)

    def _is_unknown(self, call: TxnCall) -> None:
        """Its leader was lost before it was committed, or it ended long ago."""
        if call.begun is not None and not self._is_forgotten(call):
            self.not_run(call)
        if call is self.call:
            lost = self._committed is not None and not self._is_forgotten(call)
            assert not lost, f"{self._committed} was committed, and is unknown"
            self._txn, self._committed = 0, None

    def _is_forgotten(self, call: TxnCall) -> bool:
        """The outcome of a commit is not kept for so long."""
        return self.world.stamp_ms(self._partition) - call.stamp_ms >= OUTCOME_MS

    def _has_read(self, call: TxnCall, answer: wire.Values) -> None:
        one, two = answer.entries
        assert one[1:] == two[1:], f"half a transaction: {answer}"
        assert call.begun is not None
        value = one.value if one.found else None
        self._history.end(call.begun, Outcome.OK, Answer(version=one.version, value=value))
