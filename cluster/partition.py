"""One replica of a partition: its Raft group, its state, and what waits for either.

All commands that arrive in one turn become one log entry. A waiter hears exactly one of: a
result, `not_leader` (nothing was appended), or `unknown` (it may or may not be applied).
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from cluster.applying import Applying
from cluster.commits import Collecting
from cluster.expansions import expand_all
from cluster.partition_defaults import end_learning, ignore_snapshot, tell_nobody
from cluster.partition_reads import BUGS, TRANSACT, CallWaiter, PartitionReads, Waiter
from cluster.queries import View
from cluster.raft.messages import SNAPSHOT_KINDS, MalformedMessageError
from cluster.raft.types import InvariantBrokenError, LogFullError, NodeId, NotLeaderError
from cluster.room import Room
from cluster.snapshot_transfer import SnapshotTransfer, TransferConfig
from cluster.stamps import Stamps
from cluster.state.commands import encode_entry
from cluster.state.errors import CorruptState, UnknownCommand
from cluster.storage.wal_errors import WalDamaged, WalFailed
from cluster.transactions import TXN_COMMIT_ASKED, Budget, Transactions
from cluster.waiting import Waiting
from cluster.waiting_commands import WaitingCommands
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.raft.group import RaftGroup
    from cluster.raft.types import Outgoing
    from cluster.replica import Replica
    from cluster.state.commands import Command
    from cluster.storage.group_log import GroupLog
    from cluster.storage.snapshots import Incoming, Snapshots

logger = logging.getLogger("flo.partition")

BROKEN = (
    *(InvariantBrokenError, CorruptState, UnknownCommand),
    *(WalDamaged, WalFailed, AssertionError, *BUGS),
)
"""Whatever must stop a replica rather than let it guess; the node's others go on."""

_FOLLOWER_BACKLOG_MAX = 128
"""Entries that a follower leaves unapplied between two ticks."""
_HOUSEKEEPING_MS = 1000


class Partition:
    """Commands and reads go in; waiters are told when their outcome is known."""

    takes_part = True
    """False while this node's data may be another than the one its peers know: it then hears and
    says nothing, and its state is not read."""
    broken: str | None = None
    """Why this replica stopped; it then serves nothing and says nothing to its peers."""
    log_full = False
    log_too_long = False
    """The node's log finds no space, or grows faster than it is let go (`LogGuard`)."""
    commands_applied = 0
    """Since the node started, for the status document."""
    _apply_due = True
    _time_due = False
    """Something waits for a time that has come: an entry has to carry it."""
    _led_term = 0
    _leader_seen: "NodeId" = 0

    def __init__(
        self,
        partition_id: int,
        *,
        group: "RaftGroup",
        log: "GroupLog",
        replica: "Replica",
        snapshots: "Snapshots",
        clock: "Clock",
        limits: "Limits",
        has_room: Callable[[NodeId], bool] = lambda _peer: True,
        transfer_config: TransferConfig | None = None,
        room: Room | None = None,
        transaction_budget: Budget | None = None,
    ) -> None:
        """`room`: what the waiting commands of all partitions of the node may carry together."""
        self.partition_id = partition_id
        self.group = group
        self.replica = replica
        self.snapshots = snapshots
        self.on_learned: Callable[[Partition], None] = end_learning
        """Called while this replica, after a lost disk, has learnt enough to count again."""
        self.on_snapshot: Callable[[int, Incoming], None] = ignore_snapshot
        """Called with (partition, snapshot) when one has come whole from the leader."""
        self.transfer = SnapshotTransfer(
            group,
            log,
            snapshots,
            clock=clock,
            has_room=has_room,
            on_complete=lambda incoming: self.on_snapshot(partition_id, incoming),
            config=transfer_config,
        )
        self.on_leader: Callable[[int, NodeId], None] = tell_nobody
        """Called with (partition, leader) when this replica learns of a leader, or of none (0)."""
        self._clock = clock
        self._limits = limits
        self._stamps = Stamps(clock)
        self.applying = Applying(
            partition_id, group=group, log=log, replica=replica, clock=clock, limits=limits
        )
        self._commands = WaitingCommands(limits, clock, room or Room(limits.calls_bytes_max))
        self.withdraw = self._commands.withdraw
        self.waiting = Waiting(limits.partition_waiting_max)
        """Calls that found nothing here and wait for it to come."""
        self.transactions = Transactions(partition_id, clock, transaction_budget or Budget())
        self._reads = PartitionReads(
            partition_id,
            group,
            replica,
            transactions=self.transactions,
            stamps=self._stamps,
            clock=clock,
            limits=limits,
        )

    # --- requests ---

    def submit(self, command: "Command", size: int, waiter: Waiter) -> None:
        """A command; `size` is about what it takes in the log."""
        if not self.group.accepts_proposals or self.broken:
            # A leader that hands over cannot say yet who comes after it.
            nobody = self.broken or self.group.is_leader
            waiter.on_not_leader(0 if nobody else self.group.leader)
            return
        if self.disk_full or self.log_too_long:
            waiter.on_result((Reason.WRITES_STOPPED if self.disk_full else Reason.SHARD_BUSY,))
            return
        if not self._commands.add(command, size, waiter):
            waiter.on_result((Reason.SHARD_BUSY,))

    def read(self, code: int, args: Sequence[object], waiter: Waiter) -> None:
        """A linearizable read."""
        if not self.group.is_leader or self.broken:
            waiter.on_not_leader(self.group.leader if not self.broken else 0)
        elif not self._reads.has_room:
            waiter.on_result((Reason.SHARD_BUSY,))
        else:
            self._reads.add(code, args, waiter)

    def transact(
        self, code: int, triple: tuple[int, int, int], args: Sequence[object], waiter: CallWaiter
    ) -> None:
        """A call of a transaction that is open here; see `cluster.transactions`."""
        if code == TXN_COMMIT_ASKED:
            waiter = Collecting(self.transactions, cast(int, args[1]), triple, self.submit, waiter)
        args = (code, *triple[:2], *args)
        # Between a change of leadership and the turn that notices it, open ones are of before.
        may_answer = not self.broken and self._led_term == self.group.leads_term
        if not may_answer or not self._reads.transact_at_once(args, waiter):
            self.read(TRANSACT, args, waiter)

    def read_stale(self, code: int, args: Sequence[object], waiter: Waiter) -> None:
        """Answers from what this replica has applied, however old that is."""
        if self.broken or not self.takes_part:
            waiter.on_not_leader(0)
            return
        try:
            with self.replica.view() as (txn, stamp_ms):
                result = self._reads.query(View(txn, stamp_ms, None), code, args)
        except CorruptState as error:
            self._break(error)
            waiter.on_not_leader(0)
        else:
            waiter.on_result(result)

    # --- a turn, in this order ---

    def step(self, sender: NodeId, message: list[object]) -> None:
        """A message of this group from a peer."""
        if self.broken:
            return
        try:
            if message[0] in SNAPSHOT_KINDS:
                self.transfer.step(sender, message)
            else:
                self.group.step(sender, message)
        except MalformedMessageError as error:
            where = (self.partition_id, sender, error)
            logger.warning("partition %d: node %d sent a bad message, dropped: %s", *where)
        except BROKEN as error:
            self._break(error)

    def tick(self) -> None:
        """Time has passed: Raft's timers, and whatever a follower has put off."""
        self._apply_due = True
        if not self.broken:
            try:
                self.group.tick()
            except BROKEN as error:
                self._break(error)
        if self.disk_full:
            self.store()
        self.waiting.tick(self._clock.monotonic())
        self.transactions.end_idle()
        self._time_due = self._is_time_due()

    def before_sync(self) -> None:
        """Proposes what has arrived and lets the group decide what to send."""
        if self.broken:
            return
        try:
            self._notice_leadership()
            self._reads.ask()
            if self._commands.are_queued or self._reads.need_entry or self._time_due:
                self._propose()
            self.group.advance()
            self.transfer.advance()
        except BROKEN as error:
            self._break(error)

    def take_early(self) -> "list[Outgoing]":
        """Messages that promise nothing about this node's disk: they leave before the sync."""
        return self.group.take_early() + self.transfer.take()

    def count_durable(self) -> None:
        """The log's durable position may have moved: what waited for it counts now."""
        if not self.broken:
            try:
                self.group.after_sync()
            except BROKEN as error:
                self._break(error)

    def apply_and_answer(self) -> bool:
        """Applies what is committed and answers; true when there is more to do at once."""
        if self.broken:
            return False
        try:
            more = self._apply()
            if self.group.has_learned:
                self.on_learned(self)
            self._notice_leadership()
            more_reads = self._reads.serve(disk_full=self.disk_full)
        except BROKEN as error:
            self._break(error)
            return False
        needs_entry = self._commands.are_queued or self._reads.need_entry or self._time_due
        return more or more_reads or needs_entry or self.group.reads_can_start

    @property
    def disk_full(self) -> bool:
        """The state cannot be stored: committed entries wait to be applied."""
        return self.applying.disk_full

    @property
    def unanswered(self) -> int:
        """Commands and reads that wait, for bounds and status."""
        return len(self._commands) + self._reads.waiting

    @property
    def is_idle(self) -> bool:
        """Nothing here waits for the next tick: no call, and no entry."""
        group = self.group
        is_behind = group.commit_index > group.applied_index
        return not (self.unanswered or len(self.waiting) or is_behind)

    @property
    def reads_served(self) -> int:
        """Reads answered since the node started; only a leader serves any."""
        return self._reads.served

    # --- proposing ---

    def _propose(self) -> None:
        commands, reads = self._commands, self._reads
        while commands.are_queued or reads.need_entry or self._time_due:
            self._time_due = False
            batch = commands.next_batch()
            try:
                if self.disk_full:
                    raise LogFullError
                stamp_ms = self._stamps.now_ms()
                position = self.group.propose(encode_entry(stamp_ms, batch.commands))
            except NotLeaderError as error:
                commands.refused(batch)
                for waiter in batch.waiters + reads.take_needing_entry():
                    waiter.on_not_leader(error.leader)
                return
            except LogFullError:
                commands.refused(batch)
                for waiter in batch.waiters + reads.take_needing_entry():
                    waiter.on_result((Reason.WRITES_STOPPED,))
                return
            except (ValueError, OverflowError):
                # A mistake of ours, as an entry too long for the log: nothing was appended.
                logger.exception("partition %d: an entry was not proposed", self.partition_id)
                commands.refused(batch)
                for waiter in batch.waiters:
                    waiter.on_result((Reason.INTERNAL,))
                continue
            self._stamps.follow(stamp_ms)
            commands.proposed(batch, position)
            if reads.need_entry:
                reads.wait_for_entry(position.index)

    # --- applying ---

    def _apply(self) -> bool:
        group = self.group
        behind = group.commit_index - group.applied_index
        if not behind or not (group.is_leader or self._apply_due or behind > _FOLLOWER_BACKLOG_MAX):
            # Nobody waits for a follower's state: it applies with every tick, many at a time.
            return False
        self._apply_due = False
        self.replica.listen(listening=bool(len(self.waiting)))
        applied = self.applying.run()
        if not applied:
            return False
        self._stamps.follow(self.replica.stamp_ms)
        for entry, outcomes in applied:
            self.commands_applied += len(outcomes)
            proposed = self._commands.applied(entry.index, entry.term)
            if proposed is not None:
                answers = expand_all(self.replica, proposed.expansions, outcomes)
                for waiter, answer in zip(proposed.waiters, answers, strict=True):
                    waiter.on_result(answer)
        # After the answers: an entry may bring what a call of an earlier one did not find.
        self.waiting.wake(self.replica.take_touched())
        if self.replica.timers_due_ms <= self.replica.stamp_ms:
            # An entry runs a bounded number of timers: the next one goes on at once.
            self._time_due = group.accepts_proposals and group.is_ready
        return self.group.commit_index > self.group.applied_index

    def store(self) -> None:
        """Brings what was applied to the store, if that is possible now."""
        if self.broken:
            return
        try:
            self.applying.store()
        except BROKEN as error:
            self._break(error)

    def _is_time_due(self) -> bool:
        """Whether entries have to carry the time because no command does: at once for who waits;
        otherwise what is due is removed by whatever comes next, or after a while for its own sake.
        """
        if self.broken or not self.group.accepts_proposals or not self.group.is_ready:
            return False
        behind_ms = self._stamps.now_ms() - self.replica.due_ms
        return behind_ms >= (0 if len(self.waiting) else _HOUSEKEEPING_MS)

    # --- leadership ---

    def _notice_leadership(self) -> None:
        """Tells every waiter when this replica's leadership ended or began anew."""
        self._reads.refuse_lost()
        if self.group.leads_term != self._led_term:
            self._led_term = self.group.leads_term
            self._stamps.follow(self.replica.stamp_ms)
            self._give_up_all()
        # Last, so that a call which waited for a leader is not given up at once.
        if self.group.leader != self._leader_seen:
            self._leader_seen = self.group.leader
            self.on_leader(self.partition_id, self._leader_seen)

    def _give_up_all(self) -> None:
        leader = self.group.leader
        in_log, queued = self._commands.give_up()
        for waiter in in_log:
            waiter.on_unknown()
        self.transactions.forget_all()
        for call in self.waiting.take_all():
            call.on_not_leader(leader)
        for waiter in queued:
            waiter.on_not_leader(leader)
        # Confirmed reads stay right: their index was confirmed while this replica led. Those that
        # wait for an entry of this replica may wait in vain.
        self._reads.refuse_waiting_for_entry()

    def retire(self, why: str) -> None:
        """This replica serves and says nothing any more."""
        self.broken = why
        self.transfer.close()
        self._reads.refuse_all()
        self._give_up_all()

    def _break(self, error: BaseException) -> None:
        """This replica stops; the node and its other partitions go on."""
        what = f"{type(error).__name__}: {error}"
        logger.critical(
            "partition %d: this replica stops, the others go on: %s. Nothing was deleted; keep the"
            " data directory for inspection",
            *(self.partition_id, what),
            exc_info=error,
        )
        self.retire(what)
