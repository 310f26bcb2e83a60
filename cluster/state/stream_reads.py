"""Looking at streams.

A record of an answer is `(ms, sequence, partition, headers, payload)`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cluster.state.objects import object_key, read_object, scan_objects
from cluster.state.stream_rows import (
    FIRST_ID,
    STREAM_KIND,
    Headers,
    Id,
    Page,
    Row,
    Stream,
    decode_headers,
    decode_stream,
    scan_partition,
    scan_records,
)
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

Recorded: TypeAlias = tuple[int, int, int, Headers, bytes]
"""ms, sequence, partition, headers, payload"""
Listed: TypeAlias = tuple[bytes, int, int, int, int, int]
"""name, records, bytes of their payloads, partitions, ms and sequence of the last id"""

PAGE_BYTES_MAX = 1 << 20
"""Of one answer, unless its first record is larger."""


class Range(NamedTuple):
    """Which records of a stream: from one id to another, both included; of all partitions when
    neither a partition nor the hash of a key says which one."""

    start: Id
    end: Id
    partition: int | None = None
    key_hash: int | None = None


def find_stream(txn: ReadTransaction, namespace: bytes, name: bytes) -> Stream | None:
    """The record of a stream as it is stored."""
    return read_object(txn, object_key(STREAM_KIND, namespace, name), decode_stream)


def read_stream(
    txn: ReadTransaction,
    namespace: bytes,
    name: bytes,
    wanted: Range,
    *,
    limit: int,
    max_bytes: int,
) -> Result:
    """`(0, name, records)`, the oldest first; as many as fit in `max_bytes`, but one at least."""
    stream = find_stream(txn, namespace, name)
    if stream is None or not stream.count:
        return 0, name, ()
    start, end, partition, key_hash = wanted
    if partition is None and key_hash is not None:
        partition = key_hash % stream.partition_count
    if partition is None:
        rows = scan_records(txn, stream, start)
    else:
        rows = scan_partition(txn, stream, partition, start)
    page = Page(name, max_bytes, PAGE_BYTES_MAX)
    for row in islice(rows, limit):
        if row.id > end or not page.add(row):
            break
    if page.refused is not None:
        return int(Reason.FIELD_TOO_LONG), page.refused
    return 0, name, tuple(map(recorded, page.rows))


def last_id(txn: ReadTransaction, namespace: bytes, name: bytes) -> Id:
    """The last id that a stream gave; 0-0 when there is no such stream."""
    stream = find_stream(txn, namespace, name)
    return FIRST_ID if stream is None else stream.last


def stream_info(txn: ReadTransaction, namespace: bytes, name: bytes) -> Result:
    """`(0, first ms, first sequence, last ms, last sequence, records, bytes, partitions)`."""
    stream = find_stream(txn, namespace, name)
    if stream is None:
        return 0, *FIRST_ID, *FIRST_ID, 0, 0, 1
    first = last = FIRST_ID
    if stream.count:
        first, last = next(scan_records(txn, stream, stream.first)).id, stream.last
    return 0, *first, *last, stream.count, stream.payload_bytes, stream.partition_count


def list_streams(
    txn: ReadTransaction, namespace: bytes, prefix: bytes, after: bytes, *, limit: int
) -> tuple[list[Listed], bool]:
    """Streams whose name starts with `prefix` and sorts after `after`; whether more follow."""
    head = object_key(STREAM_KIND, namespace, b"")
    start = head + after if after else b""
    found: list[Listed] = []
    for full, stream in scan_objects(txn, head + prefix, start, decode_stream):
        if len(found) == limit:
            return found, True
        last = stream.last if stream.count else FIRST_ID
        counts = (stream.count, stream.payload_bytes, stream.partition_count)
        found.append((full[len(head) :], *counts, *last))
    return found, False


def recorded(row: Row) -> Recorded:
    """A record as an answer has it."""
    return *row.id, row.partition, decode_headers(row.headers), row.payload
