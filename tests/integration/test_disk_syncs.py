"""Disks whose syncs fail, or do not come to an end: real nodes, with the library of disk_shim.c."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cluster_view import leaders_of, wait_until_led
from flo import FloClient
from tests.integration.kit import Traffic, check_account, check_replicas_agree, eventually
from tests.integration.small_disks import Ledger, SmallDiskCluster

EIO = "Input/output error"


class FaultyDisks(SmallDiskCluster):
    """Each node with a directory that says what its disk does."""

    shim: Path

    def faults(self, node: int) -> Path:
        folder = self.directory / f"faults-{node}"
        folder.mkdir(exist_ok=True)
        return folder

    def failed(self, node: int) -> list[str]:
        """The syncs that failed."""
        path = self.faults(node) / "failed"
        return path.read_text().splitlines() if path.exists() else []

    def _environment(self, node: int) -> dict[str, str] | None:
        own = {"LD_PRELOAD": str(self.shim), "DISK_FAULTS": str(self.faults(node))}
        return {**(super()._environment(node) or os.environ), **own}

    async def ends(self, node: int) -> int | None:
        """Waits until the process is gone; its exit code."""

        async def ended() -> bool:
            return self.processes[node].poll() is not None

        await eventually(f"node {node} stops", ended)
        self.kill(node)  # Closes what belonged to it.
        return self.processes[node].returncode


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (gcc or cc)")
    library = tmp_path_factory.mktemp("shim") / "disk_shim.so"
    flags = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror")
    source = Path(__file__).with_name("disk_shim.c")
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture
def disks(tmp_path: Path, shim: Path) -> Iterator[FaultyDisks]:
    FaultyDisks.shim = shim
    with FaultyDisks(3, 2, parent_dir=tmp_path, keep=True) as running:
        asyncio.run(wait_until_led(running))
        yield running


@pytest.mark.parametrize("slow", [False, True], ids=["on the loop", "in a thread"])
async def test_failed_sync_of_the_log_stops_the_node_at_once(
    disks: FaultyDisks, slow: bool
) -> None:
    node = (await leaders_of(disks))[0]
    async with Traffic(disks.endpoints) as traffic:
        if slow:
            (disks.faults(node) / "slow").write_text("60")
        await traffic.more(40)
        (disks.faults(node) / "eio").write_text(f"node-{node}/wal")
        assert await disks.ends(node) == 3
        await traffic.more(50)
    assert len(disks.failed(node)) == 1, "what failed is never synced again"
    log = disks.log_of(node)
    assert f"the log could not be synced: {EIO}. Check the disk" in log
    assert str(disks.directory / f"node-{node}" / "wal") in log
    for name in ("eio", "slow"):
        (disks.faults(node) / name).unlink(missing_ok=True)
    disks.start(node)
    await disks.level()
    await check_replicas_agree(disks)
    await check_account(disks, traffic.account)


async def test_failed_sync_of_a_snapshot_stops_the_node(disks: FaultyDisks) -> None:
    (disks.faults(3) / "eio").write_text("node-3/snapshots")
    async with FloClient(disks.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        while disks.processes[3].poll() is None:
            assert await ledger.write(keys=3) is None
        assert await disks.ends(3) == 3
        assert len(disks.failed(3)) == 1
        assert "could not be synced" in disks.log_of(3)
        (disks.faults(3) / "eio").unlink()
        disks.start(3)
        await disks.level()
        await check_replicas_agree(disks)
        await ledger.check()


async def test_state_that_a_stop_could_not_sync_is_rebuilt(disks: FaultyDisks) -> None:
    async with FloClient(disks.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        for _ in range(20):
            assert await ledger.write() is None
        await disks.level()
        (disks.faults(3) / "eio").write_text("data.mdb")
        disks.stop(3)
        assert "is rebuilt at the next start" in disks.log_of(3)
        assert len(disks.failed(3)) == 2, "once for each partition"
        (disks.faults(3) / "eio").unlink()
        disks.start(3)
        assert "emptied, to be rebuilt" in disks.log_of(3)
        await disks.level()
        await check_replicas_agree(disks)
        await ledger.check()


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
async def test_stuck_disk_of_one_node_does_not_stop_the_others(
    disks: FaultyDisks, leads: bool
) -> None:
    leaders = await leaders_of(disks)
    nodes = [node for node in disks.client_ports if (node in leaders.values()) == leads]
    node = nodes[0]
    faults = disks.faults(node)
    others = ",".join(
        f"127.0.0.1:{port}" for other, port in disks.client_ports.items() if other != node
    )
    async with Traffic(disks.endpoints) as traffic:
        (faults / "slow").write_text("60")
        await traffic.more(100)
        (faults / "stuck").touch()
        async with FloClient(others, timeout_ms=20_000) as client:
            ledger = Ledger(client)
            for _ in range(50):  # in both partitions
                error = await ledger.write()
                assert error is None or error.outcome == "unknown", error
            for _ in range(50):
                assert await ledger.write() is None, "somebody else leads by now"
            await ledger.check()
        (faults / "stuck").unlink()
        (faults / "slow").unlink()
        await traffic.more(50)
    await disks.level()
    await check_replicas_agree(disks)
    await check_account(disks, traffic.account)
