"""The log of one Raft group, as a view of the node's write-ahead log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.group_entries import GroupEntries
from cluster.storage.records import (
    BASE,
    COMPACT_KIND,
    ENTRY,
    ENTRY_KIND,
    HARD_STATE,
    HARD_STATE_KIND,
    RESET_KIND,
    TRUNCATE,
    TRUNCATE_KIND,
    BadRecord,
    Entry,
    GroupHead,
    HardState,
)

if TYPE_CHECKING:
    from cluster.storage.wal_buffer import LogBuffer
    from cluster.storage.wal_index import Location
    from cluster.storage.wal_reader import LogReader


class GroupLog:
    """Entries and hard state of one group; obtained from `Wal.group`.

    Changes are buffered: they are durable once a ticket sealed after them is complete. The newest
    `tail_bytes` of entries, and all that are not durable yet, are in memory; older ones are read
    back. Everything that changes the log raises `WalFailed` after a failed sync. Loop thread only.
    """

    __slots__ = (
        "_buffer",
        "_durable_hard_state",
        "_entries",
        "_freeing_lsn",
        "_hard_state",
        "_hard_state_lsn",
        "_missing_last",
        "_needed_before",
        "_sealed_hard_state",
        "_sealed_index",
        "_unknown_last",
        "base_index",
        "base_term",
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
        # Everything up to the base is in a snapshot; a log without one has 0 for both.
        self.base_index = self.base_term = 0
        self.first_index = 1  # always `base_index + 1`
        self.last_index = 0
        self.last_term = 0
        self.durable_index = 0
        self._hard_state = self._sealed_hard_state = self._durable_hard_state = HardState(0, 0, 0)
        self._hard_state_lsn = 0
        self._sealed_index = 0  # the last index that the ticket under way, or the last one, covers

        self._buffer = buffer
        self._entries = GroupEntries(group_id, reader, tail_bytes_max=tail_bytes_max)
        self._freeing_lsn = 0  # the last record that made entries leave the log
        self._needed_before = 0  # the oldest segment needed until that record is durable

        # While a start reads the log.
        self._missing_last = 0  # entries up to here are in segments that are gone
        self._unknown_last = 0  # the last entry, if its term is not known for that reason

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
        self._add(index, term, data)

    def truncate_from(self, index: int) -> None:
        """Buffer the removal of the entries from `index` on, which must be in the log."""
        assert self.first_index <= index <= self.last_index, (
            f"truncation at {index} outside {self.first_index}..{self.last_index}"
        )
        self._add_freeing(TRUNCATE.pack(TRUNCATE_KIND, self.group_id, index))
        self._drop_from(index)

    def compact(self, base_index: int) -> None:
        """Buffer that the entries up to and including `base_index` are forgotten.

        Memory lets them go at once; `base_index` and `base_term` (its term) change at once. It must
        be in `base_index..durable_index`; the present `base_index` changes nothing. The caller
        vouches that a durable snapshot covers these entries. Commit is raised to `base_index` at
        least.
        """
        if base_index == self.base_index:
            return
        assert self.base_index < base_index <= self.durable_index, (
            f"compaction at {base_index} outside {self.base_index}..{self.durable_index}"
        )
        base_term = self._entries.runs.term_at(base_index)
        self._add_freeing(BASE.pack(COMPACT_KIND, self.group_id, base_index, base_term))
        self._forget_until(base_index, base_term)

    def reset(self, base_index: int, base_term: int) -> None:
        """Buffer that a snapshot took the place of the whole log, which is empty afterwards.

        `last_index` is `base_index` and `last_term` is `base_term` at once. Until the ticket that
        covers this is complete a restart finds the old log, and `durable_index` is at most the
        former `base_index`. Term and vote stay, commit is raised to `base_index` at least. That
        must not be below the former one, nor below an entry that is both committed and durable.
        """
        kept = max(self.base_index, min(self._hard_state.commit, self.durable_index))
        assert base_index >= kept, f"reset to {base_index} of a log that must keep {kept}"
        self._add_freeing(BASE.pack(RESET_KIND, self.group_id, base_index, base_term))
        self._start_over(base_index, base_term)

    def compaction_index(self, sequence: int) -> int | None:
        """Return the lowest `base_index` that frees segments up to and including `sequence`.

        `None` when this group needs none of them. At most `durable_index` for a `sequence` from
        `Wal.last_sequence_before`. It may be over the commit index: then the group has to wait.
        """
        return self._entries.last_until(sequence, last_index=self.last_index)

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry or of `base_index`, without I/O.

        `None` outside the log, and for index 0.
        """
        if not self.base_index <= index <= self.last_index or not index:
            return None
        return self._entries.runs.term_at(index)

    def first_index_of_term_run(self, index: int) -> int:
        """Return the first index of the run of equal terms that entry `index` is in."""
        self._check_range(index, index + 1)
        return max(self._entries.runs.start_of(index), self.first_index)

    def entries(self, lo: int, hi: int, max_bytes: int | None = None) -> list[Entry]:
        """Return the entries from `lo` up to, not including, `hi`.

        Fewer when they hold over `max_bytes` of data, but at least one. Entries that left memory
        are read from the disk: raises `OSError`, and `WalDamaged` when they have changed there.
        `IndexError` outside the log.
        """
        if lo == hi:
            return []
        self._check_range(lo, hi)
        return self._entries.read(lo, hi, max_bytes)

    # Called by the buffer and the log, in this order, for each group that a batch or ticket
    # touches.

    def on_placed(self, location: Location) -> None:
        """All records so far are in the batch at `location` or in earlier ones."""
        self._entries.place(location)
        self.head = self._make_head()

    def on_sealed(self) -> None:
        """A ticket covers all records so far."""
        self._sealed_index = self.last_index
        self._sealed_hard_state = self._hard_state

    def on_synced(self) -> None:
        """The ticket that was sealed last is durable."""
        # A truncation or reset while the ticket was under way has lowered `_sealed_index`: what it
        # dropped is on the disk, but what takes its place is not.
        self.durable_index = self._sealed_index
        self._durable_hard_state = self._sealed_hard_state
        self._entries.evict(self.durable_index)

    @property
    def needed_sequence(self) -> int:
        """The oldest segment with entries that a restart would want, 0 for none."""
        if self._freeing_lsn > self._buffer.durable_lsn:
            return self._needed_before
        return self._entries.oldest_sequence

    # Called for each record that a start reads back.

    def restore_head(self, head: GroupHead) -> None:
        """Begin with what the oldest segment's head says; its entries are not there."""
        self._hard_state = HardState(head.term, head.voted_for, head.commit)
        self._start_over(head.base_index, head.base_term)
        self._entries.skip_until(head.last_index)
        self.last_index = self.durable_index = self._missing_last = head.last_index
        self._learn_last_term(head.last_term)

    def restore_next_head(self, head: GroupHead) -> None:
        """Take the head of a later segment; raises `BadRecord` unless it says what is known."""
        if self._unknown_last and self.last_index == self._unknown_last:
            self._unknown_last = 0
            self._learn_last_term(head.last_term)
        known = self._make_head()
        # A commit index was limited to the log at the last start, so the two may differ.
        if known._replace(commit=head.commit) != head:
            raise BadRecord(
                f"the segment begins with {head}, but the records before it give {known}"
            )
        self.restore_commit(head.commit)

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
        self._add(index, term, data)

    def restore_truncation(self, index: int) -> None:
        """Take a truncation from the log; raises `BadRecord` when there is nothing to truncate."""
        if not self.first_index <= index <= self.last_index:
            raise BadRecord(f"group {self.group_id} has no entry {index} to truncate at")
        if index <= self._missing_last:
            # Of the missing entries only the last one's term was known. From here on `last_term`
            # is a lower bound, until an entry, a base or a head tells it.
            self._missing_last = index - 1
            self._unknown_last = index - 1 if index > self.first_index else 0
        self._drop_from(index)

    def restore_compaction(self, base_index: int, base_term: int) -> None:
        """Take a compaction from the log; raises `BadRecord` when it does not fit the entries."""
        fits = self.base_index < base_index <= self.durable_index
        if fits:
            term = self._entries.runs.term_at(base_index)
            is_known = base_index >= self._missing_last and base_index != self._unknown_last
            fits = base_term == term if is_known else base_term >= term
        if not fits:
            raise BadRecord(
                f"group {self.group_id} has no entry {base_index} of term {base_term} to forget"
            )
        if base_index == self._unknown_last:
            self._unknown_last = 0
        self._forget_until(base_index, base_term)

    def restore_reset(self, base_index: int, base_term: int) -> None:
        """Take a reset from the log; raises `BadRecord` when the log has gone further before."""
        if base_index < self.base_index:
            raise BadRecord(
                f"group {self.group_id} is reset to {base_index}, behind its base {self.base_index}"
            )
        self._start_over(base_index, base_term)

    def on_restored_batch(self, location: Location) -> None:
        """All records of the batch at `location` were taken; they are on the disk."""
        self.on_placed(location)
        self.on_sealed()
        self.on_synced()

    def finish_restore(self) -> None:
        """The whole log was read; raises `BadRecord` when entries are missing."""
        if self._missing_last > self.base_index:
            raise BadRecord(
                f"entries {self.first_index} to {self._missing_last} of group {self.group_id} "
                f"were in earlier segments, which are missing"
            )
        commit = max(self.base_index, min(self._hard_state.commit, self.last_index))
        self._hard_state = self._hard_state._replace(commit=commit)
        self._sealed_hard_state = self._durable_hard_state = self._hard_state

    # What the records do, when they are written and when they are read back.

    def _add(self, index: int, term: int, data: bytes) -> None:
        if term != self.last_term:
            self._entries.runs.append(index, term)
            self.last_term = term
        self.last_index = index
        self._entries.add(Entry(index, term, data))

    def _drop_from(self, index: int) -> None:
        self._entries.truncate_from(index, first_index=self.first_index)
        self.last_index = index - 1
        self.last_term = self._entries.runs.last_term
        self.durable_index = min(self.durable_index, index - 1)
        self._sealed_index = min(self._sealed_index, index - 1)

    def _forget_until(self, base_index: int, base_term: int) -> None:
        self._entries.forget_until(base_index, base_term, last_index=self.last_index)
        self.last_term = self._entries.runs.last_term
        self._set_base(base_index, base_term)

    def _start_over(self, base_index: int, base_term: int) -> None:
        self._entries.start_over(base_index, base_term)
        # What the disk has of the old log counts no longer, up to its base it is in a snapshot.
        self.durable_index = min(self.durable_index, self.base_index)
        self._sealed_index = min(self._sealed_index, self.base_index)
        self.last_index, self.last_term = base_index, base_term
        self._missing_last = self._unknown_last = 0
        self._set_base(base_index, base_term)

    def _set_base(self, base_index: int, base_term: int) -> None:
        self.base_index, self.base_term = base_index, base_term
        self.first_index = base_index + 1
        if self._hard_state.commit < base_index:
            self._hard_state = self._hard_state._replace(commit=base_index)

    def _add_freeing(self, record: bytes) -> None:
        self._buffer.add(self, record)
        if self._freeing_lsn <= self._buffer.durable_lsn:
            self._needed_before = self._entries.oldest_sequence
        self._freeing_lsn = self._buffer.lsn

    def _learn_last_term(self, term: int) -> None:
        if term > self.last_term:
            self._entries.runs.append(self.last_index, term)
            self.last_term = term

    def _make_head(self) -> GroupHead:
        return GroupHead(
            self.group_id,
            *self._hard_state,
            self.base_index,
            self.base_term,
            self.last_index,
            self.last_term,
        )

    def _check_range(self, lo: int, hi: int) -> None:
        if not self.first_index <= lo <= hi <= self.last_index + 1:
            raise IndexError(
                f"entries {lo} up to {hi} of group {self.group_id}, which has "
                f"{self.first_index} to {self.last_index}"
            )
