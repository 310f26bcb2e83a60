"""The log of one Raft group, as a view of the node's write-ahead log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.records import (
    ENTRY,
    ENTRY_KIND,
    HARD_STATE,
    HARD_STATE_KIND,
    TRUNCATE,
    TRUNCATE_KIND,
    BadRecord,
    Entry,
    GroupHead,
    HardState,
)
from cluster.storage.wal_index import POINT_EVERY_BYTES, POINT_EVERY_ENTRIES, SparseIndex, TermRuns

if TYPE_CHECKING:
    from cluster.storage.wal_buffer import LogBuffer
    from cluster.storage.wal_index import Location
    from cluster.storage.wal_reader import LogReader

# What an `Entry` and its fields take in memory beside the data.
ENTRY_OVERHEAD_BYTES = 160

_NO_LIMIT = 1 << 62


class GroupLog:
    """Entries and hard state of one group; obtained from `Wal.group`.

    Changes are buffered: they are durable once a ticket sealed after them is complete. The newest
    `tail_bytes` of entries, and all that are not durable yet, are in memory; older ones are read
    back. Everything that changes the log raises `WalFailed` after a failed sync. Loop thread only.
    """

    __slots__ = (
        "_batch_bytes",
        "_batch_first",
        "_buffer",
        "_bytes_since_point",
        "_durable_hard_state",
        "_hard_state",
        "_hard_state_lsn",
        "_missing_last",
        "_points",
        "_reader",
        "_runs",
        "_sealed_hard_state",
        "_sealed_index",
        "_tail",
        "_tail_bytes",
        "_tail_bytes_max",
        "_tail_first",
        "commit_noted",
        "durable_index",
        "first_index",
        "group_id",
        "head",
        "last_index",
        "last_term",
        "touched",
    )

    def __init__(
        self, group_id: int, buffer: LogBuffer, reader: LogReader, *, tail_bytes_max: int
    ) -> None:
        self.group_id = group_id
        self.first_index = 1
        self.last_index = 0
        self.last_term = 0
        self.durable_index = 0
        self._hard_state = self._sealed_hard_state = self._durable_hard_state = HardState(0, 0, 0)
        self._hard_state_lsn = 0
        self._sealed_index = 0  # the last index that the ticket under way, or the last one, covers

        self._buffer = buffer
        self._reader = reader
        self._runs = TermRuns()
        self._tail: list[Entry] = []
        self._tail_first = 1
        self._tail_bytes = 0
        self._tail_bytes_max = tail_bytes_max

        self._points = SparseIndex()
        self._batch_first = 0  # the first index appended to the open batch, 0 for none
        self._batch_bytes = 0
        self._bytes_since_point = 0
        self._missing_last = 0  # entries up to here are in segments that are gone

        # For the buffer alone.
        self.touched = False
        self.commit_noted = False
        self.head: GroupHead | None = None  # after the last batch that was placed

    @property
    def hard_state(self) -> HardState:
        """The newest hard state, with the newest noted commit index; perhaps not durable."""
        return self._hard_state

    @property
    def durable_hard_state(self) -> HardState:
        """The hard state that a restart would find."""
        return self._durable_hard_state

    @property
    def hard_state_durable(self) -> bool:
        """Whether the last `set_hard_state` is durable; noted commit indexes do not count."""
        return self._hard_state_lsn <= self._buffer.durable_lsn

    def set_hard_state(self, hard_state: HardState) -> None:
        """Buffer a new term, vote or commit index; nothing when it equals the present one."""
        if hard_state == self._hard_state:
            return
        term, voted_for, commit = hard_state
        known = self._hard_state
        assert term > known.term or (term == known.term and known.voted_for in (0, voted_for)), (
            f"term and vote of group {self.group_id} go back from {known} to {hard_state}"
        )
        self._buffer.add(
            self, HARD_STATE.pack(HARD_STATE_KIND, self.group_id, term, voted_for, commit)
        )
        self._hard_state = hard_state
        self._hard_state_lsn = self._buffer.lsn

    def note_commit(self, commit: int) -> None:
        """Let the next batch written anyway record `commit`, unless a higher one is known."""
        term, voted_for, known = self._hard_state
        if commit > known:
            self._buffer.note_commit(self)
            self._hard_state = HardState(term, voted_for, commit)

    def append(self, index: int, term: int, data: bytes) -> None:
        """Buffer the next entry: `index` must follow the last one, `term` must not be lower.

        Raises `ValueError` when `data` is longer than `WalConfig.entry_bytes_max`.
        """
        assert index == self.last_index + 1, f"entry {index} after {self.last_index}"
        assert term >= self.last_term, f"entry of term {term} after one of {self.last_term}"
        self._buffer.add(self, ENTRY.pack(ENTRY_KIND, self.group_id, index, term, len(data)), data)
        self._add(Entry(index, term, data))

    def truncate_from(self, index: int) -> None:
        """Buffer the removal of the entries from `index` on, which must be in the log."""
        assert self.first_index <= index <= self.last_index, (
            f"truncation at {index} outside {self.first_index}..{self.last_index}"
        )
        self._buffer.add(self, TRUNCATE.pack(TRUNCATE_KIND, self.group_id, index))
        self._drop_from(index)

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, without I/O; `None` outside the log."""
        if not self.first_index <= index <= self.last_index:
            return None
        return self._runs.term_at(index)

    def first_index_of_term_run(self, index: int) -> int:
        """Return the first index of the run of equal terms that entry `index` is in."""
        self._check_range(index, index + 1)
        return self._runs.start_of(index)

    def entries(self, lo: int, hi: int, max_bytes: int | None = None) -> list[Entry]:
        """Return the entries from `lo` up to, not including, `hi`.

        Fewer when they hold over `max_bytes` of data, but at least one. Entries that left memory
        are read from the disk: raises `OSError`, and `WalDamaged` when they have changed there.
        `IndexError` outside the log.
        """
        if lo == hi:
            return []
        self._check_range(lo, hi)
        room = _NO_LIMIT if max_bytes is None else max_bytes
        if lo >= self._tail_first:
            return self._from_memory(lo, hi, room)
        stop = min(hi, self._tail_first)
        found = self._from_disk(lo, stop, room)
        if len(found) == stop - lo and hi > stop:
            room -= sum(len(entry.data) for entry in found)
            found += self._from_memory(stop, hi, room, at_least_one=False)
        return found

    # Called by the buffer and the log, in this order, for each group that a batch or ticket
    # touches.

    def on_placed(self, location: Location) -> None:
        """All records so far are in the batch at `location` or in earlier ones."""
        if self._batch_first:
            first, points = self._batch_first, self._points
            if (
                first - points.last_index >= POINT_EVERY_ENTRIES
                or self._bytes_since_point >= POINT_EVERY_BYTES
                or not len(points)
            ):
                points.add(first, location)
                self._bytes_since_point = 0
            self._bytes_since_point += self._batch_bytes
            self._batch_first = self._batch_bytes = 0
        term, voted_for, commit = self._hard_state
        self.head = GroupHead(
            self.group_id,
            term,
            voted_for,
            commit,
            self.first_index,
            self.last_index,
            self.last_term,
        )

    def on_sealed(self) -> None:
        """A ticket covers all records so far."""
        self._sealed_index = self.last_index
        self._sealed_hard_state = self._hard_state

    def on_synced(self) -> None:
        """The ticket that was sealed last is durable."""
        # A truncation while the ticket was under way has lowered `_sealed_index`: what it dropped
        # is on the disk, but what takes its place is not.
        self.durable_index = self._sealed_index
        self._durable_hard_state = self._sealed_hard_state
        if self._tail_bytes > self._tail_bytes_max:
            self._evict()

    # Called for each record that a start reads back.

    def restore_head(self, head: GroupHead) -> None:
        """Begin with what the oldest segment's head says; its entries are not there."""
        self.restore_hard_state(HardState(head.term, head.voted_for, head.commit))
        self.first_index = head.first_index
        self.last_index = self._missing_last = head.last_index
        self.last_term = head.last_term
        self._tail_first = head.last_index + 1
        if head.last_index >= head.first_index:
            self._runs.append(head.first_index, head.last_term)

    def restore_hard_state(self, hard_state: HardState) -> None:
        """Take a hard state from the log."""
        self._hard_state = hard_state

    def restore_commit(self, commit: int) -> None:
        """Take a commit index from the log."""
        self._hard_state = self._hard_state._replace(commit=commit)

    def restore_entry(self, index: int, term: int, data: bytes) -> None:
        """Take an entry from the log; raises `BadRecord` when it cannot follow the last one."""
        if index != self.last_index + 1 or term < self.last_term:
            raise BadRecord(
                f"entry {index} of term {term} in group {self.group_id} follows "
                f"entry {self.last_index} of term {self.last_term}"
            )
        self._add(Entry(index, term, data))

    def restore_truncation(self, index: int) -> None:
        """Take a truncation from the log; raises `BadRecord` when there is nothing to truncate."""
        if not self.first_index <= index <= self.last_index:
            raise BadRecord(f"group {self.group_id} has no entry {index} to truncate at")
        self._missing_last = min(self._missing_last, index - 1)
        self._drop_from(index)

    def on_restored_batch(self, location: Location) -> None:
        """All records of the batch at `location` were taken; they are on the disk."""
        self.on_placed(location)
        self.on_sealed()
        self.on_synced()

    def finish_restore(self) -> None:
        """The whole log was read; raises `BadRecord` when entries are missing."""
        if self._missing_last >= self.first_index:
            raise BadRecord(
                f"entries {self.first_index} to {self._missing_last} of group {self.group_id} "
                f"were in earlier segments, which are missing"
            )
        commit = min(self._hard_state.commit, self.last_index)
        self._hard_state = self._hard_state._replace(commit=commit)
        self._sealed_hard_state = self._durable_hard_state = self._hard_state

    def _add(self, entry: Entry) -> None:
        index, term, data = entry
        if term != self.last_term or index == self.first_index:
            self._runs.append(index, term)
            self.last_term = term
        self.last_index = index
        self._tail.append(entry)
        nbytes = len(data)
        self._tail_bytes += nbytes + ENTRY_OVERHEAD_BYTES
        if not self._batch_first:
            self._batch_first = index
        self._batch_bytes += nbytes

    def _drop_from(self, index: int) -> None:
        if index > self._tail_first:
            dropped = self._tail[index - self._tail_first :]
            del self._tail[index - self._tail_first :]
            self._tail_bytes -= _memory_bytes(dropped)
        else:
            self._tail.clear()
            self._tail_first = index
            self._tail_bytes = 0
        self._runs.truncate_from(index)
        self._points.truncate_from(index)
        if self._batch_first >= index:
            self._batch_first = 0
        self.last_index = index - 1
        self.last_term = self._runs.last_term
        self.durable_index = min(self.durable_index, index - 1)
        self._sealed_index = min(self._sealed_index, index - 1)

    def _evict(self) -> None:
        tail = self._tail
        # A quarter more than needed: shifting the list has its price, so it is done seldom.
        excess = self._tail_bytes - self._tail_bytes_max * 3 // 4
        count = 0
        durable_count = self.durable_index + 1 - self._tail_first
        while excess > 0 and count < durable_count:
            nbytes = len(tail[count].data) + ENTRY_OVERHEAD_BYTES
            excess -= nbytes
            self._tail_bytes -= nbytes
            count += 1
        del tail[:count]
        self._tail_first += count

    def _check_range(self, lo: int, hi: int) -> None:
        if not self.first_index <= lo <= hi <= self.last_index + 1:
            raise IndexError(
                f"entries {lo} up to {hi} of group {self.group_id}, which has "
                f"{self.first_index} to {self.last_index}"
            )

    def _from_memory(
        self, lo: int, hi: int, room: int, *, at_least_one: bool = True
    ) -> list[Entry]:
        entries = self._tail[lo - self._tail_first : hi - self._tail_first]
        for position, entry in enumerate(entries):
            room -= len(entry.data)
            if room < 0 and (position or not at_least_one):
                return entries[:position]
        return entries

    def _from_disk(self, lo: int, hi: int, room: int) -> list[Entry]:
        location = self._points.find(lo)
        assert location is not None, f"entry {lo} of group {self.group_id} left memory unplaced"
        return self._reader.entries(
            self.group_id, location, range(lo, hi), term_at=self.term_at, max_bytes=room
        )


def _memory_bytes(entries: list[Entry]) -> int:
    return sum(len(entry.data) for entry in entries) + len(entries) * ENTRY_OVERHEAD_BYTES
