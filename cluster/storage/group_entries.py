"""The entries of one group: the newest in memory, and where on the disk the others stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.wal_index import POINT_EVERY_BYTES, POINT_EVERY_ENTRIES, SparseIndex, TermRuns

if TYPE_CHECKING:
    from cluster.storage.records import Entry
    from cluster.storage.wal_index import Location
    from cluster.storage.wal_reader import LogReader

# What an `Entry` and its fields take in memory beside the data.
ENTRY_OVERHEAD_BYTES = 160

_NO_LIMIT = 1 << 62


class GroupEntries:
    """What `GroupLog` knows of its entries; what it takes is bounded by those still in the log."""

    __slots__ = (
        "_batch_bytes",
        "_batch_first",
        "_bytes_since_point",
        "_group_id",
        "_points",
        "_reader",
        "_tail",
        "_tail_bytes",
        "_tail_bytes_max",
        "_tail_first",
        "runs",
    )

    def __init__(self, group_id: int, reader: LogReader, *, tail_bytes_max: int) -> None:
        self.runs = TermRuns()
        self._group_id = group_id
        self._reader = reader
        self._tail: list[Entry] = []
        self._tail_first = 1
        self._tail_bytes = 0
        self._tail_bytes_max = tail_bytes_max
        self._points = SparseIndex()
        self._batch_first = 0  # the first index appended to the open batch, 0 for none
        self._batch_bytes = 0
        self._bytes_since_point = 0

    @property
    def oldest_sequence(self) -> int:
        """The oldest segment with an entry that is still in the log, 0 for none."""
        return self._points.first_sequence

    def add(self, entry: Entry) -> None:
        """Take the next entry, whose term `runs` knows already."""
        self._tail.append(entry)
        nbytes = len(entry.data)
        self._tail_bytes += nbytes + ENTRY_OVERHEAD_BYTES
        if not self._batch_first:
            self._batch_first = entry[0]
        self._batch_bytes += nbytes

    def place(self, location: Location) -> None:
        """All entries so far are in the batch at `location` or in earlier ones."""
        if self._batch_first:
            first, points = self._batch_first, self._points
            if (
                first - points.last_index >= POINT_EVERY_ENTRIES
                or self._bytes_since_point >= POINT_EVERY_BYTES
                or points.last_sequence != location.sequence
            ):
                points.add(first, location)
                self._bytes_since_point = 0
            self._bytes_since_point += self._batch_bytes
            self._batch_first = self._batch_bytes = 0

    def truncate_from(self, index: int, *, first_index: int) -> None:
        """Drop the entries from `index` on; `first_index` is the first in the log."""
        if index > self._tail_first:
            dropped = self._tail[index - self._tail_first :]
            del self._tail[index - self._tail_first :]
            self._tail_bytes -= _memory_bytes(dropped)
        else:
            self._tail.clear()
            self._tail_first = index
            self._tail_bytes = 0
        self.runs.truncate_from(index)
        if index == first_index:
            self._points.clear()  # a point before the base may be left, for an entry that is gone
        else:
            self._points.truncate_from(index)
        if self._batch_first >= index:
            self._batch_first = 0

    def forget_until(self, base_index: int, base_term: int, *, last_index: int) -> None:
        """Drop the entries up to and including `base_index`, which are all placed."""
        self.runs.forget_until(base_index, base_term)
        if base_index >= self._placed_last(last_index):
            self._points.clear()  # also the last one, which could lead to a later entry
        else:
            self._points.forget_before(base_index + 1)
        count = base_index + 1 - self._tail_first
        if count > 0:
            self._tail_bytes -= _memory_bytes(self._tail[:count])
            del self._tail[:count]
            self._tail_first = base_index + 1

    def start_over(self, base_index: int, base_term: int) -> None:
        """Drop all entries; the next one follows `base_index`."""
        self.runs.start_over(base_index, base_term)
        self._points.clear()
        self._tail.clear()
        self._tail_first = base_index + 1
        self._tail_bytes = self._batch_first = self._batch_bytes = self._bytes_since_point = 0

    def skip_until(self, last_index: int) -> None:
        """The entries after the base up to `last_index` are in no segment any more."""
        self._tail_first = last_index + 1

    def last_until(self, sequence: int, *, last_index: int) -> int | None:
        """Return the last entry in segments up to and including `sequence`, if there is one."""
        if not 0 < self._points.first_sequence <= sequence:
            return None
        following = self._points.first_after(sequence)
        return self._placed_last(last_index) if following is None else following - 1

    def evict(self, durable_index: int) -> None:
        """Let the oldest of the durable entries leave memory when it holds too much."""
        if self._tail_bytes <= self._tail_bytes_max:
            return
        tail = self._tail
        # A quarter more than needed: shifting the list has its price, so it is done seldom.
        excess = self._tail_bytes - self._tail_bytes_max * 3 // 4
        count = 0
        durable_count = durable_index + 1 - self._tail_first
        while excess > 0 and count < durable_count:
            nbytes = len(tail[count].data) + ENTRY_OVERHEAD_BYTES
            excess -= nbytes
            self._tail_bytes -= nbytes
            count += 1
        del tail[:count]
        self._tail_first += count

    def read(self, lo: int, hi: int, max_bytes: int | None) -> list[Entry]:
        """Return the entries from `lo` up to, not including, `hi`, as `GroupLog.entries` says."""
        room = _NO_LIMIT if max_bytes is None else max_bytes
        if lo >= self._tail_first:
            return self._from_memory(lo, hi, room)
        stop = min(hi, self._tail_first)
        found = self._from_disk(lo, stop, room)
        if len(found) == stop - lo and hi > stop:
            room -= sum(len(entry.data) for entry in found)
            found += self._from_memory(stop, hi, room, at_least_one=False)
        return found

    def _placed_last(self, last_index: int) -> int:
        return self._batch_first - 1 if self._batch_first else last_index

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
        assert location is not None, f"entry {lo} of group {self._group_id} left memory unplaced"
        return self._reader.entries(
            self._group_id, location, range(lo, hi), term_at=self.runs.term_at, max_bytes=room
        )


def _memory_bytes(entries: list[Entry]) -> int:
    return sum(len(entry.data) for entry in entries) + len(entries) * ENTRY_OVERHEAD_BYTES
