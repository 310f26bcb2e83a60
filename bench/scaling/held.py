"""Queues and streams that hold much, and operations that leave them as long as they are.

All is in one queue or stream, in the only partition of its cluster.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import cast

from bench.cluster_view import ask, leaders_of
from bench.dialogues import Dialogue, Operation
from bench.frames import NAMESPACE, Workload, payload
from bench.measured_cluster import MeasuredCluster
from bench.operations import ids_of, sequences_of
from bench.rows import VALUE_BYTES
from flo.wire.group_messages import GroupAck, GroupRead
from flo.wire.messages import Body, Result
from flo.wire.queue_messages import (
    QueueAck,
    QueueDequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
)
from flo.wire.stream_messages import Appended, StreamAppend, StreamId, StreamItem

NAME = b"long"
_GROUP, _CONSUMER = b"group", b"consumer"
_BATCH, _PATIENCE_S = 1_000, 30.0
_IDS = 20_000
"""Of a stream: so many are read, over and over."""
_LEASE_MS = 300_000


async def fill_queue(cluster: MeasuredCluster, count: int) -> None:
    """Puts so many messages there."""
    item = QueueItem(payload(VALUE_BYTES))
    await _fill(cluster, count, lambda size: QueueEnqueueBatch(NAMESPACE, NAME, (item,) * size))


async def fill_stream(cluster: MeasuredCluster, count: int) -> list[StreamId]:
    """Appends so many records; returns the ids of some of them, evenly spread."""
    item = StreamItem(payload(VALUE_BYTES))
    answers = await _fill(
        cluster, count, lambda size: StreamAppend(NAMESPACE, NAME, (item,) * size)
    )
    found: list[StreamId] = []
    for answer, size in zip(answers, _sizes(count), strict=True):
        first = cast(Appended, answer).id
        steps = range(0, size, max(1, count // _IDS))
        found += [StreamId(first.timestamp_ms, first.sequence + step) for step in steps]
    return found


async def _fill(cluster: MeasuredCluster, count: int, make: Callable[[int], Body]) -> list[Result]:
    leaders = await leaders_of(cluster)
    port = cluster.client_ports[leaders[0]]
    return [await asyncio.to_thread(ask, port, make(size), _PATIENCE_S) for size in _sizes(count)]


def _sizes(count: int) -> list[int]:
    return [_BATCH] * (count // _BATCH) + [count % _BATCH] * bool(count % _BATCH)


def appends() -> Workload:
    """One record each."""
    item = StreamItem(payload(VALUE_BYTES))
    return Workload.of_names([NAME], lambda name: [StreamAppend(NAMESPACE, name, (item,))])


def take_and_put() -> Operation:
    """Takes a message; then acknowledges it and puts another one there, both at once."""
    return _again(_take_and_put)


def follow_and_append() -> Operation:
    """Reads a record as a group; then acknowledges it and appends one, both at once."""
    return _again(_follow_and_append)


def _again(dialogue: Callable[[bytes], Dialogue]) -> Operation:
    def begin(_name: bytes, payload: bytes) -> Iterator[Dialogue]:
        return map(dialogue, itertools.repeat(payload))

    return Operation(begin)


def _take_and_put(payload: bytes) -> Dialogue:
    (answer,) = yield (QueueDequeue(NAMESPACE, NAME, 1, 0, _LEASE_MS),)
    ack = QueueAck(NAMESPACE, NAME, sequences_of(answer))
    yield (ack, QueueEnqueue(NAMESPACE, NAME, payload))


def _follow_and_append(payload: bytes) -> Dialogue:
    (answer,) = yield (GroupRead(NAMESPACE, NAME, _GROUP, _CONSUMER, 1),)
    ack = GroupAck(NAMESPACE, NAME, _GROUP, _CONSUMER, ids_of(answer))
    yield (ack, StreamAppend(NAMESPACE, NAME, (StreamItem(payload),)))
