"""What is made larger, and what is measured on it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from bench import frames
from bench.cluster_view import leaders_of
from bench.frames import NAMESPACE, Workload, payload
from bench.load import preload
from bench.measured_cluster import MeasuredCluster
from bench.rows import VALUE_BYTES
from bench.scaling import held
from bench.scaling.crowd import busy_crowd, idle_crowd
from bench.scaling.lab import Lab, Load, Place
from flo.wire.messages import KvGet, KvPut

NODES_PARTITIONS = 30
"""Of clusters that differ in nodes: so 1, 3, 5 and 6 nodes lead equally many each."""

_KEY = b"scaling-%09d"
_CHUNK, _CHUNK_TRIES = 50_000, 5
_DRAWN = 100_000
"""Keys that are written and read, of however many there are."""
_FEW, _MANY = 64, 512


async def nodes(lab: Lab, values: Sequence[int]) -> None:
    """Clusters of so many nodes."""
    for at in values:
        lab.begin("nodes", at)
        async with lab.cluster(nodes=at, partitions=NODES_PARTITIONS) as cluster:
            cases = [("put", _FEW), ("put", _MANY), ("get", _FEW), ("get", _MANY)]
            await lab.on_keys(Place("nodes", at, cluster), cases)


async def partitions(lab: Lab, values: Sequence[int]) -> None:
    """Clusters of so many partitions."""
    for at in values:
        lab.begin("partitions", at)
        async with lab.cluster(partitions=at) as cluster:
            cases = [("put", _FEW), ("put", _MANY), ("get", _FEW), ("get", _MANY)]
            await lab.on_keys(Place("partitions", at, cluster), cases)


async def value_bytes(lab: Lab, values: Sequence[int]) -> None:
    """Values of such a size; with different concurrency, for the model."""
    for at in values:
        lab.begin("value-bytes", at)
        async with lab.cluster() as cluster:
            cases = [("put", 1), ("put", 8), ("put", _FEW), ("put", _MANY), ("get", _FEW)]
            await lab.on_keys(Place("value-bytes", at, cluster, at), cases)


async def keys(lab: Lab, values: Sequence[int]) -> None:
    """One cluster that is filled up to so many keys."""
    there = 0
    async with lab.cluster() as cluster:
        for at in sorted(values):
            lab.begin("keys", at)
            await fill_keys(cluster, there, at)
            there = at
            drawn = Random(1).sample(range(at), min(at, _DRAWN))
            gets = Workload.of_keys(
                cluster.partitions, (KvGet(NAMESPACE, _KEY % number) for number in drawn)
            )
            loads = [
                lab.framed(cluster, "put", _puts(cluster, drawn), _FEW),
                lab.framed(cluster, "get", gets, _FEW),
            ]
            await lab.measure(Place("keys", at, cluster), loads)


async def connections(lab: Lab, values: Sequence[int]) -> None:
    """So many connections that do nothing beside a few busy ones; then as many busy ones."""
    async with lab.cluster() as cluster:
        puts = Workload.puts(keys=_CHUNK, value_bytes=VALUE_BYTES, partitions=cluster.partitions)
        for at in values:
            lab.begin("connections", at)
            place = Place("connections", at, cluster)
            async with idle_crowd(cluster, at):
                await lab.on_keys(place, [("put", _FEW), ("get", _FEW)])
            busy = partial(busy_crowd, cluster, puts, at, lab.plan.window)
            await lab.measure(place, [Load("put, each one", at, busy)], idle=False)


async def queue_length(lab: Lab, values: Sequence[int]) -> None:
    """A queue with so many messages."""
    for at in values:
        lab.begin("queue-length", at)
        async with lab.cluster(partitions=1) as cluster:
            await held.fill_queue(cluster, at)
            take = lab.talked(cluster, "dequeue+enqueue", held.take_and_put(), _at_most(at))
            await lab.measure(Place("queue-length", at, cluster), [take])


async def stream_length(lab: Lab, values: Sequence[int]) -> None:
    """A stream with so many records."""
    for at in values:
        lab.begin("stream-length", at)
        async with lab.cluster(partitions=1) as cluster:
            ids = await held.fill_stream(cluster, at)
            reads = frames.reads({held.NAME: ids}, 1)
            loads = [
                lab.framed(cluster, "append", held.appends(), _FEW),
                lab.framed(cluster, "read", reads, _FEW),
                lab.talked(cluster, "group+append", held.follow_and_append(), _at_most(at)),
            ]
            await lab.measure(Place("stream-length", at, cluster), loads)


async def fill_keys(cluster: MeasuredCluster, begin: int, end: int) -> None:
    """Writes the keys from number to number; what is refused is tried again."""
    for first in range(begin, end, _CHUNK):
        puts = _puts(cluster, range(first, min(first + _CHUNK, end)))
        for left in reversed(range(_CHUNK_TRIES)):
            try:
                await preload(cluster.addresses, puts, await leaders_of(cluster))
                break
            except RuntimeError:
                if not left:
                    raise


def _puts(cluster: MeasuredCluster, numbers: Sequence[int]) -> Workload:
    value = payload(VALUE_BYTES)
    return Workload.of_keys(
        cluster.partitions, (KvPut(NAMESPACE, _KEY % number, value) for number in numbers)
    )


def _at_most(length: int) -> int:
    """Outstanding: what is taken must never be all that there is."""
    return min(_FEW, max(1, length // 10))


class Dimension(NamedTuple):
    """One of the things that grow."""

    measure: Callable[[Lab, Sequence[int]], Awaitable[None]]
    points: tuple[int, ...]
    """Unless others are asked for."""
    least: int
    most: int
    about: str


DIMENSIONS = {
    "nodes": Dimension(nodes, (1, 3, 5, 6), 1, 9, "nodes of the cluster, on this machine"),
    "partitions": Dimension(partitions, (1, 3, 8, 16, 64), 1, 256, "partitions of the cluster"),
    "keys": Dimension(
        keys, (10_000, 100_000, 1_000_000, 5_000_000), 100, 50_000_000, "keys that are there"
    ),
    "value-bytes": Dimension(
        value_bytes, (16, 128, 1024, 8192, 65536), 1, 64 << 10, "bytes of a value"
    ),
    "connections": Dimension(
        connections, (1, 100, 500, 2000), 1, 9_000, "connections: idle, and then busy ones"
    ),
    "queue-length": Dimension(
        queue_length, (1_000, 100_000, 1_000_000), 10, 100_000_000, "messages in a queue"
    ),
    "stream-length": Dimension(
        stream_length, (1_000, 100_000, 1_000_000), 10, 100_000_000, "records in a stream"
    ),
}
"""By name, in the order in which they are measured."""
