"""The write-ahead log of a node, shared by its Raft groups: one write and one sync cover them all.

DESIGN.md says what stands on the disk and what a start makes of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.storage.files import NO_SPACE
from cluster.storage.group_log import GroupLog
from cluster.storage.records import ENTRY, GROUP_ID_MAX, BadRecord
from cluster.storage.wal_buffer import LogBuffer, Position, SyncTicket
from cluster.storage.wal_errors import WalDamaged, WalFull
from cluster.storage.wal_format import BATCH_HEADER, UNFINISHED_SUFFIX, segment_name
from cluster.storage.wal_reader import LogReader
from cluster.storage.wal_recovery import recover, settle_tail
from cluster.storage.wal_replay import Replay
from cluster.storage.wal_segments import SegmentPool
from cluster.storage.wal_writer import SegmentWriter

if TYPE_CHECKING:
    from cluster.storage.files import File, Storage
    from cluster.storage.wal_buffer import Batch
    from cluster.storage.wal_config import WalConfig

_LOG = logging.getLogger("flo.storage")

# While the disk is full this part of a segment is kept for votes and truncations, which cannot
# wait.
_RESERVED_FRACTION = 16


class Wal:
    """The log of a node. Made by `open`; `seal`, `write_and_sync`, `complete` make records durable.

    Everything is for the loop thread, but `write_and_sync`, `prepare_next_segment` and `release`
    block and may run in helper threads, one of each at a time. After a failed sync every call that
    writes raises `WalFailed`: what the disk holds is then known only to a restart.
    """

    def __init__(self, storage: Storage, config: WalConfig, where: str) -> None:
        """Read the log in `storage`; use `open`."""
        self.holds_back = False
        """Set by the owner: `has_room` says no, although the disk has space."""
        self._storage = storage
        self._config = config
        self._where = where
        self._found_no_space = False  # by the batch that has to be written next
        self._groups: dict[int, GroupLog] = {}
        self._ends: dict[int, int] = {}
        self._ticket: SyncTicket | None = None
        self._synced_sequence = 0  # the segment of the newest batch that is durable
        self._warned = False
        self.written_lsn = 0
        self._reader = LogReader(storage, self._ends)
        self._buffer = LogBuffer(config, self._groups, Position(0, 0, 0, 1), self._ends)
        storage.sync_directory()
        self._recover()

    @classmethod
    def open(cls, storage: Storage, config: WalConfig, *, where: str = "its directory") -> Wal:
        """Open the log in `storage`, creating it if there is none. Blocks: it reads all of it.

        What is found is durable when this returns. A batch torn by a crash is cut off. `where` is
        the directory, for messages. Raises `WalDamaged`, with nothing changed on the disk, and
        `OSError`.
        """
        return cls(storage, config, where)

    def group(self, group_id: int) -> GroupLog:
        """Return the log of a group, the same object each time; a new group's log is empty."""
        return self._groups.get(group_id) or self._new_group(group_id)

    @property
    def lsn(self) -> int:
        """How many records were buffered since the log was opened."""
        return self._buffer.lsn

    @property
    def durable_lsn(self) -> int:
        """The `lsn` at the seal of the last complete ticket: so many records are durable."""
        return self._buffer.durable_lsn

    @property
    def has_unwritten(self) -> bool:
        """Whether there are records for `seal` to take; a noted commit index alone is none."""
        return self._buffer.has_unwritten

    def seal(self) -> SyncTicket | None:
        """Take the buffered records of all groups, `None` when there are none.

        The ticket goes to `write_and_sync` and then to `complete`; only one may be under way.
        """
        self._buffer.check()
        assert self._ticket is None, "the last ticket is not complete"
        self._ticket = self._buffer.seal()
        return self._ticket

    def write_and_sync(self, ticket: SyncTicket) -> None:
        """Write and sync a ticket: blocking, in any thread, while the loop thread buffers more.

        Raises `WalFull` when there was no space, and `OSError`. When a write failed nothing is
        lost, and the same ticket may be given again. When a sync failed, this log is at its end.
        """
        self._buffer.check()
        assert ticket is self._ticket, "this ticket is not the one under way"
        for batch in ticket.batches[ticket.written :]:
            file, crc = self._write(batch)
            if batch is ticket.batches[-1]:
                self.written_lsn = ticket.lsn
            try:
                file.sync()
            except OSError as error:
                # The kernel may have dropped the pages and call them clean: a second sync would
                # lie.
                self._buffer.failed = True
                message = f"the log could not be synced: {error.strerror}. Check the disk"
                raise OSError(error.errno, message, self._where) from error
            self._writer.batch_synced(crc)
            ticket.written += 1

    def _write(self, batch: Batch) -> tuple[File, int]:
        try:
            written = self._writer.write(batch)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            if not self._found_no_space:
                _LOG.error(
                    "no space to write the log in %s: this node makes nothing durable and takes no"
                    " writes. Free space on this disk; it goes on by itself then",
                    self._where,
                )
            self._found_no_space = True
            raise WalFull(error.errno, f"no space to write the log in {self._where}") from error
        self._found_no_space = False
        return written

    def complete(self, ticket: SyncTicket) -> None:
        """Move the durable positions of all groups forward after `write_and_sync` returned."""
        self._buffer.check()
        assert ticket is self._ticket, "this ticket is not the one under way"
        assert ticket.is_synced, "this ticket is not written and synced"
        self._ticket = None
        self._buffer.durable_lsn = ticket.lsn
        self._synced_sequence = ticket.batches[-1].sequence
        for group in ticket.groups:
            group.on_synced()
        self._warn_when_large()

    def has_room(self, nbytes: int) -> bool:
        """Whether an entry of `nbytes` may be appended: false while the disk is full.

        It becomes true again when `prepare_next_segment` finds space, and what could not be
        written is.
        """
        self._buffer.check()
        if self._found_no_space or self.holds_back:
            return False
        if self._pool.has_spare or not self._pool.disk_full:
            return True
        reserved = self._config.segment_bytes // _RESERVED_FRACTION
        needed = nbytes + ENTRY.size + BATCH_HEADER.size
        return self._buffer.free_bytes - reserved >= needed

    def needs_segment(self) -> bool:
        """Whether it is time to call `prepare_next_segment`; cheap, to be asked each turn.

        True when the current segment is more than half full and no other is ready or being made.
        While the disk is full, true only now and then.
        """
        position = self._buffer.position
        return position.offset * 2 >= position.capacity and self._pool.wants_segment()

    def prepare_next_segment(self) -> None:
        """Make the next segment unless one is ready: blocking, in any thread.

        A full disk makes `has_room` false and raises nothing; any other `OSError` ends this log.
        """
        self._buffer.check()
        try:
            self._pool.prepare()
        except OSError:
            self._buffer.failed = True
            raise

    @property
    def bytes_in_use(self) -> int:
        """What the segments in use take on the disk; one or two that are ready come on top."""
        return len(self._ends) * self._config.segment_bytes

    def last_sequence_before(self, *, keep_bytes: int) -> int:
        """Return the newest segment that has to go so that `bytes_in_use` is at most `keep_bytes`.

        0 when none has to go; never the segment of the newest synced batch. Give it to
        `GroupLog.compaction_index` of each group; once the records of the compactions are durable,
        `plan_release` finds the segments.
        """
        excess = len(self._ends) - keep_bytes // self._config.segment_bytes
        if excess <= 0:
            return 0
        oldest = next(iter(self._ends))
        last = min(oldest + excess, self._synced_sequence) - 1
        return last if last >= oldest else 0

    def plan_release(self) -> bool:
        """Give up the oldest segments that no group needs; say whether `release` has work.

        It looks at every group, so it is for a timer and not for each turn. A segment goes only
        when a later one has begun, synced, and the records that freed it are durable.
        """
        self._buffer.check()
        needed = (group.needed_sequence for group in self._groups.values())
        below = min(filter(None, needed), default=self._synced_sequence)
        below = min(below, self._synced_sequence)
        for sequence in [sequence for sequence in self._ends if sequence < below]:
            del self._ends[sequence]
        self._reader.forget_before(below)
        return self._pool.give_up_before(below)

    def release(self) -> None:
        """Recycle or remove the segments that `plan_release` gave up: blocking, in any thread.

        May run beside `write_and_sync` and `prepare_next_segment`. Up to two segments become the
        next ones, which makes `has_room` true on a full disk; the others are removed, oldest
        first. Any `OSError` but a full disk, which leaves the rest for later, ends this log.
        """
        self._buffer.check()
        try:
            self._pool.release()
        except OSError:
            self._buffer.failed = True
            raise

    def close(self) -> None:
        """Release the files. Syncs nothing: what was not complete may be lost."""
        self._writer.close()
        self._reader.close()

    def _new_group(self, group_id: int) -> GroupLog:
        if not 0 <= group_id <= GROUP_ID_MAX:
            raise ValueError(f"group {group_id} is not in 0..{GROUP_ID_MAX}")
        if len(self._groups) >= self._config.groups_max:
            raise ValueError(
                f"group {group_id} is one more than groups_max {self._config.groups_max}: raise it"
            )
        group = GroupLog(
            group_id, self._buffer, self._reader, tail_bytes_max=self._config.tail_bytes
        )
        self._groups[group_id] = group
        return group

    def _recover(self) -> None:
        storage, config = self._storage, self._config
        replay = Replay(self._groups, self._new_group)
        recovered = recover(storage, replay)
        try:
            replay.finish()
        except BadRecord as error:
            raise WalDamaged(segment_name(min(recovered.ends)), 0, str(error)) from error
        settle_tail(storage, recovered, segment_bytes=config.segment_bytes)
        for name in storage.list():
            if name.endswith(UNFINISHED_SUFFIX):
                storage.remove(name)
        tail = recovered.tail
        self._ends.update(recovered.ends)
        self._synced_sequence = tail.sequence
        file = storage.open(segment_name(tail.sequence)) if tail.sequence else None
        capacity = file.size() if file else 0
        self._buffer.position = Position(tail.sequence, tail.end, capacity, tail.number + 1)
        self._pool = SegmentPool(
            storage,
            config.segment_bytes,
            oldest=min(recovered.ends, default=1),
            spares=recovered.spares,
            last=max([tail.sequence, *recovered.spares]),
            where=self._where,
        )
        self._writer = SegmentWriter(
            self._pool, file=file, sequence=tail.sequence, previous_crc=tail.crc
        )
        if file is None:
            self._pool.prepare()
        self._warn_when_large()

    def _warn_when_large(self) -> None:
        is_large = self.bytes_in_use > self._config.warn_bytes
        if is_large and not self._warned:
            _LOG.warning(
                "the log has %d segments, %d bytes, over warn_bytes %d, and a start reads all of "
                "it: look for partitions without a majority, or without space for a snapshot",
                len(self._ends),
                self.bytes_in_use,
                self._config.warn_bytes,
            )
        self._warned = is_large
