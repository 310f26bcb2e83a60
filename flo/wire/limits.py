"""How large and how many: the bounds of every field, and the refusals for what is outside.

A refusal names the field, its size and the limit. It concerns one request; the connection goes on.
"""

from __future__ import annotations

from flo.wire.errors import ProtocolError, refused
from flo.wire.status import Reason

NAMESPACE_BYTES_MAX = 63
# A key is stored behind its namespace and one separator.
KEY_WITH_NAMESPACE_BYTES_MAX = 4095
ROUTING_KEY_BYTES_MAX = 4096
VALUE_BYTES_MAX_DEFAULT = 1 << 20
# What the v2 table allows: with the longest names, exactly a frame of 256 KiB.
V2_VALUE_BYTES_MAX = 253_817
# The same frame in the other direction, less its header.
V2_ANSWER_BYTES_MAX = 262_112
V2_DOCUMENT_BYTES_MAX = 252_819
JSON_PATH_BYTES_MAX = 1024
# The current version of a key and 64 before it.
HISTORY_ENTRIES_MAX = 65
MGET_KEYS_MAX = 256
V1_SCAN_LIMIT_MAX = 1000
V2_SCAN_LIMIT_MAX = 1024
V2_CURSOR_BYTES_MAX = 64
V1_CURSOR_BYTES_MAX = 4096
APPEND_RECORDS_MAX = 1000
HEADERS_MAX = 256
# Of one read, group read or claim of a stream.
READ_LIMIT_MAX = 1000
STREAM_PARTITIONS_MAX = 1024
STREAM_LIST_LIMIT_MAX = 1000
GROUP_NAME_BYTES_MAX = 255
# The number of milliseconds in 2^64 nanoseconds.
TTL_MS_MAX = 18_446_744_073_709
WAIT_MS_MAX = 300_000
# Messages of one dequeue or peek.
QUEUE_COUNT_MAX = 100
QUEUE_DLQ_LIMIT_MAX = 1000
QUEUE_LIST_LIMIT_MAX = 1000
QUEUE_BATCH_ITEMS_MAX = 1000
# As many as a queue keeps dead letters.
QUEUE_SEQUENCES_MAX = 10_000
QUEUE_ATTEMPTS_MAX = 0xFFFF
# Of one ack, nack or touch of a group.
GROUP_IDS_MAX = 10_000
GROUP_DELIVERIES_MAX = 0xFF
GROUP_STANDBYS_MAX = 0xFFFF
# Of leases and the time-outs of groups, whose fields have four bytes.
LEASE_MS_MAX = 0xFFFF_FFFF
RETENTION_MAX = 0xFFFF_FFFF_FFFF_FFFF
RETENTION_AGE_S_MAX = TTL_MS_MAX // 1000


def check_namespace(namespace: bytes) -> None:
    if len(namespace) > NAMESPACE_BYTES_MAX:
        raise refused(
            Reason.FIELD_TOO_LONG,
            f"namespace of {len(namespace)} bytes: at most {NAMESPACE_BYTES_MAX}",
        )
    # Routing joins namespace and key with a NUL: one inside would make two names the same.
    if b"\x00" in namespace:
        raise refused(Reason.MALFORMED, "namespace contains a NUL byte")


def check_key(namespace: bytes, key: bytes) -> None:
    if not key or len(namespace) + len(key) > KEY_WITH_NAMESPACE_BYTES_MAX or b"\x00" in key:
        raise _bad_key(namespace, key)


def check_queue(namespace: bytes, queue: bytes) -> None:
    """The name of a queue is everything that a key must be."""
    if not queue or len(namespace) + len(queue) > KEY_WITH_NAMESPACE_BYTES_MAX or b"\x00" in queue:
        raise _bad_key(namespace, queue, "queue name")


def check_stream(namespace: bytes, stream: bytes) -> None:
    """The same for the name of a stream."""
    if (
        not stream
        or len(namespace) + len(stream) > KEY_WITH_NAMESPACE_BYTES_MAX
        or b"\x00" in stream
    ):
        raise _bad_key(namespace, stream, "stream name")


def check_prefix(namespace: bytes, prefix: bytes) -> None:
    """Everything a key must be, except not empty."""
    if prefix:
        check_key(namespace, prefix)


def _bad_key(namespace: bytes, key: bytes, field: str = "key") -> ProtocolError:
    if not key:
        return refused(Reason.MALFORMED, f"{field} is empty")
    key_bytes_max = KEY_WITH_NAMESPACE_BYTES_MAX - len(namespace)
    if len(key) > key_bytes_max:
        return refused(
            Reason.FIELD_TOO_LONG,
            f"{field} of {len(key)} bytes: at most {key_bytes_max} in this namespace",
        )
    return refused(Reason.MALFORMED, f"{field} contains a NUL byte")


def check_length(field: str, value: bytes, bytes_max: int) -> None:
    if len(value) > bytes_max:
        raise refused(Reason.FIELD_TOO_LONG, f"{field} of {len(value)} bytes: at most {bytes_max}")


def check_range(field: str, value: int, *, least: int, most: int) -> None:
    if not least <= value <= most:
        raise refused(Reason.OUT_OF_RANGE, f"{field} of {value}: {least} to {most} allowed")


def check_routing_key(routing_key: bytes | None) -> bytes | None:
    if routing_key is not None:
        check_length("routing key", routing_key, ROUTING_KEY_BYTES_MAX)
    return routing_key


def check_ttl_ms(ttl_ms: int) -> int:
    check_range("TTL in milliseconds", ttl_ms, least=0, most=TTL_MS_MAX)
    return ttl_ms


def check_wait_ms(wait_ms: int) -> int:
    check_range("wait in milliseconds", wait_ms, least=0, most=WAIT_MS_MAX)
    return wait_ms


def check_delay_ms(delay_ms: int) -> int:
    # As far into the future as a TTL reaches.
    check_range("delay in milliseconds", delay_ms, least=0, most=TTL_MS_MAX)
    return delay_ms
