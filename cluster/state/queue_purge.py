"""Emptying queues, and what becomes of dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import queue_rows as rows
from cluster.state.objects import forget_id, name_id, object_key
from cluster.state.queue_moves import offer, take_dead
from cluster.state.queue_rows import DELAYED, QUEUE_KIND, Pending
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.context import Context
    from cluster.state.queue_commands import PurgeCommand, SequencesCommand
    from cluster.state.queue_rows import Queue


def purge(context: Context, command: PurgeCommand) -> Result:
    """Removes every message but the dead letters. Their rows go little by little."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return 0, 0
    removed = queue.ready + queue.delayed + queue.leased
    if removed:
        _give_up_bodies(context, queue)
        prefix = rows.id_prefix(queue.live_id)
        context.garbage.add(context.txn, Table.QUEUE_READY, prefix)
        context.garbage.add(context.txn, Table.QUEUE_STATE, prefix)
        forget_id(context.txn, queue.live_id)
        queue.live_id = context.new_id()
        name_id(context.txn, queue.live_id, full)
        queue.front.cleared()
        queue.ready = queue.delayed = queue.leased = 0
        context.queues.changed(full, queue)
    return 0, removed


def dlq_purge(context: Context, command: PurgeCommand) -> Result:
    """Removes the dead letters, of which there are not too many to do it at once."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return 0, 0
    letters = list(rows.scan_dead(context.txn, queue.queue_id))
    for dead in letters:
        take_dead(context, queue, dead)
        rows.delete_body(context.txn, queue.queue_id, dead.sequence)
    context.queues.changed(full, queue)
    return 0, len(letters)


def dlq_requeue(context: Context, command: SequencesCommand) -> Result:
    """Makes dead letters ready again, as never delivered. What is not dead is ignored."""
    full = object_key(QUEUE_KIND, command[4], command[5])
    queue = context.queues.get(context.txn, full)
    if queue is None:
        return (0,)
    for sequence in command[6]:
        dead = rows.find_dead(context.txn, queue.queue_id, sequence)
        if dead is not None:
            take_dead(context, queue, dead)
            message = Pending(DELAYED, 0, 0, dead.priority, dead.size)
            offer(context, full, queue, sequence, message)
    context.queues.changed(full, queue)
    return (0,)


def _give_up_bodies(context: Context, queue: Queue) -> None:
    """Every body goes that is not of a dead letter.

    None of these sequences comes back, so the ranges between dead letters stay true.
    """
    dead = sorted(each.sequence for each in rows.scan_dead(context.txn, queue.queue_id))
    first = 1
    for sequence in (*dead, queue.last_sequence + 1):
        if first < sequence:
            start = rows.message_key(queue.queue_id, first)
            last = rows.message_key(queue.queue_id, sequence - 1)
            context.garbage.add(context.txn, Table.QUEUE_BODY, start, last)
        first = sequence + 1
