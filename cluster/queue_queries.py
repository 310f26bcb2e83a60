"""The reads of queues; see `cluster.queries`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cluster.state.queue_reads import list_dead, list_queues, peek, stats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.queries import Result, View

QUEUE_DLQ_LIST, QUEUE_STATS, QUEUE_PEEK, QUEUE_LIST = 0x176, 0x17B, 0x17C, 0x198

QUEUE_FIELDS: dict[int, tuple[type, ...]] = {
    QUEUE_PEEK: (bytes, bytes, int, int),  # namespace, queue, count, max_bytes
    QUEUE_DLQ_LIST: (bytes, bytes, int, int),  # the same
    QUEUE_STATS: (bytes, bytes),  # namespace, queue
    QUEUE_LIST: (bytes, bytes, bytes, int),  # namespace, prefix, after, limit
}
"""Results: peek and dlq_list `(0, messages)`, stats `(0, queue)`, list `(0, queues, more)`."""


def _peek(view: View, args: Sequence[object]) -> Result:
    view.check_timers()
    namespace, name = cast("Sequence[bytes]", args[:2])
    count, max_bytes = cast("Sequence[int]", args[2:])
    return peek(view.txn, namespace, name, count=count, max_bytes=max_bytes)


def _dlq_list(view: View, args: Sequence[object]) -> Result:
    view.check_timers()
    namespace, name = cast("Sequence[bytes]", args[:2])
    count, max_bytes = cast("Sequence[int]", args[2:])
    return list_dead(view.txn, namespace, name, count=count, max_bytes=max_bytes)


def _stats(view: View, args: Sequence[object]) -> Result:
    view.check_timers()
    namespace, name = cast("Sequence[bytes]", args)
    return 0, stats(view.txn, namespace, name)


def _list(view: View, args: Sequence[object]) -> Result:
    view.check_timers()
    namespace, prefix, after = cast("Sequence[bytes]", args[:3])
    queues, more = list_queues(view.txn, namespace, prefix, after, limit=cast(int, args[3]))
    return 0, queues, more


QUEUE_QUERIES: dict[int, Callable[[View, Sequence[object]], Result]] = {
    QUEUE_PEEK: _peek,
    QUEUE_DLQ_LIST: _dlq_list,
    QUEUE_STATS: _stats,
    QUEUE_LIST: _list,
}
