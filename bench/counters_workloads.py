"""What the counted clients do: operations, each of one or more requests to one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from flo.wire.group_messages import GroupAck, GroupRead
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit
from flo.wire.messages import KvGet, KvIncr, KvPut
from flo.wire.queue_messages import (
    QueueAck,
    QueueDequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueMessages,
)
from flo.wire.stream_messages import Records, StreamAppend, StreamItem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cluster.operation import Answer
    from flo.wire.messages import Body

    Dialogue: TypeAlias = Generator[Body, Answer, None]
    """One operation: it yields requests, and is sent their answers."""

NAMESPACE = b"bench"
PAYLOAD = bytes(128)
_GROUP, _CONSUMER = b"group", b"consumer"
_LEASE_MS = 300_000
_TXN_WRITES = 3
_BATCH = 100


class Workload(NamedTuple):
    """One kind of operation."""

    name: str
    begin: Callable[[bytes, int], Dialogue]
    """With the name of a queue or stream, or what the key begins with, and a number of its own."""
    fill: Callable[[bytes, int], Dialogue] | None = None
    """Puts there what so many operations find."""


def _put(name: bytes, number: int) -> Dialogue:
    yield KvPut(NAMESPACE, b"%s%d" % (name, number), PAYLOAD)


def _get(name: bytes, number: int) -> Dialogue:
    yield KvGet(NAMESPACE, b"%s%d" % (name, number % _BATCH))


def _incr(name: bytes, number: int) -> Dialogue:
    yield KvIncr(NAMESPACE, b"%s%d" % (name, number % _BATCH))


def _enqueue(name: bytes, _number: int) -> Dialogue:
    yield QueueEnqueue(NAMESPACE, name, PAYLOAD)


def _append(name: bytes, _number: int) -> Dialogue:
    yield StreamAppend(NAMESPACE, name, (StreamItem(PAYLOAD),))


def _dequeue(name: bytes, _number: int) -> Dialogue:
    answer = yield QueueDequeue(NAMESPACE, name, 1, 0, _LEASE_MS)
    (message,) = cast(QueueMessages, answer).messages
    yield QueueAck(NAMESPACE, name, (message.sequence,))


def _group(name: bytes, _number: int) -> Dialogue:
    answer = yield GroupRead(NAMESPACE, name, _GROUP, _CONSUMER, 1)
    (record,) = cast(Records, answer).records
    yield GroupAck(NAMESPACE, name, _GROUP, _CONSUMER, (record.id,))


def _transaction(name: bytes, number: int) -> Dialogue:
    txn = cast(TxnBegun, (yield TxnBegin(NAMESPACE, name))).txn
    for each in range(_TXN_WRITES):
        yield KvPut(NAMESPACE, b"%s%d-%d" % (name, number, each), PAYLOAD, txn=txn)
    yield TxnCommit(NAMESPACE, name, txn)


def _keys(name: bytes, _count: int) -> Dialogue:
    for number in range(_BATCH):
        yield from _put(name, number)


def _messages(name: bytes, count: int) -> Dialogue:
    for _ in range(0, count, _BATCH):
        yield QueueEnqueueBatch(NAMESPACE, name, (QueueItem(PAYLOAD),) * _BATCH)


def _records(name: bytes, count: int) -> Dialogue:
    for _ in range(0, count, _BATCH):
        yield StreamAppend(NAMESPACE, name, (StreamItem(PAYLOAD),) * _BATCH)


WORKLOADS = {
    "put": Workload("put", _put),
    "get": Workload("get", _get, _keys),
    "incr": Workload("incr", _incr),
    "enqueue": Workload("enqueue", _enqueue),
    "dequeue": Workload("dequeue", _dequeue, _messages),
    "append": Workload("append", _append),
    "group": Workload("group", _group, _records),
    "txn3": Workload("txn3", _transaction),
}
"""Those of queues and groups take one and acknowledge it; gets are linearizable."""
