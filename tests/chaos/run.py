"""One run: load, faults from a seed, an end with everything healed, and the verdict."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

from flo.wire.routing import partition_of
from tests.chaos.cluster import NODES, PARTITIONS, ChaosCluster
from tests.chaos.faults import FAULTS, POWER_FAULTS, Draw, Fault, PowerCut
from tests.chaos.power import Loss
from tests.chaos.traffic import Traffic
from tests.histories.judge import Verdict, judge
from tests.histories.operations import Kind, Outcome, Recorder, load
from tests.integration.kit import check_replicas_agree

PATIENCE_S = 60.0
_POLL_S = 0.05
_SECOND = ("kill a node", "pause a node")
_CALLS_AFTER_EACH = 20
_CALLS_PER_FAULT_MIN = 20
_CALLS_WITHOUT_SNAPSHOT_MAX = 10_000
_MOVES_FROM_S = 0.5
"""Faults meant to last so long last at least until others lead."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What a run is made of. The seed says which faults come when, and whether at who leads."""

    seed: int
    rounds_max: int
    faults_s: float = math.inf
    """No fault begins later than this."""
    fault_s: tuple[float, float] = (0.1, 1.5)
    """The shortest and longest time that a fault lasts, beyond what it takes to have its effect."""
    together: float = 0.0
    """How often a second fault comes with the first."""
    names: tuple[str, ...] = tuple(FAULTS)
    """The kinds of faults."""
    shim: Path | None = None
    """What makes faults of `POWER_FAULTS` possible: see `power.build_shim`."""
    disks_lie: bool = False
    """Disks say that they have synced what they have not: no run may pass."""


@dataclass
class Report:
    """What happened."""

    settings: Settings
    directory: Path
    faults: Counter[str] = field(default_factory=Counter[str])
    leaders_replaced: int = 0
    snapshots_taken: int = 0
    snapshots_installed: int = 0
    lost: list[Loss] = field(default_factory=list[Loss])
    """With the power of each node."""
    findings: list[str] = field(default_factory=list[str])
    """Errors of clients that no fault explains."""
    longest_gap_s: float = 0.0
    slowest_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        lines = [
            f"seed {self.settings.seed}: linearizable, {self.verdict.keys} keys,"
            f" {self.verdict.operations.total()} calls",
            *(
                f"  {kind:16}" + "".join(f"{o} {self.verdict.count(kind, o):<8}" for o in Outcome)
                for kind in Kind
            ),
            f"faults: {self.faults.total()}, leaders replaced: {self.leaders_replaced}",
            *(f"  {name:28}{count}" for name, count in sorted(self.faults.items())),
            f"snapshots taken: {self.snapshots_taken}, installed: {self.snapshots_installed}",
            f"longest time in which no call succeeded: {self.longest_gap_s:.1f} s",
            f"slowest call that succeeded: {self.slowest_s:.1f} s",
        ]
        return "\n".join(lines)


class TooLittle(AssertionError):
    """The run proves nothing: too few calls succeeded, or too little happened."""


async def run_chaos(directory: Path, settings: Settings, say: Say) -> Report:
    """Runs, judges, and reports.

    Raises Violation or Undecided for the history, AssertionError for replicas or clients that do
    not come back, Ineffective and TooLittle when the run proves nothing.
    """
    report = Report(settings, directory)
    history = directory / "history.jsonl"
    recorder = Recorder(history)
    try:
        await _make_history(report, recorder, say)
    except AssertionError:
        # If the history is wrong too, then that tells more.
        recorder.close()
        judge(load(history), partition, ended=False)
        raise
    finally:
        recorder.close()
    report.verdict = judge(load(history), partition, ended=True)
    assert not report.findings, "\n".join(report.findings)
    check_enough(report)
    return report


async def _make_history(report: Report, recorder: Recorder, say: Say) -> None:
    settings = report.settings
    async with ChaosCluster(report.directory, settings.shim) as cluster:
        try:
            await wait_for_leaders(cluster, cluster.nodes)
            if settings.disks_lie:
                for disk in cluster.disks.values():
                    disk.lie()
            async with Traffic(cluster.endpoints, recorder, Random(settings.seed)) as traffic:
                await more_calls(traffic, _CALLS_AFTER_EACH)
                await _faults(cluster, traffic, report, say)
                await traffic.finish()
            await wait_until_level(cluster)
            await check_replicas_agree(cluster)
        except BaseException:
            say(await cluster.describe())
            raise
        report.snapshots_taken = cluster.count_in_logs(": snapshot of entry")
        report.snapshots_installed = cluster.count_in_logs(": installing the snapshot")
        report.longest_gap_s, report.slowest_s = traffic.longest_gap_s, traffic.slowest_s
        report.findings = traffic.findings


def partition(key: str) -> int:
    """Where a key of the default namespace lives."""
    return partition_of(b"default", key.encode(), PARTITIONS)


def check_enough(report: Report) -> None:
    """Raises TooLittle unless enough happened for the verdict to mean something."""
    verdict = report.verdict
    for kind in Kind:
        if not verdict.count(kind, Outcome.OK):
            raise TooLittle(f"no {kind} succeeded")
    succeeded = sum(verdict.count(kind, Outcome.OK) for kind in Kind)
    if succeeded < _CALLS_PER_FAULT_MIN * report.faults.total():
        raise TooLittle(f"{succeeded} calls succeeded with {report.faults.total()} faults")
    snapshots = min(report.snapshots_taken, report.snapshots_installed)
    if succeeded > _CALLS_WITHOUT_SNAPSHOT_MAX and not snapshots:
        raise TooLittle(f"no snapshot was taken, or none installed, in {succeeded} calls")
    if report.faults.total() and not report.leaders_replaced:
        raise TooLittle("no fault made a leader lose its place")
    if report.lost and not any(loss.undone_sectors for loss in report.lost):
        raise TooLittle("no write was lost with the power")


def schedule(settings: Settings, rng: Random) -> Iterator[list[str]]:
    """Every kind of fault once, in random order, then every kind again."""
    while True:
        for name in rng.sample(settings.names, len(settings.names)):
            second = [rng.choice(_SECOND)] if rng.random() < settings.together else []
            yield [name, *second]


async def _faults(cluster: ChaosCluster, traffic: Traffic, report: Report, say: Say) -> None:
    settings = report.settings
    rng = Random(settings.seed)
    began = time.monotonic()
    for names in islice(schedule(settings, rng), settings.rounds_max):
        if time.monotonic() - began > settings.faults_s:
            return
        before = traffic.total
        leaders = await cluster.leaders(cluster.nodes)
        chosen = _draw(names, leaders, rng)
        lasts_s = rng.uniform(*settings.fault_s)
        say(f"{time.monotonic() - began:7.1f} s, {lasts_s:.1f} s long, leaders {leaders}")
        for name, fault in chosen.items():
            say(f"           {name}: {fault}")
        lost = [number for number, node in leaders.items() if node in _silenced(chosen.values())]
        report.leaders_replaced += len(lost) * await _round(cluster, traffic, chosen, lasts_s)
        report.faults.update(chosen.keys())
        await more_calls(traffic, _CALLS_AFTER_EACH)
        for fault in chosen.values():
            if isinstance(fault, PowerCut):
                report.lost += fault.losses
                say(f"           lost: {fault.losses}")
        say(f"{time.monotonic() - began:7.1f} s, healed, {traffic.total - before} calls meanwhile")


def _draw(names: list[str], leaders: dict[int, int], rng: Random) -> dict[str, Fault]:
    """Faults with these names that can come together."""
    leads = Counter(leaders.values())
    draw = Draw(rng, sorted(range(1, NODES + 1), key=lambda node: (-leads[node], node)))
    chosen: dict[str, Fault] = {}
    for name in names:
        fault = (FAULTS | POWER_FAULTS)[name](draw)
        if not {node for other in chosen.values() for node in other.busy} & set(fault.busy):
            chosen[name] = fault
    return chosen


def _silenced(faults: Iterable[Fault]) -> set[int]:
    return {node for fault in faults for node in fault.silenced}


async def _round(
    cluster: ChaosCluster, traffic: Traffic, chosen: dict[str, Fault], lasts_s: float
) -> bool:
    """Injects and heals. True if it was seen meanwhile that the others lead and do the work."""
    faults = list(chosen.values())
    ends = time.monotonic() + lasts_s
    for fault in faults:
        await fault.inject(cluster)
    others_lead = len(faults) == 1 and faults[0].majority and lasts_s >= _MOVES_FROM_S
    if others_lead:
        well = set(cluster.nodes) - _silenced(faults)
        await wait_for_leaders(cluster, sorted(well))
        await more_calls(traffic, _CALLS_AFTER_EACH)
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    for fault in faults:
        await fault.heal(cluster)
    return others_lead


async def wait_for_leaders(cluster: ChaosCluster, among: list[int]) -> None:
    """Returns when every partition is led by one of these nodes."""
    deadline = time.monotonic() + PATIENCE_S
    while len(await cluster.leaders(among)) < PARTITIONS:
        assert time.monotonic() < deadline, f"nodes {among} do not lead every partition"
        await asyncio.sleep(_POLL_S)


async def wait_until_level(cluster: ChaosCluster) -> None:
    """Returns when every replica has all that its partition has; snapshots may bring it."""
    deadline = time.monotonic() + PATIENCE_S
    while not await cluster.is_level():
        assert time.monotonic() < deadline, "the replicas do not become level"
        await asyncio.sleep(_POLL_S)


async def more_calls(traffic: Traffic, count: int) -> None:
    """Returns when so many further calls have succeeded."""
    deadline = time.monotonic() + PATIENCE_S
    target = traffic.total + count
    while traffic.total < target:
        traffic.check()
        assert time.monotonic() < deadline, "calls do not succeed although they should"
        await asyncio.sleep(_POLL_S)
