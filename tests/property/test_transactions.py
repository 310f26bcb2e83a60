"""Transactions against a model: dictionaries, and a list of operations done again at the commit."""

from __future__ import annotations

from typing import NamedTuple, cast

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cluster.queries import EXISTS, GET, View
from cluster.state.commands import DELETE, EXPIRE, IF_ABSENT, IF_PRESENT, INCR, PUT, Item, Result
from cluster.state.keyspace import PIECE_BYTES
from cluster.state.txn_commands import TXN_COMMIT
from cluster.transactions import (
    PROPOSE,
    TXN_BEGIN,
    TXN_COMMIT_ASKED,
    TXN_DO,
    TXN_READ,
    TXN_ROLLBACK,
    Budget,
    Transactions,
)
from flo.wire.status import Reason
from tests.unit.node.kit import ManualClock
from tests.unit.state.helpers import NAMESPACE, START_MS, Bench

FIRST = PIECE_BYTES - len(NAMESPACE) - 1
LONG = b"c" * FIRST
KEYS = (b"a", LONG + b"1", LONG + b"2", b"d" * FIRST + b"1", LONG + bytes(PIECE_BYTES) + b"1")
"""Long ones are kept in pieces: some have the first in common, others the last."""
COUNTER = (7).to_bytes(8, "little")


class Held(NamedTuple):
    version: int
    value: bytes


class Txn(NamedTuple):
    """The id, and what was accepted so far."""

    txn_id: int
    operations: list[tuple[Item, ...]]


keys = strategies.sampled_from(KEYS)
values = strategies.sampled_from([b"", b"x", COUNTER])
versions = strategies.none() | strategies.integers(0, 12)
flags = strategies.sampled_from([0, 0, 0, IF_ABSENT, IF_PRESENT])


def _put(key: bytes, value: bytes, flag: int, cas: int | None) -> tuple[Item, ...]:
    return PUT, NAMESPACE, key, value, 0, flag, cas


def _delete(key: bytes, cas: int | None) -> tuple[Item, ...]:
    return DELETE, NAMESPACE, key, cas


def _incr(key: bytes, by: int) -> tuple[Item, ...]:
    return INCR, NAMESPACE, key, by


def _expire(key: bytes) -> tuple[Item, ...]:
    return EXPIRE, NAMESPACE, key, 0, None


operations: strategies.SearchStrategy[tuple[Item, ...]] = strategies.one_of(
    strategies.builds(_put, keys, values, flags, versions),
    strategies.builds(_delete, keys, versions),
    strategies.builds(_incr, keys, strategies.integers(-3, 3)),
    strategies.builds(_expire, keys),
)


def do(state: dict[bytes, Held], operation: tuple[Item, ...], revision: int) -> int:
    """Changes `state`; a reason when the operation is refused, else 0."""
    code, key = operation[0], cast(bytes, operation[2])
    held = state.get(key)
    version = 0 if held is None else held.version
    cas = operation[-1] if code in (PUT, DELETE, EXPIRE) else None
    if code == EXPIRE:
        return 0 if held else Reason.NOT_FOUND
    if cas is not None and (cas != version or (code == DELETE and not held)):
        return Reason.CAS_MISMATCH
    if code == DELETE:
        state.pop(key, None)
        return 0
    if code == INCR:
        if held is not None and len(held.value) != 8:
            return Reason.WRONG_TYPE
        total = int.from_bytes(held.value, "little", signed=True) if held else 0
        total += cast(int, operation[3])
        state[key] = Held(revision, total.to_bytes(8, "little", signed=True))
        return 0
    flag = cast(int, operation[5])
    if (flag & IF_ABSENT and held) or (flag & IF_PRESENT and not held):
        return Reason.CONDITION_FAILED
    state[key] = Held(revision, cast(bytes, operation[3]))
    return 0


OWN = 10**9
"""The version that the model gives to what a transaction has written; it is shown as 0."""


class Machine(RuleBasedStateMachine):
    txns = Bundle("txns")

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.transactions = Transactions(0, ManualClock(), Budget())
        self.state: dict[bytes, Held] = {}
        self.open: list[Txn] = []
        self.committed: dict[int, Result] = {}

    def call(self, *args: object) -> Result:
        code, *rest = args
        with self.bench.replica.view() as (txn, stamp_ms):
            view = View(txn, stamp_ms, START_MS)
            answer = self.transactions.run(view, 1, (code, 0, 0, NAMESPACE, *rest))
        return cast("Result", answer)

    @rule(operation=operations)
    def outside(self, operation: tuple[Item, ...]) -> None:
        """Somebody without a transaction."""
        code, *arguments = operation
        result = self.bench.one((code, 0, 0, 0, *arguments))
        revision = result[1] if result[0] == 0 and code in (PUT, INCR) else 0
        assert result[0] == do(self.state, operation, cast(int, revision))

    @rule(target=txns)
    def begin(self) -> Txn:
        code, txn_id, pinned = self.call(TXN_BEGIN, 5)
        assert (code, pinned) == (0, 5)
        self.open.append(Txn(cast(int, txn_id), []))
        return self.open[-1]

    @rule(txn=txns, operation=operations)
    def inside(self, txn: Txn, operation: tuple[Item, ...]) -> None:
        seen = self.seen_by(txn)
        result = self.call(TXN_DO, txn.txn_id, operation)
        assert result[0] == do(seen, operation, OWN)
        if result[0] == 0:
            txn.operations.append(operation)

    @rule(txn=consumes(txns))
    def commit(self, txn: Txn) -> None:
        self.open.remove(txn)
        code, proposed = self.call(TXN_COMMIT_ASKED, txn.txn_id)
        assert code == PROPOSE
        assert proposed == tuple(txn.operations)
        result = self.bench.one((TXN_COMMIT, 0, 0, 0, txn.txn_id, proposed))
        self.transactions.forget(txn.txn_id)
        code, *details = result
        revision = cast(int, details[0]) if details else 0
        after, refusal = dict(self.state), 0
        for operation in txn.operations:
            refusal = refusal or do(after, operation, revision)
        assert code == refusal
        if not refusal:
            assert details == [revision, len(txn.operations)]
            self.state = after
            self.committed[txn.txn_id] = result
            assert self.bench.one((TXN_COMMIT, 0, 0, 0, txn.txn_id, proposed)) == result

    @rule(txn=consumes(txns))
    def roll_back(self, txn: Txn) -> None:
        self.open.remove(txn)
        assert self.call(TXN_ROLLBACK, txn.txn_id) == (0,)
        assert self.call(TXN_ROLLBACK, txn.txn_id) == (Reason.NO_SUCH_TRANSACTION,)

    @rule()
    def restart(self) -> None:
        before = self.bench.replica.digest()
        self.bench.restart()
        assert self.bench.replica.digest() == before

    @rule()
    def crash(self) -> None:
        """What was not stored is applied again."""
        before = self.bench.replica.digest()
        self.bench.crash()
        assert self.bench.replica.digest() == before

    @rule()
    def store(self) -> None:
        self.bench.replica.store()

    @rule(txn=strategies.data())
    def ask_again(self, txn: strategies.DataObject) -> None:
        if self.committed:
            txn_id = txn.draw(strategies.sampled_from(sorted(self.committed)))
            assert self.call(TXN_COMMIT_ASKED, txn_id) == self.committed[txn_id]

    @invariant()
    def nothing_else_shows(self) -> None:
        for key in KEYS:
            record = self.bench.get(key)
            held = None if record is None else Held(record.version, record.value)
            assert held == self.state.get(key)

    @invariant()
    def each_sees_what_it_did_above_what_is_there(self) -> None:
        for txn in self.open:
            seen = self.seen_by(txn)
            for key in KEYS:
                held = seen.get(key)
                version = 0 if held is None or held.version == OWN else held.version
                got = self.call(TXN_READ, txn.txn_id, GET, key)
                assert got == ((0, version, held.value) if held else (Reason.NOT_FOUND,))
                there = self.call(TXN_READ, txn.txn_id, EXISTS, key)
                assert there == (0, held is not None, version)

    def seen_by(self, txn: Txn) -> dict[bytes, Held]:
        """What holds no more is passed over."""
        seen = dict(self.state)
        for operation in txn.operations:
            do(seen, operation, OWN)
        return seen


TestTransactions = Machine.TestCase
TestTransactions.settings = settings(max_examples=100, stateful_step_count=40)
