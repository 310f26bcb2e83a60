"""Whether a long queue is slower than a short one: take and acknowledge, with a thousand and with
a million messages in the queue, alternating.

The queues share a partition. What is taken is put back in batches by a connection of its own, at
the same pace for all, so that a queue stays as long as it is said to be.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from bench.cluster_view import leaders_of, wait_until_settled
from bench.dialogues import Dialogue, Slot, Stage, Talk, connected, watch
from bench.frames import NAMESPACE
from bench.measured_cluster import MeasuredCluster
from bench.operations import sequences_of
from bench.window import Sample
from flo import FloClient
from flo.wire.queue_messages import (
    QueueAck,
    QueueDequeue,
    QueueEnqueueBatch,
    QueueItem,
)
from flo.wire.routing import partition_of

_LEASE_MS = 300_000
_FILL_BATCH, _FILL_BATCH_BYTES, _FILL_OUTSTANDING = 1_000, 256 << 10, 4
_FEED_BATCH, _FEED_EVERY_S = 100, 0.002
_FILL_TRIES = 10
_PATIENCE_S = 60.0
_TITLE = (
    f"{'operation':<10} {'in queue':>9} {'beside it':>9} {'outstanding':>11} {'messages/s':>10}"
    f" {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'errors':>6} {'server CPU s/1000':>18}"
)


class Row(TypedDict):
    """One operation on one queue: medians over the repetitions; latencies of an operation."""

    operation: str
    in_queue: int
    beside: int
    """Messages in the other queues of the partition."""
    outstanding: int
    messages_s: float
    messages_s_reps: list[int]
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int
    server_cpu_s_per_kmessage: float
    found_ready: list[int]
    """How many messages were ready when a repetition ended."""


@dataclass(frozen=True)
class QueueLengthPlan:
    """What is measured."""

    lengths: tuple[int, ...]
    payload_bytes: int = 128
    outstanding: int = 64
    warmup_s: float = 1.0
    seconds: float = 4.0
    repetitions: int = 3
    sizes: tuple[int, ...] = (1, 10)
    """Messages that one operation takes."""


@dataclass
class _Pass(Sample):
    """Also counts messages; those of the window alone are in `in_window`."""

    taken: int = 0
    fed: int = 0
    in_window: int = 0
    ready: int = 0
    stopping: bool = False


async def run_queue_length(cluster: MeasuredCluster, plan: QueueLengthPlan) -> list[Row]:
    """Prints a table and returns its rows: the first queue alone, then all of them alternating.

    Raises RanDryError when a queue is too short for so much outstanding.
    """
    await wait_until_settled(cluster)
    print(
        f"{len(cluster.client_ports)} nodes, {plan.payload_bytes}-byte messages; an operation"
        " takes so many messages and acknowledges them, while as many are put back"
    )
    rows: list[Row] = []
    async with FloClient(cluster.endpoints, namespace=NAMESPACE.decode()) as client:
        bench = _Bench(cluster, plan, client)
        for filled in dict.fromkeys((plan.lengths[:1], plan.lengths)):
            for length in filled:
                await bench.fill(length)
            print(_TITLE, flush=True)
            for row in await bench.measure(filled):
                print(_line(row), flush=True)
                rows.append(row)
    print(comparison(rows))
    return rows


class _Bench:
    def __init__(self, cluster: MeasuredCluster, plan: QueueLengthPlan, client: FloClient) -> None:
        self._cluster = cluster
        self._plan = plan
        self._client = client

    async def fill(self, length: int) -> None:
        """Makes the queue as long as it is to be. RuntimeError when that does not succeed."""
        begun, before = time.perf_counter(), await self._ready(length)
        for _ in range(_FILL_TRIES):
            missing = length - await self._ready(length)
            if missing <= 0:
                break
            await self._put(length, missing)
        else:
            raise RuntimeError(f"the queue of {length} messages could not be filled")
        if not before:
            seconds = time.perf_counter() - begun
            print(f"put {length} messages into a queue in {seconds:.1f} s", flush=True)

    async def measure(self, lengths: tuple[int, ...]) -> list[Row]:
        """Every operation on each queue, one queue after the other in each repetition."""
        cases = list(itertools.product(self._plan.sizes, lengths))
        passes: dict[tuple[int, int], list[_Pass]] = {case: [] for case in cases}
        for _ in range(self._plan.repetitions):
            for size, length in cases:
                await self.fill(length)
                passes[size, length].append(await self._pass(size, length))
        return [
            _row(self._plan, size, length, sum(lengths) - length, passes[size, length])
            for size, length in cases
        ]

    async def _ready(self, length: int) -> int:
        return (await self._client.queue.info(_name(length).decode())).ready

    async def _stage(self) -> Stage:
        leaders = await leaders_of(self._cluster)
        payload = bytes(self._plan.payload_bytes)
        return Stage(self._cluster.addresses, leaders, payload)

    async def _put(self, length: int, missing: int) -> None:
        stage, sample = await self._stage(), Sample()
        most = max(1, min(_FILL_BATCH, _FILL_BATCH_BYTES // max(1, len(stage.payload))))
        sizes = [most] * (missing // most) + [missing % most] * bool(missing % most)
        batches = iter([_put(_name(length), stage.payload, size) for size in sizes])
        async with connected(stage) as talks:
            talk = talks[_leader(stage, length)]
            slots = [Slot(batches, sample) for _ in range(_FILL_OUTSTANDING)]
            for slot in slots:
                talk.begin(slot)
            while not all(slot.ended for slot in slots):
                await watch(talks, 0.01)

    async def _pass(self, size: int, length: int) -> _Pass:
        """One warm-up and one measured window; returns when everything is acknowledged."""
        stage, seen = await self._stage(), _Pass()
        async with connected(stage) as talks:
            talk = talks[_leader(stage, length)]
            dialogues = _takes(seen, size, _name(length))
            slots = [Slot(dialogues, seen) for _ in range(self._plan.outstanding)]
            for slot in slots:
                talk.begin(slot)
            feeding = asyncio.create_task(_feed(talk, stage.payload, _name(length), seen))
            try:
                await self._window(talks, seen)
            finally:
                feeding.cancel()
            result = replace(seen, latencies=seen.latencies[:])
            seen.stopping = True
            until = time.monotonic() + _PATIENCE_S
            while not all(slot.ended for slot in slots) and time.monotonic() < until:
                await watch(talks, 0.01)
        result.ready = await self._ready(length)
        return result

    async def _window(self, talks: dict[int, Talk], seen: _Pass) -> None:
        await watch(talks, self._plan.warmup_s)
        seen.latencies.clear()
        seen.errors = 0
        begun, cpu, taken = time.perf_counter(), self._cluster.cpu_seconds(), seen.taken
        await watch(talks, self._plan.seconds)
        seen.seconds = time.perf_counter() - begun
        seen.server_cpu_s = self._cluster.cpu_seconds() - cpu
        seen.in_window = seen.taken - taken


def _name(length: int) -> bytes:
    """All in one partition."""
    return b"{queue-length}-%d" % length


def _leader(stage: Stage, length: int) -> int:
    return stage.leaders[partition_of(NAMESPACE, _name(length), len(stage.leaders))]


def _put(name: bytes, payload: bytes, count: int) -> Dialogue:
    yield (QueueEnqueueBatch(NAMESPACE, name, (QueueItem(payload),) * count),)


def _takes(seen: _Pass, size: int, name: bytes) -> Iterator[Dialogue]:
    while not seen.stopping:
        yield _take(seen, size, name)


def _take(seen: _Pass, size: int, name: bytes) -> Dialogue:
    (answer,) = yield (QueueDequeue(NAMESPACE, name, size, 0, _LEASE_MS),)
    taken = sequences_of(answer)
    seen.taken += len(taken)
    yield (QueueAck(NAMESPACE, name, taken),)


async def _feed(talk: Talk, payload: bytes, name: bytes, seen: _Pass) -> None:
    """Puts back as many as were taken. What is refused counts as an error."""
    fed = Sample()
    while True:
        while seen.taken - seen.fed >= _FEED_BATCH:
            seen.fed += _FEED_BATCH
            talk.begin(Slot(iter([_put(name, payload, _FEED_BATCH)]), fed))
        seen.errors += fed.errors
        fed.errors = 0
        await asyncio.sleep(_FEED_EVERY_S)


def _row(plan: QueueLengthPlan, size: int, length: int, beside: int, passes: list[_Pass]) -> Row:
    def median(value: Callable[[_Pass], float]) -> float:
        return statistics.median(map(value, passes))

    return {
        "operation": "dequeue" if size == 1 else f"dequeue{size}",
        "in_queue": length,
        "beside": beside,
        "outstanding": plan.outstanding,
        "messages_s": median(lambda each: each.in_window / each.seconds),
        "messages_s_reps": [round(each.in_window / each.seconds) for each in passes],
        "p50_ms": median(lambda each: each.percentile_ms(50)),
        "p99_ms": median(lambda each: each.percentile_ms(99)),
        "max_ms": median(lambda each: each.percentile_ms(100)),
        "errors": sum(each.errors for each in passes),
        "server_cpu_s_per_kmessage": median(
            lambda each: 1000 * each.server_cpu_s / max(1, each.in_window)
        ),
        "found_ready": [each.ready for each in passes],
    }


def _line(row: Row) -> str:
    return (
        f"{row['operation']:<10} {row['in_queue']:>9} {row['beside']:>9} {row['outstanding']:>11}"
        f" {row['messages_s']:>10.0f} {row['p50_ms']:>7.2f} {row['p99_ms']:>7.2f}"
        f" {row['max_ms']:>7.1f} {row['errors']:>6} {row['server_cpu_s_per_kmessage']:>18.3f}"
    )


def comparison(rows: Sequence[Row]) -> str:
    """The last queue against the first, of those that were measured alternating."""
    shown: list[str] = []
    for operation in dict.fromkeys(row["operation"] for row in rows):
        own = [row for row in rows if row["operation"] == operation and row["beside"]]
        if own and all(own[0][key] for key in ("messages_s", "p50_ms", "p99_ms")):
            one, other = own[0], own[-1]
            shown.append(
                f"{operation}: {other['in_queue']} against {one['in_queue']} messages in the"
                f" queue: messages/s {other['messages_s'] / one['messages_s']:.2f},"
                f" p50 {other['p50_ms'] / one['p50_ms']:.2f},"
                f" p99 {other['p99_ms'] / one['p99_ms']:.2f} times"
            )
    return "\n".join(shown)
