"""`flo up` from the first node that is ready to the last one that ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flo.cli.up import accompany
from flo.cli.up.accompany import Company
from flo.cli.up.children import Child
from flo.cli.up.errors import UpError
from tests.unit.cli.up_kit import Recorder, started
from tests.unit.client.fake_node import FakeCluster


def _lead(cluster: FakeCluster, leader: int) -> None:
    """Every node says that `leader` leads both partitions."""
    for node, fake in enumerate(cluster.nodes, start=1):
        row = {
            "replicas": [1, 2],
            "leader": leader,
            "term": 1,
            "role": "leader" if node == leader else "follower",
            **dict.fromkeys(("commit_index", "applied_index", "last_index"), 9),
            **dict.fromkeys(("commands", "reads"), 0),
        }
        fake.status = {"partitions": [{**row, "partition": number} for number in range(2)]}


class Running:
    """Two processes that say that they are ready, and a fake cluster that answers for them."""

    def __init__(self, cluster: FakeCluster, children: list[Child], screen: Recorder) -> None:
        self.cluster = cluster
        self.children = children
        self.screen = screen

    def end(self, node: int) -> None:
        process = self.children[node - 1].process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[tuple[Running, asyncio.Task[None]]]:
    async with FakeCluster(2) as cluster:
        _lead(cluster, 0)
        children = [await started(1, directory), await started(2, directory)]
        for child, node in zip(children, cluster.nodes, strict=True):
            child.port = int(node.address.rpartition(":")[2])
        screen = Recorder()
        company = Company(children, screen)
        watches = [asyncio.create_task(child.watch(company.news)) for child in children]
        run = asyncio.create_task(company.run())
        try:
            yield Running(cluster, children, screen), run
        finally:
            run.cancel()
            await asyncio.gather(*(child.stop() for child in children), *watches)
            await asyncio.gather(run, return_exceptions=True)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accompany, "LOOK_INTERVAL_S", 0.01)


async def test_it_waits_for_leaders_and_welcomes(tmp_path: Path) -> None:
    async with running(tmp_path) as (up, _):
        screen = up.screen
        await screen.until(
            lambda it: "leaders of partitions 0 and 1" in "".join(p.progress for p in it.pictures)
        )
        assert screen.lines == []
        _lead(up.cluster, 1)
        await screen.until(lambda it: any("Ctrl-C" in line for line in it.lines))
        assert "leads 2 partitions" in screen.lines[0]
        assert any("kv set greeting hello" in line for line in screen.lines)
        await screen.until(lambda it: it.pictures[-1].progress == "")
        assert [row.state for row in screen.pictures[-1].rows] == ["up", "up"]


async def test_it_tells_moves_and_deaths(tmp_path: Path) -> None:
    async with running(tmp_path) as (up, run):
        screen = up.screen
        _lead(up.cluster, 1)
        await screen.until(lambda it: any("Ctrl-C" in line for line in it.lines))
        _lead(up.cluster, 2)
        moved = "partitions 0 and 1: leader node 1 -> node 2"
        await screen.until(lambda it: moved in it.lines)
        await up.cluster.nodes[0].stop()
        up.end(1)
        await screen.until(lambda it: any("flo node --id 1" in line for line in it.lines))
        assert any(line.startswith("node 1 ended with exit code 5") for line in screen.lines)
        await screen.until(lambda it: [r.state for r in it.pictures[-1].rows] == ["ended", "up"])
        up.end(2)
        with pytest.raises(UpError, match="all nodes have ended"):
            await run


async def test_a_node_that_ends_before_the_others_are_ready_ends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as (up, run):
        up.end(2)
        with pytest.raises(UpError, match="node 2 ended with exit code 5"):
            await run


async def test_nodes_that_all_fall_silent_are_shown_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (up, _):
        screen = up.screen
        _lead(up.cluster, 1)
        await screen.until(lambda it: any("Ctrl-C" in line for line in it.lines))
        for node in up.cluster.nodes:
            await node.stop()
        await screen.until(
            lambda it: [row.state for row in it.pictures[-1].rows] == ["silent", "silent"]
        )
