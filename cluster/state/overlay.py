"""Changes above a state that stays as it is: kept in memory, seen by whoever reads through them.

A transaction uses one that may yet be thrown away: all its changes are made, or none. A replica
uses one that lasts longer, so that what changes often is written to the store seldom.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from cluster.state.store import KEY_BYTES_MAX, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction

_ROW_BYTES = 160
"""What a change takes in memory beside key and value, about."""

_Changes = dict[bytes, bytes | None]


class Overlay:
    """A `WriteTransaction` whose writes stay here; reads see them above those of `below`.

    They are rows, which mean something above that state only: `below` must not change meanwhile.
    """

    __slots__ = ("_below", "_changes", "_keys", "_new", "_skips", "nbytes")

    def __init__(self, below: ReadTransaction) -> None:
        self.begin_anew(below)

    def begin_anew(self, below: ReadTransaction) -> None:
        """There are no changes above what `below` shows."""
        self._below = below
        self.nbytes = 0
        """About what the changes take in memory."""
        self._changes: list[_Changes] = [{} for _ in Table]
        self._new: list[dict[bytes, bytes]] = [{} for _ in Table]
        """Rows that were inserted: `below` has none of these keys, unless it was removed before. So
        nothing is left of what came and went."""
        self._keys: list[list[bytes] | None] = [None] * len(Table)
        """Of all rows here, in order; made for the first scan of a table."""
        self._skips: list[dict[bytes, bytes | None]] = [{} for _ in Table]
        """From a changed key of `below` to a later one, or None for the end: all between them are
        changed as well. A queue is read at its front, where its removed rows are."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        new = self._new[table]
        if key in new:
            return new[key]
        changes = self._changes[table]
        return changes[key] if key in changes else self._below.get(table, key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        changes, new = self._changes[table], self._new[table]
        if not changes and not new:
            return self._below.scan(table, start)
        keys = self._keys[table]
        if keys is None:
            keys = [key for key, value in changes.items() if value is not None]
            keys += new
            keys.sort()
            self._keys[table] = keys
        at = bisect_left(keys, start)
        if at == len(keys):
            return self._unchanged(table, start)
        return self._merged(table, start, keys, at)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        assert 0 < len(key) <= KEY_BYTES_MAX, f"{table.name} key of {len(key)} bytes"
        changes: dict[bytes, bytes | None] | dict[bytes, bytes] = self._new[table]
        if key not in changes:
            changes = self._changes[table]
        old = changes.get(key)
        if old is not None:
            self.nbytes += len(value) - len(old)
        else:
            self.nbytes += len(value)
            if key not in changes:
                self.nbytes += len(key) + _ROW_BYTES
            keys = self._keys[table]
            if keys is not None:
                insort(keys, key)
        changes[key] = value

    def insert(self, table: Table, key: bytes, value: bytes) -> None:
        assert 0 < len(key) <= KEY_BYTES_MAX, f"{table.name} key of {len(key)} bytes"
        self._new[table][key] = value
        self.nbytes += len(key) + len(value) + _ROW_BYTES
        keys = self._keys[table]
        if keys is not None:
            insort(keys, key)

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            self.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> bool:
        new = self._new[table]
        if key in new:
            self.nbytes -= len(key) + len(new.pop(key)) + _ROW_BYTES
            self._forget_place(table, key)
            return True
        changes = self._changes[table]
        if key in changes:
            old = changes[key]
            if old is None:
                return False
            self.nbytes -= len(old)
            self._forget_place(table, key)
        else:
            if self._below.get(table, key) is None:
                return False
            self.nbytes += len(key) + _ROW_BYTES
        changes[key] = None
        return True

    def write_to(self, txn: WriteTransaction) -> None:
        """Makes the changes. Raises `StoreFull`."""
        for table in Table:
            rows = list(self._new[table].items())
            for key, value in self._changes[table].items():
                if value is None:
                    txn.delete(table, key)
                else:
                    rows.append((key, value))
            if rows:
                rows.sort()
                txn.put_all(table, rows)

    def move_to(self, below: ReadTransaction) -> None:
        """Reads go to another transaction, which shows the same state."""
        self._below = below

    def _forget_place(self, table: Table, key: bytes) -> None:
        keys = self._keys[table]
        if keys is not None:
            del keys[bisect_left(keys, key)]

    def _merged(
        self, table: Table, start: bytes, keys: list[bytes], at: int
    ) -> Iterator[tuple[bytes, bytes]]:
        changes, new = self._changes[table], self._new[table]
        unchanged = self._unchanged(table, start)
        row = next(unchanged, None)
        while at < len(keys):
            key = keys[at]
            while row is not None and row[0] < key:
                yield row
                row = next(unchanged, None)
            value = new[key] if key in new else changes[key]
            assert value is not None, "the keys in order are of rows that are there"
            yield key, value
            at += 1
        while row is not None:
            yield row
            row = next(unchanged, None)

    def _unchanged(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows of `below` from `start` on that are as they were."""
        changes, skips = self._changes[table], self._skips[table]
        run: bytes | None = None  # where the changed rows began that end here
        at: bytes | None = start
        while at is not None:
            begin, at = at, None
            for row in self._below.scan(table, begin):
                key = row[0]
                if key not in changes:
                    if run is not None:
                        skips[run] = key
                        run = None
                    yield row
                    continue
                if run is None:
                    run = key
                if key in skips:
                    at = skips[key]
                    if at is None:
                        return
                    break
        if run is not None:
            skips[run] = None
