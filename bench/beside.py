"""Flo beside other systems: the same operations, taking turns, so that all see the machine's moods.

In each repetition one system after the other is started, measured, and stopped.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.calibration import calibrated
from bench.cluster_view import wait_until_settled
from bench.dialogues import RanDryError
from bench.measured_cluster import MeasuredCluster
from bench.peers import Load, Peer, PeerCluster
from bench.peers.servers import StartError
from bench.progress import Progress
from bench.rows import Row, line, row, title
from bench.window import Sample, Window
from bench.workloads import Target, Workbench
from flo import __version__

OPERATIONS = {
    "put": "KvPut",
    "get": "KvGet, linearizable",
    "enqueue": "QueueEnqueue",
    "dequeue": "QueueDequeue, then QueueAck",
    "consume": "QueueAck of the last message and QueueDequeue of the next, at once",
    "append": "StreamAppend",
    "group": "GroupRead, then GroupAck",
}
"""What other systems have too, and what we do for it."""


class Case(NamedTuple):
    """What one row is about."""

    operation: str
    outstanding: int


@dataclass(frozen=True)
class BesidePlan:
    """What is measured."""

    systems: tuple[Peer, ...]
    """Flo itself is one of them, the first."""
    cases: tuple[Case, ...]
    value_bytes: int
    repetitions: int
    window: Window
    directory: Path | None = None


class _FloCluster:
    """Our own nodes, measured as those of a peer."""

    def __init__(self, cluster: MeasuredCluster) -> None:
        self.version = __version__
        self.cpu_seconds = cluster.cpu_seconds
        self._cluster = cluster
        self._workbench: Workbench | None = None

    async def sample(self, operation: str, load: Load) -> Sample:
        if self._workbench is None:
            await wait_until_settled(self._cluster)
            self._workbench = Workbench(self._cluster, load.value_bytes)
        target = Target(operation, "leaders", load.outstanding)
        return await self._workbench.sample(target, load.window)


def flo(nodes: int, partitions: int, settings: tuple[str, ...]) -> Peer:
    """Flo as a system to measure."""

    @contextmanager
    def start(directory: Path | None) -> Generator[_FloCluster]:
        with MeasuredCluster(nodes, partitions, directory, settings=settings) as cluster:
            yield _FloCluster(cluster)

    about = f"nodes: {nodes}, partitions: {partitions}; a write is synced by a majority"
    return Peer("flo", about, OPERATIONS, lambda: None, start)


class _Round:
    """What one system has shown so far."""

    def __init__(self, system: Peer, plan: BesidePlan) -> None:
        self.system = system
        self._plan = plan
        self.version = ""
        self.samples: dict[Case, list[Sample]] = {
            case: [] for case in plan.cases if case.operation in system.operations
        }
        self.failure: str | None = None

    def measure(self, doing: Callable[[str], object]) -> None:
        """One repetition of everything; what goes wrong with another system is noted."""
        try:
            with self.system.start(self._plan.directory) as cluster:
                self.version = cluster.version
                uvloop.run(self._all(cluster, doing))
        except (StartError, ConnectionError, RanDryError) as error:
            if self.system.name == "flo":
                raise
            self.failure = f"{type(error).__name__} {error}".strip()

    async def _all(self, cluster: PeerCluster, doing: Callable[[str], object]) -> None:
        for case, samples in self.samples.items():
            doing(f"{self.system.name}: {case.operation}, {case.outstanding} outstanding")
            load = Load(case.outstanding, self._plan.window, self._plan.value_bytes)
            samples.append(await calibrated(cluster.sample(case.operation, load)))

    def rows(self) -> Iterator[tuple[Case, Row]]:
        """Of what was measured at least once."""
        for case, samples in self.samples.items():
            if samples:
                yield (
                    case,
                    row(
                        self.system.name,
                        case.operation,
                        "leaders",
                        case.outstanding,
                        samples,
                        value_bytes=self._plan.value_bytes,
                    ),
                )


def run_beside(plan: BesidePlan, complain: Callable[[str], object]) -> list[Row]:
    """Prints a table, ours beside the others' with ratios, and returns its rows.

    What fails of another system is told to `complain`; it is left out from then on.
    """
    rounds = [_Round(system, plan) for system in plan.systems]
    progress = Progress(plan.repetitions * sum(len(each.samples) for each in rounds))
    try:
        for _ in range(plan.repetitions):
            for each in rounds:
                if each.failure is None:
                    each.measure(progress.doing)
                    progress.clear()
                    if each.failure is not None:
                        complain(f"left out: {each.system.name}: {each.failure}")
    finally:
        progress.clear()
    for each in rounds:
        print(f"{each.system.name} {each.version}: {each.system.about}")
    by_case = _by_case(plan.cases, rounds)
    print(title(), "  ours / theirs")
    for rows in by_case:
        ours = rows[0]
        print(line(ours))
        for theirs in rows[1:]:
            print(f"{line(theirs)}   {_ratio(ours, theirs)}")
    return [each for rows in by_case for each in rows]


def _by_case(cases: Sequence[Case], rounds: Sequence[_Round]) -> list[list[Row]]:
    rows = [dict(each.rows()) for each in rounds]
    return [[of_system[case] for of_system in rows if case in of_system] for case in cases]


def _ratio(ours: Row, theirs: Row) -> str:
    def ratio(own: float, other: float) -> str:
        return f"{own / other:.2f}" if other else "-"

    return (
        f"ops/s {ratio(ours['ops_s'], theirs['ops_s'])}, p50"
        f" {ratio(ours['p50_ms'], theirs['p50_ms'])}, p99"
        f" {ratio(ours['p99_ms'], theirs['p99_ms'])}, server CPU"
        f" {ratio(ours['server_cpu_s_per_kop'], theirs['server_cpu_s_per_kop'])}"
    )
