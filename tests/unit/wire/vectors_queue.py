"""What the vectors of queues say in our own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import Body, Done, Refusal, Result
from flo.wire.queue_messages import (
    Enqueued,
    EnqueuedBatch,
    Purged,
    QueueAck,
    QueueConfigure,
    QueueDequeue,
    QueueDlqList,
    QueueDlqPurge,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueueListing,
    QueueMessage,
    QueueMessages,
    QueueNack,
    QueuePeek,
    QueuePurge,
    QueueStats,
    QueueSummary,
    QueueTouch,
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

if TYPE_CHECKING:
    from collections.abc import Callable


def _names(vector: Vector) -> tuple[bytes, bytes]:
    return as_bytes(vector.args.get("namespace", "default")), as_bytes(vector.args["queue"])


def _number(fields: Args, name: str) -> int:
    return as_integer(fields, name) or 0


def _sequences(numbers: Json) -> tuple[int, ...]:
    assert isinstance(numbers, list)
    return tuple(number for number in numbers if isinstance(number, int))


def _item(args: Args) -> QueueItem:
    dedup_key = args.get("dedup_key")
    return QueueItem(
        as_bytes(args["payload"]),
        _number(args, "priority"),
        _number(args, "delay_ms"),
        None if dedup_key is None else as_bytes(dedup_key),
    )


def _enqueue(vector: Vector) -> Body:
    payload, priority, delay_ms, dedup_key = _item(vector.args)
    return QueueEnqueue(*_names(vector), payload, priority, delay_ms, dedup_key)


def _enqueue_batch(vector: Vector) -> Body:
    items = [_item(as_dict(item)) for item in as_list(vector.args["items"])]
    return QueueEnqueueBatch(*_names(vector), tuple(items))


def _dequeue(vector: Vector) -> Body:
    args = vector.args
    return QueueDequeue(
        *_names(vector),
        _number(args, "count"),
        _number(args, "block_ms"),
        as_integer(args, "visibility_timeout_ms"),
    )


def _peek(vector: Vector) -> Body:
    return QueuePeek(*_names(vector), _number(vector.args, "count"))


def _ack(vector: Vector) -> Body:
    return QueueAck(*_names(vector), _sequences(vector.args["seqs"]))


def _nack(vector: Vector) -> Body:
    to_dead_letter = vector.args.get("to_dlq") is True
    return QueueNack(*_names(vector), _sequences(vector.args["seqs"]), to_dead_letter)


def _touch(vector: Vector) -> Body:
    extend_ms = as_integer(vector.args, "extend_ms")
    return QueueTouch(*_names(vector), _sequences(vector.args["seqs"]), extend_ms)


def _dlq_list(vector: Vector) -> Body:
    return QueueDlqList(*_names(vector), as_integer(vector.args, "limit"))


def _dlq_requeue(vector: Vector) -> Body:
    return QueueDlqRequeue(*_names(vector), _sequences(vector.args["seqs"]))


def _dlq_purge(vector: Vector) -> Body:
    return QueueDlqPurge(*_names(vector))


def _purge(vector: Vector) -> Body:
    return QueuePurge(*_names(vector))


def _stats(vector: Vector) -> Body:
    return QueueStats(*_names(vector))


def _list(vector: Vector) -> Body:
    args = vector.args
    prefix, cursor = as_bytes(args["prefix"]), as_bytes(args.get("cursor"))
    return QueueList(b"default", prefix, as_integer(args, "limit"), cursor)


def _configure(vector: Vector) -> Body:
    settings = ("delivery", "visibility_ms", "max_attempts")
    return QueueConfigure(*_names(vector), *(as_integer(vector.args, name) for name in settings))


def _enqueued(_vector: Vector, ok: Json) -> Result:
    assert isinstance(ok, int)
    return Enqueued(ok)


def _enqueued_batch(_vector: Vector, ok: Json) -> Result:
    return EnqueuedBatch(_sequences(as_dict(ok)["sequences"]))


def _messages(_vector: Vector, ok: Json) -> Result:
    rows = next(iter(as_dict(ok).values()))
    return QueueMessages(tuple(_message(as_dict(row)) for row in as_list(rows)))


def _message(row: Args) -> QueueMessage:
    """The v1 SDK shows sequence and payload alone."""
    fields = {name.lower(): value for name, value in row.items()}
    return QueueMessage(
        _number(fields, "seq"),
        as_bytes(fields["payload"]),
        _number(fields, "enqueued_at_ms"),
        _number(fields, "delivery_count"),
        _number(fields, "priority"),
    )


def _done(_vector: Vector, _ok: Json) -> Result:
    return Done()


def _purged(_vector: Vector, ok: Json) -> Result:
    return Purged(_number(as_dict(ok), "removed"))


def _summary(fields: Args) -> QueueSummary:
    numbers = ("ready", "delayed", "leased", "dead", "delivery")
    return QueueSummary(as_bytes(fields["name"]), *(_number(fields, name) for name in numbers))


def _stats_result(_vector: Vector, ok: Json) -> Result:
    return _summary(as_dict(ok))


def _listing(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    cursor = fields["cursor"]
    return QueueListing(
        tuple(_summary(as_dict(row)) for row in as_list(fields["queues"])),
        None if cursor is None else as_bytes(cursor),
    )


REQUESTS: dict[str, Callable[[Vector], Body]] = {
    "queue.enqueue": _enqueue,
    "queue.enqueue_batch": _enqueue_batch,
    "queue.dequeue": _dequeue,
    "queue.peek": _peek,
    "queue.ack": _ack,
    "queue.nack": _nack,
    "queue.touch": _touch,
    "queue.dlq_list": _dlq_list,
    "queue.dlq_requeue": _dlq_requeue,
    "queue.dlq_purge": _dlq_purge,
    "queue.purge": _purge,
    "queue.stats": _stats,
    "queue.list": _list,
    "queue.configure": _configure,
}

RESULTS: dict[str, Callable[[Vector, Json], Result | Refusal]] = {
    "queue.enqueue": _enqueued,
    "queue.enqueue_batch": _enqueued_batch,
    "queue.dequeue": _messages,
    "queue.peek": _messages,
    "queue.ack": _done,
    "queue.nack": _done,
    "queue.touch": _done,
    "queue.dlq_list": _messages,
    "queue.dlq_requeue": _done,
    "queue.dlq_purge": _purged,
    "queue.purge": _purged,
    "queue.stats": _stats_result,
    "queue.list": _listing,
    "queue.configure": _done,
}
