"""What can be asked and answered, independent of the revision that carries it.

Requests and results are named tuples: cheap to build, immutable, comparable. Byte strings are real
`bytes`. A request decoded from the wire has passed the protocol's limits; one built by hand has
not.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from flo.wire.group_messages import GroupBody, GroupResult
from flo.wire.kv_messages import (
    History,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnCommitted,
    TxnRollback,
)
from flo.wire.queue_messages import QueueBody, QueueResult
from flo.wire.stream_messages import StreamBody, StreamResult


class CallContext(NamedTuple):
    """What our own client says about a call, beside the request itself.

    `session`, `sequence` and `floor` (the lowest sequence still awaited) make a retry exact;
    `stale` allows a read to be answered by a follower; `deadline_ms` is the time the caller still
    waits.
    """

    session: int | None = None
    sequence: int | None = None
    floor: int | None = None
    stale: bool = False
    deadline_ms: int | None = None


class Ping(NamedTuple):
    """Is anybody there?"""


class KvPut(NamedTuple):
    """Store a value. No TTL (None or 0) clears the one there is; `cas` 0 means "must not exist"."""

    namespace: bytes
    key: bytes
    value: bytes
    ttl_ms: int | None = None
    if_absent: bool = False
    if_present: bool = False
    cas: int | None = None
    routing_key: bytes | None = None
    txn: int | None = None


class KvGet(NamedTuple):
    """Read a value. `wait_ms` > 0 waits for the key to exist, or to change."""

    namespace: bytes
    key: bytes
    wait_ms: int = 0
    wait_for_change: bool = False
    routing_key: bytes | None = None
    txn: int | None = None


class KvMget(NamedTuple):
    """Read 1 to 256 keys; order and duplicates are kept."""

    namespace: bytes
    keys: tuple[bytes, ...]
    routing_key: bytes | None = None


class KvDelete(NamedTuple):
    """Remove a key."""

    namespace: bytes
    key: bytes
    cas: int | None = None
    routing_key: bytes | None = None
    txn: int | None = None


class KvScan(NamedTuple):
    """One page of the keys that start with a prefix. `limit` None is the default of 100."""

    namespace: bytes
    prefix: bytes
    limit: int | None = None
    cursor: bytes = b""
    keys_only: bool = False


class KvIncr(NamedTuple):
    """Add to a counter."""

    namespace: bytes
    key: bytes
    delta: int = 1
    routing_key: bytes | None = None
    txn: int | None = None


class KvExpire(NamedTuple):
    """Set the time to live of a key; 0 clears it."""

    namespace: bytes
    key: bytes
    ttl_ms: int
    cas: int | None = None
    routing_key: bytes | None = None
    txn: int | None = None


class KvExists(NamedTuple):
    """Is the key there, and at which version?"""

    namespace: bytes
    key: bytes
    routing_key: bytes | None = None
    txn: int | None = None


class PartitionTableRequest(NamedTuple):
    """Who leads and who replicates each partition?"""


class OpenSession(NamedTuple):
    """Register a session in one partition, for exactly-once retries."""

    partition: int


class CancelWait(NamedTuple):
    """Ends the wait of a request on the same connection; it is answered at once, as when its time
    is over, unless it is getting something this very moment."""

    request_id: int


class ClusterStatusRequest(NamedTuple):
    """The state of the node's partitions, or of one; `digest` adds a hash of their contents."""

    partition: int | None = None
    digest: bool = False


class Pong(NamedTuple):
    """The answer to a ping."""


class Stored(NamedTuple):
    """The version a write made; None inside a transaction, and where it removed the key."""

    version: int | None


class Value(NamedTuple):
    """A value and its version; version 0 when it is buffered in a transaction."""

    version: int
    value: bytes


class ValueEntry(NamedTuple):
    """One key of an mget. A missing key has version 0 and an empty value."""

    key: bytes
    found: bool
    version: int
    value: bytes


class Values(NamedTuple):
    """The first keys of an mget, all of them unless `next_index` (v2 only) says where to go on."""

    entries: tuple[ValueEntry, ...]
    next_index: int | None = None


class Deleted(NamedTuple):
    """Whether the key was there; None inside a transaction."""

    existed: bool | None


class PageEntry(NamedTuple):
    """One key of a scan. The value is empty when only keys were asked for, and always in v2."""

    key: bytes
    value: bytes


class Page(NamedTuple):
    """One page of a scan. `cursor` continues it; None exactly on the last page."""

    entries: tuple[PageEntry, ...]
    cursor: bytes | None


class Counter(NamedTuple):
    """A counter after an increment.

    Inside a transaction the version is None, and the value what a v1 client shall see (v2 shows
    none).
    """

    version: int | None
    value: int | None


class Done(NamedTuple):
    """Success with nothing to say."""


class Exists(NamedTuple):
    """Version 0 when the key is absent, or buffered in a transaction."""

    exists: bool
    version: int


class PartitionRow(NamedTuple):
    """Client addresses ("host:port") of one partition; no leader while none is known."""

    leader: str | None
    replicas: tuple[str, ...]


class PartitionTable(NamedTuple):
    """Row i is partition i. A larger table version is newer."""

    table_version: int
    partitions: tuple[PartitionRow, ...]


class SessionOpened(NamedTuple):
    """The new session's id."""

    session: int


class ClusterStatus(NamedTuple):
    """A JSON document."""

    document: bytes


Body: TypeAlias = (
    Ping
    | KvPut
    | KvGet
    | KvMget
    | KvDelete
    | KvScan
    | KvIncr
    | KvExpire
    | KvExists
    | KvHistory
    | KvJsonGet
    | KvJsonSet
    | KvJsonDelete
    | TxnBegin
    | TxnCommit
    | TxnRollback
    | QueueBody
    | StreamBody
    | GroupBody
    | PartitionTableRequest
    | OpenSession
    | CancelWait
    | ClusterStatusRequest
)

Result: TypeAlias = (
    Pong
    | Stored
    | Value
    | Values
    | Deleted
    | Page
    | Counter
    | Done
    | Exists
    | History
    | TxnBegun
    | TxnCommitted
    | QueueResult
    | StreamResult
    | GroupResult
    | PartitionTable
    | SessionOpened
    | ClusterStatus
)
