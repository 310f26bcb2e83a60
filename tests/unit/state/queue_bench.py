"""Commands of queues in few words, and looks at what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from cluster.state import queue_commands as codes
from cluster.state.queue_reads import (
    Message,
    expand,
    list_dead,
    list_queues,
    peek,
    stats,
)
from cluster.state.store import Table
from tests.unit.state.helpers import NAMESPACE, NO_SESSION, Bench

if TYPE_CHECKING:
    from cluster.state.commands import Command, Result

QUEUE = b"jobs"
MANY_BYTES = 1 << 30
QUEUE_TABLES = (
    Table.QUEUE_BODY,
    Table.QUEUE_READY,
    Table.QUEUE_STATE,
    Table.QUEUE_DEAD,
    Table.QUEUE_DEDUP,
)


def _command(code: int, queue: bytes, *arguments: object) -> Command:
    return cast("Command", (code, *NO_SESSION, NAMESPACE, queue, *arguments))


def enqueue(
    payload: bytes = b"",
    *,
    priority: int = 0,
    delay_ms: int = 0,
    dedup: bytes | None = None,
    queue: bytes = QUEUE,
) -> Command:
    return _command(codes.ENQUEUE, queue, payload, priority, delay_ms, dedup)


def batch(*items: tuple[bytes, int, int, bytes | None], queue: bytes = QUEUE) -> Command:
    """Items are payload, priority, delay_ms, deduplication key."""
    return _command(codes.ENQUEUE_BATCH, queue, items)


def dequeue(
    count: int = 1,
    *,
    visibility_ms: int | None = None,
    max_bytes: int = MANY_BYTES,
    queue: bytes = QUEUE,
) -> Command:
    return _command(codes.DEQUEUE, queue, count, visibility_ms, max_bytes)


def ack(*sequences: int, queue: bytes = QUEUE) -> Command:
    return _command(codes.ACK, queue, sequences)


def nack(*sequences: int, to_dead_letter: bool = False, queue: bytes = QUEUE) -> Command:
    return _command(codes.NACK, queue, sequences, int(to_dead_letter))


def touch(*sequences: int, extend_ms: int | None = None, queue: bytes = QUEUE) -> Command:
    return _command(codes.TOUCH, queue, sequences, extend_ms)


def requeue(*sequences: int, queue: bytes = QUEUE) -> Command:
    return _command(codes.DLQ_REQUEUE, queue, sequences)


def purge(*, queue: bytes = QUEUE) -> Command:
    return _command(codes.PURGE, queue)


def dlq_purge(*, queue: bytes = QUEUE) -> Command:
    return _command(codes.DLQ_PURGE, queue)


def configure(
    delivery: int | None = None,
    visibility_ms: int | None = None,
    max_attempts: int | None = None,
    *,
    queue: bytes = QUEUE,
) -> Command:
    return _command(codes.CONFIGURE, queue, delivery, visibility_ms, max_attempts)


EVERY_COMMAND: list[Command] = [
    enqueue(b"payload", priority=255, delay_ms=2**44, dedup=b"k" * 255),
    batch((b"a", 0, 0, None), (b"", 1, 2, b"k")),
    dequeue(100, visibility_ms=1),
    ack(1, 2**64 - 1),
    nack(1, to_dead_letter=True),
    touch(1, extend_ms=2**32 - 1),
    requeue(1),
    purge(),
    dlq_purge(),
    configure(1, 1, 2**16 - 1),
]


class Counts(NamedTuple):
    """How many messages of a queue are where."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0


class QueueBench(Bench):
    """A replica with queues."""

    def take(self, count: int = 1, *, at_ms: int = 0, queue: bytes = QUEUE) -> list[int]:
        """Dequeues; the sequences taken."""
        result = self.one(dequeue(count, queue=queue), at_ms=at_ms)
        return [message[0] for message in self.messages(result)]

    def messages(self, result: Result) -> tuple[Message, ...]:
        """What the answer to a dequeue holds."""
        if result[0] != 0:
            return ()
        with self.read() as txn:
            return cast("tuple[Message, ...]", expand(txn, result)[1])

    def peek(self, count: int = 100, *, queue: bytes = QUEUE) -> tuple[Message, ...]:
        with self.read() as txn:
            result = peek(txn, NAMESPACE, queue, count=count, max_bytes=MANY_BYTES)
        return cast("tuple[Message, ...]", result[1])

    def peeked(self, *, queue: bytes = QUEUE) -> list[int]:
        """Sequences in the order in which they would be taken."""
        return [message[0] for message in self.peek(queue=queue)]

    def dead(self, count: int = 1000, *, queue: bytes = QUEUE) -> list[int]:
        """Sequences of the dead letters."""
        with self.read() as txn:
            result = list_dead(txn, NAMESPACE, queue, count=count, max_bytes=MANY_BYTES)
        return [message[0] for message in cast("tuple[Message, ...]", result[1])]

    def counts(self, *, queue: bytes = QUEUE) -> Counts:
        with self.read() as txn:
            return Counts(*stats(txn, NAMESPACE, queue)[1:5])

    def names(self, prefix: bytes = b"", after: bytes = b"", limit: int = 100) -> list[bytes]:
        with self.read() as txn:
            return [each[0] for each in list_queues(txn, NAMESPACE, prefix, after, limit=limit)[0]]

    def rows(self, *tables: Table) -> int:
        """How many rows there are, by default in all tables of queues."""
        with self.read() as txn:
            return sum(1 for table in tables or QUEUE_TABLES for _ in txn.scan(table, b""))
