"""One run with queues, streams and groups: load, faults from a seed, and everything must add up."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

from flo import FloClient
from flo.wire.routing import partition_of, stream_home
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
from tests.chaos.traffic import OneNode
from tests.histories.deliveries import Evidence
from tests.integration.kit import check_replicas_agree
from tests.integration.queue_accounts import Account, Caller, Queue, Stream, Target
from tests.integration.queue_load import Load
from tests.integration.queue_verdict import check_evidence, check_logs, judge_load, reading

_PATIENT_MS, _CALL_MS, _HASTY_MS = 30_000, 5_000, 200
"""Time-outs: the first outlasts every fault, the last is often left without an answer."""
_ALL_REPLACED_FROM = 40
"""With so many faults each partition has lost its leader."""


@dataclass
class Report:
    """What happened."""

    settings: Settings
    rounds: Rounds = field(default_factory=Rounds)
    accounts: list[Account] = field(default_factory=list[Account])
    evidence: dict[str, Evidence] = field(default_factory=dict[str, Evidence])

    def __str__(self) -> str:
        lines = [f"seed {self.settings.seed}: everything adds up"]
        for account in self.accounts:
            lines.append(f"  {account.target.name}: {self.evidence[account.target.name]}")
            lines.append(f"    calls: {dict(sorted(account.counts.items()))}")
        return "\n".join([*lines, *self.rounds.lines()])


async def run_accounts(
    directory: Path, settings: Settings, say: Say, pause_s: float = 0.05
) -> Report:
    """Runs, judges, and reports. `pause_s`: of clients between calls.

    Raises Violation for what was seen, AssertionError for replicas or clients that do not come
    back, Ineffective and TooLittle when the run proves nothing.
    """
    report = Report(settings)
    load = Load(_targets(), Random(settings.seed), pause_s)
    async with ChaosCluster(directory, settings.shim) as cluster:
        try:
            await wait_for_leaders(cluster, cluster.nodes)
            await _load_and_judge(cluster, load, report, say)
            await wait_until_level(cluster)
            await check_replicas_agree(cluster)
        except BaseException:
            say(await cluster.describe())
            raise
        check_logs(cluster.directory)
    check_enough(report)
    return report


async def _load_and_judge(cluster: ChaosCluster, load: Load, report: Report, say: Say) -> None:
    async with _callers(cluster) as callers, reading(callers[0].client, load.readers):
        async with load.running(callers):
            await load.more()
            await run_faults(cluster, load, report.settings, report.rounds, say)
        report.evidence = await judge_load(load, [*callers[:1], *callers[2:]])
    report.accounts = load.accounts


def check_enough(report: Report) -> None:
    """Raises TooLittle unless enough happened for the verdict to mean something."""
    faults = report.rounds.faults.total()
    report.rounds.check_enough()
    if faults >= _ALL_REPLACED_FROM and len(report.rounds.replaced) < PARTITIONS:
        raise TooLittle(f"only these partitions lost their leader: {report.rounds.replaced}")
    for account in report.accounts:
        check_evidence(account, report.evidence[account.target.name], faults)
    if not any(account.counts["unknown"] for account in report.accounts):
        raise TooLittle("every call was answered")


def _targets() -> list[Target]:
    """One in each partition."""
    names = list(map(_name_in, range(PARTITIONS)))
    return [*map(Queue, names[::2]), *map(Stream, names[1::2])]


def _name_in(partition: int) -> str:
    names = (f"account-{number}" for number in count())
    return next(
        name
        for name in names
        if partition_of(b"default", stream_home(name.encode()), PARTITIONS) == partition
    )


@asynccontextmanager
async def _callers(cluster: ChaosCluster) -> AsyncGenerator[list[Caller]]:
    """A patient one, a hasty one, and one for each node, which reaches that one alone."""
    async with AsyncExitStack() as stack:
        callers = [
            Caller(FloClient(cluster.endpoints, timeout_ms=timeout_ms))
            for timeout_ms in (_PATIENT_MS, _HASTY_MS)
        ]
        for node, link in cluster.client_links.items():
            client = FloClient(cluster.endpoints, timeout_ms=_CALL_MS, connector=OneNode(link.port))
            callers.append(Caller(client, partial(cluster.earliest, node)))
        for caller in callers:
            await stack.enter_async_context(caller.client)
        yield callers
