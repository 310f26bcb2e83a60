"""Messages of a queue on their way from one place to another; each keeps the counts right.

A message is in exactly one place: ready, delayed, leased or dead. See `cluster.state.queue_rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import queue_rows as rows
from cluster.state.checksum import corrupt
from cluster.state.objects import name_of_id
from cluster.state.queue_rows import DELAYED, LEASED, MESSAGE_TIMER, Dead, Pending, Ready
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.context import Context
    from cluster.state.queue_rows import Queue

DEAD_MAX = 10_000
"""Dead letters that a queue keeps; the oldest go."""


def topic_of(full: bytes) -> bytes:
    """What waits for a queue: its full key without the NUL in front."""
    return full[1:]


def hold(context: Context, queue: Queue, sequence: int, pending: Pending) -> None:
    """The message waits for its time, delayed or leased."""
    rows.insert_pending(context.txn, queue.live_id, sequence, pending)
    what = rows.message_key(queue.live_id, sequence)
    context.timers.insert(context.txn, pending.at_ms, MESSAGE_TIMER, what)
    if pending.state == DELAYED:
        queue.delayed += 1
    else:
        queue.leased += 1


def take_leased(context: Context, queue: Queue, sequence: int) -> Pending | None:
    """Ends the lease of a message, whose place is open then; None when it is not leased."""
    pending = rows.get_pending(context.txn, queue.live_id, sequence)
    if pending is None or pending.state != LEASED:
        return None
    rows.delete_pending(context.txn, queue.live_id, sequence)
    what = rows.message_key(queue.live_id, sequence)
    context.timers.remove(context.txn, pending.at_ms, MESSAGE_TIMER, what)
    queue.leased -= 1
    return pending


def withdraw(context: Context, queue: Queue, ready: Ready) -> None:
    """A ready message leaves its place."""
    rows.delete_ready(context.txn, ready)
    queue.front.removed(ready)
    queue.ready -= 1


def offer(context: Context, full: bytes, queue: Queue, sequence: int, message: Pending) -> None:
    """The message becomes ready. Its number of deliveries stays."""
    key = rows.insert_ready(context.txn, queue.live_id, sequence, message)
    if queue.front.reaches(key):
        ready = Ready(key, message.priority, sequence, message.deliveries, message.size)
        queue.front.added(ready)
    queue.ready += 1
    context.touch(topic_of(full), 1)


def give_back(context: Context, full: bytes, queue: Queue, sequence: int, message: Pending) -> None:
    """Becomes ready again, or a dead letter once it was delivered as often as the queue allows."""
    if message.deliveries < queue.max_attempts:
        offer(context, full, queue, sequence, message)
    else:
        bury(context, queue, sequence, message)


def bury(context: Context, queue: Queue, sequence: int, message: Pending) -> None:
    """The message becomes a dead letter, and the oldest is dropped if there are too many."""
    queue.last_death += 1
    dead = Dead(queue.last_death, sequence, message.deliveries, message.priority, message.size)
    rows.put_dead(context.txn, queue.queue_id, dead)
    queue.dead += 1
    if queue.dead > DEAD_MAX:
        oldest = next(rows.scan_dead(context.txn, queue.queue_id))
        take_dead(context, queue, oldest)
        rows.delete_body(context.txn, queue.queue_id, oldest.sequence)


def take_dead(context: Context, queue: Queue, dead: Dead) -> None:
    """The dead letter is none any more; its place is open then."""
    rows.delete_dead(context.txn, queue.queue_id, dead)
    queue.dead -= 1


def message_due(context: Context, what: bytes) -> None:
    """A delay or a lease is over."""
    live_id, sequence = rows.split_message_key(what)
    full = name_of_id(context.txn, live_id)
    if full is None:
        return  # Purged; the timer was yet to be removed.
    queue = context.queues.get(context.txn, full)
    pending = rows.get_pending(context.txn, live_id, sequence)
    if queue is None or pending is None:
        raise corrupt(Table.QUEUE_STATE, what, "a timer without its message or queue")
    rows.delete_pending(context.txn, live_id, sequence)
    if pending.state == DELAYED:
        queue.delayed -= 1
        offer(context, full, queue, sequence, pending)
    else:
        queue.leased -= 1
        give_back(context, full, queue, sequence, pending)
    context.queues.changed(full, queue)


def dedup_due(context: Context, what: bytes) -> None:
    """A deduplication key is forgotten."""
    rows.delete_dedup(context.txn, what)
