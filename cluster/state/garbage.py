"""Rows that nothing points to any more, removed a few per entry.

Whoever empties a queue or deletes a stream gives up its id at once, whatever is stored under it;
the rows go later, so that no entry is slow because somebody threw away a million of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.checksum import seal
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.store import ReadTransaction, WriteTransaction

ROWS_PER_ENTRY = 256
"""Rows that one entry may remove."""


class Garbage:
    """The GARBAGE table: `table (1 byte) + prefix -> nothing`; what begins with the prefix goes."""

    __slots__ = ("_any",)

    def __init__(self) -> None:
        self._any = False

    @property
    def pending(self) -> bool:
        """Whether something is left to be removed."""
        return self._any

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds."""
        self._any = any(True for _ in txn.scan(Table.GARBAGE, b""))

    def add(self, txn: WriteTransaction, table: Table, prefix: bytes) -> None:
        """Everything in `table` whose key begins with `prefix` is of no use; nothing may be added
        there any more."""
        key = bytes((table,)) + prefix
        txn.put(Table.GARBAGE, key, seal(key, b""))
        self._any = True

    def collect(self, txn: WriteTransaction) -> None:
        """Removes rows, at most `ROWS_PER_ENTRY`."""
        room = ROWS_PER_ENTRY
        while self._any and room:
            heap = next(iter(txn.scan(Table.GARBAGE, b"")), None)
            if heap is None:
                self._any = False
                return
            table, prefix = Table(heap[0][0]), heap[0][1:]
            rows = _first_rows(txn, table, prefix, room)
            for key in rows:
                txn.delete(table, key)
            room -= len(rows)
            if room:
                txn.delete(Table.GARBAGE, heap[0])


def _first_rows(txn: ReadTransaction, table: Table, prefix: bytes, most: int) -> list[bytes]:
    rows: list[bytes] = []
    for key, _ in txn.scan(table, prefix):
        if not key.startswith(prefix) or len(rows) == most:
            break
        rows.append(key)
    return rows
