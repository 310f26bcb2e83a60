"""What can be asked of queues, and the answers.

A request is routed by its queue's name as a key's is. Times are milliseconds; a None takes the
queue's setting, or what the field says.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

DELIVERY_LEASE = 0
"""A message taken is leased: it comes back unless it is acknowledged in time."""
DELIVERY_CONSUME = 1
"""A message taken is gone."""


class QueueEnqueue(NamedTuple):
    """Put a message into a queue, which need not exist. The lowest `priority` is taken first.

    `delay_ms` keeps it out of sight for that long. With the `dedup_key` (1 to 255 bytes) of a
    recent message nothing is added, and the answer is that message's sequence.
    """

    namespace: bytes
    queue: bytes
    payload: bytes
    priority: int = 0
    delay_ms: int = 0
    dedup_key: bytes | None = None


class QueueItem(NamedTuple):
    """One message of a batch: the fields of `QueueEnqueue`."""

    payload: bytes
    priority: int = 0
    delay_ms: int = 0
    dedup_key: bytes | None = None


class QueueEnqueueBatch(NamedTuple):
    """Put 1 to 1000 messages into a queue, in their order: all of them or, refused, none.

    Together they must fit into one frame.
    """

    namespace: bytes
    queue: bytes
    items: tuple[QueueItem, ...]


class QueueDequeue(NamedTuple):
    """Take up to `count` (1 to 100) messages, waiting up to `wait_ms` for the first.

    They are leased for `visibility_ms`, in a queue that leases.
    """

    namespace: bytes
    queue: bytes
    count: int = 1  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    wait_ms: int = 0
    visibility_ms: int | None = None


class QueuePeek(NamedTuple):
    """Look at the next `count` (1 to 100) messages without taking them."""

    namespace: bytes
    queue: bytes
    count: int = 1  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]


class QueueAck(NamedTuple):
    """Remove leased messages for good. What is not leased is ignored."""

    namespace: bytes
    queue: bytes
    sequences: tuple[int, ...]


class QueueNack(NamedTuple):
    """Give leased messages back at once, or to the dead letters. What is not leased is ignored."""

    namespace: bytes
    queue: bytes
    sequences: tuple[int, ...]
    to_dead_letter: bool = False


class QueueTouch(NamedTuple):
    """Let leases end `extend_ms` from now. What is not leased is ignored.

    None is the queue's visibility timeout.
    """

    namespace: bytes
    queue: bytes
    sequences: tuple[int, ...]
    extend_ms: int | None = None


class QueueDlqList(NamedTuple):
    """Look at the dead letters, oldest first. `limit` (1 to 1000) None is the default of 100."""

    namespace: bytes
    queue: bytes
    limit: int | None = None


class QueueDlqRequeue(NamedTuple):
    """Put dead letters back into their queue, as never delivered. Unknown ones are ignored."""

    namespace: bytes
    queue: bytes
    sequences: tuple[int, ...]


class QueueDlqPurge(NamedTuple):
    """Remove all dead letters of a queue."""

    namespace: bytes
    queue: bytes


class QueuePurge(NamedTuple):
    """Remove every message of a queue but its dead letters."""

    namespace: bytes
    queue: bytes


class QueueList(NamedTuple):
    """One page of the queues whose name starts with a prefix.

    `limit` (1 to 1000) None is the default of 100.
    """

    namespace: bytes
    prefix: bytes = b""
    limit: int | None = None
    cursor: bytes = b""


class QueueStats(NamedTuple):
    """How many messages of each kind does a queue hold?"""

    namespace: bytes
    queue: bytes


class QueueConfigure(NamedTuple):
    """Change a queue's settings; None leaves one as it is.

    `delivery` is DELIVERY_LEASE (the default) or DELIVERY_CONSUME. `visibility_ms` is how long a
    lease lasts (30 s by default), `max_attempts` (1 to 65,535) the number of deliveries after which
    a message is a dead letter (5 by default).
    """

    namespace: bytes
    queue: bytes
    delivery: int | None = None
    visibility_ms: int | None = None
    max_attempts: int | None = None


class Enqueued(NamedTuple):
    """The message's sequence: larger than that of every earlier message of the queue."""

    sequence: int


class EnqueuedBatch(NamedTuple):
    """The sequences of a batch, in the order of its items."""

    sequences: tuple[int, ...]


class QueueMessage(NamedTuple):
    """A message of a queue, and how often it was delivered, this time included.

    Official v1 clients are told sequence and payload alone: the other three read as 0.
    """

    sequence: int
    payload: bytes
    enqueued_at_ms: int
    delivery_count: int
    priority: int


class QueueMessages(NamedTuple):
    """Messages in the order of delivery, or dead letters oldest first."""

    messages: tuple[QueueMessage, ...]


class Purged(NamedTuple):
    """How many messages were removed."""

    removed: int


class QueueSummary(NamedTuple):
    """How many messages of a queue can be taken, wait for their time, are leased, are dead."""

    name: bytes
    ready: int
    delayed: int
    leased: int
    dead: int
    delivery: int = DELIVERY_LEASE


class QueueListing(NamedTuple):
    """One page of queues. `cursor` continues it; None exactly on the last page."""

    queues: tuple[QueueSummary, ...]
    cursor: bytes | None


QueueBody: TypeAlias = (
    QueueEnqueue
    | QueueEnqueueBatch
    | QueueDequeue
    | QueuePeek
    | QueueAck
    | QueueNack
    | QueueTouch
    | QueueDlqList
    | QueueDlqRequeue
    | QueueDlqPurge
    | QueuePurge
    | QueueList
    | QueueStats
    | QueueConfigure
)

QueueResult: TypeAlias = (
    Enqueued | EnqueuedBatch | QueueMessages | Purged | QueueSummary | QueueListing
)
