"""Operations that take several requests: dequeue and acknowledge, read as a group and acknowledge,
a transaction.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import cast

from bench.dialogues import Dialogue, Operation, RanDryError
from bench.frames import NAMESPACE
from flo.wire.group_messages import GroupAck, GroupRead
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit
from flo.wire.messages import Body, KvPut, Result
from flo.wire.queue_messages import (
    QueueAck,
    QueueDequeue,
    QueueEnqueueBatch,
    QueueItem,
    QueueMessages,
)
from flo.wire.stream_messages import Records, StreamAppend, StreamId, StreamItem

_GROUP, _CONSUMER = b"group", b"consumer"
_LEASE_MS = 300_000
_TXN_WRITES, _TXN_KEYS = 3, 10_000


def _again(
    dialogue: Callable[[bytes, bytes], Dialogue],
) -> Callable[[bytes, bytes], Iterator[Dialogue]]:
    """Operations that have nothing to do with each other."""

    def begin(name: bytes, payload: bytes) -> Iterator[Dialogue]:
        return map(dialogue, itertools.repeat(name), itertools.repeat(payload))

    return begin


def _dequeue(size: int, name: bytes, _payload: bytes) -> Dialogue:
    (answer,) = yield (QueueDequeue(NAMESPACE, name, size, 0, _LEASE_MS),)
    yield (QueueAck(NAMESPACE, name, sequences_of(answer)),)


def _consume(size: int, name: bytes, _payload: bytes) -> Iterator[Dialogue]:
    held: list[int] = []
    while True:
        yield _acknowledge_and_take(size, name, held)


def _acknowledge_and_take(size: int, name: bytes, held: list[int]) -> Dialogue:
    take = QueueDequeue(NAMESPACE, name, size, 0, _LEASE_MS)
    answers = yield ((take, QueueAck(NAMESPACE, name, tuple(held))) if held else (take,))
    held[:] = sequences_of(answers[0])


def sequences_of(answer: Result) -> tuple[int, ...]:
    """Of the messages that a dequeue took. Raises RanDryError when there were none."""
    taken = cast(QueueMessages, answer).messages
    if not taken:
        raise RanDryError
    return tuple(message.sequence for message in taken)


def _group(size: int, name: bytes, _payload: bytes) -> Dialogue:
    (answer,) = yield (GroupRead(NAMESPACE, name, _GROUP, _CONSUMER, size),)
    yield (GroupAck(NAMESPACE, name, _GROUP, _CONSUMER, ids_of(answer)),)


def _follow(size: int, name: bytes, _payload: bytes) -> Iterator[Dialogue]:
    held: list[StreamId] = []
    while True:
        yield _acknowledge_and_read(size, name, held)


def _acknowledge_and_read(size: int, name: bytes, held: list[StreamId]) -> Dialogue:
    read = GroupRead(NAMESPACE, name, _GROUP, _CONSUMER, size)
    ack = GroupAck(NAMESPACE, name, _GROUP, _CONSUMER, tuple(held))
    answers = yield ((read, ack) if held else (read,))
    held[:] = ids_of(answers[0])


def ids_of(answer: Result) -> tuple[StreamId, ...]:
    """Of the records that a group read. Raises RanDryError when there were none."""
    taken = cast(Records, answer).records
    if not taken:
        raise RanDryError
    return tuple(record.id for record in taken)


def _transaction(rng: Random, name: bytes, payload: bytes) -> Dialogue:
    (begun,) = yield (TxnBegin(NAMESPACE, name),)
    txn = cast(TxnBegun, begun).txn
    for number in rng.sample(range(_TXN_KEYS), _TXN_WRITES):
        yield (KvPut(NAMESPACE, b"%s%d" % (name, number), payload, txn=txn),)
    yield (TxnCommit(NAMESPACE, name, txn),)


def _messages(name: bytes, payload: bytes, count: int) -> Body:
    return QueueEnqueueBatch(NAMESPACE, name, (QueueItem(payload),) * count)


def _records(name: bytes, payload: bytes, count: int) -> Body:
    return StreamAppend(NAMESPACE, name, (StreamItem(payload),) * count)


OPERATIONS = {
    "dequeue": Operation(_again(partial(_dequeue, 1)), _messages),
    "dequeue10": Operation(_again(partial(_dequeue, 10)), _messages, 10),
    "consume": Operation(partial(_consume, 1), _messages),
    "group": Operation(_again(partial(_group, 1)), _records),
    "group10": Operation(_again(partial(_group, 10)), _records, 10),
    "follow": Operation(partial(_follow, 1), _records),
    "txn3": Operation(_again(partial(_transaction, Random(1)))),
}
"""By name. Those of queues and groups take what was put there before, and acknowledge it."""
