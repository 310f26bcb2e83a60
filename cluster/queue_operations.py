"""The operations on queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.kv_operations import RESERVED_PREFIXES
from cluster.operation import Operation, Placed, row
from cluster.queue_queries import QUEUE_DLQ_LIST, QUEUE_PEEK, QUEUE_STATS
from cluster.state.queue_commands import (
    ACK,
    CONFIGURE,
    DEQUEUE,
    DLQ_PURGE,
    DLQ_REQUEUE,
    ENQUEUE,
    ENQUEUE_BATCH,
    NACK,
    PURGE,
    TOUCH,
)
from flo.wire import queue_messages as wire
from flo.wire.messages import Done
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.operation import Arguments
    from cluster.queries import Result
    from flo.wire.messages import Result as WireResult

_DLQ_LIMIT_DEFAULT = 100

_NamedBody: TypeAlias = (
    wire.QueueEnqueue
    | wire.QueueEnqueueBatch
    | wire.QueueDequeue
    | wire.QueuePeek
    | wire.QueueAck
    | wire.QueueNack
    | wire.QueueTouch
    | wire.QueueDlqList
    | wire.QueueDlqRequeue
    | wire.QueueDlqPurge
    | wire.QueuePurge
    | wire.QueueStats
    | wire.QueueConfigure
)


def _name(body: _NamedBody) -> bytes:
    return body.queue


def _refuse_early(placed: Placed) -> Refusal | None:
    if cast("_NamedBody", placed).queue.startswith(RESERVED_PREFIXES):
        return Refusal(Reason.RESERVED_KEY, Ran.NO, "names that begin with this are reserved")
    return None


def _fields(body: tuple[object, ...]) -> Arguments:
    """Where the command has the fields of the request, in their order."""
    return tuple(body)


def _batch_arguments(body: wire.QueueEnqueueBatch) -> Arguments:
    return body.namespace, body.queue, tuple(tuple(item) for item in body.items)


def _dequeue_arguments(body: wire.QueueDequeue) -> Arguments:
    return body.namespace, body.queue, body.count, body.visibility_ms


def _nack_arguments(body: wire.QueueNack) -> Arguments:
    return body.namespace, body.queue, body.sequences, int(body.to_dead_letter)


def _dlq_list_arguments(body: wire.QueueDlqList) -> Arguments:
    return body.namespace, body.queue, body.limit or _DLQ_LIMIT_DEFAULT


def _wait_ms(placed: Placed) -> int:
    return cast("wire.QueueDequeue", placed).wait_ms


def _enqueued(result: Result) -> WireResult:
    return wire.Enqueued(cast(int, result[1]))


def _enqueued_batch(result: Result) -> WireResult:
    return wire.EnqueuedBatch(tuple(cast("Iterable[int]", result[1])))


def _messages(result: Result) -> WireResult:
    messages = cast("Iterable[tuple[int, bytes, int, int, int]]", result[1])
    return wire.QueueMessages(tuple(wire.QueueMessage(*message) for message in messages))


def _purged(result: Result) -> WireResult:
    return wire.Purged(cast(int, result[1]))


def _summary(result: Result) -> WireResult:
    return to_summary(cast("tuple[bytes, int, int, int, int, int]", result[1]))


def to_summary(listed: tuple[bytes, int, int, int, int, int]) -> wire.QueueSummary:
    """A queue as the state says it."""
    return wire.QueueSummary(*listed)


def _done(_result: Result) -> WireResult:
    return Done()


def _write(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return row(code, _name, arguments, answer, is_write=True)._replace(early=_refuse_early)


def _read(
    code: int, arguments: Callable[..., Arguments], answer: Callable[[Result], WireResult]
) -> Operation:
    return row(code, _name, arguments, answer, is_write=False)._replace(early=_refuse_early)


_DEQUEUE = _write(DEQUEUE, _dequeue_arguments, _messages)._replace(
    bounded=True, wait_ms=_wait_ms, empty=wire.QueueMessages(())
)

QUEUE_OPERATIONS: dict[int, Operation] = {
    0x170: _write(ENQUEUE, _fields, _enqueued),
    0x171: _DEQUEUE,
    0x172: _write(ACK, _fields, _done),
    0x174: _write(NACK, _nack_arguments, _done),
    0x176: _read(QUEUE_DLQ_LIST, _dlq_list_arguments, _messages)._replace(bounded=True),
    0x178: _write(DLQ_REQUEUE, _fields, _done),
    0x17B: _read(QUEUE_STATS, _fields, _summary),
    0x17C: _read(QUEUE_PEEK, _fields, _messages)._replace(bounded=True),
    0x17D: _write(TOUCH, _fields, _done),
    0x17F: _write(PURGE, _fields, _purged),
    0xF002: _write(ENQUEUE_BATCH, _batch_arguments, _enqueued_batch),
    0xF010: _write(DLQ_PURGE, _fields, _purged),
    0xF011: _write(CONFIGURE, _fields, _done),
}
"""By the wire's operation code."""
