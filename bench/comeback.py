"""Watches a node that was started again until it is level with the others."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cluster_view import Replica, replicas_of
from bench.footprint import Memory, snapshots_in, written_mb
from bench.links import Received
from bench.measured_cluster import MeasuredCluster

_LAG_S = 0.2
"""A node is level when it has applied what was committed so long ago."""
_GIVE_UP_S = 900.0
_MB = 1_000_000


@dataclass
class Comeback:
    """What it took a node to come back. Times in seconds since its process was started."""

    ready_s: float
    """It listens."""
    level_s: float
    """It has applied what is committed, in every partition, and takes part."""
    memory: Memory
    """Then."""
    memory_most: Memory
    received_mb: float
    """From the other nodes."""
    written_mb: float
    """To the disk."""
    own_snapshots: int
    """Partitions that it had a snapshot of itself."""
    by_snapshot: int
    """Partitions that a snapshot was sent of; the others needed the log alone."""


class _Watch:
    """What was seen of one node since it was started."""

    def __init__(self, cluster: MeasuredCluster, node: int) -> None:
        self._cluster = cluster
        self._node = node
        self._others = [other for other in cluster.client_ports if other != node]
        self._sent: set[Path] = set()
        """Snapshots of the others. One that this node has as well was sent to it."""
        self._own: set[Path] = set()
        self._memory: list[Memory] = []
        self._received = Received(cluster.processes[node].pid, but_port=cluster.client_ports[node])

    def look(self) -> None:
        cluster = self._cluster
        for other in self._others:
            self._sent |= snapshots_in(cluster.data_dir(other))
        self._own |= snapshots_in(cluster.data_dir(self._node))
        self._memory.append(cluster.memory(self._node))
        self._received.look()

    def committed(self) -> dict[int, int]:
        """By partition, as its leader says; without those that have none now."""
        return {
            row["partition"]: row["commit_index"]
            for other in self._others
            for row in replicas_of(self._cluster.client_ports[other])
            if row["role"] == "leader"
        }

    def is_level(self, committed: dict[int, int]) -> bool:
        try:
            rows = replicas_of(self._cluster.client_ports[self._node], timeout_s=_LAG_S)
        except OSError:  # It is too busy to answer.
            return False
        return all(
            _counts(row) and row["applied_index"] >= committed.get(row["partition"], 0)
            for row in rows
        )

    def result(self, *, ready_s: float, level_s: float, before: set[Path]) -> Comeback:
        got = (self._own - before) & self._sent
        return Comeback(
            ready_s=ready_s,
            level_s=level_s,
            memory=self._memory[-1],
            memory_most=max(self._memory, key=lambda memory: memory.heap),
            received_mb=self._received.total / _MB,
            written_mb=written_mb(self._cluster.processes[self._node].pid),
            own_snapshots=len({path.parent for path in before}),
            by_snapshot=len({path.parent for path in got}),
        )


async def start_and_watch(cluster: MeasuredCluster, node: int) -> Comeback:
    """Starts a node that is not running; returns when it is level. RuntimeError if never."""
    before = snapshots_in(cluster.data_dir(node))
    begun = time.perf_counter()
    await asyncio.to_thread(cluster.start, node)
    ready_s = time.perf_counter() - begun
    watch = _Watch(cluster, node)
    while time.perf_counter() - begun < _GIVE_UP_S:
        committed = await asyncio.to_thread(watch.committed)
        await asyncio.to_thread(watch.look)
        await asyncio.sleep(_LAG_S)
        if await asyncio.to_thread(watch.is_level, committed):
            level_s = time.perf_counter() - begun
            await asyncio.to_thread(watch.look)
            return watch.result(ready_s=ready_s, level_s=level_s, before=before)
    raise RuntimeError(f"node {node} is not level with the others after {_GIVE_UP_S:g} s")


def _counts(row: Replica) -> bool:
    return row["takes_part"] and not row["learning"] and row["broken"] is None
