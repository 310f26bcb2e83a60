"""A closed-loop load of operations that take several requests: dequeue and acknowledge, read as a
group and acknowledge, a transaction; beside them enqueue and append, for comparison.

A number of operations is under way at a time, spread evenly over the partitions. Each talks to the
leader of its partition, over one connection to each node, and the next one begins when it ends.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import NamedTuple, TypeAlias, cast

from bench.load import Sample
from flo.wire.connection import ClientConnection
from flo.wire.group_messages import GroupAck, GroupRead
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit
from flo.wire.messages import Body, KvPut, Result
from flo.wire.queue_messages import (
    QueueAck,
    QueueDequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueMessages,
)
from flo.wire.routing import partition_of
from flo.wire.status import Refusal
from flo.wire.stream_messages import Records, StreamAppend, StreamItem

Dialogue: TypeAlias = Generator[Body, Result, None]
"""One operation: it yields requests, and is sent their answers."""

NAMESPACE = b"bench"
_GROUP, _CONSUMER = b"group", b"consumer"
_LEASE_MS = 300_000
_TXN_WRITES, _TXN_KEYS = 3, 10_000
_STOCK_BATCH, _STOCK_BATCH_BYTES, _STOCK_OUTSTANDING = 1_000, 256 << 10, 4


class RanDryError(Exception):
    """Everything that was put there before has been taken: give more `--keys`."""


class Operation(NamedTuple):
    """One kind of operation."""

    begin: Callable[[bytes, bytes], Dialogue]
    """With the name of a queue, stream or routing key, and a payload."""
    fill: Callable[[bytes, bytes, int], Body] | None = None
    """The request that puts so many payloads there before, to be taken."""
    size: int = 1
    """How many each operation takes."""


def _enqueue(name: bytes, payload: bytes) -> Dialogue:
    yield QueueEnqueue(NAMESPACE, name, payload)


def _append(name: bytes, payload: bytes) -> Dialogue:
    yield StreamAppend(NAMESPACE, name, (StreamItem(payload),))


def _dequeue(size: int, name: bytes, _payload: bytes) -> Dialogue:
    answer = yield QueueDequeue(NAMESPACE, name, size, 0, _LEASE_MS)
    taken = cast(QueueMessages, answer).messages
    if not taken:
        raise RanDryError
    yield QueueAck(NAMESPACE, name, tuple(message.sequence for message in taken))


def _group(size: int, name: bytes, _payload: bytes) -> Dialogue:
    answer = yield GroupRead(NAMESPACE, name, _GROUP, _CONSUMER, size)
    taken = cast(Records, answer).records
    if not taken:
        raise RanDryError
    yield GroupAck(NAMESPACE, name, _GROUP, _CONSUMER, tuple(record.id for record in taken))


def _transaction(rng: Random, name: bytes, payload: bytes) -> Dialogue:
    txn = cast(TxnBegun, (yield TxnBegin(NAMESPACE, name))).txn
    for number in rng.sample(range(_TXN_KEYS), _TXN_WRITES):
        yield KvPut(NAMESPACE, b"%s%d" % (name, number), payload, txn=txn)
    yield TxnCommit(NAMESPACE, name, txn)


def _messages(name: bytes, payload: bytes, count: int) -> Body:
    return QueueEnqueueBatch(NAMESPACE, name, (QueueItem(payload),) * count)


def _records(name: bytes, payload: bytes, count: int) -> Body:
    return StreamAppend(NAMESPACE, name, (StreamItem(payload),) * count)


OPERATIONS = {
    "enqueue": Operation(_enqueue),
    "dequeue": Operation(partial(_dequeue, 1), _messages),
    "dequeue10": Operation(partial(_dequeue, 10), _messages, 10),
    "append": Operation(_append),
    "group": Operation(partial(_group, 1), _records),
    "group10": Operation(partial(_group, 10), _records, 10),
    "txn3": Operation(partial(_transaction, Random(1))),
}
"""By name. Those of queues and groups take what was put there before, and acknowledge it."""


class Talk(asyncio.Protocol):
    """One connection with many dialogues under way."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends, with an error, when this connection is of no more use."""
        self._codec = ClientConnection()
        self._waiting: dict[int, Slot] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.failed.done():
            self.failed.set_exception(exc or ConnectionError("a node closed the connection"))

    def data_received(self, data: bytes) -> None:
        frames: list[bytes] = []
        try:
            for answer in self._codec.receive(data):
                slot = self._waiting.pop(answer.request_id)
                self._request(slot, slot.go_on(answer.result), frames)
        except RanDryError as error:
            if not self.failed.done():
                self.failed.set_exception(error)
        self._transport.write(b"".join(frames))

    def begin(self, slot: "Slot") -> None:
        frames: list[bytes] = []
        self._request(slot, slot.begin(), frames)
        self._transport.write(b"".join(frames))

    def close(self) -> None:
        self.failed.cancel()
        self._transport.close()

    def _request(self, slot: "Slot", body: Body | None, frames: list[bytes]) -> None:
        if body is not None:
            number, frame = self._codec.request(body)
            self._waiting[number] = slot
            frames.append(frame)


class Slot:
    """One operation after the other, until there are no more; `None` then."""

    def __init__(self, dialogues: Iterator[Dialogue], sample: Sample) -> None:
        self.ended = False
        self._dialogues = dialogues
        self._sample = sample
        self._current: Dialogue
        self._begun = 0.0

    def begin(self) -> Body | None:
        current = next(self._dialogues, None)
        if current is None:
            self.ended = True
            return None
        self._current = current
        self._begun = time.perf_counter()
        return next(current)

    def go_on(self, result: Result | Refusal) -> Body | None:
        if isinstance(result, Refusal):
            self._sample.errors += 1
            self._current.close()
            return self.begin()
        try:
            return self._current.send(result)
        except StopIteration:
            self._sample.latencies.append(time.perf_counter() - self._begun)
            return self.begin()


class Stage(NamedTuple):
    """Where operations take place."""

    addresses: dict[int, tuple[str, int]]
    leaders: dict[int, int]
    """Partition to node."""
    payload: bytes


async def run_dialogues(
    stage: Stage,
    operation: Operation,
    *,
    outstanding: int,
    stock: int,
    window_s: tuple[float, float],
    cpu_seconds: Callable[[], float],
) -> Sample:
    """Keeps `outstanding` operations under way for a warm-up and a measured window.

    `stock` payloads are put there before, for what takes. Raises RanDryError when that was not
    enough.
    """
    names = _names(len(stage.leaders))[:outstanding]
    if operation.fill is not None:
        await _fill(stage, operation, names, stock)
    sample = Sample()
    async with connected(stage) as talks:
        for number in range(outstanding):
            name = names[number % len(names)]
            dialogues = map(
                operation.begin, itertools.repeat(name), itertools.repeat(stage.payload)
            )
            talks[_leader(stage, name)].begin(Slot(dialogues, sample))
        warmup_s, seconds = window_s
        await watch(talks, warmup_s)
        sample.latencies.clear()
        sample.errors = 0
        begun, cpu = time.perf_counter(), cpu_seconds()
        await watch(talks, seconds)
        elapsed, used = time.perf_counter() - begun, cpu_seconds() - cpu
        return Sample(elapsed, used, sample.latencies[:], sample.errors)


async def _fill(stage: Stage, operation: Operation, names: list[bytes], stock: int) -> None:
    fill = operation.fill
    assert fill is not None
    count = min(_STOCK_BATCH, _STOCK_BATCH_BYTES // max(1, len(stage.payload)))

    def one(name: bytes) -> Dialogue:
        yield fill(name, stage.payload, count)

    sample = Sample()
    slots: list[Slot] = []
    async with connected(stage) as talks:
        for name in names:
            batches = iter([one(name) for _ in range(-(-stock // (len(names) * count)))])
            for _ in range(_STOCK_OUTSTANDING):
                slots.append(Slot(batches, sample))
                talks[_leader(stage, name)].begin(slots[-1])
        while not all(slot.ended for slot in slots):
            await watch(talks, 0.01)
    if sample.errors:
        raise RuntimeError(f"{sample.errors} batches were refused before the measurement")


_runs = itertools.count()


def _names(partitions: int) -> list[bytes]:
    """One for each partition, and new ones each time: nothing is left there from before."""
    run = next(_runs)
    found: dict[int, bytes] = {}
    for number in itertools.count():
        name = b"{bench-%d-%d}" % (run, number)
        found.setdefault(partition_of(NAMESPACE, name, partitions), name)
        if len(found) == partitions:
            break
    return [found[partition] for partition in sorted(found)]


def _leader(stage: Stage, name: bytes) -> int:
    return stage.leaders[partition_of(NAMESPACE, name, len(stage.leaders))]


@asynccontextmanager
async def connected(stage: Stage) -> AsyncGenerator[dict[int, Talk]]:
    """A connection to each node that leads."""
    loop = asyncio.get_running_loop()
    talks: dict[int, Talk] = {}
    try:
        for node in sorted(set(stage.leaders.values())):
            _, talks[node] = await loop.create_connection(Talk, *stage.addresses[node])
        yield talks
    finally:
        for talk in talks.values():
            talk.close()


async def watch(talks: dict[int, Talk], seconds: float) -> None:
    """Waits so long. Raises at once when a connection fails."""
    failing = [talk.failed for talk in talks.values()]
    failed, _ = await asyncio.wait(failing, timeout=seconds, return_when="FIRST_COMPLETED")
    for each in failed:
        each.result()
