"""What stays in memory of entries that do not: the terms of all, and where to look for some."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import NamedTuple

POINT_EVERY_ENTRIES = 64
POINT_EVERY_BYTES = 64 << 10

_OFFSET_BITS = 32


class Location(NamedTuple):
    """Where a batch begins."""

    sequence: int
    offset: int


class TermRuns:
    """The term of every entry of a log, as runs of equal terms."""

    __slots__ = ("_starts", "_terms")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._terms: list[int] = []

    @property
    def last_term(self) -> int:
        """The term of the last entry, 0 when there is none."""
        return self._terms[-1] if self._terms else 0

    def append(self, index: int, term: int) -> None:
        """Note the entry after the last one; its term must not be smaller."""
        if not self._terms or self._terms[-1] != term:
            self._starts.append(index)
            self._terms.append(term)

    def truncate_from(self, index: int) -> None:
        """Forget the entries from `index` on."""
        starts = self._starts
        while starts and starts[-1] >= index:
            starts.pop()
            self._terms.pop()

    def term_at(self, index: int) -> int:
        """Return the term of an entry of the log."""
        return self._terms[self._run(index)]

    def start_of(self, index: int) -> int:
        """Return the first index of the run that an entry of the log is in."""
        return self._starts[self._run(index)]

    def _run(self, index: int) -> int:
        if index >= self._starts[-1]:
            return -1
        return bisect_right(self._starts, index) - 1


class SparseIndex:
    """Where some entries of a group stand; the others are found by reading on from there.

    A point costs 16 bytes and stands for at least `POINT_EVERY_ENTRIES` entries or
    `POINT_EVERY_BYTES` of the group's data, or one batch when that holds more.
    """

    __slots__ = ("_indexes", "_places")

    def __init__(self) -> None:
        self._indexes = array("Q")
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._indexes)

    @property
    def last_index(self) -> int:
        """The index of the last point, 0 when there is none."""
        return self._indexes[-1] if self._indexes else 0

    def add(self, index: int, location: Location) -> None:
        """Note that the batch at `location` holds entry `index`; indexes must grow."""
        assert index > self.last_index, f"point {index} after {self.last_index}"
        self._indexes.append(index)
        self._places.append(location.sequence << _OFFSET_BITS | location.offset)

    def truncate_from(self, index: int) -> None:
        """Forget the points from `index` on: those entries are no longer part of the log."""
        keep = bisect_right(self._indexes, index - 1)
        del self._indexes[keep:]
        del self._places[keep:]

    def find(self, index: int) -> Location | None:
        """Return a batch at or before the one that holds `index`, `None` before the first point."""
        position = bisect_right(self._indexes, index) - 1
        if position < 0:
            return None
        place = self._places[position]
        return Location(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1))
