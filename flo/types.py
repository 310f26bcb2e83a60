"""Options and results of the operations.

Options are given as objects, so that an operation can learn new ones without changing its callers:

    await client.kv.put("greeting", b"hello", PutOptions(ttl_ms=60_000))

Every options class has `namespace`, which overrides the client's. A `routing_key` is accepted for
programs that give one; where a key lives depends on its namespace and name alone, so it changes
nothing.
"""

from dataclasses import dataclass
from enum import IntEnum


class StatusCode(IntEnum):
    """The status byte of an answer."""

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


class WaitFor(IntEnum):
    """What a get with `wait_ms` waits for: that the key exists, or its next version."""

    EXISTS = 0
    CHANGE = 1


class Condition(IntEnum):
    """When a put may write: always, only if the key is absent, only if it is present."""

    ALWAYS = 0
    IF_ABSENT = 1
    IF_PRESENT = 2


@dataclass(slots=True)
class GetOptions:
    """`wait_ms` (at most 300000) waits for what `wait_for` names; 0 does not wait."""

    namespace: str | None = None
    wait_ms: int = 0
    wait_for: WaitFor = WaitFor.EXISTS
    routing_key: str | None = None


@dataclass(slots=True)
class PutOptions:
    """No `ttl_ms` (None or 0) clears a TTL; `cas_version` 0 means that the key must not exist."""

    namespace: str | None = None
    ttl_ms: int | None = None
    condition: Condition = Condition.ALWAYS
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass(slots=True)
class DeleteOptions:
    """With `cas_version` the key is deleted only at this version."""

    namespace: str | None = None
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass(slots=True)
class ScanOptions:
    """`cursor` is the previous page's; `limit` (1 to 1024) is the most a page may hold."""

    namespace: str | None = None
    cursor: bytes | None = None
    limit: int = 1024


@dataclass(slots=True)
class KVIncrOptions:
    """`delta` is added to the counter; it may be negative."""

    namespace: str | None = None
    delta: int = 1
    routing_key: str | None = None


@dataclass(slots=True)
class KVExpireOptions:
    """With `cas_version` the TTL changes only while the key has this version."""

    namespace: str | None = None
    cas_version: int | None = None
    routing_key: str | None = None


@dataclass(slots=True)
class KVExistsOptions:
    """Nothing but where to look."""

    namespace: str | None = None
    routing_key: str | None = None


@dataclass(slots=True)
class KVMGetOptions:
    """Nothing but where to look."""

    namespace: str | None = None
    routing_key: str | None = None


@dataclass(slots=True)
class GetResult:
    """A value and the version of its key."""

    value: bytes
    version: int


@dataclass(slots=True)
class PutResult:
    """The version that the put made; give it as `cas_version` to write only over it."""

    version: int


@dataclass(slots=True)
class IncrResult:
    """The counter after the increment, and the version that made."""

    value: int
    version: int


@dataclass(slots=True)
class MGetEntry:
    """One key of an mget. A missing one has an empty value and version 0."""

    key: str
    value: bytes
    version: int
    found: bool


@dataclass(slots=True)
class ScanResult:
    """The names of one page. `cursor` is None on the last page."""

    names: list[str]
    cursor: bytes | None

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.cursor is not None
