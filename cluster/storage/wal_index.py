"""What stays in memory of entries that do not: the terms of all, and where to look for some."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

POINT_EVERY_ENTRIES = 64
POINT_EVERY_BYTES = 64 << 10

_OFFSET_BITS = 32


class Location(NamedTuple):
    """Where a batch begins."""

    sequence: int
    offset: int


class TermRuns:
    """The term of every entry of a log, as runs of equal terms; the first begins with its base."""

    __slots__ = ("_starts", "_terms")

    def __init__(self) -> None:
        self._starts = [0]
        self._terms = [0]

    @property
    def last_term(self) -> int:
        """The term of the last entry, or of the base when there is none."""
        return self._terms[-1]

    def append(self, index: int, term: int) -> None:
        """Note the entry after the last one; its term must not be smaller."""
        if self._terms[-1] != term:
            self._starts.append(index)
            self._terms.append(term)

    def truncate_from(self, index: int) -> None:
        """Forget the entries from `index` on, which is over the base."""
        starts = self._starts
        while starts[-1] >= index:
            starts.pop()
            self._terms.pop()

    def forget_until(self, base_index: int, base_term: int) -> None:
        """Move the base forward."""
        before = bisect_right(self._starts, base_index) - 1
        del self._starts[:before]
        del self._terms[:before]
        self._starts[0], self._terms[0] = base_index, base_term

    def start_over(self, base_index: int, base_term: int) -> None:
        """Forget all entries; the next one follows `base_index`."""
        self._starts, self._terms = [base_index], [base_term]

    def term_at(self, index: int) -> int:
        """Return the term of an entry of the log, or of its base."""
        return self._terms[self._run(index)]

    def start_of(self, index: int) -> int:
        """Return where the run begins that an entry of the log is in, perhaps with the base."""
        return self._starts[self._run(index)]

    def _run(self, index: int) -> int:
        if index >= self._starts[-1]:
            return -1
        return bisect_right(self._starts, index) - 1


class SparseIndex:
    """Where some entries of a group stand; the others are found by reading on from there.

    A point costs 16 bytes and stands for at least `POINT_EVERY_ENTRIES` entries or
    `POINT_EVERY_BYTES` of the group's data, or one batch when that holds more. The first entry
    of the group in each segment has a point as well, so the points also tell which segments
    hold entries of the group.
    """

    __slots__ = ("_indexes", "_places", "last_index", "last_sequence")

    def __init__(self) -> None:
        self._indexes = array("Q")
        self._places = array("Q")
        # Index and segment of the last point, 0 when there is none.
        self.last_index = 0
        self.last_sequence = 0

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def first_sequence(self) -> int:
        """The segment of the first point, 0 when there is none."""
        return self._places[0] >> _OFFSET_BITS if self._places else 0

    def add(self, index: int, location: Location) -> None:
        """Note that the batch at `location` holds entry `index`; indexes must grow."""
        assert index > self.last_index, f"point {index} after {self.last_index}"
        self._indexes.append(index)
        self._places.append(location.sequence << _OFFSET_BITS | location.offset)
        self.last_index, self.last_sequence = index, location.sequence

    def truncate_from(self, index: int) -> None:
        """Forget the points from `index` on: those entries are no longer part of the log."""
        keep = bisect_left(self._indexes, index)
        del self._indexes[keep:]
        del self._places[keep:]
        self.last_index = self._indexes[-1] if keep else 0
        self.last_sequence = self._places[-1] >> _OFFSET_BITS if keep else 0

    def forget_before(self, index: int) -> None:
        """Forget the points that lead to no entry from `index` on."""
        before = bisect_right(self._indexes, index) - 1
        if before > 0:
            del self._indexes[:before]
            del self._places[:before]

    def clear(self) -> None:
        """Forget all points."""
        self.truncate_from(0)

    def first_after(self, sequence: int) -> int | None:
        """Return the index of the first point in a segment after `sequence`, if there is one."""
        position = bisect_left(self._places, (sequence + 1) << _OFFSET_BITS)
        return self._indexes[position] if position < len(self._indexes) else None

    def find(self, index: int) -> Location | None:
        """Return a batch at or before the one that holds `index`, `None` before the first point."""
        position = bisect_right(self._indexes, index) - 1
        if position < 0:
            return None
        place = self._places[position]
        return Location(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1))
