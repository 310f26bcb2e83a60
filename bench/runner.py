"""Measures operations one after the other: a row for each operation, size and concurrency."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.calibration import calibrated
from bench.cluster_view import wait_until_settled
from bench.measured_cluster import MeasuredCluster
from bench.progress import Progress
from bench.rows import Clients, Row, line, row, title
from bench.window import Sample, Window
from bench.workloads import ANYWHERE, Target, Workbench


@dataclass(frozen=True)
class RunPlan:
    """What is measured."""

    operations: tuple[str, ...]
    clients: tuple[Clients, ...]
    outstanding: tuple[int, ...]
    value_bytes: tuple[int, ...]
    keys: int | None
    """None: see `Workbench`."""
    repetitions: int
    window: Window

    def targets(self) -> Iterator[Target]:
        """Those of each size of values, in the order in which they are measured."""
        for operation in self.operations:
            clients = ("spread",) if operation in ANYWHERE else self.clients
            for each, outstanding in itertools.product(clients, self.outstanding):
                yield Target(operation, each, outstanding)


async def run_plan(cluster: MeasuredCluster, plan: RunPlan, keep: Callable[[Row], object]) -> None:
    """Prints a table, and gives each row to `keep` when it is complete.

    Raises RanDryError when a queue or stream held too little, ConnectionError when a node is gone.
    """
    await wait_until_settled(cluster)
    print(
        f"nodes: {len(cluster.client_ports)}, partitions: {cluster.partitions}; every write is"
        " synced by a majority before it is acknowledged"
    )
    print(title(), flush=True)
    targets = list(plan.targets())
    progress = Progress(len(plan.value_bytes) * len(targets) * plan.repetitions)
    try:
        for value_bytes in plan.value_bytes:
            workbench = Workbench(cluster, value_bytes, plan.keys)
            for target in targets:
                done = await _row(workbench, target, plan, value_bytes, progress)
                progress.clear()
                print(line(done), flush=True)
                keep(done)
    finally:
        progress.clear()


async def _row(
    workbench: Workbench, target: Target, plan: RunPlan, value_bytes: int, progress: Progress
) -> Row:
    operation, clients, outstanding = target
    samples: list[Sample] = []
    for number in range(1, plan.repetitions + 1):
        progress.doing(
            f"{operation} of {value_bytes} bytes, {clients}, {outstanding} outstanding,"
            f" repetition {number} of {plan.repetitions}"
        )
        samples.append(await calibrated(workbench.sample(target, plan.window)))
    return row("flo", operation, clients, outstanding, samples, value_bytes=value_bytes)
