"""Queues: what each command does to them.

A queue is made by its first message, or by its settings. What is not there is empty, never an
error. The lowest priority number is taken first, then the lowest sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import queue_rows as rows
from cluster.state.commands import EMPTY
from cluster.state.objects import name_id, object_key
from cluster.state.queue_commands import (
    ACK,
    CONFIGURE,
    CONSUMED,
    DEQUEUE,
    DLQ_PURGE,
    DLQ_REQUEUE,
    ENQUEUE,
    ENQUEUE_BATCH,
    NACK,
    PURGE,
    TOUCH,
)
from cluster.state.queue_moves import (
    bury,
    dedup_due,
    give_back,
    hold,
    message_due,
    offer,
    take_leased,
    topic_of,
    withdraw,
)
from cluster.state.queue_purge import dlq_purge, dlq_requeue, purge
from cluster.state.queue_reads import PAGE_BYTES_MAX, choose, refuse_large
from cluster.state.queue_rows import (
    DEDUP_TIMER,
    DELAYED,
    LEASED,
    MESSAGE_TIMER,
    QUEUE_KIND,
    Body,
    Dedup,
    Pending,
    Queue,
)
from flo.wire.queue_messages import DELIVERY_CONSUME

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import Result
    from cluster.state.context import Context
    from cluster.state.queue_commands import (
        BatchItem,
        ConfigureCommand,
        DequeueCommand,
        EnqueueBatchCommand,
        EnqueueCommand,
        NackCommand,
        SequencesCommand,
        TouchCommand,
    )
    from cluster.state.queue_rows import Ready

DEDUP_MS = 300_000
"""How long a deduplication key is remembered after its message was enqueued."""
CONSUMED_BYTES_MAX = 256 << 10
"""Of one dequeue, unless its first message is larger. What was consumed is kept with its session
until the client has it, so it is less than what other answers hold."""

_EMPTY: Result = (EMPTY,)
_DONE: Result = (0,)


def enqueue(context: Context, command: EnqueueCommand) -> Result:
    """Adds a message, or with the key of a recent one finds that."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = _open(context, full)
    sequence = _add(context, full, queue, command[6:])
    context.queues.changed(full, queue)
    return 0, sequence


def enqueue_batch(context: Context, command: EnqueueBatchCommand) -> Result:
    """Adds messages in their order."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = _open(context, full)
    sequences = tuple(_add(context, full, queue, item) for item in command[6])
    context.queues.changed(full, queue)
    return 0, sequences


def dequeue(context: Context, command: DequeueCommand) -> Result:
    """Takes the first ready messages: leases them, or where the queue consumes, removes them."""
    _, _, _, _, namespace, name, count, visibility_ms, max_bytes = command
    full = object_key(QUEUE_KIND, namespace, name)
    queue = context.queues.get(context.txn, full)
    if queue is None or not queue.ready:
        return _EMPTY
    consumes = queue.delivery == DELIVERY_CONSUME
    page_bytes = min(max_bytes, CONSUMED_BYTES_MAX if consumes else PAGE_BYTES_MAX)
    ready = rows.scan_ready(context.txn, queue.live_id)
    chosen = choose(queue.front.look(ready, count), count, page_bytes)
    refusal = refuse_large(chosen, max_bytes)
    if refusal is not None:
        _count_refusal(context, full, queue, chosen[0])
        _wake_next(context, full, queue)
        return refusal
    if consumes:
        result = _consume(context, queue, chosen)
    else:
        result = _lease(context, queue, chosen, visibility_ms or queue.visibility_ms)
    context.queues.changed(full, queue)
    _wake_next(context, full, queue)
    return result


def ack(context: Context, command: SequencesCommand) -> Result:
    """Removes leased messages. What is not leased is ignored."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return _DONE
    for sequence in command[6]:
        if take_leased(context, queue, sequence) is not None:
            rows.delete_body(context.txn, queue.queue_id, sequence)
    context.queues.changed(full, queue)
    return _DONE


def nack(context: Context, command: NackCommand) -> Result:
    """Gives leased messages back. What is not leased is ignored."""
    _, _, _, _, namespace, name, sequences, to_dead_letter = command
    full = object_key(QUEUE_KIND, namespace, name)
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return _DONE
    for sequence in sequences:
        message = take_leased(context, queue, sequence)
        if message is None:
            continue
        if to_dead_letter:
            bury(context, queue, sequence, message)
        else:
            give_back(context, full, queue, sequence, message)
    context.queues.changed(full, queue)
    return _DONE


def touch(context: Context, command: TouchCommand) -> Result:
    """Lets leases end later, or sooner. What is not leased is ignored."""
    _, _, _, _, namespace, name, sequences, extend_ms = command
    full = object_key(QUEUE_KIND, namespace, name)
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return _DONE
    at_ms = context.stamp_ms + (extend_ms or queue.visibility_ms)
    for sequence in sequences:
        message = take_leased(context, queue, sequence)
        if message is not None:
            hold(context, queue, sequence, message._replace(at_ms=at_ms))
    context.queues.changed(full, queue)
    return _DONE


def configure(context: Context, command: ConfigureCommand) -> Result:
    """Changes settings. They hold for what happens from now on, not for leases there are."""
    _, _, _, _, namespace, name, delivery, visibility_ms, max_attempts = command
    full = object_key(QUEUE_KIND, namespace, name)
    queue = _open(context, full)
    if delivery is not None:
        queue.delivery = delivery
    if visibility_ms is not None:
        queue.visibility_ms = visibility_ms
    if max_attempts is not None:
        queue.max_attempts = max_attempts
    context.queues.changed(full, queue)
    return _DONE


HANDLERS: dict[int, Callable[..., Result]] = {
    ENQUEUE: enqueue,
    ENQUEUE_BATCH: enqueue_batch,
    DEQUEUE: dequeue,
    ACK: ack,
    NACK: nack,
    TOUCH: touch,
    CONFIGURE: configure,
    PURGE: purge,
    DLQ_REQUEUE: dlq_requeue,
    DLQ_PURGE: dlq_purge,
}

TIMER_HANDLERS: dict[int, Callable[[Context, bytes], None]] = {
    MESSAGE_TIMER: message_due,
    DEDUP_TIMER: dedup_due,
}


def _open(context: Context, full: bytes) -> Queue:
    """The queue of a name, made if there is none."""
    queue = context.queues.get(context.txn, full)
    if queue is None:
        queue = Queue(context.new_id(), context.new_id())
        context.queues.create(context.txn, full, queue)
        name_id(context.txn, queue.live_id, full)
    return queue


def _add(context: Context, full: bytes, queue: Queue, item: BatchItem) -> int:
    """The sequence of a new message, or of the one that its deduplication key stands for."""
    payload, priority, delay_ms, dedup_key = item
    sequence = queue.last_sequence + 1
    if dedup_key is not None:
        known = _deduplicate(context, rows.dedup_key(queue.queue_id, dedup_key), sequence)
        if known != sequence:
            return known
    queue.last_sequence = sequence
    body = Body(context.stamp_ms, priority, payload)
    rows.insert_body(context.txn, queue.queue_id, sequence, body)
    at_ms = context.stamp_ms + delay_ms
    message = Pending(DELAYED, at_ms, 0, priority, len(payload))
    if delay_ms:
        hold(context, queue, sequence, message)
    else:
        offer(context, full, queue, sequence, message)
    return sequence


def _deduplicate(context: Context, key: bytes, sequence: int) -> int:
    """The message that a key stands for: from now on `sequence`, unless there is another."""
    known = rows.get_dedup(context.txn, key)
    if known is not None:
        if known.until_ms > context.stamp_ms:
            return known.sequence
        # Its time has come, but not its turn: an entry runs a bounded number of timers.
        context.timers.remove(context.txn, known.until_ms, DEDUP_TIMER, key)
    until_ms = context.stamp_ms + DEDUP_MS
    rows.put_dedup(context.txn, key, Dedup(sequence, until_ms))
    context.timers.insert(context.txn, until_ms, DEDUP_TIMER, key)
    return sequence


def _wake_next(context: Context, full: bytes, queue: Queue) -> None:
    """Whoever was woken for a message may not take it: while some are left, each dequeue wakes the
    next who waits."""
    topic = topic_of(full)
    context.touched[topic] = min(max(context.touched.get(topic, 0), 1), queue.ready)


def _count_refusal(context: Context, full: bytes, queue: Queue, ready: Ready) -> None:
    """Too large for who asks: that counts as a delivery that failed, so that it does not stay
    before all others for ever."""
    withdraw(context, queue, ready)
    message = Pending(DELAYED, 0, ready.deliveries + 1, ready.priority, ready.size)
    give_back(context, full, queue, ready.sequence, message)
    context.queues.changed(full, queue)


def _lease(context: Context, queue: Queue, chosen: list[Ready], visibility_ms: int) -> Result:
    at_ms = context.stamp_ms + visibility_ms
    for ready in chosen:
        withdraw(context, queue, ready)
        pending = Pending(LEASED, at_ms, ready.deliveries + 1, ready.priority, ready.size)
        hold(context, queue, ready.sequence, pending)
    taken = tuple((ready.sequence, ready.deliveries + 1) for ready in chosen)
    return 0, b"leased", queue.queue_id, taken


def _consume(context: Context, queue: Queue, chosen: list[Ready]) -> Result:
    messages: list[tuple[int, bytes, int, int, int]] = []
    for ready in chosen:
        body = rows.get_body(context.txn, queue.queue_id, ready.sequence)
        withdraw(context, queue, ready)
        rows.delete_body(context.txn, queue.queue_id, ready.sequence)
        messages.append(
            (ready.sequence, body.payload, body.enqueued_at_ms, ready.deliveries + 1, body.priority)
        )
    return 0, CONSUMED, tuple(messages)
