"""One run: load, faults from a seed, an end with everything healed, and the verdict."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from flo.wire.routing import partition_of
from tests.chaos.cluster import PARTITIONS, ChaosCluster
from tests.chaos.rounds import (
    Rounds,
    Say,
    Settings,
    TooLittle,
    run_faults,
    wait_for_leaders,
    wait_until_level,
)
from tests.chaos.traffic import Traffic
from tests.histories.judge import Verdict, judge
from tests.histories.operations import Kind, Outcome, Recorder, load
from tests.integration.kit import check_replicas_agree

_CALLS_PER_FAULT_MIN = 20
_CALLS_WITHOUT_SNAPSHOT_MAX = 10_000


@dataclass
class Report:
    """What happened."""

    settings: Settings
    directory: Path
    rounds: Rounds = field(default_factory=Rounds)
    snapshots_taken: int = 0
    snapshots_installed: int = 0
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
            *self.rounds.lines(),
            f"snapshots taken: {self.snapshots_taken}, installed: {self.snapshots_installed}",
            f"longest time in which no call succeeded: {self.longest_gap_s:.1f} s",
            f"slowest call that succeeded: {self.slowest_s:.1f} s",
        ]
        return "\n".join(lines)


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
                await traffic.more()
                await run_faults(cluster, traffic, settings, report.rounds, say)
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
    faults = report.rounds.faults.total()
    if succeeded < _CALLS_PER_FAULT_MIN * faults:
        raise TooLittle(f"{succeeded} calls succeeded with {faults} faults")
    snapshots = min(report.snapshots_taken, report.snapshots_installed)
    if succeeded > _CALLS_WITHOUT_SNAPSHOT_MAX and not snapshots:
        raise TooLittle(f"no snapshot was taken, or none installed, in {succeeded} calls")
    report.rounds.check_enough()
