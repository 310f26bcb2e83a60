"""Open transactions of one partition, in its leader's memory.

An operation is tried on the spot, by the same handlers that the log uses, on an overlay above the
committed state: so it sees what the transaction did before it, and a condition that does not hold
is refused at once. What was accepted is kept, and becomes one command when the transaction is
committed, which tests every condition again. A new leader knows nothing of it: the id is unknown
there, unless it was committed.

Nothing else is kept, since others commit meanwhile: each call does what the transaction did to its
key once more, on the present state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cluster.queries import EXISTS, GET
from cluster.room import Room
from cluster.state.commands import DELETE, EXPIRE, INCR, PUT, is_command
from cluster.state.context import Context
from cluster.state.kv import HANDLERS, kv_get
from cluster.state.overlay import Overlay
from cluster.state.txn_commands import OPERATIONS_MAX
from cluster.state.txn_outcomes import read_outcome
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.clock import Clock
    from cluster.queries import Result, View
    from cluster.state.commands import Item
    from cluster.state.keyspace import Record

TXN_BEGIN = 0x110
TXN_ROLLBACK = 0x112
TXN_DO = 0x10110
TXN_READ = 0x10111
TXN_COMMIT_ASKED = 0x10112
"""The last three are no operations of the wire, so beyond its codes."""

BYTES_MAX = 1 << 20
"""Keys and values of one transaction."""
WRITTEN_MAX = 4 << 20
"""Values that it writes: a new time to live writes the value that is there."""
OPEN_MAX = 1024
"""Open transactions of one node."""
OPEN_BYTES_MAX = 64 << 20
"""What they take together, with `_OPERATION_BYTES` for each operation."""
_OPERATION_BYTES = 512
IDLE_S = 60.0

PROPOSE = 1004
"""Not an answer yet: the operations that follow are to be committed."""

MOVING: Result = (1005,)
"""Not an answer: leadership is about to move, and the next leader is to be asked."""

_WRITES = (PUT, DELETE, INCR, EXPIRE)
_COUNTER_MAX = 2**24 - 1
_OWN_VERSION = 2**63
"""What a transaction has written has this version, until it is committed."""
_UNKNOWN: Result = (Reason.NO_SUCH_TRANSACTION,)
_TOO_LARGE: Result = (Reason.TXN_TOO_LARGE,)
_NO_ROOM: Result = (
    Reason.TOO_MANY_TRANSACTIONS,
    b"the open transactions of this node take 64 MiB already: try again when some have ended",
)
_OWN_CAS: Result = (
    Reason.CAS_MISMATCH,
    b"the transaction has changed this key: it has no version before the commit",
)

_FIELDS: dict[int, tuple[type | tuple[type, ...], ...]] = {
    TXN_BEGIN: (bytes, int),  # namespace, hash of the routing key
    TXN_ROLLBACK: (bytes, int),  # namespace, transaction
    TXN_COMMIT_ASKED: (bytes, int),
    TXN_DO: (
        bytes,
        int,
        (list, tuple),
    ),  # namespace, transaction, command without its head
    TXN_READ: (bytes, int, int, bytes),  # namespace, transaction, code of the query, key
}

TRANSACTION_CALLS = frozenset(_FIELDS)
"""Codes that `Partition.transact` takes."""


def is_transaction_call(code: int, args: Sequence[object]) -> bool:
    """Whether this version knows such a call; another node may have sent anything."""
    fields = _FIELDS.get(code)
    if fields is None or len(fields) != len(args) or not all(map(isinstance, args, fields)):
        return False
    if code != TXN_DO:
        return code != TXN_READ or args[2] in (GET, EXISTS)
    operation = cast("Sequence[Item]", args[2])
    return (
        len(operation) > 2
        and operation[0] in _WRITES
        and operation[1] == args[0]
        and is_command((operation[0], 0, 0, 0, *operation[1:]))
    )


class Budget:
    """Open transactions of a node, over all its partitions."""

    __slots__ = ("open", "open_max", "room")

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self.open = 0
        self.open_max = open_max
        self.room = Room(OPEN_BYTES_MAX)


class _Open:
    """One transaction."""

    __slots__ = (
        "answers",
        "commits",
        "namespace",
        "nbytes",
        "operations",
        "taken",
        "used_at",
        "written",
    )

    def __init__(self, namespace: bytes, now: float) -> None:
        self.namespace = namespace
        self.used_at = now
        self.commits = 0
        """Commits on their way; one that comes again must hear what became of it, not "unknown"."""
        self.operations: list[tuple[Item, ...]] = []
        self.nbytes = 0
        self.written = 0
        self.taken = 0
        """Of the room of its node."""
        self.answers: dict[tuple[int, int], Result] = {}
        """By session and sequence: an operation that comes again is not done again."""


class Transactions:
    """The transactions that one leader has open; empty elsewhere."""

    def __init__(self, partition_id: int, clock: Clock, budget: Budget) -> None:
        self._partition_id = partition_id
        self._clock = clock
        self._budget = budget
        self._open: dict[int, _Open] = {}
        self._counter = 0
        self._begins_from = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def run(self, view: View, term: int, args: Sequence[object]) -> Result:
        """Does one call, of a code and arguments that `is_transaction_call` has accepted.

        `args` are the code, session and sequence, and the arguments. The caller has a read index
        confirmed in `term`, in which this replica still leads, and `view` has every commit that was
        answered. The answer to TXN_COMMIT_ASKED is PROPOSE with the operations, or that of an
        earlier commit. Raises `ClockBehindError`, as a read does, with nothing done.
        """
        code, session, sequence, namespace, what = cast(
            "tuple[int, int, int, bytes, int]", args[:5]
        )
        if code == TXN_BEGIN:
            return self._begin(term, namespace, what)
        entry = self._open.get(what)
        is_ending = entry is not None and entry.commits > 0 and code != TXN_COMMIT_ASKED
        if entry is None or is_ending or entry.namespace != namespace:
            known = read_outcome(view.txn, what) if code == TXN_COMMIT_ASKED else None
            return _UNKNOWN if known is None else (0, known.revision, known.operations)
        entry.used_at = self._clock.monotonic()
        if code == TXN_COMMIT_ASKED:
            # Proposed twice, it is done once: the state knows its outcome.
            entry.commits += 1
            return PROPOSE, tuple(entry.operations)
        if code == TXN_ROLLBACK:
            self.forget(what)
            return (0,)
        try:
            if code == TXN_READ:
                return _read(entry, view, cast(int, args[5]), cast(bytes, args[6]))
            known_answer = entry.answers.get((session, sequence))
            if known_answer is None:
                known_answer = self._do(entry, view, cast("Sequence[Item]", args[5]))
                if session and known_answer[0] == 0:
                    # As many as it has operations; what was refused had no effect.
                    entry.answers[session, sequence] = known_answer
        except _TooMuchError:
            return _TOO_LARGE
        return known_answer

    def needs_no_read(self, args: Sequence[object]) -> bool:
        """Whether the answer to a call says nothing of the state: it needs no read index then.

        At a leader that does not know yet that it leads no longer, such a call is lost with the
        transaction, whose commit fails.
        """
        code = args[0]
        if code == TXN_BEGIN:
            return True
        if cast(int, args[4]) not in self._open:
            return False  # Perhaps of a term that this replica has yet to hear of.
        return code == TXN_ROLLBACK or (code == TXN_DO and _is_plain_put(args[5]))

    def reopen(self, txn_id: int) -> bool:
        """One commit was not run; whether another one is on its way. Without, it is as it was."""
        entry = self._open.get(txn_id)
        if entry is None:
            return False
        entry.commits -= 1
        return entry.commits > 0

    def forget(self, txn_id: int) -> None:
        """It has ended."""
        entry = self._open.pop(txn_id, None)
        if entry is not None:
            self._budget.open -= 1
            self._budget.room.give(entry.taken)

    def end_idle(self) -> None:
        """Forgets transactions that were not used for `IDLE_S`."""
        if self._open:
            before = self._clock.monotonic() - IDLE_S
            idle = [
                txn_id
                for txn_id, entry in self._open.items()
                if entry.used_at < before and not entry.commits
            ]
            for txn_id in idle:
                self.forget(txn_id)

    def pause_begins(self, until: float) -> None:
        """None begins before `until`: a hand-over waits for those that are open to end."""
        self._begins_from = until

    def forget_all(self) -> None:
        """This replica leads no longer: their ids are unknown from now on."""
        self._begins_from = 0.0
        for txn_id in list(self._open):
            self.forget(txn_id)

    def _begin(self, term: int, namespace: bytes, pinned: int) -> Result:
        now = self._clock.monotonic()
        if now < self._begins_from:
            return MOVING
        if self._budget.open >= self._budget.open_max:
            return (Reason.TOO_MANY_TRANSACTIONS,)
        self._counter = self._counter % _COUNTER_MAX + 1
        txn_id = make_id(self._partition_id, term, self._counter)
        if txn_id in self._open:
            return (Reason.TOO_MANY_TRANSACTIONS,)
        self._open[txn_id] = _Open(namespace, now)
        self._budget.open += 1
        return 0, txn_id, pinned

    def _do(self, entry: _Open, view: View, operation: Sequence[Item]) -> Result:
        size = sum(len(each) for each in operation if isinstance(each, bytes))
        size -= len(entry.namespace)
        if len(entry.operations) >= OPERATIONS_MAX or entry.nbytes + size > BYTES_MAX:
            return _TOO_LARGE
        if not self._budget.room.has(size + _OPERATION_BYTES):
            return _NO_ROOM
        sight = _Sight(entry, view, cast(bytes, operation[2]))
        written = -sight.written
        result = sight.do(operation)
        if result[0] != 0:
            return _without_own_version(result)
        written += sight.written
        if entry.written + written > WRITTEN_MAX:
            raise _TooMuchError
        entry.operations.append(tuple(operation))
        entry.nbytes += size
        entry.written += written
        entry.taken += size + _OPERATION_BYTES
        self._budget.room.take(size + _OPERATION_BYTES)
        # Versions are given when it is committed; a counter's value may be another by then.
        return (0, None, *result[2:])


class _TooMuchError(Exception):
    """The transaction writes more than `WRITTEN_MAX`."""


class _Sight:
    """One key as a transaction sees it: the committed state, and above it what it did to the key.

    An operation whose condition holds no more is passed over: the commit will be refused.
    """

    __slots__ = ("_context", "_key", "_namespace", "written")

    def __init__(self, entry: _Open, view: View, key: bytes) -> None:
        """Raises `_TooMuchError`: values may have grown since. Raises `ClockBehindError`."""
        view.get(entry.namespace, key)
        self._namespace, self._key = entry.namespace, key
        self.written = 0
        """Bytes of values."""
        self._context = context = Context()
        context.txn = Overlay(view.txn)
        context.stamp_ms = view.now_ms
        context.revision = _OWN_VERSION
        context.one_revision = True
        for operation in entry.operations:
            if operation[2] == key:
                self.do(operation)

    @property
    def record(self) -> Record | None:
        context = self._context
        return kv_get(context.txn, context.stamp_ms, self._namespace, self._key)

    def do(self, operation: Sequence[Item]) -> Result:
        code, *arguments = operation
        result = HANDLERS[cast(int, code)](self._context, (code, 0, 0, 0, *arguments))
        if result[0] == 0:
            record = self.record
            self.written += 0 if record is None else len(record.value)
            if self.written > WRITTEN_MAX:
                raise _TooMuchError
        return result


def _is_plain_put(operation: object) -> bool:
    code, *_, flags, cas = cast("Sequence[Item]", operation)
    return code == PUT and not flags and cas is None


def make_id(partition_id: int, term: int, counter: int) -> int:
    """The id of a transaction: partition (16 bits), term (24 bits), counter (24 bits)."""
    return partition_id << 48 | (term & 0xFFFFFF) << 24 | counter


def partition_of_id(txn_id: int) -> int:
    """The partition that a transaction is pinned to, if there is such a transaction."""
    return txn_id >> 48


def _read(entry: _Open, view: View, code: int, key: bytes) -> Result:
    record = _Sight(entry, view, key).record
    if code == EXISTS:
        return (0, False, 0) if record is None else (0, True, _shown(record.version))
    if record is None:
        return (Reason.NOT_FOUND,)
    return 0, _shown(record.version), record.value


def _shown(version: int) -> int:
    return 0 if version == _OWN_VERSION else version


def _without_own_version(result: Result) -> Result:
    return _OWN_CAS if result == (Reason.CAS_MISMATCH, _OWN_VERSION) else result
