"""Changes above a transaction that may yet be thrown away: all of them are made, or none."""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.state.store import ReadTransaction, Table, WriteTransaction


class Overlay:
    """A `WriteTransaction` whose writes stay here; reads see them above those of `below`.

    They are rows, which mean something above that state only: `below` must not change meanwhile.
    """

    __slots__ = ("_below", "_changes")

    def __init__(self, below: ReadTransaction) -> None:
        self._below = below
        self._changes: dict[Table, dict[bytes, bytes | None]] = {}

    def get(self, table: Table, key: bytes) -> bytes | None:
        changes = self._changes.get(table)
        if changes is not None and key in changes:
            return changes[key]
        return self._below.get(table, key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        changes = self._changes.get(table)
        if not changes:
            return self._below.scan(table, start)
        changed = sorted(
            (key, value) for key, value in changes.items() if value is not None and key >= start
        )
        kept = (row for row in self._below.scan(table, start) if row[0] not in changes)
        return merge(changed, kept)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._changes.setdefault(table, {})[key] = value

    def delete(self, table: Table, key: bytes) -> bool:
        existed = self.get(table, key) is not None
        self._changes.setdefault(table, {})[key] = None
        return existed

    def write_to(self, txn: WriteTransaction) -> None:
        """Makes the changes, in an order that is the same everywhere. Raises `StoreFull`."""
        for table, changes in self._changes.items():
            for key, value in changes.items():
                if value is None:
                    txn.delete(table, key)
                else:
                    txn.put(table, key, value)
