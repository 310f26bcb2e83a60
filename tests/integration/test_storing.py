"""A node whose state cannot be stored, for another reason than space, stops."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.local_cluster import free_ports
from cluster.config import NodeConfig
from cluster.node import NodeCore
from cluster.storage.files import SyncFailed
from cluster.storage.lmdb_store import LmdbStore
from flo import FloClient
from tests.integration.kit import eventually

if TYPE_CHECKING:
    from cluster.errors import NodeFailedError


async def test_a_state_that_cannot_be_stored_stops_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, peer_port = free_ports(2)
    config = NodeConfig(
        tmp_path / "data",
        node_id=1,
        listen=f"127.0.0.1:{port}",
        members=f"1=127.0.0.1:{peer_port}",
        partition_count=1,
    )
    failures: list[NodeFailedError] = []

    async def has_failed() -> bool:
        return len(failures) > 0

    node = NodeCore(config, on_failure=failures.append)
    await node.start()
    try:
        async with FloClient(f"127.0.0.1:{port}") as client:
            await client.kv.put("key", b"value")

            def fail(_store: LmdbStore) -> None:
                raise SyncFailed("the state", OSError(5, "broken disk"))

            monkeypatch.setattr(LmdbStore, "write", fail)
            await client.kv.put("key", b"another")
            await eventually("the node stops", has_failed)
    finally:
        monkeypatch.undo()
        await node.stop()
    assert "the state could not be synced: broken disk" in str(failures[0])
