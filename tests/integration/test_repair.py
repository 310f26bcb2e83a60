"""A node loses its whole data directory and is repaired by the others."""

import logging
from pathlib import Path

import pytest

from cluster.errors import StartError
from flo import FloClient, FloError
from tests.integration.kit import Traffic, check_account, eventually
from tests.integration.nodes_here import (
    LOG_BYTES_MAX,
    PARTITIONS,
    VALUE_BYTES,
    NodesHere,
    all_level,
    check_written,
    nodes_here,
    write,
)

ENOUGH = 3 * LOG_BYTES_MAX // VALUE_BYTES


async def repaired(nodes: NodesHere, node: int) -> None:
    arrivals: set[tuple[int, int]] = set()

    async def counts() -> bool:
        for number, partition in nodes.running[node].partitions.items():
            if partition.group.learner is not None:
                arrivals.add((number, partition.group.learner.arrival))
        return not await nodes.is_learning(node)

    await eventually(f"node {node} is repaired", counts)
    assert len(arrivals) <= PARTITIONS, "a snapshot must not begin the repair anew"


async def test_lost_disk_is_repaired_under_load_and_the_node_counts_again(tmp_path: Path) -> None:
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, ENOUGH)
        async with Traffic(nodes.endpoints) as traffic:
            await traffic.more(50)
            await nodes.lose_disk(3)
            await traffic.more(50)
            await nodes.start(3, repair=True)
            await repaired(nodes, 3)
            await traffic.more(50)
            await nodes.stop(1)
            await traffic.more(100)
        await check_account(nodes, traffic.account)
        await check_written(nodes, ENOUGH)
        await all_level(nodes)
        # It is a node like any other: no flag, and nothing to repair.
        await nodes.stop(3)
        with pytest.raises(StartError, match="has data: --repair is for a node whose data is lost"):
            await nodes.start(3, repair=True)
        await nodes.start(3)
        await nodes.start(1)
        await all_level(nodes)


async def test_emptied_node_that_is_not_repaired_is_refused_and_told_how(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, 50)
        await nodes.lose_disk(2)
        caplog.set_level(logging.ERROR)
        await nodes.start(2)

        async def told() -> bool:
            return "refuses this node: node 2 came back with an empty" in caplog.text

        await eventually("node 2 is told why it is refused", told)
        assert "`flo node --repair`" in caplog.text
        emptied = nodes.running[2]
        assert not any(partition.group.leader for partition in emptied.partitions.values())
        assert not any(partition.group.term for partition in emptied.partitions.values())
        # It listens to its operator.
        await nodes.lose_disk(2)
        await nodes.start(2, repair=True)
        await repaired(nodes, 2)
        await all_level(nodes)
        await check_written(nodes, 50)


async def test_with_a_further_node_down_nothing_is_served_until_it_is_back(
    tmp_path: Path,
) -> None:
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, ENOUGH)
        await nodes.stop(1)
        await nodes.lose_disk(3)
        await nodes.start(3, repair=True)
        async with FloClient(nodes.endpoints, timeout_ms=3_000) as client:
            with pytest.raises(FloError):
                await client.kv.put("key-0", b"by nobody")
            with pytest.raises(FloError):
                await client.kv.get("key-0")
        assert nodes.leaders() == []
        assert await nodes.is_learning(3)
        await nodes.start(1)
        await repaired(nodes, 3)
        await nodes.stop(2)
        await check_written(nodes, ENOUGH)
        await write(nodes, 50, tag="after")
        await all_level(nodes)


async def test_repair_goes_on_after_a_restart_without_the_flag(tmp_path: Path) -> None:
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, ENOUGH)
        await nodes.lose_disk(3)
        await nodes.stop(1)
        await nodes.start(3, repair=True)
        await nodes.stop(3)
        await nodes.start(3)
        assert await nodes.is_learning(3)
        await nodes.start(1)
        await repaired(nodes, 3)
        await all_level(nodes)


async def test_second_loss_of_the_same_disk_is_repaired_as_well(tmp_path: Path) -> None:
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, 100)
        for _ in range(2):
            await nodes.lose_disk(1)
            await nodes.start(1, repair=True)
            await repaired(nodes, 1)
        await all_level(nodes)
        await nodes.stop(2)
        await check_written(nodes, 100)
