"""Looks at node processes from outside while they work: memory, life, and what the machine does."""

import asyncio
import time
from collections import deque
from pathlib import Path

from bench.cluster_view import replicas_of
from bench.local_cluster import LocalCluster

_STEP_S = 0.05
_WINDOW = 10
"""Steps: about the shortest time after which a follower may ask for votes."""
_STARVED_S = 0.2


class NodeWatch:
    """Samples all nodes of a cluster until the block ends."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.peak_bytes = dict.fromkeys(cluster.processes, 0)
        """Anonymous memory: without files that are mapped, which the kernel may drop."""
        self.dead: list[int] = []
        self.starved_s = 0.0
        """The longest that a node waited for a processor within about an election timeout."""
        self._delays = {node: deque[float](maxlen=_WINDOW) for node in cluster.processes}
        self._sampled_at = 0.0

    async def __aenter__(self) -> "NodeWatch":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.result()

    @property
    def is_starved(self) -> bool:
        """The machine, not the load, kept a node from working: its timers mean nothing then."""
        return self.starved_s > _STARVED_S

    async def _watch(self) -> None:
        while True:
            self._sample()
            await asyncio.sleep(_STEP_S)

    def _sample(self) -> None:
        for node, process in self._cluster.processes.items():
            if process.poll() is not None:
                self.dead.append(node)
                continue
            status = Path(f"/proc/{process.pid}/status").read_text()
            kib = int(status.partition("RssAnon:")[2].split()[0])
            self.peak_bytes[node] = max(self.peak_bytes[node], kib << 10)
            # Its main thread, which does all the work: nanoseconds that it was ready to run.
            schedule = Path(f"/proc/{process.pid}/task/{process.pid}/schedstat").read_text()
            delays = self._delays[node]
            delays.append(int(schedule.split()[1]) / 1e9)
            self.starved_s = max(self.starved_s, delays[-1] - delays[0])
        # A step that took long has seen more than its window.
        now = time.monotonic()
        if self._sampled_at and now - self._sampled_at > _WINDOW * _STEP_S:
            self.starved_s = max(self.starved_s, now - self._sampled_at)
        self._sampled_at = now


async def terms_of(cluster: LocalCluster) -> dict[tuple[int, int], object]:
    """By node and partition: the term and the leader."""
    found: dict[tuple[int, int], object] = {}
    for node, port in cluster.client_ports.items():
        for row in await asyncio.to_thread(replicas_of, port):
            found[node, row["partition"]] = (row["term"], row["leader"])
    return found
