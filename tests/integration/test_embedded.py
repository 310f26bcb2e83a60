"""Three embedded nodes in one process and one event loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster import Node, NodeConfig
from cluster.testing import free_ports
from flo import FloClient

PARTITIONS = 4
CALLS = 200


class Nodes:
    """Three nodes; each knows how to be started again."""

    def __init__(self, directory: Path, advertise: str | None = None) -> None:
        ports = free_ports(6)
        members = ",".join(f"{n}=127.0.0.1:{ports[2 + n]}" for n in (1, 2, 3))
        self._configs = {
            n: NodeConfig(
                directory / f"node-{n}",
                node_id=n,
                listen=f"127.0.0.1:{ports[n - 1]}",
                members=members,
                advertise=advertise,
                partition_count=PARTITIONS,
            )
            for n in (1, 2, 3)
        }
        self.running: dict[int, Node] = {}

    async def start(self, *node_ids: int) -> None:
        for node_id in node_ids:
            self.running[node_id] = Node(self._configs[node_id])
        await asyncio.gather(*(self.running[node_id].start() for node_id in node_ids))

    async def ready(self) -> None:
        await asyncio.gather(*(node.ready() for node in self.running.values()))

    async def stop(self, node_id: int) -> None:
        await self.running.pop(node_id).stop()

    async def stop_all(self) -> None:
        for node_id in list(self.running):
            await self.stop(node_id)

    def client(self, node_id: int) -> FloClient:
        return self.running[node_id].client()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    await nodes.stop_all()


async def count(client: FloClient, keys: int = 20) -> int:
    """Increments spread over all partitions; how many."""
    await asyncio.gather(*(client.kv.incr(f"n{call % keys}") for call in range(CALLS)))
    return CALLS


async def total(client: FloClient, keys: int = 20) -> int:
    entries = await client.kv.mget([f"n{key}" for key in range(keys)])
    return sum(int.from_bytes(entry.value, "little") for entry in entries)


async def test_each_node_serves_the_whole_cluster(nodes: Nodes) -> None:
    await nodes.start(1, 2, 3)
    await nodes.ready()
    for n in (1, 2, 3):
        await asyncio.gather(*(nodes.client(n).kv.put(f"{n}-{key}", b"1") for key in range(20)))
    for n in (1, 2, 3):
        assert len((await nodes.client(n).kv.scan()).names) == 60


async def test_they_may_start_one_after_the_other(nodes: Nodes) -> None:
    for n in (1, 2, 3):
        await nodes.start(n)
    # Without `ready`: calls wait for the leaders by themselves.
    await nodes.client(3).kv.put("a", b"1")
    found = await nodes.client(1).kv.get("a")
    assert found is not None


async def test_their_clients_need_no_client_port(tmp_path: Path) -> None:
    nobody = "127.0.0.1:1"
    nodes = Nodes(tmp_path, advertise=nobody)
    try:
        await nodes.start(1, 2, 3)
        counted = 0
        for n in (1, 2, 3):
            counted += await count(nodes.client(n))
        assert await total(nodes.client(1)) == counted
    finally:
        await nodes.stop_all()


async def test_nothing_is_lost_or_done_twice_when_one_stops_under_load(nodes: Nodes) -> None:
    await nodes.start(1, 2, 3)
    await nodes.ready()
    counting = [asyncio.ensure_future(count(nodes.client(n))) for n in (1, 3)]
    await nodes.stop(2)
    counted = sum(await asyncio.gather(*counting))
    counted += await count(nodes.client(1))
    await nodes.start(2)
    await nodes.ready()
    assert await total(nodes.client(2)) == counted
