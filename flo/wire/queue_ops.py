"""The registry's rows of queues. A queue is routed by its name, as a key is."""

from __future__ import annotations

from flo.wire import queue, queue_own
from flo.wire.messages import Done
from flo.wire.op import KEY_READ, KEY_WRITE, Traits, messages, row
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
    QueueList,
    QueueListing,
    QueueMessages,
    QueueNack,
    QueuePeek,
    QueuePurge,
    QueueStats,
    QueueSummary,
    QueueTouch,
)

ROWS = (
    row(
        0x170,
        "queue.enqueue",
        KEY_WRITE,
        messages(QueueEnqueue, Enqueued, queue.ENQUEUE_V1, queue.ENQUEUE_V2),
    ),
    row(
        0x171,
        "queue.dequeue",
        # It leases what it takes.
        KEY_WRITE,
        messages(QueueDequeue, QueueMessages, queue.DEQUEUE_V1, queue.DEQUEUE_V2),
    ),
    row(0x172, "queue.ack", KEY_WRITE, messages(QueueAck, Done, queue.ACK, queue.ACK)),
    row(0x174, "queue.nack", KEY_WRITE, messages(QueueNack, Done, queue.NACK_V1, queue.NACK_V2)),
    row(
        0x176,
        "queue.dlq_list",
        KEY_READ,
        messages(QueueDlqList, QueueMessages, queue.DLQ_LIST_V1, queue.DLQ_LIST_V2),
    ),
    row(
        0x178,
        "queue.dlq_requeue",
        KEY_WRITE,
        messages(QueueDlqRequeue, Done, queue.DLQ_REQUEUE, queue.DLQ_REQUEUE),
    ),
    row(
        0x17B,
        "queue.stats",
        KEY_READ,
        messages(QueueStats, QueueSummary, queue_own.STATS, None),
    ),
    row(
        0x17C,
        "queue.peek",
        KEY_READ,
        messages(QueuePeek, QueueMessages, queue.PEEK_V1, queue.PEEK_V2),
    ),
    row(0x17D, "queue.touch", KEY_WRITE, messages(QueueTouch, Done, queue.TOUCH, None)),
    row(0x17F, "queue.purge", KEY_WRITE, messages(QueuePurge, Purged, queue_own.PURGE, None)),
    row(
        0x198,
        "queue.list",
        Traits("read", "all", True),
        messages(QueueList, QueueListing, queue_own.LIST, None),
    ),
    row(
        0xF002,
        "queue.enqueue_batch",
        KEY_WRITE,
        messages(QueueEnqueueBatch, EnqueuedBatch, queue_own.ENQUEUE_BATCH, None),
    ),
    # 0x177, dlq_delete, is about single messages.
    row(
        0xF010,
        "queue.dlq_purge",
        KEY_WRITE,
        messages(QueueDlqPurge, Purged, queue_own.DLQ_PURGE, None),
    ),
    row(
        0xF011,
        "queue.configure",
        KEY_WRITE,
        messages(QueueConfigure, Done, queue_own.CONFIGURE, None),
    ),
)
