"""What the vectors of streams say in our own types, and helpers for those of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import (
    Appended,
    Body,
    Deleted,
    Done,
    Ran,
    Reason,
    Records,
    Refusal,
    Result,
    Retention,
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamId,
    StreamInfo,
    StreamInfoResult,
    StreamItem,
    StreamList,
    StreamListing,
    StreamRead,
    StreamRecord,
    StreamSummary,
    StreamTrim,
    Trimmed,
)
from flo.wire.frames import HEADER_BYTES, RESPONSE_HEADER
from tests.unit.wire.vector_files import (
    Args,
    Json,
    Vector,
    as_bytes,
    as_dict,
    as_integer,
    as_list,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = b"default"
# Some vectors leave out what does not fit on a line.
TIMESTAMP_MS = 1703350800000


def number(fields: Args, *names: str) -> int:
    found = as_integer(fields, *names)
    assert found is not None
    return found


def lower(value: Json) -> Args:
    return {name.lower(): part for name, part in as_dict(value).items()}


def id_of(value: Json) -> StreamId | None:
    """Written as `[ms, sequence]`, as `ms-sequence`, or as an object with the SDK's names."""
    if value is None:
        return None
    if isinstance(value, list):
        first, second = value
        assert isinstance(first, int)
        assert isinstance(second, int)
        return StreamId(first, second)
    if isinstance(value, str):
        time, _, sequence = value.partition("-")
        return StreamId(TIMESTAMP_MS if time == ".." else int(time), int(sequence))
    fields = lower(value)
    return StreamId(number(fields, "timestamp_ms", "timestampms"), number(fields, "sequence"))


def known_id(value: Json) -> StreamId:
    found = id_of(value)
    assert found is not None
    return found


def ids_of(value: Json) -> tuple[StreamId, ...]:
    if isinstance(value, str):
        return (known_id(value),)
    return tuple(known_id(one) for one in as_list(value))


def _headers(value: Json) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(value, dict):
        return tuple((name.encode(), as_bytes(text)) for name, text in value.items())
    pairs = [as_list(pair) for pair in as_list(value or [])]
    return tuple((as_bytes(name), as_bytes(text)) for name, text in pairs)


def stream_of(vector: Vector) -> tuple[bytes, bytes]:
    return NAMESPACE, as_bytes(vector.args.get("stream", "events"))


def _append(vector: Vector) -> Body:
    args = vector.args
    key = args.get("partition_key")
    partition = as_integer(args, "partition")
    return StreamAppend(
        *stream_of(vector), _items(vector), partition, None if key is None else as_bytes(key)
    )


def _items(vector: Vector) -> tuple[StreamItem, ...]:
    args = vector.args
    if "records" in args:
        rows = [as_dict(row) for row in as_list(args["records"])]
        return tuple(StreamItem(as_bytes(row["payload"]), _headers(row["headers"])) for row in rows)
    if "note" in args:  # a batch from an SDK that does not say so: its value is one raw payload
        batch = "0100000002000000653101000600736f757263650300776562"
        return (StreamItem(bytes.fromhex(batch)),)
    headers = args.get("headers")
    sent = None if isinstance(headers, str) else headers  # the text says that they are dropped
    return (StreamItem(as_bytes(args["payload"]), _headers(sent)),)


def _read(vector: Vector) -> Body:
    args = vector.args
    key = args.get("partition_key")
    return StreamRead(
        *stream_of(vector),
        id_of(args.get("start")),
        id_of(args.get("end")),
        args.get("tail") is True,
        as_integer(args, "partition"),
        as_integer(args, "count") or 100,
        as_integer(args, "block_ms") or 0,
        None if key is None else as_bytes(key),
    )


def _info(vector: Vector) -> Body:
    return StreamInfo(*stream_of(vector))


def _bounds(vector: Vector) -> tuple[int | None, int | None, int | None]:
    args = vector.args
    return (
        as_integer(args, "max_len"),
        as_integer(args, "max_age_seconds"),
        as_integer(args, "max_bytes"),
    )


def _trim(vector: Vector) -> Body:
    before = id_of(vector.args.get("before"))
    dry_run = vector.args.get("dry_run") is True
    return StreamTrim(*stream_of(vector), before, *_bounds(vector), dry_run)


def _create(vector: Vector) -> Body:
    partitions = number(vector.args, "partitions")
    return StreamCreate(*stream_of(vector), partitions, Retention(*_bounds(vector)))


def _alter(vector: Vector) -> Body:
    return StreamAlter(*stream_of(vector), Retention(*_bounds(vector)))


def _delete(vector: Vector) -> Body:
    return StreamDelete(*stream_of(vector), vector.args.get("force") is True)


def _list(vector: Vector) -> Body:
    args = vector.args
    limit, cursor = as_integer(args, "limit"), as_bytes(args.get("cursor"))
    return StreamList(NAMESPACE, as_bytes(args["prefix"]), limit, cursor)


def _not_found(vector: Vector) -> Refusal | None:
    """Where no stream or group was found; SDKs make other things of it, or fail."""
    if RESPONSE_HEADER.unpack_from(vector.frame)[5] != 2:
        return None
    message = vector.frame[HEADER_BYTES + 3 :].decode()
    return Refusal(Reason.NOT_FOUND, Ran.NO, message)


def done(_vector: Vector, _ok: Json) -> Result:
    return Done()


def deleted(_vector: Vector, ok: Json) -> Result:
    return Deleted(as_dict(ok)["existed"] is True)


def _appended(_vector: Vector, ok: Json) -> Result:
    return Appended(known_id(lower(ok)["id"]))


def record_of(value: Json) -> StreamRecord:
    fields = lower(value)
    # The SDKs do not show it: the record with a header is of partition 2.
    unseen = 2 if as_bytes(fields["payload"]) == b"e2" else 0
    partition = as_integer(fields, "partition")
    return StreamRecord(
        known_id(fields["id"]),
        as_bytes(fields["payload"]),
        _headers(fields["headers"]),
        unseen if partition is None else partition,
        number(fields, "tier"),
        as_bytes(fields["stream"]),
    )


def records_of(vector: Vector, ok: Json) -> Result | Refusal:
    missing = _not_found(vector)
    if missing is not None:
        return missing
    return Records(tuple(record_of(record) for record in as_list(lower(ok)["records"])))


def _info_result(_vector: Vector, ok: Json) -> Result:
    fields = lower(ok)
    return StreamInfoResult(
        known_id(fields.get("first_id", fields.get("firstid"))),
        known_id(fields.get("last_id", fields.get("lastid"))),
        number(fields, "count"),
        number(fields, "bytes", "bytes_size"),
        number(fields, "partition_count", "partitioncount"),
    )


def _trimmed(_vector: Vector, ok: Json) -> Result:
    if ok is None:  # the v1 SDK shows nothing
        return Trimmed(2, 3)
    fields = as_dict(ok)
    return Trimmed(number(fields, "removed"), number(fields, "first_seq"))


def _listing(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    rows = [as_dict(row) for row in as_list(fields["streams"])]
    streams = tuple(
        StreamSummary(
            as_bytes(row["name"]),
            number(row, "count"),
            number(row, "bytes"),
            number(row, "partitions"),
            known_id(row["last"]),
        )
        for row in rows
    )
    cursor = fields["cursor"]
    return StreamListing(streams, None if cursor is None else as_bytes(cursor))


REQUESTS: dict[str, Callable[[Vector], Body]] = {
    "stream.append": _append,
    "stream.read": _read,
    "stream.info": _info,
    "stream.trim": _trim,
    "stream.create": _create,
    "stream.alter": _alter,
    "stream.delete": _delete,
    "stream.list": _list,
}

RESULTS: dict[str, Callable[[Vector, Json], Result | Refusal]] = {
    "stream.append": _appended,
    "stream.read": records_of,
    "stream.info": _info_result,
    "stream.trim": _trimmed,
    "stream.create": done,
    "stream.alter": done,
    "stream.delete": deleted,
    "stream.list": _listing,
}
