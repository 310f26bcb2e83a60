"""Flipped bytes in the log, in a state, in a snapshot: the replica stops and says what to type.

What it says is then typed, as it stands.
"""

import asyncio
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster_view import leaders_of, wait_until_led, wait_until_settled
from flo import FloClient
from tests.integration.kit import check_replicas_agree, eventually
from tests.integration.small_disks import (
    LOG_BYTES_MAX,
    VALUE_BYTES,
    Ledger,
    SmallDiskCluster,
    rows_of,
)


class TypedCluster(SmallDiskCluster):
    """A node may be started with a command that was printed."""

    def __init__(self, nodes: int, partitions: int, parent_dir: Path) -> None:
        self.typed: dict[int, str] = {}
        super().__init__(nodes, partitions, parent_dir, keep=True)

    def _command(self, node: int) -> list[str]:
        if node not in self.typed:
            return super()._command(node)
        program, *arguments = shlex.split(self.typed[node])
        assert program == "flo"
        return [sys.executable, "-m", "flo.cli", *arguments]

    def refuses_to_start(self, node: int) -> str:
        """What it says."""
        with pytest.raises(RuntimeError, match="did not start"):
            self.start(node)
        self.kill(node)
        assert self.processes[node].returncode == 3
        return self.log_of(node)

    def type_in(self, node: int, commands: list[str]) -> None:
        """All but the last one in a shell, which starts the node."""
        for command in commands[:-1]:
            subprocess.run(["sh", "-c", command], check=True)
        self.typed[node] = commands[-1]
        self.start(node)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TypedCluster]:
    with TypedCluster(3, 2, tmp_path) as running:
        asyncio.run(wait_until_led(running))
        yield running


async def test_damaged_log_stops_the_start_and_is_repaired_as_printed(
    cluster: TypedCluster,
) -> None:
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        for _ in range(30):
            assert await ledger.write() is None
        await cluster.level()
        cluster.stop(3)
        segment = min((cluster.directory / "node-3" / "wal").glob("*.segment"))
        _flip(segment, 2000)
        said = cluster.refuses_to_start(3)
        assert f"{segment} is damaged at byte " in said
        assert await ledger.write() is None, "the others go on"
        cluster.type_in(3, _commands(said))
        await _repaired(cluster, 3)
        await ledger.check()
    assert segment.with_name("LOCK").exists()
    assert (cluster.directory / "node-3.damaged" / "wal" / segment.name).exists()


async def test_damaged_value_stops_the_replica_and_is_rebuilt_as_printed(
    cluster: TypedCluster,
) -> None:
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        for _ in range(30):
            assert await ledger.write() is None
        await cluster.level()
        await wait_until_settled(cluster)
        leaders = await leaders_of(cluster)
        node = leaders[0]
        state = cluster.directory / f"node-{node}" / "state" / "0000" / "data.mdb"

        async def is_stored() -> bool:
            return len(_values_in(state, ledger)) > 0

        await eventually("values of the ledger are stored", is_stored)
        for place in _values_in(state, ledger):
            _flip(state, place)
        await ledger.check()
        assert await ledger.write() is None, "the others go on"
        said = cluster.log_of(node)
        assert f"damage in {state}: CorruptState: table KV, key " in said
        assert _broken(cluster, node) == [True, False], "its other replica goes on"
        cluster.stop(node)
        commands = _commands(said)
        cluster.type_in(node, commands[:2])
        await cluster.level()
        await check_replicas_agree(cluster)
        await ledger.check()


async def test_damaged_snapshot_stops_the_start_and_is_repaired_as_printed(
    cluster: TypedCluster,
) -> None:
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        folder = cluster.directory / "node-3"
        for _ in range(3 * LOG_BYTES_MAX // VALUE_BYTES):
            assert await ledger.write(keys=3) is None

        async def let_go() -> bool:
            return not list((folder / "wal").glob("*01.segment"))

        await eventually("the beginning of the log is gone", let_go)
        await cluster.level()
        cluster.stop(3)
        (snapshot,) = (folder / "snapshots" / "0000").glob("*.snapshot")
        _flip(snapshot, snapshot.stat().st_size // 2)
        # Only a state that is lost, or not believed after a power cut, begins with its snapshot.
        shutil.rmtree(folder / "state" / "0000")
        said = cluster.refuses_to_start(3)
        assert f"{snapshot} does not match the digest in its name" in said
        assert await ledger.write(keys=3) is None, "the others go on"
        cluster.type_in(3, _commands(said))
        await _repaired(cluster, 3)
        await ledger.check()


async def test_a_node_that_is_alone_is_not_told_to_learn_from_others(tmp_path: Path) -> None:
    with TypedCluster(1, 1, tmp_path) as cluster:
        await wait_until_led(cluster)
        async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
            for _ in range(3):
                assert await Ledger(client).write() is None
        cluster.stop(1)
        _flip(min((cluster.directory / "node-1" / "wal").glob("*.segment")), 2000)
        said = cluster.refuses_to_start(1)
        assert "No other node has its data" in said
        assert "--repair" not in said


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes((byte ^ 1,)))


def _values_in(state: Path, ledger: Ledger) -> list[int]:
    """Where in this file values of the ledger are."""
    content = state.read_bytes()
    places = [content.find(value[100:200]) for value in ledger.kept.values()]
    return [place for place in places if place >= 0]


def _commands(said: str) -> list[str]:
    """What is to be typed: the indented lines of the last message."""
    advice = said[said.rindex("Nothing was deleted.") :].splitlines()
    return [line.strip() for line in advice if line.startswith("  ")]


def _broken(cluster: TypedCluster, node: int) -> list[bool]:
    return [row["broken"] is not None for row in rows_of(cluster, node)]


async def _repaired(cluster: TypedCluster, node: int) -> None:
    async def learnt() -> bool:
        rows = await asyncio.to_thread(rows_of, cluster, node)
        return all(row["takes_part"] and not row["learning"] for row in rows)

    await eventually(f"node {node} has learnt", learnt)
    await cluster.level()
    await check_replicas_agree(cluster)
