"""The seam between the state machine and what keeps its bytes: ordered tables with transactions.

Two implementations hold the same promises, checked by one conformance suite: `MemoryStore` here and
`LmdbStore` in `cluster.storage`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

KEY_BYTES_MAX = 500
"""No table key may be longer (LMDB's own bound is 511)."""


class Table(IntEnum):
    """The tables of a state. Numbers index into store internals; names are on disk: keep both."""

    META = 0
    KV = 1
    LONG = 2
    SESSIONS = 3
    RESULTS = 4
    EXPIRY = 5
    HISTORY = 6
    GRAVES = 7
    TIMERS = 8
    GARBAGE = 9
    QUEUE_BODY = 10
    QUEUE_READY = 11
    QUEUE_STATE = 12
    QUEUE_DEAD = 13
    QUEUE_DEDUP = 14
    STREAM_RECORDS = 15
    STREAM_PARTS = 16
    GROUP_PENDING = 17
    GROUP_DUE = 18
    GROUP_MEMBERS = 19
    TXNS = 20


class ReadTransaction(Protocol):
    """One committed state, unchanged by later commits. To be ended before the next write begins:
    pages that are read are not used again."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        ...

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value from `start` on (inclusive), in byte order; `b""` is the beginning.

        An iterator is not continued after a put or delete in its table.
        """
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """A state in the making: reads see its own writes, nobody else does before the commit."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Sets a key of 1 to `KEY_BYTES_MAX` bytes. Raises `StoreFull`."""
        ...

    def insert(self, table: Table, key: bytes, value: bytes) -> None:
        """Sets a key that is not there, which only the caller knows: it may cost less, above all
        when the key is removed soon. Raises `StoreFull`."""
        ...

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """The same for many keys with their values; in order they cost least."""
        ...

    def delete(self, table: Table, key: bytes) -> bool:
        """Removes a key; says whether it was there. Raises `StoreFull`."""
        ...


class Store(Protocol):
    """Ordered tables. One writer at a time; readers are not disturbed by it."""

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """The last committed state."""
        ...

    def write(self) -> AbstractContextManager[WriteTransaction]:
        """Commits at the end of the block; an exception inside drops everything.

        Raises `StoreFull` from the end of the block when the commit finds no space.
        """
        ...

    def close(self) -> None:
        """Releases the store, all commits kept. No transaction may be open."""
        ...
