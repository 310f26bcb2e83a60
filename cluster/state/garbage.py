"""Rows that nothing points to any more, removed a few per entry.

Whoever empties a queue or deletes a stream gives up its id at once, whatever is stored under it;
the rows go later, so that no entry is slow because somebody threw away a million of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.checksum import seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.state.store import ReadTransaction, WriteTransaction

ROWS_PER_ENTRY = 256
ROWS_PER_ROW = 4
"""Rows that one entry may remove: so many for itself, and so many for each that its commands are
about. That is more than they can throw away, so garbage does not grow, whatever comes."""


class Garbage:
    """The GARBAGE table: `table (1 byte) + first key -> last key`, which goes too; an empty last
    key means all that begin with the first.

    `also` says what else goes with a row of a table.
    """

    __slots__ = ("_also", "_any")

    def __init__(
        self, also: Mapping[Table, Callable[[WriteTransaction, bytes, bytes], None]] | None = None
    ) -> None:
        self._any = False
        self._also = also or {}

    @property
    def pending(self) -> bool:
        """Whether something is left to be removed."""
        return self._any

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds."""
        self._any = any(True for _ in txn.scan(Table.GARBAGE, b""))

    def add(self, txn: WriteTransaction, table: Table, prefix: bytes, last: bytes = b"") -> None:
        """Everything in `table` whose key begins with `prefix` is of no use, or, with `last`,
        everything from the one to the other; nothing may be added there any more."""
        key = bytes((table,)) + prefix
        txn.put(Table.GARBAGE, key, seal(key, last))
        self._any = True

    def collect(self, txn: WriteTransaction, work: int = 0) -> None:
        """Removes rows, those of the GARBAGE table included, in an entry whose commands are about
        so many."""
        room = ROWS_PER_ENTRY + ROWS_PER_ROW * work
        while self._any and room > 0:
            heap = next(iter(txn.scan(Table.GARBAGE, b"")), None)
            if heap is None:
                self._any = False
                return
            last = unseal(Table.GARBAGE, *heap)
            table = Table(heap[0][0])
            rows = self._first_rows(txn, heap[0], last, room)
            for key, row in rows:
                txn.delete(table, key)
                if table in self._also:
                    self._also[table](txn, key, row)
            room -= len(rows)
            if room > 0:
                txn.delete(Table.GARBAGE, heap[0])
                room -= 1

    def _first_rows(
        self, txn: ReadTransaction, heap: bytes, last: bytes, most: int
    ) -> list[tuple[bytes, bytes]]:
        """The first rows of a heap; their values only where they are needed."""
        table, first = Table(heap[0]), heap[1:]
        rows: list[tuple[bytes, bytes]] = []
        for key, row in txn.scan(table, first):
            if len(rows) == most or (key > last if last else not key.startswith(first)):
                break
            rows.append((key, row if table in self._also else b""))
        return rows
