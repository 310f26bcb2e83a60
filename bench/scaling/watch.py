"""A cluster whose nodes are watched, each for itself."""

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

from bench.cluster_view import replicas_of
from bench.measured_cluster import MeasuredCluster

_CALM_S = 1.0
"""After a load: what it left behind is done meanwhile, mostly."""


class WatchedCluster(MeasuredCluster):
    """Notes the CPU time of each node whenever that of all is asked for."""

    looks: tuple[dict[int, float], ...] = ()
    """The last two: of a measured window, its begin and its end."""

    def cpu_seconds(self) -> float:
        """CPU time of all nodes so far, user and system."""
        now = self.cpu_seconds_by_node()
        self.looks = (*self.looks, now)[-2:]
        return sum(now.values())

    def busiest_cpu_s(self) -> float:
        """What the node that used most used in the last window."""
        begin, end = self.looks
        return max(end[node] - begin[node] for node in end)


class Applied(NamedTuple):
    """By all replicas together, since the nodes started."""

    commands: int
    entries: int


async def applied(cluster: MeasuredCluster) -> Applied:
    """How much there is so far; the difference of two tells how many commands are in an entry."""
    commands = entries = 0
    for port in cluster.client_ports.values():
        for replica in await asyncio.to_thread(replicas_of, port):
            commands += replica["commands"]
            entries += replica["applied_index"]
    return Applied(commands, entries)


async def idle_percent(cluster: MeasuredCluster, seconds: float) -> float:
    """Of a core: what the node that uses most uses while nobody asks for anything."""
    await asyncio.sleep(_CALM_S)
    begun, before = time.perf_counter(), _fine_cpu_s(cluster)
    await asyncio.sleep(seconds)
    elapsed, after = time.perf_counter() - begun, _fine_cpu_s(cluster)
    return 100 * max(after[node] - before[node] for node in after) / elapsed


def _fine_cpu_s(cluster: MeasuredCluster) -> dict[int, float]:
    """To the nanosecond, but without what threads used that have ended."""
    found: dict[int, float] = {}
    for node, process in cluster.processes.items():
        threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        found[node] = sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    return found
