"""How many rows a command is about: what it costs beside its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cluster.state import group_commands as group
from cluster.state import queue_commands as queue
from cluster.state.stream_commands import STREAM_APPEND
from cluster.state.txn_commands import TXN_COMMIT

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

ROWS_AT: dict[object, int] = {
    queue.ENQUEUE_BATCH: 6,
    queue.DEQUEUE: 6,
    queue.ACK: 6,
    queue.NACK: 6,
    queue.TOUCH: 6,
    queue.DLQ_REQUEUE: 6,
    STREAM_APPEND: 6,
    group.GROUP_READ: 8,
    group.GROUP_ACK: 8,
    group.GROUP_NACK: 8,
    group.GROUP_TOUCH: 8,
    group.GROUP_CLAIM: 11,
    TXN_COMMIT: 5,
}
"""Where a command says it: a number, or a list with something for each."""


def rows_of(command: Sequence[object]) -> int:
    """About how many messages, records or keys a command may touch, beside one."""
    place = ROWS_AT.get(command[0])
    if place is None:
        return 0
    rows = command[place]
    return rows if isinstance(rows, int) else len(cast("Sized", rows))
