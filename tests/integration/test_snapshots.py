"""Real nodes with a small log: it stays bounded, and who was away too long gets a snapshot."""

import logging
from pathlib import Path

import pytest

from tests.integration.kit import Traffic, check_account, eventually
from tests.integration.nodes_here import (
    LOG_BYTES_MAX,
    VALUE_BYTES,
    all_level,
    check_written,
    nodes_here,
    write,
)

PAST_THE_LOG = 3 * LOG_BYTES_MAX // VALUE_BYTES
"""So many writes that nothing is left in the log of what was there before."""


async def test_node_that_was_away_while_the_log_was_let_go_gets_a_snapshot_under_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flo.snapshot")
    async with nodes_here(tmp_path) as nodes:
        await write(nodes, 300)
        await nodes.stop(3)
        await write(nodes, PAST_THE_LOG)
        await eventually("the log that node 3 would need is gone", nodes.log_is_bounded)
        caplog.clear()
        async with Traffic(nodes.endpoints) as traffic:
            await traffic.more(20)
            await nodes.start(3)
            await traffic.more(100)

            async def installed() -> bool:
                return caplog.text.count("installing the snapshot") >= 2

            await eventually("node 3 installs a snapshot of each partition", installed)
            await traffic.more(50)
        await all_level(nodes)
        await check_account(nodes, traffic.account)
        # What it has counts: it and one other are enough.
        await nodes.stop(1)
        await write(nodes, 50, tag="after")
        await check_written(nodes, PAST_THE_LOG)
        await check_written(nodes, 50, tag="after")


async def test_endless_writes_keep_log_and_disk_bounded_and_a_start_short(tmp_path: Path) -> None:
    async with nodes_here(tmp_path) as nodes:
        for _ in range(8):
            await write(nodes, LOG_BYTES_MAX // VALUE_BYTES)

        await eventually("the log is bounded", nodes.log_is_bounded)

        async def one_for_each_partition() -> bool:
            folders = [nodes.data_dir(node) / "snapshots" for node in nodes.running]
            return all(len(list(folder.rglob("*.snapshot"))) == 2 for folder in folders)

        await eventually("old snapshots are removed", one_for_each_partition)
        await all_level(nodes)
        await nodes.stop(1, 2, 3)
        await nodes.start(1, 2, 3)
        for running in nodes.running.values():
            for partition in running.partitions.values():
                assert partition.group.applied_index > 400, "no replay from the beginning"
        await check_written(nodes, 1_000)
        await all_level(nodes)
