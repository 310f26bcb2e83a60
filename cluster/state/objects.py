"""Named things with a record of their own: queues, streams, groups.

Their records live in the keyspace, under keys that begin with NUL, which no namespace does: so
names may be as long as keys, and come in byte order. What commands change often (counts, the last
sequence) is decoded once and kept in memory; what has changed is written back when entries have
been applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cluster.state import keyspace
from cluster.state.checksum import seal, unseal
from cluster.state.keyspace import Record
from cluster.state.store import Table

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

    def create(self, txn: WriteTransaction, full: bytes, record: T) -> None:
        """A new name, or one that gets another record.

        It is written at once: what a long name needs in the keyspace must not depend on where a
        transaction ends.
        """
        keyspace.put(txn, full, Record(0, 0, record.encode()))
        self._changed.pop(full, None)
        self._remember(full, record)

    def changed(self, full: bytes, record: T) -> None:
        """`record` of `full` was changed in place; it is written at the end."""
        self._cache[full] = record
        self._changed[full] = record

    def delete(self, txn: WriteTransaction, full: bytes) -> None:
        """Removes a name."""
        self._cache.pop(full, None)
        self._changed.pop(full, None)
        keyspace.delete(txn, full)

    def forget(self, prefix: bytes) -> None:
        """What begins with `prefix` became garbage in the store: it is not written any more."""
        for known in (self._cache, self._changed):
            for full in [each for each in known if each.startswith(prefix)]:
                del known[full]

    def flush(self, txn: WriteTransaction) -> None:
        """Writes what was changed: before a scan over names, and at the end of a transaction."""
        for full, record in self._changed.items():
            keyspace.put(txn, full, Record(0, 0, record.encode()))
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


def name_id(txn: WriteTransaction, number: int, full: bytes) -> None:
    """Notes what an id stands for, for timers: they have no room for names."""
    key = _id_key(number)
    txn.put(Table.META, key, seal(key, full))


def name_of_id(txn: ReadTransaction, number: int) -> bytes | None:
    """The full key of an id; None for one that was given up. Raises `CorruptState`."""
    key = _id_key(number)
    row = txn.get(Table.META, key)
    return None if row is None else unseal(Table.META, key, row)


def forget_id(txn: WriteTransaction, number: int) -> None:
    """The id is given up."""
    txn.delete(Table.META, _id_key(number))


def _id_key(number: int) -> bytes:
    return b"id" + number.to_bytes(8, "big")
