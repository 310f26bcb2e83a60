"""What the vectors of consumer groups say in our own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import (
    Body,
    Claimed,
    ConsumerSummary,
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
    Refusal,
    Result,
    StreamId,
)
from tests.unit.wire.vector_files import (
    Args,
    Json,
    Vector,
    as_bytes,
    as_dict,
    as_integer,
    as_list,
)
from tests.unit.wire.vectors_stream import (
    TIMESTAMP_MS,
    deleted,
    done,
    id_of,
    ids_of,
    known_id,
    number,
    record_of,
    records_of,
    stream_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEN_ALL = StreamId((1 << 64) - 1, (1 << 64) - 1)


def _is_worker(vector: Vector) -> bool:
    """Frames of a real StreamWorker, which says nothing of its arguments."""
    return vector.args.get("from") == "StreamWorker"


def _group(vector: Vector) -> tuple[bytes, bytes, bytes]:
    return *stream_of(vector), as_bytes(vector.args.get("group", "g"))


def _member(vector: Vector) -> tuple[bytes, bytes, bytes, bytes]:
    args = vector.args
    return *_group(vector), as_bytes(args.get("worker_id", args.get("consumer")))


def _acked(vector: Vector) -> tuple[bytes, bytes, bytes, bytes, tuple[StreamId, ...]]:
    if _is_worker(vector):
        sequence = 0 if vector.op.name == "stream.group_ack" else 1
        return *_group(vector), b"", (StreamId(TIMESTAMP_MS, sequence),)
    return *_member(vector), ids_of(vector.args["ids"])


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
    start, tail = id_of(args.get("start")), args.get("tail") is True
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
    start = known_id(args["start"])
    return GroupClaim(*_member(vector), number(args, "min_idle_ms"), start, number(args, "count"))


def _group_pending(vector: Vector) -> Body:
    consumer = vector.args.get("consumer")
    return GroupPending(*_group(vector), None if consumer is None else as_bytes(consumer))


def _claimed(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    cursor = id_of(fields["next_cursor"])
    records = tuple(record_of(record) for record in as_list(fields["records"]))
    return Claimed(records, None if cursor == _SEEN_ALL else cursor)


def _pending(_vector: Vector, ok: Json) -> Result:
    rows = [as_dict(row) for row in as_list(ok)]
    return PendingList(
        tuple(
            PendingEntry(
                known_id(row["id"]), number(row, "delivery_count"), as_bytes(row["consumer"])
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
        known_id(fields["cursor"]),
        number(fields, "pending"),
        number(fields, "lag"),
        tuple(members),
    )


REQUESTS: dict[str, Callable[[Vector], Body]] = {
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
    "stream.group_create": done,
    "stream.group_configure": done,
    "stream.group_delete": deleted,
    "stream.group_info": _group_info_result,
    "stream.group_join": done,
    "stream.group_leave": done,
    "stream.group_read": records_of,
    "stream.group_ack": done,
    "stream.group_nack": done,
    "stream.group_touch": done,
    "stream.group_claim": _claimed,
    "stream.group_pending": _pending,
}
