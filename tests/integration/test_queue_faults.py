"""Queues, streams and groups under load while one node after another is killed: everything that
their clients were told adds up.
"""

import asyncio
import signal
from random import Random

from bench.cluster_view import leaders_of
from bench.local_cluster import LocalCluster
from flo import FloClient
from flo.wire.routing import partition_of, stream_home
from tests.integration.kit import check_replicas_agree
from tests.integration.queue_accounts import Account, Caller, Queue, Stream, Target
from tests.integration.queue_load import Load
from tests.integration.queue_verdict import check_evidence, check_logs, judge_load, reading

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


async def run(cluster: LocalCluster, faults: int) -> None:
    targets: list[Target] = [
        Queue("queue-0"),
        Queue("queue-1"),
        Stream("stream-0"),
        Stream("stream-1"),
    ]
    load = Load(targets, Random())
    async with (
        FloClient(cluster.endpoints, timeout_ms=_PATIENT_MS) as client,
        FloClient(cluster.endpoints, timeout_ms=_HASTY_MS) as hasty,
        reading(client, load.readers),
    ):
        async with load.running([Caller(client), Caller(hasty)]):
            await load.more(5)
            for number in range(faults):
                await kill_leader(cluster, load.accounts[number % len(load.accounts)], load)
                await load.more(5)
        found = await judge_load(load, [Caller(client)])
    for account in load.accounts:
        check_evidence(account, found[account.target.name], faults)
    unanswered = sum(each.counts["unknown"] + each.counts["refused"] for each in load.accounts)
    assert unanswered, "every call was answered"
    await check_replicas_agree(cluster)
    check_logs(cluster.directory)


async def test_nodes_are_killed(cluster: LocalCluster) -> None:
    await run(cluster, faults=4)
