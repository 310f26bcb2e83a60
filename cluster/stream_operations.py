"""The operations on streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.kv_operations import RESERVED_PREFIXES
from cluster.operation import Operation, Placed, row
from cluster.state.stream_commands import (
    STREAM_ALTER,
    STREAM_APPEND,
    STREAM_CREATE,
    STREAM_DELETE,
    STREAM_TRIM,
)
from cluster.state.stream_rows import FIRST_ID, LAST_ID, key_hash_of
from cluster.stream_queries import NO_PARTITION, STREAM_INFO, STREAM_READ, WAIT_STREAM_READ
from flo.wire import stream_messages as wire
from flo.wire.group_messages import GroupBody
from flo.wire.limits import HEADERS_MAX
from flo.wire.messages import Deleted, Done
from flo.wire.routing import stream_home
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cluster.operation import Arguments
    from cluster.queries import Result
    from flo.wire.messages import Result as WireResult

NamedBody: TypeAlias = (
    wire.StreamAppend
    | wire.StreamRead
    | wire.StreamInfo
    | wire.StreamTrim
    | wire.StreamCreate
    | wire.StreamAlter
    | wire.StreamDelete
    | GroupBody
)


def home(body: NamedBody) -> bytes:
    """What a stream lives at: dead letters live where their stream does."""
    return stream_home(body.stream)


def refuse_early(placed: Placed) -> Refusal | None:
    """Reserved names are not served."""
    if cast("NamedBody", placed).stream.startswith(RESERVED_PREFIXES):
        return Refusal(Reason.RESERVED_KEY, Ran.NO, "names that begin with this are reserved")
    return None


def _refuse_append_early(placed: Placed) -> Refusal | None:
    most = max((len(item.headers) for item in cast("wire.StreamAppend", placed).records), default=0)
    if most > HEADERS_MAX:
        text = f"a record with {most} headers: at most {HEADERS_MAX}"
        return Refusal(Reason.OUT_OF_RANGE, Ran.NO, text)
    return refuse_early(placed)


def to_records(name: bytes, rows: object) -> tuple[wire.StreamRecord, ...]:
    """The records of a stream as the state says them; another node sends lists."""
    records = cast("Iterable[tuple[int, int, int, Sequence[Sequence[bytes]], bytes]]", rows)
    return tuple(
        wire.StreamRecord(
            wire.StreamId(ms, sequence),
            payload,
            tuple((header[0], header[1]) for header in headers),
            partition,
            stream=name,
        )
        for ms, sequence, partition, headers, payload in records
    )


def to_summary(listed: tuple[bytes, int, int, int, int, int]) -> wire.StreamSummary:
    """A stream as the state says it."""
    name, count, payload_bytes, partitions, ms, sequence = listed
    return wire.StreamSummary(name, count, payload_bytes, partitions, wire.StreamId(ms, sequence))


def _append_arguments(body: wire.StreamAppend) -> Arguments:
    records = tuple((item.payload, item.headers) for item in body.records)
    return body.namespace, body.stream, records, body.partition, body.partition_key


def _read_arguments(body: wire.StreamRead) -> Arguments:
    partition = NO_PARTITION if body.partition is None else body.partition
    key_hash = NO_PARTITION if body.partition_key is None else key_hash_of(body.partition_key)
    start, end = body.start or FIRST_ID, LAST_ID if body.end is None else body.end
    where = (*start, *end, partition, key_hash)
    return body.namespace, body.stream, *where, body.limit, body.tail


def _trim_arguments(body: wire.StreamTrim) -> Arguments:
    before = (None, None) if body.before is None else body.before
    bounds = (body.max_len, body.max_age_s, body.max_bytes)
    return body.namespace, body.stream, *before, *bounds, int(body.dry_run)


def _create_arguments(body: wire.StreamCreate) -> Arguments:
    return body.namespace, body.stream, body.partitions, *body.retention


def _alter_arguments(body: wire.StreamAlter) -> Arguments:
    return body.namespace, body.stream, *body.retention


def _delete_arguments(body: wire.StreamDelete) -> Arguments:
    return body.namespace, body.stream, int(body.force)


def _info_arguments(body: wire.StreamInfo) -> Arguments:
    return body.namespace, body.stream


def _wait_ms(placed: Placed) -> int:
    return cast("wire.StreamRead", placed).wait_ms


def _appended(result: Result) -> WireResult:
    ms, sequence = cast("tuple[int, int]", result[1:])
    return wire.Appended(wire.StreamId(ms, sequence))


def _records(result: Result) -> WireResult:
    return wire.Records(to_records(cast(bytes, result[1]), result[2]))


def _info(result: Result) -> WireResult:
    first_ms, first, last_ms, last, *counts = cast("tuple[int, ...]", result[1:])
    count, payload_bytes, partitions = counts
    ends = wire.StreamId(first_ms, first), wire.StreamId(last_ms, last)
    return wire.StreamInfoResult(*ends, count, payload_bytes, partitions)


def _trimmed(result: Result) -> WireResult:
    removed, first_sequence = cast("tuple[int, int]", result[1:])
    return wire.Trimmed(removed, first_sequence)


def done(_result: Result) -> WireResult:
    """Nothing more is to be said."""
    return Done()


def deleted(result: Result) -> WireResult:
    """Whether there was anything to remove."""
    return Deleted(bool(result[1]))


def operation_on_stream(
    code: int,
    arguments: Callable[..., Arguments],
    answer: Callable[[Result], WireResult],
    *,
    is_write: bool,
) -> Operation:
    """An operation on a stream or a group of it."""
    return row(code, home, arguments, answer, is_write=is_write)._replace(early=refuse_early)


def _write(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return operation_on_stream(code, arguments, answer, is_write=True)


def _read(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return operation_on_stream(code, arguments, answer, is_write=False)


_READ = _read(STREAM_READ, _read_arguments, _records)._replace(
    bounded=True,
    wait_ms=_wait_ms,
    waiting=_read(WAIT_STREAM_READ, _read_arguments, _records)._replace(
        bounded=True, empty=wire.Records(())
    ),
)

STREAM_OPERATIONS: dict[int, Operation] = {
    0x130: _write(STREAM_APPEND, _append_arguments, _appended)._replace(early=_refuse_append_early),
    0x131: _READ,
    0x132: _write(STREAM_TRIM, _trim_arguments, _trimmed),
    0x133: _read(STREAM_INFO, _info_arguments, _info),
    0x13D: _write(STREAM_CREATE, _create_arguments, done),
    0x13F: _write(STREAM_ALTER, _alter_arguments, done),
    0x140: _write(STREAM_DELETE, _delete_arguments, deleted),
}
"""By the wire's operation code."""
