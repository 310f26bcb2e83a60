"""How long a node takes to come back, and what the others' clients notice.

Every scenario takes one node away and back while a steady load goes through the other two. Its
requests are counted by when they were due:

    before    all nodes run
    away      the node is gone; the partitions that it led have other leaders after a moment
    back      from its start until it is level with the others
    after     all nodes run again; leadership moves back to the preferred nodes
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from bench.cluster_view import leaders_of, wait_until_settled
from bench.comeback import Comeback, start_and_watch
from bench.footprint import distrust_states
from bench.load import Sample, Workload, preload
from bench.measured_cluster import MeasuredCluster
from bench.paced import PacedLoad

_VICTIM = 3
_LOADED_KEYS = 50_000
"""Of the steady load, from everywhere among the keys."""

_TITLE = (
    f"{'scenario':<9} {'window':<7} {'seconds':>8} {'operation':<9} {'ops/s':>7} {'p50 ms':>8}"
    f" {'p99 ms':>8} {'max ms':>8} {'errors':>7}"
)


@dataclass(frozen=True)
class RecoveryPlan:
    """What is measured."""

    keys: int = 1_000_000
    value_bytes: int = 128
    rate: int = 2_000
    """Requests a second of the steady load."""
    missed_writes: int = 500_000
    """What the others take while a node is away, in that scenario."""
    window_s: float = 10.0
    """How long before, and after."""
    settle_s: float = 2.0
    """After the others have elected leaders, and before the load ends."""


class _Bench:
    """One cluster through all scenarios."""

    def __init__(self, cluster: MeasuredCluster, plan: RecoveryPlan) -> None:
        self.cluster = cluster
        self.plan = plan
        self.puts = Workload.puts(
            keys=plan.keys, value_bytes=plan.value_bytes, partitions=cluster.partitions
        )
        gets = Workload.gets(keys=plan.keys, partitions=cluster.partitions)
        self.steady = {
            "put": self.puts.some(_LOADED_KEYS),
            "get": gets.some(_LOADED_KEYS),
        }

    async def fill(self, count: int | None = None) -> None:
        await preload(
            self.cluster.addresses, self.puts, await leaders_of(self.cluster), count=count
        )

    async def measure(
        self, scenario: str, while_away: Callable[[], Awaitable[None]]
    ) -> dict[str, object]:
        """Takes the node away and back."""
        cluster, plan = self.cluster, self.plan
        await wait_until_settled(cluster)
        others = [each for node, each in cluster.addresses.items() if node != _VICTIM]
        marks = [time.perf_counter()]
        async with PacedLoad(others, self.steady, plan.rate) as load:
            await asyncio.sleep(plan.window_s)
            marks.append(time.perf_counter())
            await asyncio.to_thread(cluster.kill, _VICTIM)
            await leaders_of(cluster)
            await asyncio.sleep(plan.settle_s)
            await while_away()
            marks.append(time.perf_counter())
            comeback = await start_and_watch(cluster, _VICTIM)
            marks.append(time.perf_counter())
            await asyncio.sleep(plan.window_s)
            marks.append(time.perf_counter())
            await asyncio.sleep(plan.settle_s)
        windows = [
            _window(scenario, window, operation, sample)
            for place, window in enumerate(("before", "away", "back", "after"))
            for operation, sample in load.between(marks[place], marks[place + 1]).items()
        ]
        row = _row(comeback)
        print(f"{scenario:<9} {_sentence(row)}", flush=True)
        return {"scenario": scenario, **row, "windows": windows}

    async def nothing(self) -> None:
        """It was just killed."""

    async def lose_trust(self) -> None:
        await asyncio.to_thread(distrust_states, self.cluster.data_dir(_VICTIM))

    async def lose_disk(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.cluster.data_dir(_VICTIM))
        self.cluster.repairing.add(_VICTIM)


SCENARIOS: dict[str, Callable[[_Bench], Callable[[], Awaitable[None]]]] = {
    "restart": lambda bench: bench.nothing,
    "missed": lambda bench: partial(bench.fill, bench.plan.missed_writes),
    "rebuild": lambda bench: bench.lose_trust,
    "repair": lambda bench: bench.lose_disk,
}
"""By name: what happens while the node is away.

restart: nothing. missed: the others take many writes. rebuild: its states are not to be believed,
as after a crash of its system, and are made again from snapshots and log. repair: its disk is lost.
"""


async def run_recovery(
    cluster: MeasuredCluster, plan: RecoveryPlan, scenarios: list[str]
) -> list[dict[str, object]]:
    """Prints a table and returns its rows, one of each scenario."""
    bench = _Bench(cluster, plan)
    begun = time.perf_counter()
    await bench.fill()
    print(f"{plan.keys} keys of {plan.value_bytes} bytes in {time.perf_counter() - begun:.0f} s")
    print(_TITLE, flush=True)
    rows: list[dict[str, object]] = []
    for scenario in scenarios:
        rows.append(await bench.measure(scenario, SCENARIOS[scenario](bench)))
        cluster.repairing.clear()
    return rows


def _row(comeback: Comeback) -> dict[str, object]:
    return {
        "ready_s": round(comeback.ready_s, 2),
        "level_s": round(comeback.level_s, 2),
        "private_mib": round(comeback.memory.private),
        "heap_mib": round(comeback.memory.heap),
        "heap_most_mib": round(comeback.memory_most.heap),
        "received_mb": round(comeback.received_mb, 1),
        "written_mb": round(comeback.written_mb, 1),
        "own_snapshots": comeback.own_snapshots,
        "by_snapshot": comeback.by_snapshot,
    }


def _sentence(row: dict[str, object]) -> str:
    return (
        f"listens after {row['ready_s']} s, level after {row['level_s']} s;"
        f" {row['private_mib']} MiB private, heap {row['heap_mib']} MiB, at most"
        f" {row['heap_most_mib']}; received {row['received_mb']} MB, wrote {row['written_mb']} MB;"
        f" {row['own_snapshots']} snapshots of its own, {row['by_snapshot']} sent to it"
    )


def _window(scenario: str, window: str, operation: str, sample: Sample) -> dict[str, object]:
    row: dict[str, object] = {
        "window": window,
        "seconds": round(sample.seconds, 1),
        "operation": operation,
        "ops_s": round(sample.per_second),
        "p50_ms": round(sample.percentile_ms(50), 2),
        "p99_ms": round(sample.percentile_ms(99), 2),
        "max_ms": round(sample.percentile_ms(100), 1),
        "errors": sample.errors,
    }
    print(
        f"{scenario:<9} {window:<7} {row['seconds']:>8} {operation:<9} {row['ops_s']:>7}"
        f" {row['p50_ms']:>8} {row['p99_ms']:>8} {row['max_ms']:>8} {row['errors']:>7}",
        flush=True,
    )
    return row
