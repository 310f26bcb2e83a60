"""Many connections: that do nothing, or that each have one request under way."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random

from bench.cluster_view import leaders_of
from bench.frames import Workload
from bench.load import LoadConnection, close_load, connect_load
from bench.measured_cluster import MeasuredCluster
from bench.window import Sample, Window, measure
from cluster.gateway import allow_files
from flo.wire.connection import encode_request
from flo.wire.messages import Ping
from flo.wire.registry import OP_OF_REQUEST

_AT_ONCE = 50
"""Connections that are made at the same time: no more than a node lets wait."""
_LOOK_EVERY_S = 0.02
_PING = encode_request(1, 1, OP_OF_REQUEST[Ping], Ping(), None)


@asynccontextmanager
async def idle_crowd(cluster: MeasuredCluster, count: int) -> AsyncGenerator[None]:
    """So many connections over all nodes; each was answered once, and then asks nothing."""
    sample = Sample()
    nodes = list(cluster.addresses)
    wanted = [(nodes[number % len(nodes)], iter((_PING,))) for number in range(count)]
    async with _connections(cluster, wanted, sample) as connections:
        for connection in connections:
            connection.start(1)
        while len(sample.latencies) < count:
            _check(connections)
            await asyncio.sleep(_LOOK_EVERY_S)
        yield
        _check(connections)


async def busy_crowd(
    cluster: MeasuredCluster, workload: Workload, count: int, window: Window
) -> Sample:
    """So many connections to leaders, each with one request under way."""
    leaders = await leaders_of(cluster)
    rng, sample = Random(count), Sample()
    partitions = list(itertools.islice(itertools.cycle(leaders), count))
    wanted = [(leaders[each], _any(rng, workload.frames[each])) for each in partitions]
    async with _connections(cluster, wanted, sample) as connections:
        for connection in connections:
            connection.start(1)
        return await measure(sample, window, cluster.cpu_seconds, partial(_pause, connections))


def _any(rng: Random, frames: list[bytes]) -> Iterator[bytes]:
    while True:
        yield rng.choice(frames)


@asynccontextmanager
async def _connections(
    cluster: MeasuredCluster, wanted: list[tuple[int, Iterator[bytes]]], sample: Sample
) -> AsyncGenerator[list[LoadConnection]]:
    """To these nodes, to send these frames."""
    allow_files()
    made: list[LoadConnection] = []
    try:
        for begin in range(0, len(wanted), _AT_ONCE):
            some = wanted[begin : begin + _AT_ONCE]
            made += await asyncio.gather(
                *(connect_load(cluster.addresses[node], each, sample) for node, each in some)
            )
        yield made
    finally:
        await close_load(made)


async def _pause(connections: list[LoadConnection], seconds: float) -> None:
    await asyncio.sleep(seconds)
    _check(connections)


def _check(connections: list[LoadConnection]) -> None:
    lost = sum(connection.lost.done() for connection in connections)
    if lost:
        raise ConnectionError(f"nodes have closed {lost} of {len(connections)} connections")
