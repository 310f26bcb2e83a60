"""`flo node --repair`, as an operator types it."""

import asyncio
import json
import shutil
from pathlib import Path

from bench.cluster_view import ask, wait_until_led
from bench.local_cluster import LocalCluster
from flo import FloClient
from flo.wire.messages import ClusterStatus, ClusterStatusRequest
from tests.integration.kit import check_replicas_agree, eventually


class RepairingCluster(LocalCluster):
    """Starts the nodes in `repairing` with the option."""

    repairing: frozenset[int] = frozenset()

    def _command(self, node: int) -> list[str]:
        return [*super()._command(node), *(["--repair"] if node in self.repairing else [])]


async def test_a_node_that_lost_its_disk_is_repaired(tmp_path: Path) -> None:
    cluster = RepairingCluster(nodes=3, partitions=2, parent_dir=tmp_path, keep=True)
    with cluster:
        await wait_until_led(cluster)
        async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
            for number in range(50):
                await client.kv.put(f"key-{number}", b"value")
            cluster.kill(3)
            shutil.rmtree(cluster.directory / "node-3")

            cluster.start(3)
            log = cluster.directory / "node-3.log"
            await eventually("the node hears how to come back", lambda: _says(log, "--repair"))
            cluster.kill(3)
            shutil.rmtree(cluster.directory / "node-3")

            cluster.repairing = frozenset((3,))
            cluster.start(3)
            await eventually("the node has learnt", lambda: _has_learnt(cluster, 3))
            await check_replicas_agree(cluster)

            # It counts again: another one may go.
            cluster.kill(1)
            for number in range(50):
                found = await client.kv.get(f"key-{number}")
                assert found is not None
            await client.kv.put("key", b"after")
            cluster.start(1)


async def _says(log: Path, words: str) -> bool:
    return words in await asyncio.to_thread(log.read_text)


async def _has_learnt(cluster: LocalCluster, node: int) -> bool:
    answer = await asyncio.to_thread(ask, cluster.client_ports[node], ClusterStatusRequest())
    assert isinstance(answer, ClusterStatus)
    rows = json.loads(answer.document)["partitions"]
    return all(row["takes_part"] and not row["learning"] for row in rows)
