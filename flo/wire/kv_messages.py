"""What can be asked and answered about the versions of a key, its JSON document, and transactions.

The rest of the messages, and the unions of all of them, are in `messages`.
"""

from __future__ import annotations

from typing import NamedTuple


class KvHistory(NamedTuple):
    """The last versions of a key, at most `limit` (1 to 65); None is the default of 10."""

    namespace: bytes
    key: bytes
    limit: int | None = None
    routing_key: bytes | None = None


class KvJsonGet(NamedTuple):
    """Read the part of a JSON document at a path; an empty path is `$`, the whole of it."""

    namespace: bytes
    key: bytes
    path: bytes = b""
    routing_key: bytes | None = None


class KvJsonSet(NamedTuple):
    """Set the part of a JSON document at a path; an empty path is `$` and may create the key."""

    namespace: bytes
    key: bytes
    path: bytes
    document: bytes
    routing_key: bytes | None = None


class KvJsonDelete(NamedTuple):
    """Remove the part of a JSON document at a path; an empty path is `$` and removes the key."""

    namespace: bytes
    key: bytes
    path: bytes = b""
    routing_key: bytes | None = None


class TxnBegin(NamedTuple):
    """Open a transaction in the partition of a routing key, which is not empty."""

    namespace: bytes
    routing_key: bytes


class TxnCommit(NamedTuple):
    """Apply what a transaction holds. The id alone finds it: v2 carries no routing key."""

    namespace: bytes
    routing_key: bytes | None
    txn: int


class TxnRollback(NamedTuple):
    """Drop a transaction. The id alone finds it: v2 carries no routing key."""

    namespace: bytes
    routing_key: bytes | None
    txn: int


class HistoryEntry(NamedTuple):
    """One version of a key; `at_ms` is when it was written, in unix milliseconds."""

    version: int
    at_ms: int
    value: bytes


class History(NamedTuple):
    """The versions of a key, newest first; v2 has room for 255."""

    entries: tuple[HistoryEntry, ...]


class TxnBegun(NamedTuple):
    """An open transaction; `pinned` is a hash of what it was begun with, only to be shown."""

    txn: int
    pinned: int


class TxnCommitted(NamedTuple):
    """The version that all keys of the transaction got, and how many writes it held."""

    commit_index: int
    operations: int
