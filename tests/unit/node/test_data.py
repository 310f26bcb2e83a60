"""What a node refuses to start with."""

import shutil
from pathlib import Path

import pytest

from cluster.addresses import Address, parse_members
from cluster.config import NodeConfig
from cluster.data import NodeData
from cluster.errors import StartError
from tests.unit.state.helpers import START_MS, commands_entry, put


def config(
    data_dir: Path,
    *,
    node_id: int = 1,
    members: str = "1=a:1,2=b:1,3=c:1",
    partition_count: int = 4,
) -> NodeConfig:
    return NodeConfig(
        node_id=node_id,
        listen=Address("127.0.0.1", 0),
        peer_listen=Address("127.0.0.1", 0),
        data_dir=data_dir,
        members=parse_members(members),
        partition_count=partition_count,
        replication=2,
    )


def test_a_node_has_a_replica_of_its_partitions(tmp_path: Path) -> None:
    data = NodeData(config(tmp_path))
    replicas = data.directory.founding.replicas
    assert set(data.replicas) == {number for number, nodes in enumerate(replicas) if 1 in nodes}
    assert 0 < len(data.replicas) < len(replicas)
    data.close()
    NodeData(config(tmp_path)).close()


def test_what_all_partitions_keep_unstored_is_bounded(tmp_path: Path) -> None:
    data = NodeData(config(tmp_path, partition_count=256))
    replica = next(iter(data.replicas.values()))
    value = bytes(100_000)
    for index in range(1, 9):
        replica.apply([commands_entry(index, START_MS, put(b"%d" % index, value))], index)
        assert replica.unstored_bytes < (64 << 20) / 256 + 2 * len(value)
    assert replica.stored_index > 0
    data.close()


@pytest.mark.parametrize("loss", ["folder", "segments"])
def test_a_log_that_has_gone_missing_is_noticed(tmp_path: Path, loss: str) -> None:
    data = NodeData(config(tmp_path))
    data.mark_initialized()
    data.mark_initialized()
    data.close()
    if loss == "folder":
        shutil.rmtree(tmp_path / "wal")
    else:
        for path in (tmp_path / "wal").glob("*.segment"):
            path.unlink()
    with pytest.raises(StartError, match=r"the log is missing: .*wal.*Restore the directory"):
        NodeData(config(tmp_path))


def test_a_start_that_never_came_to_an_end_leaves_nothing_to_miss(tmp_path: Path) -> None:
    NodeData(config(tmp_path)).close()
    shutil.rmtree(tmp_path / "wal")
    NodeData(config(tmp_path)).close()


def test_a_marker_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    data = NodeData(config(tmp_path))
    (tmp_path / "initialized").symlink_to(tmp_path / "missing" / "file")
    with pytest.raises(StartError, match=r"cannot write .*initialized"):
        data.mark_initialized()
    data.close()


def test_a_refused_start_leaves_the_directory_to_others(tmp_path: Path) -> None:
    NodeData(config(tmp_path)).close()
    damaged = next((tmp_path / "wal").glob("*.segment"))
    damaged.rename(damaged.with_name("wal-0000000000000009.segment"))
    other = damaged.with_name("wal-0000000000000007.segment")
    other.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StartError, match="missing"):
            NodeData(config(tmp_path))


def test_two_nodes_cannot_share_a_directory(tmp_path: Path) -> None:
    data = NodeData(config(tmp_path))
    with pytest.raises(StartError, match="in use by another process"):
        NodeData(config(tmp_path))
    data.close()


def test_a_directory_of_another_cluster_is_refused(tmp_path: Path) -> None:
    NodeData(config(tmp_path)).close()
    with pytest.raises(StartError, match="node ids differs"):
        NodeData(config(tmp_path, members="1=a:1,2=b:1,4=c:1"))
