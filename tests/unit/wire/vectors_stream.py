"""What the vectors of streams and groups say in our own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import (
    Appended,
    Body,
    Claimed,
    ConsumerSummary,
    Deleted,
    Done,
    GroupAck,
    GroupClaim,
    GroupConfigure,
    GroupCreate,
    GroupDelete,
    GroupInfo,
    GroupInfoResult,
    GroupJoin,
    GroupLeave,
    GroupMode,
    GroupNack,
    GroupPending,
    GroupRead,
    GroupSettings,
    GroupTouch,
    PendingEntry,
    PendingList,
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
_TIMESTAMP_MS = 1703350800000
_SEEN_ALL = StreamId((1 << 64) - 1, (1 << 64) - 1)


def _number(fields: Args, *names: str) -> int:
    number = as_integer(fields, *names)
    assert number is not None
    return number


def _lower(value: Json) -> Args:
    return {name.lower(): part for name, part in as_dict(value).items()}


def _id(value: Json) -> StreamId | None:
    """Written as `[ms, sequence]`, as `ms-sequence`, or as an object with the SDK's names."""
    if value is None:
        return None
    if isinstance(value, list):
        timestamp_ms, sequence = value
        assert isinstance(timestamp_ms, int)
        assert isinstance(sequence, int)
        return StreamId(timestamp_ms, sequence)
    if isinstance(value, str):
        time, _, number = value.partition("-")
        return StreamId(_TIMESTAMP_MS if time == ".." else int(time), int(number))
    fields = _lower(value)
    return StreamId(_number(fields, "timestamp_ms", "timestampms"), _number(fields, "sequence"))


def _known_id(value: Json) -> StreamId:
    found = _id(value)
    assert found is not None
    return found


def _ids(value: Json) -> tuple[StreamId, ...]:
    if isinstance(value, str):
        return (_known_id(value),)
    return tuple(_known_id(one) for one in as_list(value))


def _headers(value: Json) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(value, dict):
        return tuple((name.encode(), as_bytes(text)) for name, text in value.items())
    pairs = [as_list(pair) for pair in as_list(value or [])]
    return tuple((as_bytes(name), as_bytes(text)) for name, text in pairs)


def _stream(vector: Vector) -> tuple[bytes, bytes]:
    return NAMESPACE, as_bytes(vector.args.get("stream", "events"))


def _is_worker(vector: Vector) -> bool:
    """Frames of a real StreamWorker, which says nothing of its arguments."""
    return vector.args.get("from") == "StreamWorker"


def _group(vector: Vector) -> tuple[bytes, bytes, bytes]:
    return *_stream(vector), as_bytes(vector.args.get("group", "g"))


def _member(vector: Vector) -> tuple[bytes, bytes, bytes, bytes]:
    args = vector.args
    return *_group(vector), as_bytes(args.get("worker_id", args.get("consumer")))


def _acked(vector: Vector) -> tuple[bytes, bytes, bytes, bytes, tuple[StreamId, ...]]:
    if _is_worker(vector):
        sequence = 0 if vector.op.name == "stream.group_ack" else 1
        return *_group(vector), b"", (StreamId(_TIMESTAMP_MS, sequence),)
    return *_member(vector), _ids(vector.args["ids"])


def _append(vector: Vector) -> Body:
    args = vector.args
    key = args.get("partition_key")
    partition = as_integer(args, "partition")
    return StreamAppend(
        *_stream(vector), _items(vector), partition, None if key is None else as_bytes(key)
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
        *_stream(vector),
        _id(args.get("start")),
        _id(args.get("end")),
        args.get("tail") is True,
        as_integer(args, "partition"),
        as_integer(args, "count") or 100,
        as_integer(args, "block_ms") or 0,
        None if key is None else as_bytes(key),
    )


def _info(vector: Vector) -> Body:
    return StreamInfo(*_stream(vector))


def _bounds(vector: Vector) -> tuple[int | None, int | None, int | None]:
    args = vector.args
    return (
        as_integer(args, "max_len"),
        as_integer(args, "max_age_seconds"),
        as_integer(args, "max_bytes"),
    )


def _trim(vector: Vector) -> Body:
    before = _id(vector.args.get("before"))
    dry_run = vector.args.get("dry_run") is True
    return StreamTrim(*_stream(vector), before, *_bounds(vector), dry_run)


def _create(vector: Vector) -> Body:
    partitions = _number(vector.args, "partitions")
    return StreamCreate(*_stream(vector), partitions, Retention(*_bounds(vector)))


def _alter(vector: Vector) -> Body:
    return StreamAlter(*_stream(vector), Retention(*_bounds(vector)))


def _delete(vector: Vector) -> Body:
    return StreamDelete(*_stream(vector), vector.args.get("force") is True)


def _list(vector: Vector) -> Body:
    args = vector.args
    limit, cursor = as_integer(args, "limit"), as_bytes(args.get("cursor"))
    return StreamList(NAMESPACE, as_bytes(args["prefix"]), limit, cursor)


def _settings(args: Args) -> GroupSettings:
    return GroupSettings(
        as_integer(args, "ack_timeout_ms"),
        as_integer(args, "max_deliver"),
        as_integer(args, "max_standbys"),
        as_integer(args, "slots"),
    )


def _group_create(vector: Vector) -> Body:
    args = vector.args
    mode = GroupMode[str(args.get("mode", "SHARED"))]
    start, tail = _id(args.get("start")), args.get("tail") is True
    return GroupCreate(*_group(vector), mode, start, tail, _settings(args))


def _group_configure(vector: Vector) -> Body:
    return GroupConfigure(*_group(vector), _settings(vector.args))


def _group_delete(vector: Vector) -> Body:
    return GroupDelete(*_group(vector))


def _group_info(vector: Vector) -> Body:
    return GroupInfo(*_group(vector))


def _group_join(vector: Vector) -> Body:
    return GroupJoin(*_member(vector))


def _group_leave(vector: Vector) -> Body:
    return GroupLeave(*_member(vector))


def _group_read(vector: Vector) -> Body:
    if _is_worker(vector):
        return GroupRead(*_member(vector), 10, 1000)
    args = vector.args
    limit, wait_ms = as_integer(args, "count") or 100, as_integer(args, "block_ms") or 0
    return GroupRead(*_member(vector), limit, wait_ms)


def _group_ack(vector: Vector) -> Body:
    return GroupAck(*_acked(vector))


def _group_nack(vector: Vector) -> Body:
    return GroupNack(*_acked(vector), as_integer(vector.args, "redelivery_delay_ms") or 0)


def _group_touch(vector: Vector) -> Body:
    return GroupTouch(*_acked(vector), as_integer(vector.args, "extend_ms"))


def _group_claim(vector: Vector) -> Body:
    args = vector.args
    start = _known_id(args["start"])
    return GroupClaim(*_member(vector), _number(args, "min_idle_ms"), start, _number(args, "count"))


def _group_pending(vector: Vector) -> Body:
    consumer = vector.args.get("consumer")
    return GroupPending(*_group(vector), None if consumer is None else as_bytes(consumer))


def _not_found(vector: Vector) -> Refusal | None:
    """Where no stream or group was found; SDKs make other things of it, or fail."""
    if RESPONSE_HEADER.unpack_from(vector.frame)[5] != 2:
        return None
    message = vector.frame[HEADER_BYTES + 3 :].decode()
    return Refusal(Reason.NOT_FOUND, Ran.NO, message)


def _done(_vector: Vector, _ok: Json) -> Result:
    return Done()


def _deleted(_vector: Vector, ok: Json) -> Result:
    return Deleted(as_dict(ok)["existed"] is True)


def _appended(_vector: Vector, ok: Json) -> Result:
    return Appended(_known_id(_lower(ok)["id"]))


def _record(value: Json) -> StreamRecord:
    fields = _lower(value)
    # The SDKs do not show it: the record with a header is of partition 2.
    unseen = 2 if as_bytes(fields["payload"]) == b"e2" else 0
    partition = as_integer(fields, "partition")
    return StreamRecord(
        _known_id(fields["id"]),
        as_bytes(fields["payload"]),
        _headers(fields["headers"]),
        unseen if partition is None else partition,
        _number(fields, "tier"),
        as_bytes(fields["stream"]),
    )


def _records(vector: Vector, ok: Json) -> Result | Refusal:
    missing = _not_found(vector)
    if missing is not None:
        return missing
    return Records(tuple(_record(record) for record in as_list(_lower(ok)["records"])))


def _info_result(_vector: Vector, ok: Json) -> Result:
    fields = _lower(ok)
    return StreamInfoResult(
        _known_id(fields.get("first_id", fields.get("firstid"))),
        _known_id(fields.get("last_id", fields.get("lastid"))),
        _number(fields, "count"),
        _number(fields, "bytes", "bytes_size"),
        _number(fields, "partition_count", "partitioncount"),
    )


def _trimmed(_vector: Vector, ok: Json) -> Result:
    if ok is None:  # the v1 SDK shows nothing
        return Trimmed(2, 3)
    fields = as_dict(ok)
    return Trimmed(_number(fields, "removed"), _number(fields, "first_seq"))


def _listing(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    rows = [as_dict(row) for row in as_list(fields["streams"])]
    streams = tuple(
        StreamSummary(
            as_bytes(row["name"]),
            _number(row, "count"),
            _number(row, "bytes"),
            _number(row, "partitions"),
            _known_id(row["last"]),
        )
        for row in rows
    )
    cursor = fields["cursor"]
    return StreamListing(streams, None if cursor is None else as_bytes(cursor))


def _claimed(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    cursor = _id(fields["next_cursor"])
    records = tuple(_record(record) for record in as_list(fields["records"]))
    return Claimed(records, None if cursor == _SEEN_ALL else cursor)


def _pending(_vector: Vector, ok: Json) -> Result:
    rows = [as_dict(row) for row in as_list(ok)]
    return PendingList(
        tuple(
            PendingEntry(
                _known_id(row["id"]), _number(row, "delivery_count"), as_bytes(row["consumer"])
            )
            for row in rows
        )
    )


def _group_info_result(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    members: list[ConsumerSummary] = []
    for name, pending, active in (as_list(row) for row in as_list(fields["consumers"])):
        assert isinstance(pending, int)
        members.append(ConsumerSummary(as_bytes(name), pending, active is True))
    return GroupInfoResult(
        GroupMode[str(fields["mode"])],
        _settings(fields),
        _known_id(fields["cursor"]),
        _number(fields, "pending"),
        _number(fields, "lag"),
        tuple(members),
    )


REQUESTS: dict[str, Callable[[Vector], Body]] = {
    "stream.append": _append,
    "stream.read": _read,
    "stream.info": _info,
    "stream.trim": _trim,
    "stream.create": _create,
    "stream.alter": _alter,
    "stream.delete": _delete,
    "stream.list": _list,
    "stream.group_create": _group_create,
    "stream.group_configure": _group_configure,
    "stream.group_delete": _group_delete,
    "stream.group_info": _group_info,
    "stream.group_join": _group_join,
    "stream.group_leave": _group_leave,
    "stream.group_read": _group_read,
    "stream.group_ack": _group_ack,
    "stream.group_nack": _group_nack,
    "stream.group_touch": _group_touch,
    "stream.group_claim": _group_claim,
    "stream.group_pending": _group_pending,
}

RESULTS: dict[str, Callable[[Vector, Json], Result | Refusal]] = {
    "stream.append": _appended,
    "stream.read": _records,
    "stream.info": _info_result,
    "stream.trim": _trimmed,
    "stream.create": _done,
    "stream.alter": _done,
    "stream.delete": _deleted,
    "stream.list": _listing,
    "stream.group_create": _done,
    "stream.group_configure": _done,
    "stream.group_delete": _deleted,
    "stream.group_info": _group_info_result,
    "stream.group_join": _done,
    "stream.group_leave": _done,
    "stream.group_read": _records,
    "stream.group_ack": _done,
    "stream.group_nack": _done,
    "stream.group_touch": _done,
    "stream.group_claim": _claimed,
    "stream.group_pending": _pending,
}
