"""Queues, streams and groups under load while one node after another is killed: everything that
their clients were told adds up.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.cluster_view import leaders_of
from bench.local_cluster import LocalCluster
from flo import FloClient
from flo.wire.routing import partition_of, stream_home
from tests.histories.deliveries import judge_deliveries, judge_log, judge_reader
from tests.integration.kit import check_replicas_agree
from tests.integration.queue_accounts import Account
from tests.integration.queue_load import Load, Reader

_DEFAULT_NAMESPACE = b"default"
_PATIENT_MS, _HASTY_MS = 30_000, 50
"""Time-outs of clients. The hasty one is often left without an answer while nobody leads."""


async def kill_leader(cluster: LocalCluster, account: Account, load: Load) -> None:
    """kill -9 of the node that leads where the account is; it comes back after a while."""
    home = stream_home(account.target.name.encode())
    partition = partition_of(_DEFAULT_NAMESPACE, home, cluster.partitions)
    node = (await leaders_of(cluster))[partition]
    process = cluster.processes[node]
    await asyncio.to_thread(cluster.kill, node)
    assert process.returncode == -signal.SIGKILL
    async with asyncio.timeout(60):
        leader = (await leaders_of(cluster))[partition]
    assert leader != node, "the fault did not take effect"
    await load.more(5)
    await asyncio.to_thread(cluster.start, node)


@asynccontextmanager
async def reading(client: FloClient, readers: Sequence[Reader]) -> AsyncGenerator[None]:
    """They follow while the body runs. An error in one of them is raised."""
    tasks = [asyncio.create_task(reader.follow(client)) for reader in readers]
    try:
        yield
        ended = [task for task in tasks if task.done()]
        assert not ended, f"a reader ended: {ended}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def judge(load: Load, client: FloClient, faults: int) -> None:
    """Drains everything, and judges it. Too little to judge is a failure too."""
    for account in load.accounts:
        await account.drain(client)
        evidence = judge_deliveries(account.history)
        sys.stdout.write(f"{account.target.name}: {evidence}, {dict(account.counts)}\n")
        assert evidence.again >= faults, (account.target, evidence, account.counts)
        assert evidence.certain >= 5 * faults, (account.target, evidence, account.counts)
        assert account.counts["given back"], (account.target, account.counts)
    unanswered = sum(each.counts["unknown"] + each.counts["refused"] for each in load.accounts)
    assert unanswered, "every call was answered"
    for stream in load.streams:
        readers = [reader for reader in load.readers if reader.stream == stream.name]
        log = await stream.read_all(client)
        for reader in readers:
            await reader.reach_end(log)
        read = [(reader, list(reader.seen)) for reader in readers]
        # What had no answer may have been appended only now: then readers have not all of it.
        log = await stream.read_all(client)
        judge_log(load.account_of(stream.name).history.added, log)
        for reader, seen in read:
            judge_reader(seen, reader.own(log)[: len(seen)])


def check_logs(directory: Path) -> None:
    """No node ran into a mistake of its own, not even one that it survived."""
    for log in directory.glob("node-*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()


async def run(cluster: LocalCluster, *, faults: int, seconds: float = 0.0) -> None:
    """So many faults at least, and for so long at least."""
    load = Load(queues=2, streams=2)
    until = time.monotonic() + seconds
    made = 0
    async with (
        FloClient(cluster.endpoints, timeout_ms=_PATIENT_MS) as client,
        FloClient(cluster.endpoints, timeout_ms=_HASTY_MS) as hasty,
        reading(client, load.readers),
    ):
        async with load.running((client, hasty)):
            await load.more(5)
            while made < faults or time.monotonic() < until:
                await kill_leader(cluster, load.accounts[made % len(load.accounts)], load)
                await load.more(5)
                made += 1
        sys.stdout.write(f"{made} nodes were killed\n")
        await judge(load, client, made)
    await check_replicas_agree(cluster)
    check_logs(cluster.directory)


@pytest.mark.timeout(300)
async def test_nodes_are_killed(cluster: LocalCluster) -> None:
    await run(cluster, faults=4)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_for_minutes(cluster: LocalCluster, minutes: float) -> None:
    await run(cluster, faults=8, seconds=60 * minutes)
