"""Keeps the log of a node bounded, and puts received snapshots in their place.

The log may forget what a durable snapshot holds. When it has grown past its bound, the partitions
that need its oldest segments are compacted, after a new snapshot where the last one is too old;
then these segments go. About half of the bound stays, so that a replica that was away for a short
time is served from the log.

All decisions are made on the loop, between turns. What blocks runs in one thread, one job at a
time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TypeVar

from cluster.log_guard import LogGuard
from cluster.state.errors import CorruptState
from cluster.storage.snapshots import SnapshotDamaged
from cluster.storage.wal_errors import WalFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from cluster.clock import Clock
    from cluster.partition import Partition
    from cluster.storage.group_log import GroupLog
    from cluster.storage.snapshots import Copy, Incoming, SnapshotInfo
    from cluster.storage.wal import Wal

logger = logging.getLogger("flo.snapshot")

_T = TypeVar("_T")

INSTALLING = "a snapshot is being installed"
"""Why a partition serves nothing for a while."""

_RETRY_S = 5.0
"""After a job that failed, as for want of space."""
_NO_PARTITION = -1
_LOOK_EVERY_S = 0.1
"""At every partition, of which a node may have a thousand; sooner when something was done."""


def restore_point(wal: Wal, number: int, latest: SnapshotInfo | None, applied_index: int) -> bool:
    """At a start: whether the state must begin anew with the snapshot, which the log then fits.

    A crash may have come after a received snapshot got its name and before the log was set to it.
    Raises OSError.
    """
    if latest is None:
        return False
    log = wal.group(number)
    if log.term_at(latest.last_index) != latest.last_term and latest.last_index > log.base_index:
        _set_log_to(log, latest)
        ticket = wal.seal()
        assert ticket is not None, "the log has changed"
        wal.write_and_sync(ticket)
        wal.complete(ticket)
    return applied_index < max(log.base_index, 1)


def _set_log_to(log: GroupLog, info: SnapshotInfo) -> None:
    """The log goes on after a snapshot that is on the disk."""
    if log.term_at(info.last_index) == info.last_term and info.last_index <= log.durable_index:
        log.compact(info.last_index)
    else:
        log.reset(info.last_index, info.last_term)


class ReplicaHost(Protocol):
    """Whoever owns the states of the partitions."""

    def state_bytes(self) -> int:
        """What the states of all partitions take on the disk."""
        ...

    def reopen_from_snapshot(self, partition: int) -> None:
        """Replaces a state by the newest snapshot. Blocks; the partition is retired meanwhile."""
        ...

    def replace(self, partition: int) -> None:
        """Puts a new replica in the place of a retired one; on the loop."""
        ...


class Compaction:
    """One node's log, snapshots and installs. `tick` often; it looks and leaves."""

    def __init__(
        self,
        *,
        wal: Wal,
        partitions: dict[int, Partition],
        host: ReplicaHost,
        clock: Clock,
        executor: Executor,
        call_soon_threadsafe: Callable[[Callable[[], None]], object],
        request_turn: Callable[[Partition], None],
        on_failure: Callable[[BaseException], None],
        log_bytes_max: int,
    ) -> None:
        self._wal = wal
        self._partitions = partitions
        self._host = host
        self._clock = clock
        self._executor = executor
        self._call_soon_threadsafe = call_soon_threadsafe
        self._request_turn = request_turn
        self._on_failure = on_failure
        self._log_bytes_max = log_bytes_max
        self._guard = LogGuard(wal, partitions, log_bytes_max)
        self._busy = False
        self._stopped = False
        self._next_look = 0.0
        self._not_before: dict[int, float] = {}
        """By partition, after a job that failed; the others go on meanwhile."""
        self._installing: dict[int, int] = {}
        """Partitions whose log has been set to a snapshot, and the LSN that makes it durable."""
        self._received: list[tuple[int, Incoming]] = []

    def tick(self) -> None:
        """Goes on with what is to be done, one job at a time."""
        if self._stopped:
            return
        try:
            self._guard.look(busy=self._busy)
            if not self._busy:
                self._go_on()
        except WalFailed:
            self._stopped = True  # The node is about to stop for it.

    def stop(self) -> None:
        """No further job. One that runs is finished, and nothing follows from it."""
        self._stopped = True
        for _, incoming in self._received:
            incoming.discard()

    def snapshot_received(self, partition: int, incoming: Incoming) -> None:
        """A snapshot has come whole from the leader of a partition."""
        self._received.append((partition, incoming))

    def _go_on(self) -> None:
        installable = self._installable()
        if installable is not None:
            self._install(installable)
        elif self._received:
            self._publish_received(*self._received.pop(0))
        elif self._clock.monotonic() >= self._next_look:
            self._next_look = self._clock.monotonic() + _LOOK_EVERY_S
            if not self._take_missing():
                self._bound_log()

    # --- the log ---

    def _take_missing(self) -> bool:
        """Takes a snapshot where the newest one is of no use: lost, damaged, or behind the log."""
        for number, partition in self._partitions.items():
            latest = partition.snapshots.latest
            held = latest.last_index if latest is not None else 0
            missing = held < self._wal.group(number).base_index
            if (missing or partition.transfer.wants_snapshot) and self._may_work_on(number):
                self._take(number, partition)
                return True
        return False

    def _bound_log(self) -> None:
        wal = self._wal
        bound = self._guard.bound = max(self._log_bytes_max, self._host.state_bytes() // 2)
        in_use = wal.bytes_in_use
        if in_use <= bound:
            return
        last = wal.last_sequence_before(keep_bytes=bound // 2)
        for number, partition in self._partitions.items():
            index = wal.group(number).compaction_index(last)
            if index is None or not self._may_work_on(number):
                continue
            # A follower that is receiving a snapshot needs what comes after it; but one that is
            # slow, or stuck, must not make the log grow for ever.
            needed_from = partition.transfer.needed_from
            if needed_from is not None and index > needed_from and in_use <= 2 * bound:
                continue
            if index > partition.group.applied_index:
                # Its state needs these entries, whatever a snapshot holds that it was sent: a full
                # disk keeps it from applying what is committed.
                continue
            if index > partition.replica.stored_index:
                # One partition at a time: others, and the loop, have their turn in between.
                partition.store()
                if index <= partition.replica.stored_index:
                    self._next_look = 0.0
                    return
                continue
            latest = partition.snapshots.latest
            if latest is not None and index <= latest.last_index:
                wal.group(number).compact(index)
                self._next_look = 0.0
                self._request_turn(partition)
            else:
                self._take(number, partition)
                return
        if wal.plan_release():
            self._run(wal.release, lambda _: None)

    def _take(self, number: int, partition: Partition) -> None:
        def copied(copy: Copy) -> None:
            term = self._wal.group(number).term_at(copy.applied_index)
            if term is None:
                # Its log was replaced meanwhile: a snapshot was installed.
                copy.discard()
                return
            self._run(lambda: copy.publish(term), published, number)

        def published(info: SnapshotInfo) -> None:
            partition.transfer.snapshot_taken()
            logger.info("partition %d: snapshot of entry %d", number, info.last_index)

        # What is in memory alone is no part of a copy.
        partition.store()
        if partition.broken:
            return
        self._run(partition.snapshots.take, copied, number)

    def _may_work_on(self, number: int) -> bool:
        due = self._clock.monotonic() >= self._not_before.get(number, 0.0)
        return due and self._partitions[number].broken is None

    # --- installing ---

    def _publish_received(self, number: int, incoming: Incoming) -> None:
        partition = self._partitions[number]
        if incoming.info.last_index <= partition.group.commit_index:
            # The log has gone on meanwhile, and an own snapshot may be newer than this one.
            partition.transfer.received_in_vain()
            return

        def published(_: None) -> None:
            self._begin_install(number, incoming.info)

        self._run(incoming.publish, published, number, partition.transfer.failed)

    def _begin_install(self, number: int, info: SnapshotInfo) -> None:
        """Sets the log to the snapshot; the state follows once that is durable.

        In this order: a start finds a state that is older than its log and takes the snapshot.
        """
        partition = self._partitions[number]
        if partition.broken:
            return
        if info.last_index <= partition.group.commit_index:
            partition.transfer.received_in_vain()
            return
        # Whatever failed before: from here on the partition serves nothing until it is installed.
        self._not_before.pop(number, None)
        partition.retire(INSTALLING)
        _set_log_to(self._wal.group(number), info)
        self._installing[number] = self._wal.lsn
        self._request_turn(partition)
        logger.info("partition %d: installing the snapshot of entry %d", number, info.last_index)

    def _installable(self) -> int | None:
        durable, now = self._wal.durable_lsn, self._clock.monotonic()
        for number, lsn in self._installing.items():
            if lsn <= durable and now >= self._not_before.get(number, 0.0):
                return number
        return None

    def _install(self, number: int) -> None:
        def reopened(_: None) -> None:
            del self._installing[number]
            self._host.replace(number)

        self._run(lambda: self._host.reopen_from_snapshot(number), reopened, number)

    # --- jobs ---

    def _run(
        self,
        job: Callable[[], _T],
        done: Callable[[_T], None],
        number: int = _NO_PARTITION,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self._busy = True
        future = self._executor.submit(job)

        def finished() -> None:
            self._busy = False
            self._next_look = 0.0
            if self._stopped:
                return
            try:
                done(future.result())
            except (OSError, SnapshotDamaged, CorruptState) as error:
                self._not_before[number] = self._clock.monotonic() + _RETRY_S
                logger.error("%s; tried again in %g s", _what_failed(number, error), _RETRY_S)
                if failed is not None:
                    failed(error)
            except Exception as error:
                self._stopped = True
                self._on_failure(error)

        def wake(_: Future[_T]) -> None:
            self._call_soon_threadsafe(finished)

        future.add_done_callback(wake)


def _what_failed(number: int, error: Exception) -> str:
    what = "letting go of the log" if number == _NO_PARTITION else f"partition {number}: snapshot"
    return f"{what}: {error}"
