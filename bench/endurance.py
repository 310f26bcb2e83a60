"""Full load for minutes: what grows, and what does not.

Puts to a bounded number of keys, so that only what is not let go can grow. One look a second tells
throughput, latency, each node's memory, and its disk by what it is for.
"""

import asyncio
import itertools
import time
from pathlib import Path
from random import Random
from typing import TypedDict

from bench.cluster_view import leaders_of, replicas_of, wait_until_settled
from bench.footprint import snapshots_in
from bench.load import LoadConnection, Sample, Workload, close_load, connect_load, preload
from bench.measured_cluster import MeasuredCluster

_LINES = 20
"""Printed of the whole run."""
_TITLE = (
    f"{'minutes':>8} {'puts/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'log MB':>7}"
    f" {'state MB':>8} {'snapshots MB':>12} {'taken':>6} {'elections':>9} {'private MiB':>12}"
    f" {'heap MiB':>9}"
)


class NodeLook(TypedDict):
    """One node at one moment; MB of disk, MiB of memory."""

    private_mib: float
    heap_mib: float
    log_mb: float
    state_mb: float
    snapshots_mb: float


class Second(TypedDict):
    """One look at the cluster; counts of puts since the one before, others since the beginning."""

    at_s: float
    puts_s: float
    errors: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    snapshots: int
    """Taken on all nodes together."""
    elections: int
    nodes: list[NodeLook]


class _Watch:
    """Looks at the nodes; blocks."""

    def __init__(self, cluster: MeasuredCluster) -> None:
        self._cluster = cluster
        self._snapshots = {node: self._names(node) for node in cluster.client_ports}
        self._taken = 0
        self._terms_before = self._terms()

    def look(self) -> tuple[int, int, list[NodeLook]]:
        """Snapshots and elections since the beginning, and the nodes."""
        looks: list[NodeLook] = []
        for node in self._cluster.client_ports:
            names = self._names(node)
            self._taken += len(names - self._snapshots[node])
            self._snapshots[node] = names
            looks.append(self._look_at(node))
        return self._taken, self._terms() - self._terms_before, looks

    def _look_at(self, node: int) -> NodeLook:
        memory, disk = self._cluster.memory(node), self._cluster.disk_mb(node)
        return {
            "private_mib": round(memory.private, 1),
            "heap_mib": round(memory.heap, 1),
            "log_mb": round(disk["log"], 1),
            "state_mb": round(disk["state"], 1),
            "snapshots_mb": round(disk["snapshots"], 1),
        }

    def _names(self, node: int) -> set[Path]:
        return snapshots_in(self._cluster.data_dir(node))

    def _terms(self) -> int:
        """Of all partitions together: each election raises it by one at least."""
        port = next(iter(self._cluster.client_ports.values()))
        return sum(row["term"] for row in replicas_of(port))


async def run_endurance(
    cluster: MeasuredCluster,
    *,
    minutes: float,
    keys: int,
    value_bytes: int,
    outstanding: int,
) -> list[Second]:
    """Prints a table and returns what every second saw. RuntimeError when a connection ends."""
    puts = Workload.puts(keys=keys, value_bytes=value_bytes, partitions=cluster.partitions)
    await wait_until_settled(cluster)
    await preload(cluster.addresses, puts, await leaders_of(cluster))
    print(
        f"{minutes:g} minutes of puts to {keys} keys of {value_bytes} bytes, {outstanding}"
        " outstanding; disk and memory of the node that takes most",
    )
    print(_TITLE, flush=True)
    sample = Sample()
    connections = await _load(cluster, puts, outstanding, sample)
    try:
        return await _watch(cluster, minutes * 60, sample, connections)
    finally:
        await close_load(connections)


async def _load(
    cluster: MeasuredCluster, puts: Workload, outstanding: int, sample: Sample
) -> list[LoadConnection]:
    """One connection of each partition: answers to one do not wait for those of another."""
    rng = Random(1)
    leaders = await leaders_of(cluster)
    connections: list[LoadConnection] = []
    for partition, frames in puts.frames.items():
        address = cluster.addresses[leaders[partition]]
        any_order = itertools.cycle(rng.sample(frames, len(frames)))
        connections.append(await connect_load(address, any_order, sample))
    for connection in connections:
        connection.start(max(1, outstanding // len(connections)))
    return connections


async def _watch(
    cluster: MeasuredCluster, seconds: float, sample: Sample, connections: list[LoadConnection]
) -> list[Second]:
    watch = await asyncio.to_thread(_Watch, cluster)
    rows: list[Second] = []
    sample.latencies = []
    begun = before = time.perf_counter()
    while before - begun < seconds:
        await asyncio.sleep(max(0.0, begun + len(rows) + 1 - time.perf_counter()))
        now = time.perf_counter()
        seen = Sample(now - before, 0.0, sample.latencies, sample.errors)
        sample.latencies, sample.errors = [], 0
        before = now
        if any(connection.lost.done() for connection in connections):
            raise RuntimeError("a node has closed its connection")
        taken, elections, nodes = await asyncio.to_thread(watch.look)
        rows.append(
            {
                "at_s": round(now - begun, 2),
                "puts_s": round(seen.per_second),
                "errors": seen.errors,
                "p50_ms": round(seen.percentile_ms(50), 2),
                "p99_ms": round(seen.percentile_ms(99), 2),
                "max_ms": round(seen.percentile_ms(100), 1),
                "snapshots": taken,
                "elections": elections,
                "nodes": nodes,
            }
        )
        if len(rows) % max(1, round(seconds / _LINES)) == 0:
            print(_line(rows[-1]), flush=True)
    return rows


def _line(row: Second) -> str:
    nodes = row["nodes"]
    return (
        f"{row['at_s'] / 60:>8.1f} {row['puts_s']:>8.0f} {row['p50_ms']:>7.1f}"
        f" {row['p99_ms']:>7.1f} {row['max_ms']:>7.0f}"
        f" {max(node['log_mb'] for node in nodes):>7.0f}"
        f" {max(node['state_mb'] for node in nodes):>8.0f}"
        f" {max(node['snapshots_mb'] for node in nodes):>12.0f}"
        f" {row['snapshots']:>6} {row['elections']:>9}"
        f" {max(node['private_mib'] for node in nodes):>12.0f}"
        f" {max(node['heap_mib'] for node in nodes):>9.0f}"
    )
