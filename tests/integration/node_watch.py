"""Looks at node processes from outside while they work: memory, life, and what the machine does."""

import asyncio
import threading
import time
from collections import deque
from pathlib import Path

from bench.cluster_view import Replica, replicas_of
from bench.local_cluster import LocalCluster
from tests.integration.kit import eventually

_STEP_S = 0.05
_WINDOW_S = 0.5
"""The shortest time after which a follower may ask for votes."""
_STARVED_SHARE = 0.8


class NodeWatch:
    """Samples all nodes of a cluster, in a thread, until the block ends."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.peak_bytes = dict.fromkeys(cluster.processes, 0)
        """Anonymous memory: without files that are mapped, which the kernel may drop."""
        self.dead: set[int] = set()
        self.waited_share = 0.0
        """How much of some half second a node was ready to run, and got no processor."""
        self._waits = {node: deque[tuple[float, float]]() for node in cluster.processes}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="node watch", daemon=True)

    def __enter__(self) -> "NodeWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def is_starved(self) -> bool:
        """The machine, not the load, kept a node from working: then its timers say little."""
        return self.waited_share > _STARVED_SHARE

    def _watch(self) -> None:
        while not self._ended.wait(_STEP_S):
            for node, process in self._cluster.processes.items():
                if process.poll() is None:
                    self._sample(node, process.pid)
                else:
                    self.dead.add(node)

    def _sample(self, node: int, pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        kib = int(status.partition("RssAnon:")[2].split()[0])
        self.peak_bytes[node] = max(self.peak_bytes[node], kib << 10)
        # Of its main thread, which does all the work.
        schedule = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text()
        now, waited_s = time.monotonic(), int(schedule.split()[1]) / 1e9
        waits = self._waits[node]
        waits.append((now, waited_s))
        while len(waits) > 2 and now - waits[1][0] >= _WINDOW_S:
            waits.popleft()
        begun, waited_before_s = waits[0]
        if now - begun >= _WINDOW_S:
            share = (waited_s - waited_before_s) / (now - begun)
            self.waited_share = max(self.waited_share, share)


async def leaderships_of(cluster: LocalCluster) -> dict[tuple[int, int], tuple[int, int]]:
    """By node and partition: the term and the leader."""
    return {
        (node, row["partition"]): (row["term"], row["leader"])
        for node, row in await _replicas(cluster)
    }


async def wait_until_settled(cluster: LocalCluster) -> None:
    """Returns when every partition is led by the node that it prefers, and all nodes know."""

    async def settled() -> bool:
        return all(row["leader"] == row["replicas"][0] for _, row in await _replicas(cluster))

    await eventually("the preferred nodes lead", settled)


async def _replicas(cluster: LocalCluster) -> list[tuple[int, Replica]]:
    return [
        (node, row)
        for node, port in cluster.client_ports.items()
        for row in await asyncio.to_thread(replicas_of, port)
    ]
