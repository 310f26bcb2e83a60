"""A store without a disk: the fake for tests and simulation, with LMDB's transaction semantics."""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import contextmanager
from heapq import merge
from typing import TYPE_CHECKING, cast

from cluster.state.errors import StoreFull
from cluster.state.packing import pack, unpack
from cluster.state.store import KEY_BYTES_MAX, Table

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator


class _Rows:
    """One table: its values, and its keys in order."""

    __slots__ = ("keys", "values")

    def __init__(self, values: dict[bytes, bytes], keys: list[bytes]) -> None:
        self.values = values
        self.keys = keys

    def copy(self) -> _Rows:
        return _Rows(self.values.copy(), self.keys.copy())

    def scan(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        for position in range(bisect_left(self.keys, start), len(self.keys)):
            key = self.keys[position]
            yield key, self.values[key]

    def change(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self.values:
                insort(self.keys, key)
            self.values[key] = value
        elif self.values.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


class MemoryReadTransaction:
    """Reads one committed state."""

    __slots__ = ("_tables",)

    def __init__(self, tables: list[_Rows]) -> None:
        self._tables = tables

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._tables[table].values.get(key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._tables[table].scan(start)


class MemoryWriteTransaction:
    """Collects changes above a committed state; None stands for a removed key."""

    __slots__ = ("_tables", "changes")

    def __init__(self, tables: list[_Rows]) -> None:
        self._tables = tables
        self.changes: list[dict[bytes, bytes | None]] = [{} for _ in Table]

    def get(self, table: Table, key: bytes) -> bytes | None:
        changes = self.changes[table]
        return changes[key] if key in changes else self._tables[table].values.get(key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        changes = self.changes[table]
        changed = sorted(
            (key, value) for key, value in changes.items() if value is not None and key >= start
        )
        kept = (row for row in self._tables[table].scan(start) if row[0] not in changes)
        return merge(changed, kept)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        assert 0 < len(key) <= KEY_BYTES_MAX, f"{table.name} key of {len(key)} bytes"
        self.changes[table][key] = value

    def insert(self, table: Table, key: bytes, value: bytes) -> None:
        assert self.get(table, key) is None, f"{table.name} {key.hex()} is there already"
        self.put(table, key, value)

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in rows:
            self.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> bool:
        existed = self.get(table, key) is not None
        self.changes[table][key] = None
        return existed


class MemoryStore:
    """A `Store` in memory.

    It outlives a simulated process crash as it is; a simulated machine crash takes a new one. While
    `full` is set, each commit raises `StoreFull`.
    """

    def __init__(self) -> None:
        self.full = False
        self._tables = [_Rows({}, []) for _ in Table]
        self._readers = 0

    @contextmanager
    def read(self) -> Generator[MemoryReadTransaction]:
        self._readers += 1
        try:
            yield MemoryReadTransaction(self._tables)
        finally:
            self._readers -= 1

    @contextmanager
    def write(self) -> Generator[MemoryWriteTransaction]:
        transaction = MemoryWriteTransaction(self._tables)
        yield transaction
        if self.full:
            raise StoreFull("the memory store is set to be full")
        self._commit(transaction.changes)

    def close(self) -> None:
        assert self._readers == 0, "a read transaction is still open"

    def dump(self) -> bytes:
        """All content, to be loaded into another one."""
        tables = [list(rows.scan(b"")) for rows in self._tables]
        return pack(tables)

    @classmethod
    def from_dump(cls, data: bytes) -> MemoryStore:
        """A new store with what `dump` gave."""
        store = cls()
        tables = cast("tuple[tuple[tuple[bytes, bytes], ...], ...]", unpack(data))
        for rows, content in zip(store._tables, tables, strict=True):
            for key, value in content:
                rows.change(key, value)
        return store

    def _commit(self, changes: list[dict[bytes, bytes | None]]) -> None:
        if self._readers:  # they keep the tables they began with
            self._tables = [rows.copy() for rows in self._tables]
        for rows, changed in zip(self._tables, changes, strict=True):
            for key, value in changed.items():
                rows.change(key, value)
