"""How long writes stand still when a node is killed.

One writer per partition that the killed node led, through a surviving node, from before the
kill. A partition's gap is the time between the last acknowledgement before and the first after
it; a trial's value is the slowest partition's.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import TypedDict

from bench.cluster_view import leaders_of, wait_until_settled
from bench.load import LoadConnection, Sample, Workload
from bench.local_cluster import LocalCluster

_BEFORE_S = 1.0
_TIMEOUT_S = 15.0


class _Writer:
    """Writes to one partition, one at a time, and notes when each write was acknowledged."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self.acknowledged: list[float] = []
        self.sample = Sample()
        self._running = True

    def frames(self) -> Iterator[bytes]:
        """The next one is asked for when the one before was answered."""
        while self._running:
            yield self._frame
            if len(self.sample.latencies) > len(self.acknowledged):
                self.acknowledged.append(time.perf_counter())

    def stop(self) -> None:
        self._running = False

    def longest_gap_s(self, killed_at: float) -> float | None:
        """The wait that covers the kill; None when nothing was acknowledged after it."""
        after = [at for at in self.acknowledged if at > killed_at]
        before = [at for at in self.acknowledged if at <= killed_at]
        # Answers that were under way at the kill may still arrive: the gap is the longest.
        times = before[-1:] + after
        return max((b - a for a, b in itertools.pairwise(times)), default=None)


class Trial(TypedDict):
    """One kill."""

    node: int
    led: int
    """So many partitions had no leader."""
    gap_s: float


async def run_failover(cluster: LocalCluster, trials: int) -> list[Trial]:
    """Prints and returns each trial; then median and maximum, in seconds."""
    rows: list[Trial] = []
    for trial in range(trials):
        await wait_until_settled(cluster)
        victim = sorted(cluster.client_ports)[trial % len(cluster.client_ports)]
        value, led = await _trial(cluster, victim)
        rows.append({"node": victim, "led": led, "gap_s": round(value, 3)})
        print(
            f"trial {trial + 1}: node {victim} led {led} partitions, gap {value:.3f} s", flush=True
        )
        cluster.start(victim)
    values = [row["gap_s"] for row in rows]
    print(f"median {statistics.median(values):.3f} s, maximum {max(values):.3f} s")
    return rows


async def _trial(cluster: LocalCluster, victim: int) -> tuple[float, int]:
    leaders = await leaders_of(cluster)
    led = [partition for partition, node in leaders.items() if node == victim]
    frames = Workload.puts(keys=1000, value_bytes=128, partitions=cluster.partitions).frames
    survivor = next(node for node in cluster.client_ports if node != victim)
    loop = asyncio.get_running_loop()
    writers = [_Writer(frames[partition][0]) for partition in led]
    connections: list[LoadConnection] = []
    for writer in writers:
        make = partial(LoadConnection, writer.frames(), writer.sample)
        _, protocol = await loop.create_connection(
            make, "127.0.0.1", cluster.client_ports[survivor]
        )
        protocol.start(1)
        connections.append(protocol)
    await asyncio.sleep(_BEFORE_S)
    killed_at = time.perf_counter()
    cluster.kill(victim)
    give_up_at = killed_at + _TIMEOUT_S
    while time.perf_counter() < give_up_at and not all(
        writer.acknowledged and writer.acknowledged[-1] > killed_at + 0.5 for writer in writers
    ):
        await asyncio.sleep(0.05)
    await asyncio.sleep(_BEFORE_S)
    for writer, connection in zip(writers, connections, strict=True):
        writer.stop()
        connection.close()
    gaps = [writer.longest_gap_s(killed_at) for writer in writers]
    return max(_TIMEOUT_S if gap is None else gap for gap in gaps), len(led)
