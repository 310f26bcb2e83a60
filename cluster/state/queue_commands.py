"""The commands of queues, as they stand in the log."""

from __future__ import annotations

from typing import TypeAlias

from cluster.state.fields import HEAD, NAME, U64, VALUE, Bytes, Each, Layout, ListOf, Number
from flo.wire.limits import (
    QUEUE_BATCH_ITEMS_MAX,
    QUEUE_COUNT_MAX,
    QUEUE_SEQUENCES_MAX,
    TTL_MS_MAX,
)
from flo.wire.queue_messages import DELIVERY_CONSUME, DELIVERY_LEASE

ENQUEUE = 0x170
DEQUEUE = 0x171
ACK = 0x172
NACK = 0x174
DLQ_REQUEUE = 0x178
TOUCH = 0x17D
PURGE = 0x17F
ENQUEUE_BATCH = 0xF002
DLQ_PURGE = 0xF010
CONFIGURE = 0xF011

CONSUMED = b"consumed"
"""Begins the result of a dequeue that removed its messages: they follow."""

EnqueueCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, int, int, bytes | None]
"""namespace, queue, payload, priority, delay_ms, deduplication key"""
BatchItem: TypeAlias = tuple[bytes, int, int, bytes | None]
"""The last four of these."""
EnqueueBatchCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, tuple[BatchItem, ...]]
"""namespace, queue, items"""
DequeueCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, int, int | None, int]
"""namespace, queue, count, visibility_ms (None: the queue's), bytes that the answer may have"""
SequencesCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, tuple[int, ...]]
"""Acknowledge, or requeue dead letters: namespace, queue, sequences"""
NackCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, tuple[int, ...], int]
"""namespace, queue, sequences, 1 to make dead letters of them"""
TouchCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, tuple[int, ...], int | None]
"""namespace, queue, sequences, extend_ms (None: the queue's visibility timeout)"""
PurgeCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes]
"""Of the messages or of the dead letters: namespace, queue"""
ConfigureCommand: TypeAlias = tuple[
    int, int, int, int, bytes, bytes, int | None, int | None, int | None
]
"""namespace, queue, delivery, visibility_ms, max_attempts; None leaves one as it is"""

_DELAY = Number(0, TTL_MS_MAX)
_DEDUP_KEY = Bytes(255, optional=True)
_ITEM = (VALUE, Number(0, 255), _DELAY, _DEDUP_KEY)
_SEQUENCES = Each(U64, QUEUE_SEQUENCES_MAX)
_VISIBILITY = Number(1, 2**32 - 1, optional=True)
_DELIVERY = Number(DELIVERY_LEASE, DELIVERY_CONSUME, optional=True)

FIELDS: dict[object, Layout] = {
    ENQUEUE: (*HEAD, NAME, NAME, *_ITEM),
    ENQUEUE_BATCH: (*HEAD, NAME, NAME, ListOf(_ITEM, QUEUE_BATCH_ITEMS_MAX)),
    DEQUEUE: (*HEAD, NAME, NAME, Number(1, QUEUE_COUNT_MAX), _VISIBILITY, U64),
    ACK: (*HEAD, NAME, NAME, _SEQUENCES),
    NACK: (*HEAD, NAME, NAME, _SEQUENCES, Number(0, 1)),
    TOUCH: (*HEAD, NAME, NAME, _SEQUENCES, _VISIBILITY),
    DLQ_REQUEUE: (*HEAD, NAME, NAME, _SEQUENCES),
    DLQ_PURGE: (*HEAD, NAME, NAME),
    PURGE: (*HEAD, NAME, NAME),
    CONFIGURE: (*HEAD, NAME, NAME, _DELIVERY, _VISIBILITY, Number(1, 2**16 - 1, optional=True)),
}
"""Results: enqueue `(0, sequence)`, batch `(0, sequences)`, the purges `(0, removed)`, ack, nack,
touch, requeue and configure `(0,)`. For dequeue see `cluster.state.queue_reads.expand`.
"""
