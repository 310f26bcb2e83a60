"""The commands that an operator is told to type when data is damaged."""

import os
from pathlib import Path

import pytest

from cluster.config import NodeConfig
from cluster.damage import RepairAdvice
from tests.unit.node.kit import FakePartition, as_partitions

MEMBERS = "1=a:1,2=b:1,3=c:1"
COMMAND = "flo node --id 1"


def advice(data_dir: Path, members: str = MEMBERS, command: str = COMMAND) -> RepairAdvice:
    config = NodeConfig(data_dir, node_id=1, listen="127.0.0.1:9", members=members)
    return RepairAdvice(config, command)


def commands(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_node_is_rebuilt_from_the_others() -> None:
    assert commands(advice(Path("/data/flo")).how_to_repair()) == [
        "mv /data/flo /data/flo.damaged",
        "flo node --id 1 --repair",
    ]


def test_damaged_state_alone_is_rebuilt_by_the_node_itself_first() -> None:
    assert commands(advice(Path("/data")).how_to_repair(7)) == [
        "mv /data/state/0007 /data/state/0007.damaged",
        "flo node --id 1",
        "mv /data /data.damaged",
        "flo node --id 1 --repair",
    ]


def test_a_repair_that_failed_is_begun_anew() -> None:
    text = advice(Path("/data"), command="flo node --repair --id 1").how_to_repair()
    assert commands(text)[-1] == "flo node --repair --id 1"


def test_nobody_else_has_the_data_of_a_node_alone() -> None:
    text = advice(Path("/data"), members="1=a:1").how_to_repair()
    assert commands(text) == []
    assert "restore" in text


def test_what_was_moved_away_before_is_not_moved_into(tmp_path: Path) -> None:
    (tmp_path / "flo").mkdir()
    (tmp_path / "flo.damaged").mkdir()
    first, _ = commands(advice(tmp_path / "flo").how_to_repair())
    assert first == f"mv {tmp_path}/flo {tmp_path}/flo.damaged-2"


def test_a_mount_point_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_mount(_: Path) -> bool:
        return True

    monkeypatch.setattr(os.path, "ismount", is_mount)
    first, _ = commands(advice(Path("/my data")).how_to_repair())
    assert first == "mkdir '/my data.damaged' && mv '/my data'/* '/my data.damaged'"


@pytest.mark.parametrize(
    ("broken", "place", "count"),
    [
        ("CorruptState: table KV, key b'k'", "/data/state/0003/data.mdb", 4),
        ("WalDamaged: in a file", "/data/wal", 2),
        ("a snapshot is being installed", None, 0),
        ("UnknownCommand: of a newer version", None, 0),
    ],
)
def test_a_replica_that_damage_has_stopped_is_told_of_once(
    broken: str, place: str | None, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = FakePartition(3, 1)
    stopped.broken = broken
    partitions = as_partitions({2: FakePartition(2, 1), 3: stopped})
    told = advice(Path("/data"))
    for _ in range(3):
        told.tell_broken(partitions)
    assert len(caplog.records) == (place is not None)
    assert len(commands(caplog.text)) == count
    if place is not None:
        assert f"partition 3 of this node has stopped: damage in {place}: {broken}" in caplog.text
