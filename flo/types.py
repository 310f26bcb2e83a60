"""Options and results of the operations.

Options are given as objects, so that an operation can learn new ones without changing its callers.

Example:
    await client.kv.put("greeting", b"hello", PutOptions(ttl_ms=60_000))

Every options class has `namespace`, which overrides the client's. A `routing_key` is accepted for
programs that give one; where a key lives depends on its namespace and name alone, so it changes
nothing.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

from flo.queue_types import AckOptions as AckOptions
from flo.queue_types import Delivery as Delivery
from flo.queue_types import DequeueOptions as DequeueOptions
from flo.queue_types import DequeueResult as DequeueResult
from flo.queue_types import DlqListOptions as DlqListOptions
from flo.queue_types import DlqRequeueOptions as DlqRequeueOptions
from flo.queue_types import EnqueueOptions as EnqueueOptions
from flo.queue_types import Message as Message
from flo.queue_types import NackOptions as NackOptions
from flo.queue_types import PeekOptions as PeekOptions
from flo.queue_types import QueueConfigureOptions as QueueConfigureOptions
from flo.queue_types import QueueInfo as QueueInfo
from flo.queue_types import QueueItem as QueueItem
from flo.queue_types import QueueListOptions as QueueListOptions
from flo.queue_types import QueueListResult as QueueListResult
from flo.queue_types import QueueTouchOptions as QueueTouchOptions
from flo.stream_types import GroupInfo as GroupInfo
from flo.stream_types import GroupMember as GroupMember
from flo.stream_types import GroupMode as GroupMode
from flo.stream_types import PendingEntry as PendingEntry
from flo.stream_types import StorageTier as StorageTier
from flo.stream_types import StreamAlterOptions as StreamAlterOptions
from flo.stream_types import StreamAppendOptions as StreamAppendOptions
from flo.stream_types import StreamAppendResult as StreamAppendResult
from flo.stream_types import StreamClaimResult as StreamClaimResult
from flo.stream_types import StreamCreateOptions as StreamCreateOptions
from flo.stream_types import StreamGroupAckOptions as StreamGroupAckOptions
from flo.stream_types import StreamGroupCreateOptions as StreamGroupCreateOptions
from flo.stream_types import StreamGroupJoinOptions as StreamGroupJoinOptions
from flo.stream_types import StreamGroupNackOptions as StreamGroupNackOptions
from flo.stream_types import StreamGroupReadOptions as StreamGroupReadOptions
from flo.stream_types import StreamGroupTouchOptions as StreamGroupTouchOptions
from flo.stream_types import StreamID as StreamID
from flo.stream_types import StreamInfo as StreamInfo
from flo.stream_types import StreamInfoOptions as StreamInfoOptions
from flo.stream_types import StreamItem as StreamItem
from flo.stream_types import StreamListOptions as StreamListOptions
from flo.stream_types import StreamListResult as StreamListResult
from flo.stream_types import StreamReadOptions as StreamReadOptions
from flo.stream_types import StreamReadResult as StreamReadResult
from flo.stream_types import StreamRecord as StreamRecord
from flo.stream_types import StreamSummary as StreamSummary
from flo.stream_types import StreamTrimOptions as StreamTrimOptions
from flo.stream_types import StreamTrimResult as StreamTrimResult
from flo.wire.frames import HEADER_BYTES
from flo.wire.frames import MAGIC as MAGIC
from flo.wire.frames import TABLE_HASH as TABLE_HASH
from flo.wire.limits import (
    KEY_WITH_NAMESPACE_BYTES_MAX,
    NAMESPACE_BYTES_MAX,
    V2_VALUE_BYTES_MAX,
    WAIT_MS_MAX,
)
from flo.wire.status import Ran as Ran
from flo.wire.status import Reason as Reason

T = TypeVar("T")

# Under the names that the official client has for them, with what holds here.
VERSION = 2
HEADER_SIZE = HEADER_BYTES
MAX_NAMESPACE_SIZE = NAMESPACE_BYTES_MAX
# Less the namespace, which is stored with the key.
MAX_KEY_SIZE = KEY_WITH_NAMESPACE_BYTES_MAX
# What the client sends at most; a node takes 1 MiB unless it is configured otherwise.
MAX_VALUE_SIZE = 16 << 20
# What every client can read back.
MAX_KV_VALUE_SIZE = V2_VALUE_BYTES_MAX
MAX_WAIT_MS = WAIT_MS_MAX
MAX_BLOCK_MS = WAIT_MS_MAX


class OpCode(IntEnum):
    """The numbers of the operations on the wire."""

    PING = 0x000
    KV_PUT = 0x100
    KV_GET = 0x101
    KV_MGET = 0x102
    KV_DELETE = 0x103
    KV_SCAN = 0x104
    KV_HISTORY = 0x105
    KV_INCR = 0x10B
    KV_JSON_GET = 0x10C
    KV_JSON_SET = 0x10D
    KV_JSON_DEL = 0x10E
    KV_BEGIN_TXN = 0x110
    KV_COMMIT_TXN = 0x111
    KV_ROLLBACK_TXN = 0x112
    KV_EXPIRE = 0x113
    KV_EXISTS = 0x115
    STREAM_APPEND = 0x130
    STREAM_READ = 0x131
    STREAM_TRIM = 0x132
    STREAM_INFO = 0x133
    STREAM_GROUP_JOIN = 0x151
    STREAM_GROUP_LEAVE = 0x152
    STREAM_GROUP_READ = 0x153
    STREAM_GROUP_ACK = 0x154
    STREAM_GROUP_CLAIM = 0x155
    STREAM_GROUP_PENDING = 0x156
    STREAM_GROUP_NACK = 0x159
    QUEUE_ENQUEUE = 0x170
    QUEUE_DEQUEUE = 0x171
    QUEUE_COMPLETE = 0x172
    QUEUE_FAIL = 0x174
    QUEUE_DLQ_LIST = 0x176
    QUEUE_DLQ_REQUEUE = 0x178
    QUEUE_PEEK = 0x17C


class StatusCode(IntEnum):
    """The status byte of an answer. A number that has no name here is UNKNOWN_ and the number."""

    OK = 0
    ERROR_GENERIC = 1
    NOT_FOUND = 2
    BAD_REQUEST = 3
    CROSS_CORE_TRANSACTION = 4
    NO_ACTIVE_TRANSACTION = 5
    GROUP_LOCKED = 6
    UNAUTHORIZED = 7
    CONFLICT = 8
    INTERNAL_ERROR = 9
    OVERLOADED = 10
    RATE_LIMITED = 11
    UNAVAILABLE = 12

    @classmethod
    def _missing_(cls, value: object) -> "StatusCode | None":
        if not isinstance(value, int) or not 0 <= value <= 255:
            return None
        unknown = int.__new__(cls, value)
        unknown._name_ = f"UNKNOWN_{value}"
        unknown._value_ = value
        return unknown

    def __reduce_ex__(self, protocol: object) -> tuple[type["StatusCode"], tuple[int]]:
        # By the number: copying by name would fail for the unknown ones.
        return type(self), (int(self),)

    def message(self) -> str:
        """The status in words, for where a node gave none."""
        return _STATUS_MESSAGES.get(self, f"Unknown status {int(self)}")


_STATUS_MESSAGES = {
    StatusCode.OK: "OK",
    StatusCode.ERROR_GENERIC: "Generic error",
    StatusCode.NOT_FOUND: "Not found",
    StatusCode.BAD_REQUEST: "Bad request",
    StatusCode.CROSS_CORE_TRANSACTION: "The transaction would span partitions",
    StatusCode.NO_ACTIVE_TRANSACTION: "No such transaction is open",
    StatusCode.GROUP_LOCKED: "The consumer group is locked",
    StatusCode.UNAUTHORIZED: "Unauthorized",
    StatusCode.CONFLICT: "Conflict",
    StatusCode.INTERNAL_ERROR: "Internal server error",
    StatusCode.OVERLOADED: "Server overloaded",
    StatusCode.RATE_LIMITED: "Request rate limit exceeded",
    StatusCode.UNAVAILABLE: "Unavailable: no leader, or no writes are taken",
}


class WaitFor(IntEnum):
    """What a get with `wait_ms` waits for: that the key exists, or its next version."""

    EXISTS = 0
    CHANGE = 1


class Condition(IntEnum):
    """When a put may write: always, only if the key is absent, only if it is present."""

    ALWAYS = 0
    IF_ABSENT = 1
    IF_PRESENT = 2


@dataclass
class GetOptions:
    """`wait_ms` (at most 300000) waits for what `wait_for` names; 0 does not wait.

    With `stale` any replica answers from what it has applied: cheaper, it needs no leader, and it
    may be old by any time.
    """

    namespace: str | None = None
    wait_ms: int = 0
    wait_for: WaitFor = WaitFor.EXISTS
    routing_key: str | None = None
    stale: bool = False


@dataclass
class PutOptions:
    """No `ttl_ms` (None or 0) clears a TTL; `cas_version` 0 means that the key must not exist."""

    namespace: str | None = None
    ttl_ms: int | None = None
    condition: Condition = Condition.ALWAYS
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass
class DeleteOptions:
    """With `cas_version` the key is deleted only at this version."""

    namespace: str | None = None
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass
class ScanOptions:
    """`cursor` is the previous page's; `limit` (1 to 1024) is the most a page may hold.

    `stale` as in `GetOptions`.
    """

    namespace: str | None = None
    cursor: bytes | None = None
    limit: int = 1024
    stale: bool = False


@dataclass
class KVIncrOptions:
    """`delta` is added to the counter; it may be negative."""

    namespace: str | None = None
    delta: int = 1
    routing_key: str | None = None


@dataclass
class KVExpireOptions:
    """With `cas_version` the TTL changes only while the key has this version."""

    namespace: str | None = None
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass
class KVExistsOptions:
    """`stale` as in `GetOptions`."""

    namespace: str | None = None
    routing_key: str | None = None
    stale: bool = False


@dataclass
class KVMGetOptions:
    """`stale` as in `GetOptions`."""

    namespace: str | None = None
    routing_key: str | None = None
    stale: bool = False


@dataclass
class HistoryOptions:
    """`limit` (1 to 65) is how many versions are wanted."""

    namespace: str | None = None
    limit: int = 10
    routing_key: str | None = None


@dataclass
class KVJsonOptions:
    """Of the operations on parts of a JSON document."""

    namespace: str | None = None
    routing_key: str | None = None


@dataclass
class GetResult:
    """A value and the version of its key."""

    value: bytes
    version: int


@dataclass
class GetJsonResult(Generic[T]):
    """A part of a JSON document, parsed, and the version of the whole.

    `text` is the part as it is stored: parsing rounds numbers, and of fields with the same name it
    keeps the last.
    """

    value: T
    version: int
    text: bytes = field(default=b"", compare=False)


@dataclass
class VersionEntry:
    """One version of a key; `at_ms` is when it was written, in unix milliseconds."""

    version: int
    at_ms: int
    value: bytes


@dataclass
class PutResult:
    """The version that the put made; give it as `cas_version` to write only over it."""

    version: int


@dataclass
class IncrResult:
    """The counter after the increment, and the version that made."""

    value: int
    version: int


@dataclass
class MGetEntry:
    """One key of an mget. A missing one has an empty value and version 0."""

    key: str
    value: bytes
    version: int
    found: bool


@dataclass
class ScanResult:
    """The names of one page. `cursor` is None on the last page."""

    names: list[str]
    cursor: bytes | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.cursor is not None


@dataclass
class KVBeginResult:
    """An open transaction: its number, and a hash of the routing key it was begun with."""

    txn_id: int
    pinned_hash: int


@dataclass
class KVCommitResult:
    """A commit: the version that all keys got which it wrote, and how many operations it had."""

    commit_index: int
    op_count: int
