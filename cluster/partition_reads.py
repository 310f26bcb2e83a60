"""The linearizable reads of one replica, from their arrival to their answer.

A read asks for a read index, waits until it is confirmed and applied, and is then answered from
the state. One that meets a key whose time has come waits for an entry that carries that time,
and is made once more by the applied stamp.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from cluster.pace import Pace
from cluster.queries import QUERIES, ClockBehindError, Result, View, bytes_in
from cluster.raft.types import NodeId, NotLeaderError
from cluster.state.errors import CorruptState, StoreFull
from cluster.transactions import MOVING
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.raft.group import RaftGroup
    from cluster.replica import Replica
    from cluster.stamps import Stamps
    from cluster.transactions import Transactions

logger = logging.getLogger("flo.partition")

TRANSACT = 0x10100
"""A call of a transaction, from a `CallWaiter`. It is no read, but needs to know the same: that
this replica leads, and all that was answered before."""

BUGS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What only a mistake of ours raises."""

_OVERLAY_BUGS = (*BUGS, AssertionError, CorruptState, RuntimeError, StoreFull)

_READS_PER_TURN = 512
_BYTES_PER_TURN = 4 << 20
_ANSWER_S = 0.02
"""Reads, bytes of answers, and time: then other partitions and the sockets have their turn."""


class Waiter(Protocol):
    """Whoever submitted a command or a read; hears exactly one of these."""

    def on_result(self, result: Result) -> None: ...

    def on_not_leader(self, leader: NodeId) -> None:
        """It certainly did not run here; `leader` is where to try, 0 when unknown."""
        ...

    def on_unknown(self) -> None:
        """Leadership was lost while it was in the log; it may still take effect."""
        ...


class CallWaiter(Waiter, Protocol):
    """A waiter whose call may be over before it is heard."""

    @property
    def finished(self) -> bool:
        """Nobody waits any more, and was told that it did not run: it must not run then."""
        ...


class _Read(NamedTuple):
    code: int
    args: Sequence[object]
    waiter: Waiter
    call: CallWaiter | None = None
    """The waiter of a call of a transaction, for which `term` is the only one to run in."""
    term: int = 0

    @property
    def is_over(self) -> bool:
        return self.call is not None and self.call.finished


class _Confirmed(NamedTuple):
    """Reads that may be answered once `applied_at` is applied."""

    applied_at: int
    reads: list[_Read]
    by_stamp: bool
    """The time they are judged by is in the log already."""
    asked_at: float = 0.0
    waiting: int = 0
    """Reads that were unanswered then; of later ones nothing is learnt, and it is 0."""


class _Asked(NamedTuple):
    """Reads that wait for one read index."""

    reads: list[_Read]
    at: float
    waiting: int


class PartitionReads:
    """Reads of one partition. `waiting` counts all that have no answer yet."""

    def __init__(
        self,
        partition_id: int,
        group: "RaftGroup",
        replica: "Replica",
        *,
        transactions: "Transactions",
        stamps: "Stamps",
        clock: "Clock",
        limits: "Limits",
    ) -> None:
        self.waiting = 0
        self._transactions = transactions
        self.served = 0
        """Reads answered since the node started, for the status document."""
        self._partition_id = partition_id
        self._group = group
        self._replica = replica
        self._stamps = stamps
        self._clock = clock
        self._pace = Pace.of(limits)
        self._new: list[_Read] = []
        self._asked: dict[int, _Asked] = {}
        self._confirmed: list[_Confirmed] = []
        self._behind_clock: list[_Read] = []
        self._token = 0
        self._calls: Counter[object] = Counter()
        """Those of the waiting that are calls, by transaction."""

    @property
    def has_room(self) -> bool:
        """Whether one more read may wait."""
        return self._pace.allows(self.waiting)

    def add(self, code: int, args: Sequence[object], waiter: Waiter) -> None:
        self.waiting += 1
        if code == TRANSACT:
            call, term = cast("CallWaiter", waiter), self._group.leads_term
            self._new.append(_Read(code, args, waiter, call, term))
            self._calls[args[4]] += 1
        else:
            self._new.append(_Read(code, args, waiter))

    def transact_at_once(self, args: Sequence[object], waiter: CallWaiter) -> bool:
        """Answers a call of a transaction without a read index; false when it has to have one."""
        if not self._group.is_ready or not self._transactions.needs_no_read(args):
            return False
        if self._calls[args[4]]:
            return False  # None overtakes another one of its transaction.
        read = _Read(TRANSACT, args, waiter, waiter, self._group.leads_term)
        try:
            with self._replica.view() as (txn, stamp_ms):
                view = View(txn, stamp_ms, self._stamps.now_ms(), self._replica.timers_due_ms)
                result = self._transact(view, read)
        except (ClockBehindError, CorruptState):
            return False  # With a read index it waits for the time; or damage stops the replica.
        self.served += 1
        _tell_call(waiter, result)
        return True

    @property
    def need_entry(self) -> bool:
        """Some reads wait for the time to be committed: any entry will do."""
        return bool(self._behind_clock)

    def wait_for_entry(self, index: int) -> None:
        """An entry with the present time was proposed at `index`."""
        behind, self._behind_clock = self._behind_clock, []
        self._confirmed.append(_Confirmed(index, behind, by_stamp=True))

    def take_needing_entry(self) -> list[Waiter]:
        """The reads that got no entry; the caller answers them."""
        reads, self._behind_clock = self._behind_clock, []
        self._end(reads)
        return [read.waiter for read in reads]

    def ask(self) -> None:
        """Asks for a read index for everything that has arrived."""
        if not self._new:
            return
        reads, self._new = self._new, []
        self._token += 1
        try:
            self._group.read(self._token)
        except NotLeaderError:
            self._refuse(reads)
            return
        self._asked[self._token] = _Asked(reads, self._clock.monotonic(), self.waiting)

    def serve(self, *, disk_full: bool) -> bool:
        """Answers what is confirmed and applied; true when there is more of it."""
        for ready in self._group.take_reads():
            for token in ready.tokens:
                asked = self._asked.pop(token)
                confirmed = _Confirmed(ready.index, asked.reads, False, asked.at, asked.waiting)
                self._confirmed.append(confirmed)
        if not self._confirmed:
            return False
        applied = self._group.applied_index
        # On a full disk: what this leader could not apply it has told nobody, in its own term.
        answers_all = disk_full and self._group.is_ready
        due: list[_Confirmed] = []
        later: list[_Confirmed] = []
        for each in self._confirmed:
            is_due = each.applied_at <= applied or (answers_all and not each.by_stamp)
            (due if is_due else later).append(each)
        rest: list[_Confirmed] = []
        if due:
            self._confirmed = later
            rest = self._answer(due)
        if disk_full:
            # What else is committed cannot be applied: no linearizable answer can be given.
            behind, self._confirmed = self._confirmed, []
            for each in behind:
                self._tell(each.reads, lambda waiter: waiter.on_result((Reason.WRITES_STOPPED,)))
        self._confirmed = rest + self._confirmed
        return bool(rest)

    def refuse_lost(self) -> None:
        """Leadership ended before some reads were confirmed: they may be asked elsewhere."""
        for token in self._group.take_lost_reads():
            self._refuse(self._asked.pop(token).reads)

    def refuse_waiting_for_entry(self) -> None:
        """Leadership ended: an entry that was to carry the time may never come."""
        waiting = [each for each in self._confirmed if each.by_stamp]
        self._confirmed = [each for each in self._confirmed if not each.by_stamp]
        behind, self._behind_clock = self._behind_clock, []
        self._refuse([read for each in waiting for read in each.reads] + behind)

    def refuse_all(self) -> None:
        """The replica stops."""
        lost = [read for asked in self._asked.values() for read in asked.reads]
        lost += [read for each in self._confirmed for read in each.reads]
        lost += self._new + self._behind_clock
        self._asked, self._confirmed, self._new, self._behind_clock = {}, [], [], []
        self._refuse(lost)

    def query(self, view: View, code: int, args: Sequence[object]) -> Result:
        """Runs one query. A read changes nothing: a mistake costs its answer, not the replica."""
        try:
            return QUERIES[code](view, args)
        except BUGS:
            logger.exception("partition %d: query 0x%x failed", self._partition_id, code)
            return (Reason.INTERNAL,)

    def _transact(self, view: View, read: _Read) -> Result:
        if self._group.leads_term != read.term:
            # Since it was asked, a leader between may have committed what is not seen here.
            return MOVING
        try:
            return self._transactions.run(view, read.term, read.args)
        except _OVERLAY_BUGS:
            # What is wrong above the state is this transaction's alone; what is wrong in it, a
            # read or the next command finds too.
            logger.exception("partition %d: a call of a transaction failed", self._partition_id)
            return (Reason.INTERNAL,)

    def _answer(self, due: list[_Confirmed]) -> list[_Confirmed]:
        """Answers as many as one turn takes; returns the others."""
        now_ms = self._stamps.now_ms()
        until = self._clock.monotonic() + _ANSWER_S
        reads_left, bytes_left = _READS_PER_TURN, _BYTES_PER_TURN
        has_begun = False
        with self._replica.view() as (txn, stamp_ms):
            for place, each in enumerate(due):
                view_ms = None if each.by_stamp else now_ms
                view = View(txn, stamp_ms, view_ms, self._replica.timers_due_ms)
                for number, read in enumerate(each.reads):
                    is_full = reads_left <= 0 or bytes_left <= 0
                    if is_full or (has_begun and self._clock.monotonic() > until):
                        return [each._replace(reads=each.reads[number:]), *due[place + 1 :]]
                    has_begun = True
                    reads_left -= 1
                    if read.is_over:
                        self._end((read,))
                        continue
                    try:
                        if read.call is None:
                            result = self.query(view, read.code, read.args)
                        else:
                            result = self._transact(view, read)
                    except ClockBehindError:
                        self._behind_clock.append(read)
                    else:
                        self._end((read,))
                        self.served += 1
                        bytes_left -= bytes_in(result)
                        _tell_call(read.waiter, result)
                if each.waiting:
                    self._pace.done(each.waiting, 0, self._clock.monotonic() - each.asked_at)
        return []

    def _refuse(self, reads: list[_Read]) -> None:
        leader = self._group.leader
        self._tell(reads, lambda waiter: waiter.on_not_leader(leader))

    def _tell(self, reads: list[_Read], tell: Callable[[Waiter], None]) -> None:
        self._end(reads)
        for read in reads:
            tell(read.waiter)

    def _end(self, reads: Sequence[_Read]) -> None:
        """They wait no longer."""
        self.waiting -= len(reads)
        for read in reads:
            if read.call is not None:
                number = read.args[4]
                self._calls[number] -= 1
                if not self._calls[number]:
                    del self._calls[number]


def _tell_call(waiter: Waiter, result: Result) -> None:
    if result is MOVING:
        waiter.on_not_leader(0)
    else:
        waiter.on_result(result)
