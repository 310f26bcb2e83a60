"""Looking at queues, and the messages of an answer.

A message of an answer is `(sequence, payload, enqueued_at_ms, deliveries, priority)`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from cluster.state import queue_rows as rows
from cluster.state.objects import object_key, read_object, scan_objects
from cluster.state.queue_commands import CONSUMED
from cluster.state.queue_rows import QUEUE_KIND, Queue, decode_queue
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

Message: TypeAlias = tuple[int, bytes, int, int, int]
"""sequence, payload, enqueued_at_ms, deliveries, priority"""
Listed: TypeAlias = tuple[bytes, int, int, int, int, int]
"""name, ready, delayed, leased, dead, delivery"""

PAGE_BYTES_MAX = 1 << 20
"""Of one answer, unless its first message is larger."""
_COUNT_BYTES = 4
_MESSAGE_OVERHEAD_BYTES = 25
"""What an answer takes beside the payloads: its head, and each message's other fields."""


class Sized(Protocol):
    """A message that is about to be looked up."""

    @property
    def size(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def deliveries(self) -> int: ...


M = TypeVar("M", bound=Sized)


def choose(messages: Iterable[M], count: int, page_bytes: int) -> list[M]:
    """The first messages, as many as an answer of a size holds, but one at least."""
    chosen: list[M] = []
    room = page_bytes - _COUNT_BYTES
    for message in islice(messages, count):
        room -= message.size + _MESSAGE_OVERHEAD_BYTES
        if chosen and room < 0:
            break
        chosen.append(message)
    return chosen


def refuse_large(chosen: list[M], max_bytes: int) -> Result | None:
    """What to answer when not even the first message fits."""
    if not chosen:
        return None
    size = chosen[0].size
    if size + _MESSAGE_OVERHEAD_BYTES + _COUNT_BYTES <= max_bytes:
        return None
    text = (
        f"message {chosen[0].sequence} has {size} bytes, more than an answer to this client holds"
        f" ({max_bytes}): read it with a client of protocol version 1"
    )
    return int(Reason.FIELD_TOO_LONG), text.encode()


def expand(txn: ReadTransaction, result: Result) -> Result:
    """The answer `(0, messages)` to a dequeue that took something.

    What was acknowledged or purged since is left out. The result kept for this sequence may be that
    of another command: then it stays as it is.
    """
    if result[1:2] == (CONSUMED,):
        return 0, result[2]
    if result[1:2] != (b"leased",):
        return result
    queue_id, taken = cast("tuple[int, tuple[tuple[int, int], ...]]", result[2:])
    messages: list[Message] = []
    for sequence, deliveries in taken:
        body = rows.find_body(txn, queue_id, sequence)
        if body is not None:
            at_ms, priority, payload = body
            messages.append((sequence, payload, at_ms, deliveries, priority))
    return 0, tuple(messages)


def peek(
    txn: ReadTransaction, namespace: bytes, name: bytes, *, count: int, max_bytes: int
) -> Result:
    """`(0, messages)` that would be taken next."""
    queue = _find(txn, namespace, name)
    if queue is None or not queue.ready:
        return 0, ()
    chosen = choose(rows.scan_ready(txn, queue.live_id), count, min(max_bytes, PAGE_BYTES_MAX))
    return refuse_large(chosen, max_bytes) or (0, _look_up(txn, queue, chosen))


def list_dead(
    txn: ReadTransaction, namespace: bytes, name: bytes, *, count: int, max_bytes: int
) -> Result:
    """`(0, messages)` of the dead letters, oldest first."""
    queue = _find(txn, namespace, name)
    if queue is None or not queue.dead:
        return 0, ()
    chosen = choose(rows.scan_dead(txn, queue.queue_id), count, min(max_bytes, PAGE_BYTES_MAX))
    return refuse_large(chosen, max_bytes) or (0, _look_up(txn, queue, chosen))


def stats(txn: ReadTransaction, namespace: bytes, name: bytes) -> Listed:
    """Counts and delivery of a queue, all 0 for one that is not there."""
    queue = _find(txn, namespace, name)
    return (name, 0, 0, 0, 0, 0) if queue is None else _listed(name, queue)


def list_queues(
    txn: ReadTransaction, namespace: bytes, prefix: bytes, after: bytes, *, limit: int
) -> tuple[list[Listed], bool]:
    """Queues whose name starts with `prefix` and sorts after `after`; whether more follow."""
    head = object_key(QUEUE_KIND, namespace, b"")
    start = head + after if after else b""
    found: list[Listed] = []
    for full, queue in scan_objects(txn, head + prefix, start, decode_queue):
        if len(found) == limit:
            return found, True
        found.append(_listed(full[len(head) :], queue))
    return found, False


def _find(txn: ReadTransaction, namespace: bytes, name: bytes) -> Queue | None:
    return read_object(txn, object_key(QUEUE_KIND, namespace, name), decode_queue)


def _look_up(txn: ReadTransaction, queue: Queue, chosen: list[M]) -> tuple[Message, ...]:
    messages: list[Message] = []
    for each in chosen:
        at_ms, priority, payload = rows.get_body(txn, queue.queue_id, each.sequence)
        messages.append((each.sequence, payload, at_ms, each.deliveries, priority))
    return tuple(messages)


def _listed(name: bytes, queue: Queue) -> Listed:
    return name, queue.ready, queue.delayed, queue.leased, queue.dead, queue.delivery
