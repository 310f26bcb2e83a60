"""Short loads of operations of several requests against a real cluster."""

from collections.abc import Iterator

import pytest

from bench.cluster_view import leaders_of, wait_until_led
from bench.dialogues import RanDryError, Stage, run_dialogues
from bench.measured_cluster import MeasuredCluster
from bench.operations import OPERATIONS
from bench.window import Sample, Window
from flo import FloClient
from flo.wire.routing import partition_of

PARTITIONS = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredCluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with MeasuredCluster(3, PARTITIONS, directory, keep=True) as running:
        yield running


async def run(
    cluster: MeasuredCluster, name: str, *, stock: int = 20_000, seconds: float = 0.5
) -> Sample:
    await wait_until_led(cluster)
    return await run_dialogues(
        Stage(cluster.addresses, await leaders_of(cluster), b"x" * 100),
        OPERATIONS[name],
        outstanding=4,
        stock=stock,
        window=Window(seconds, warmup_s=0.0),
        cpu_seconds=cluster.cpu_seconds,
    )


@pytest.mark.parametrize("name", OPERATIONS)
async def test_each_operation_succeeds(cluster: MeasuredCluster, name: str) -> None:
    sample = await run(cluster, name)
    while not sample.latencies:  # The disk stood still meanwhile.
        assert sample.errors == 0
        sample = await run(cluster, name)
    assert sample.errors == 0
    assert sample.per_second > 0


async def test_all_partitions_take_part(cluster: MeasuredCluster) -> None:
    async with FloClient(cluster.endpoints, namespace="bench") as client:
        before = {queue.name for queue in (await client.queue.list()).queues}
        found: set[int] = set()
        while len(found) < PARTITIONS:
            await run(cluster, "dequeue")
            names = {queue.name for queue in (await client.queue.list()).queues} - before
            found = {partition_of(b"bench", name.encode(), PARTITIONS) for name in names}


@pytest.mark.parametrize("name", ["dequeue10", "group10"])
async def test_one_that_runs_dry_says_so(cluster: MeasuredCluster, name: str) -> None:
    with pytest.raises(RanDryError):
        await run(cluster, name, stock=1, seconds=60.0)
