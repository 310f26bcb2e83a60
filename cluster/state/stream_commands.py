"""The commands of streams, as they stand in the log."""

from __future__ import annotations

from typing import TypeAlias

from cluster.state.fields import HEAD, NAME, OPTIONAL_U64, VALUE, Bytes, Layout, ListOf, Number
from flo.wire.limits import APPEND_RECORDS_MAX, HEADERS_MAX, STREAM_PARTITIONS_MAX, TTL_MS_MAX

STREAM_APPEND = 0x130
STREAM_TRIM = 0x132
STREAM_CREATE = 0x13D
STREAM_ALTER = 0x13F
STREAM_DELETE = 0x140

RecordItem: TypeAlias = tuple[bytes, tuple[tuple[bytes, bytes], ...]]
"""payload, headers"""
AppendCommand: TypeAlias = tuple[
    int, int, int, int, bytes, bytes, tuple[RecordItem, ...], int | None, bytes | None
]
"""namespace, stream, records, partition, partition key"""
TrimCommand: TypeAlias = tuple[
    *tuple[int, int, int, int, bytes, bytes],
    *tuple[int | None, int | None, int | None, int | None, int | None],
    int,
]
"""namespace, stream; the id up to which records go in two parts, max_len, max_age_s, max_bytes;
1 to only count"""
CreateCommand: TypeAlias = tuple[
    int, int, int, int, bytes, bytes, int, int | None, int | None, int | None
]
"""namespace, stream, partitions, max_len, max_age_s, max_bytes"""
AlterCommand: TypeAlias = tuple[
    int, int, int, int, bytes, bytes, int | None, int | None, int | None
]
"""namespace, stream, max_len, max_age_s, max_bytes; None leaves one as it is, 0 lifts it"""
DeleteStreamCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, int]
"""namespace, stream, 1 to remove it whatever is in it and reads it"""

_TEXT = Bytes(2**16 - 1)
_HEADERS = ListOf((_TEXT, _TEXT), HEADERS_MAX)
_PARTITION = Number(0, 2**32 - 1, optional=True)
_KEY = Bytes(2**16 - 1, optional=True)
_AGE_S = Number(0, TTL_MS_MAX // 1000, optional=True)
_RETENTION = (OPTIONAL_U64, _AGE_S, OPTIONAL_U64)
_YES = Number(0, 1)

FIELDS: dict[object, Layout] = {
    STREAM_APPEND: (
        *HEAD,
        *(NAME, NAME, ListOf((VALUE, _HEADERS), APPEND_RECORDS_MAX), _PARTITION, _KEY),
    ),
    STREAM_TRIM: (*HEAD, NAME, NAME, OPTIONAL_U64, OPTIONAL_U64, *_RETENTION, _YES),
    STREAM_CREATE: (*HEAD, NAME, NAME, Number(1, STREAM_PARTITIONS_MAX), *_RETENTION),
    STREAM_ALTER: (*HEAD, NAME, NAME, *_RETENTION),
    STREAM_DELETE: (*HEAD, NAME, NAME, _YES),
}
"""Results: append `(0, ms, sequence)` of the first record, trim `(0, removed, sequence of the first
one left or 0)`, create and alter `(0,)`, delete `(0, existed)`.
"""
