"""Real nodes in this process, on loopback and with real files, with so little log that snapshots
are needed all the time."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cluster_view import ask
from cluster.config import Limits, NodeConfig
from cluster.node import NodeCore
from cluster.storage.wal_config import WalConfig
from cluster.testing import HeldPorts
from flo import FloClient
from flo.wire.messages import ClusterStatus, ClusterStatusRequest
from tests.integration.kit import eventually

if TYPE_CHECKING:
    from cluster.errors import NodeFailedError

SEGMENT_BYTES = 512 << 10
LOG_BYTES_MAX = 4 * SEGMENT_BYTES
PARTITIONS = 2
VALUE_BYTES = 4_000

WAL = WalConfig(
    segment_bytes=SEGMENT_BYTES, batch_bytes_max=128 << 10, tail_bytes=64 << 10, groups_max=8
)
LIMITS = Limits(log_bytes_max=LOG_BYTES_MAX, value_bytes_max=32 << 10, batch_bytes_max=32 << 10)


class NodesHere:
    """Three nodes, replicated three times."""

    def __init__(self, directory: Path) -> None:
        self.held = HeldPorts(6)
        ports = self.held.numbers
        self._directory = directory
        self._listen = {n: f"127.0.0.1:{port}" for n, port in enumerate(ports[:3], 1)}
        self._members = ",".join(f"{n}=127.0.0.1:{port}" for n, port in enumerate(ports[3:], 1))
        self.running: dict[int, NodeCore] = {}
        self.failures: list[NodeFailedError] = []

    @property
    def endpoints(self) -> str:
        return ",".join(self._listen.values())

    def data_dir(self, node: int) -> Path:
        return self._directory / f"node-{node}"

    async def start(self, *nodes: int, repair: bool = False) -> None:
        for node in nodes:
            config = NodeConfig(
                self.data_dir(node),
                node_id=node,
                listen=self._listen[node],
                members=self._members,
                partition_count=PARTITIONS,
                repair=repair,
                limits=LIMITS,
                wal=WAL,
            )
            starting = NodeCore(config, on_failure=self.failures.append)
            await starting.start()
            self.running[node] = starting

    async def stop(self, *nodes: int) -> None:
        for node in nodes:
            stopping = self.running.pop(node)
            await stopping.hand_over()
            await stopping.stop()

    async def lose_disk(self, node: int) -> None:
        """The node stops and all its data is gone."""
        await self.stop(node)
        shutil.rmtree(self.data_dir(node))

    # --- what nodes have ---

    def log_bytes(self, node: int) -> int:
        """On the disk, with segments that are ready."""
        total = 0
        for path in (self.data_dir(node) / "wal").iterdir():
            with suppress(FileNotFoundError):  # A segment was let go, or renamed, just now.
                total += path.stat().st_blocks * 512
        return total

    async def log_is_bounded(self) -> bool:
        """By its limit, and the two segments that are ready.

        While a snapshot is made the log may be longer, by what is written meanwhile: how much that
        is depends on the disk.
        """
        most = max(self.log_bytes(node) for node in self.running)
        return most <= LOG_BYTES_MAX + 3 * SEGMENT_BYTES

    async def are_level(self) -> bool:
        """Everybody that runs has applied the same, and a digest proves it."""
        for number in range(PARTITIONS):
            partitions = [node.partitions[number] for node in self.running.values()]
            if any(each.broken for each in partitions):
                return False
            if len({each.group.applied_index for each in partitions}) > 1:
                return False
            assert len({each.replica.digest() for each in partitions}) == 1
        return True

    async def is_learning(self, node: int) -> bool:
        """As its status tells an operator."""
        request = ClusterStatusRequest(partition=None, digest=False)
        port = self.running[node].client_port
        answer = await asyncio.to_thread(ask, port, request, timeout_s=20)
        assert isinstance(answer, ClusterStatus)
        rows = json.loads(answer.document)["partitions"]
        return any(row["learning"] for row in rows)

    def leaders(self) -> list[int]:
        return [
            number
            for node in self.running.values()
            for number, partition in node.partitions.items()
            if partition.group.is_leader
        ]


@asynccontextmanager
async def nodes_here(directory: Path, *start: int) -> AsyncGenerator[NodesHere]:
    nodes = NodesHere(directory)
    try:
        await nodes.start(*(start or (1, 2, 3)))
        yield nodes
        assert not nodes.failures
    finally:
        await nodes.stop(*nodes.running)
        nodes.held.close()


async def write(nodes: NodesHere, count: int, *, tag: str = "key", keys: int = 6) -> None:
    """Overwrites so few keys that the state, with their history, stays small. The log grows."""
    async with FloClient(nodes.endpoints, timeout_ms=20_000) as client:
        limit = asyncio.Semaphore(32)

        async def one(number: int) -> None:
            async with limit:
                value = b"%s %d " % (tag.encode(), number) + bytes(VALUE_BYTES)
                await client.kv.put(f"{tag}-{number % keys}", value)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))


async def check_written(nodes: NodesHere, count: int, *, tag: str = "key", keys: int = 6) -> None:
    """Each key has one of the values written to it."""
    async with FloClient(nodes.endpoints, timeout_ms=20_000) as client:
        for number in range(min(count, keys)):
            found = await client.kv.get(f"{tag}-{number}")
            assert found is not None, f"{tag}-{number} is gone"
            name, written, _ = found.value.split(b" ", 2)
            assert name == tag.encode()
            assert int(written) % keys == number


async def all_level(nodes: NodesHere) -> None:
    await eventually("the replicas are level", nodes.are_level)
