"""Where each dimension is measured: it starts clusters, watches them, and makes the rows."""

import os
import statistics
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.calibration import calibrated
from bench.cluster_view import leaders_of, wait_until_settled
from bench.dialogues import Operation, Stage, run_dialogues
from bench.frames import Workload, payload
from bench.load import run_load
from bench.progress import Progress
from bench.rows import VALUE_BYTES, row
from bench.scaling.limits import Use, limit_of, measure_sync_ms
from bench.scaling.points import Point, cores_used, line
from bench.scaling.watch import WatchedCluster, applied, idle_percent
from bench.window import Sample, Window
from bench.workloads import Target, Workbench

_READS = frozenset({"get", "read"})
_KEYS, _KEYS_BYTES = 10_000, 64 << 20


@dataclass(frozen=True)
class ScalingPlan:
    """What is measured, and on which clusters."""

    points: dict[str, tuple[int, ...]]
    """By dimension."""
    window: Window
    repetitions: int
    idle_s: float
    nodes: int = 3
    partitions: int = 8
    directory: Path | None = None
    settings: tuple[str, ...] = ()


class Load(NamedTuple):
    """One row to come."""

    operation: str
    outstanding: int
    run: Callable[[], Awaitable[Sample]]


class Place(NamedTuple):
    """Where in which dimension a cluster stands."""

    dimension: str
    at: int
    cluster: WatchedCluster
    value_bytes: int = VALUE_BYTES


class Lab:
    """Measures at one place after the other; each row is printed and handed to `keep`."""

    def __init__(self, plan: ScalingPlan, keep: Callable[[Point], object]) -> None:
        self.plan = plan
        self._sync_ms = 0.0
        self._keep = keep
        self._progress = Progress(sum(map(len, plan.points.values())))

    def begin(self, dimension: str, at: int) -> None:
        """Before each point, while there is no load: times the disk."""
        self._progress.doing(f"{dimension}: {at}")
        self._sync_ms = measure_sync_ms(self.plan.directory)

    def clear(self) -> None:
        """Removes what `begin` said last."""
        self._progress.clear()

    @asynccontextmanager
    async def cluster(
        self, *, nodes: int | None = None, partitions: int | None = None
    ) -> AsyncGenerator[WatchedCluster]:
        """One that runs meanwhile, and leads as it should; of the size of the plan."""
        plan = self.plan
        with WatchedCluster(
            nodes or plan.nodes,
            partitions or plan.partitions,
            plan.directory,
            settings=plan.settings,
        ) as cluster:
            await wait_until_settled(cluster)
            yield cluster

    async def on_keys(self, place: Place, cases: Sequence[tuple[str, int]]) -> None:
        """Measures operations of keys, each with so many outstanding, with some keys there."""
        keys = max(1, min(_KEYS, _KEYS_BYTES // place.value_bytes))
        workbench = Workbench(place.cluster, place.value_bytes, keys)
        await workbench.sample(Target("put", "leaders", 1), Window(count=1, warmup_s=0.0))

        def load(operation: str, outstanding: int) -> Load:
            target = Target(operation, "leaders", outstanding)
            return Load(operation, outstanding, lambda: workbench.sample(target, self.plan.window))

        await self.measure(place, [load(*case) for case in cases])

    def framed(
        self, cluster: WatchedCluster, operation: str, workload: Workload, outstanding: int
    ) -> Load:
        """Requests that were encoded before."""

        async def run() -> Sample:
            return await run_load(
                cluster.addresses,
                workload,
                leaders=await leaders_of(cluster),
                outstanding=outstanding,
                window=self.plan.window,
                cpu_seconds=cluster.cpu_seconds,
            )

        return Load(operation, outstanding, run)

    def talked(
        self, cluster: WatchedCluster, name: str, operation: Operation, outstanding: int
    ) -> Load:
        """An operation of several requests, for which everything is there."""

        async def run() -> Sample:
            stage = Stage(cluster.addresses, await leaders_of(cluster), payload(VALUE_BYTES))
            return await run_dialogues(
                stage,
                operation,
                outstanding=outstanding,
                stock=0,
                window=self.plan.window,
                cpu_seconds=cluster.cpu_seconds,
            )

        return Load(name, outstanding, run)

    async def measure(self, place: Place, loads: Sequence[Load], *, idle: bool = True) -> None:
        """One load after the other, and then none, to see what idle nodes take."""
        points = [await self._point(place, load) for load in loads]
        percent = await idle_percent(place.cluster, self.plan.idle_s) if idle else None
        self.clear()
        for point in points:
            point["idle_percent"] = percent
            print(line(point), flush=True)
            self._keep(point)

    async def _point(self, place: Place, load: Load) -> Point:
        cluster = place.cluster
        samples: list[Sample] = []
        busiest: list[float] = []
        before = await applied(cluster)
        for _ in range(self.plan.repetitions):
            samples.append(await calibrated(load.run()))
            busiest.append(cluster.busiest_cpu_s() / max(1, len(samples[-1].latencies)))
        after = await applied(cluster)
        memory = [cluster.memory(node) for node in cluster.processes]
        entries = after.entries - before.entries
        writes = load.operation not in _READS
        made = row(
            "flo",
            load.operation,
            "leaders",
            load.outstanding,
            samples,
            value_bytes=place.value_bytes,
        )
        point: Point = {
            **made,
            "dimension": place.dimension,
            "at": place.at,
            "nodes": len(cluster.processes),
            "partitions": cluster.partitions,
            "busiest_cpu_s_per_kop": round(1000 * statistics.median(busiest), 5),
            "batch": round((after.commands - before.commands) / max(1, entries), 2) * writes,
            "private_mib": round(max(each.private for each in memory), 1),
            "heap_mib": round(max(each.heap for each in memory), 1),
            "idle_percent": None,
            "sync_ms": round(self._sync_ms, 3),
            "limit": "network",
        }
        point["limit"] = limit_of(self._use(point, writes=writes))
        return point

    def _use(self, point: Point, *, writes: bool) -> Use:
        kops_s = point["ops_s"] / 1000
        replicas = min(3, point["nodes"])
        # The leader and the follower that answers first share this disk, and take turns.
        syncs = 0 if not writes else 1 if replicas == 1 else 2
        return Use(
            cores=len(os.sched_getaffinity(0)),
            used=cores_used(point) + point["other_cores"],
            busiest=kops_s * max(point["busiest_cpu_s_per_kop"], point["client_cpu_s_per_kop"]),
            syncs=syncs,
            sync_ms=point["sync_ms"],
            p50_ms=point["p50_ms"],
        )
