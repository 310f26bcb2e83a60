"""Named things with a record of their own: queues, streams, groups.

Their records live in the keyspace, under keys that begin with NUL, which no namespace does: so
names may be as long as keys, and come in byte order. What commands change often (counts, the last
sequence) is decoded once and kept in memory; each store transaction writes back what it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cluster.state import keyspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction

CACHED_MAX = 4096
"""Records kept decoded: memory does not grow with the number of names."""


class Storable(Protocol):
    """A record that can be written: `decode(encode())` is an equal one."""

    def encode(self) -> bytes: ...


T = TypeVar("T", bound=Storable)


class Objects(Generic[T]):
    """The records of one kind, by their full key (see `object_key`).

    A record that was got or created and then changed in place must be marked with `changed`.
    """

    __slots__ = ("_cache", "_changed", "_decode")

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode = decode
        self._cache: dict[bytes, T] = {}
        self._changed: dict[bytes, T] = {}

    def load(self) -> None:
        """Forgets what is in memory: the store is the truth."""
        self._cache.clear()
        self._changed.clear()

    def get(self, txn: ReadTransaction, full: bytes) -> T | None:
        """The record of a name. Raises `CorruptState`."""
        found = self._cache.get(full)
        if found is None:
            found = read_object(txn, full, self._decode)
            if found is not None:
                self._remember(full, found)
        return found

    def create(self, full: bytes, record: T) -> None:
        """A new name, or one that gets another record."""
        self._remember(full, record)
        self._changed[full] = record

    def changed(self, full: bytes, record: T) -> None:
        """`record` of `full` was changed in place; it is written at the end."""
        self._cache[full] = record
        self._changed[full] = record

    def delete(self, txn: WriteTransaction, full: bytes) -> None:
        """Removes a name."""
        self._cache.pop(full, None)
        self._changed.pop(full, None)
        keyspace.delete(txn, full)

    def flush(self, txn: WriteTransaction) -> None:
        """Writes what was changed: before a scan over names, and at the end of a transaction."""
        for full, record in self._changed.items():
            keyspace.put(txn, full, 0, 0, record.encode())
        self._changed.clear()

    def _remember(self, full: bytes, record: T) -> None:
        if len(self._cache) >= CACHED_MAX:
            self._cache = dict(self._changed)
        self._cache[full] = record


def object_key(kind: bytes, namespace: bytes, name: bytes) -> bytes:
    """Where the record of a name lies. `kind` is one byte."""
    return b"\x00" + kind + namespace + b"\x00" + name


def read_object(txn: ReadTransaction, full: bytes, decode: Callable[[bytes], T]) -> T | None:
    """The record as the store holds it. Raises `CorruptState`."""
    stored = keyspace.get(txn, full)
    return None if stored is None else decode(stored.value)


def scan_objects(
    txn: ReadTransaction, prefix: bytes, after: bytes, decode: Callable[[bytes], T]
) -> Iterator[tuple[bytes, T]]:
    """Full keys that start with `prefix` and sort after `after`, with their records, in order."""
    for full, stored in keyspace.scan(txn, prefix, after):
        yield full, decode(stored.value)
