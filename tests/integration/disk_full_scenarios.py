"""What happens on a full disk, each case with real nodes and a real file system.

unshare --mount python -m tests.integration.disk_full_scenarios CASE DIRECTORY
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from flo import FloClient, FloError, OverloadedError, Reason, UnavailableError
from tests.integration.kit import check_replicas_agree, eventually
from tests.integration.small_disks import (
    LOG_BYTES_MAX,
    SEGMENT_BYTES,
    TIMEOUT_MS,
    Ledger,
    SmallDisk,
    SmallDiskCluster,
    rows_of,
)


async def log_fills(cluster: SmallDiskCluster) -> None:
    """A node alone: no room for the next segment of the log."""
    disk = cluster.put_on_small_disk(1, "wal", "48m")
    disk.fill()
    async with client_of(cluster) as client:
        ledger = Ledger(client)
        error = await ledger.until_refused(400)
        assert_not_run(error, UnavailableError, "WRITES_STOPPED")
        assert ledger.kept, "the segment in use had room"
        await ledger.check()
        await cluster.says(1, f"no space in {disk.folder}", "Free space on this disk")
        assert any(row["disk_full"] for row in rows_of(cluster, 1))
        disk.free()
        await ledger.until_taken()
        await comes_back(cluster, ledger)


async def state_fills(cluster: SmallDiskCluster) -> None:
    """A node alone: a commit to LMDB finds no space. Reads go on."""
    disk = cluster.put_on_small_disk(1, "state", "24m")
    async with client_of(cluster) as client:
        ledger = Ledger(client)
        for _ in range(20):
            assert await ledger.write() is None
        disk.fill()
        error = await ledger.until_refused(400)
        assert_not_run(error, UnavailableError, "WRITES_STOPPED")
        await ledger.check()
        await cluster.says(1, f"no space for the state in {disk.folder}", "Free space on this disk")
        assert any(row["disk_full"] for row in rows_of(cluster, 1))
        disk.free()
        await ledger.until_taken()
        await comes_back(cluster, ledger)


async def all_fills(cluster: SmallDiskCluster) -> None:
    """A node alone, with all its data on one disk."""
    disk = cluster.put_on_small_disk(1, "", "96m")
    disk.fill()
    async with client_of(cluster) as client:
        ledger = Ledger(client)
        error = await ledger.until_refused(400)
        assert_not_run(error, UnavailableError, "WRITES_STOPPED")
        await ledger.check()
        await cluster.says(1, "no space", str(disk.folder), "Free space on this disk")
        disk.free()
        await ledger.until_taken()
        await comes_back(cluster, ledger)


async def making_a_snapshot_fills(cluster: SmallDiskCluster) -> None:
    """A node alone: the log cannot be let go, and stops growing at its limit."""
    disk = cluster.put_on_small_disk(1, "snapshots", "16m")
    disk.fill()
    async with client_of(cluster) as client:
        ledger = Ledger(client)
        error = await ledger.until_refused(2000, keys=3)
        assert_not_run(error, OverloadedError, "SHARD_BUSY")
        await ledger.check(refused_are_absent=False)
        await cluster.says(1, f"free space on this disk: '{disk.folder}")
        await cluster.says(1, "this node takes no writes where it leads")
        wal = cluster.directory / "node-1" / "wal"
        size = sum(path.stat().st_blocks * 512 for path in wal.iterdir())
        assert 3 * LOG_BYTES_MAX < size <= 3 * LOG_BYTES_MAX + 4 * SEGMENT_BYTES
        disk.free()
        await ledger.until_taken()
        await comes_back(cluster, ledger, refused_are_absent=False)


async def one_of_three_is_full(cluster: SmallDiskCluster) -> None:
    """All data of one node: the others go on, and lead."""
    disk = cluster.put_on_small_disk(1, "", "96m")
    await cluster.led()
    disk.fill()
    others = ",".join(f"127.0.0.1:{cluster.client_ports[node]}" for node in (2, 3))
    async with FloClient(others, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        for _ in range(300):
            error = await ledger.write()
            # What reached node 1 while it led, and before it knew, may be refused or unknown.
            assert error is None or error.retryable, error
        await cluster.says(1, "no space", "Free space on this disk")

        async def led_by_others() -> bool:
            rows = await asyncio.to_thread(rows_of, cluster, 1)
            return all(row["role"] != "leader" for row in rows)

        await eventually("node 1 leads nothing", led_by_others)
        for _ in range(50):
            assert await ledger.write() is None
        await ledger.check()
        disk.free()
        await cluster.level()
        await check_replicas_agree(cluster)
        for node in (2, 3):
            cluster.kill(node)
            await ledger.check()
            cluster.start(node)


async def receiving_a_snapshot_fills(cluster: SmallDiskCluster) -> None:
    """A follower that was away long has no space for the leader's snapshot."""
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        ledger = Ledger(client)
        cluster.stop(3)
        disk = SmallDisk(cluster.directory / "node-3" / "snapshots", "16m")
        disk.fill()
        for _ in range(3 * LOG_BYTES_MAX >> 16):
            assert await ledger.write(keys=3) is None
        cluster.start(3)
        await cluster.says(3, f"free space on this disk: '{disk.folder}")
        for _ in range(50):
            assert await ledger.write(keys=3) is None
        disk.free()
        await cluster.level()
        await check_replicas_agree(cluster)
        await ledger.check()
        cluster.kill(1)
        await ledger.check()
        cluster.start(1)


# --- what they share ---


def client_of(cluster: SmallDiskCluster) -> FloClient:
    return FloClient(cluster.endpoints, timeout_ms=TIMEOUT_MS)


def assert_not_run(error: FloError, kind: type[FloError], reason: str) -> None:
    assert isinstance(error, kind), error
    assert error.code == Reason[reason].name
    assert error.outcome == "not_applied"
    assert error.retryable


async def comes_back(
    cluster: SmallDiskCluster, ledger: Ledger, *, refused_are_absent: bool = True
) -> None:
    """All is there, also after kill -9."""
    await ledger.check(refused_are_absent=refused_are_absent)
    cluster.kill(1)
    cluster.start(1)
    await ledger.check(refused_are_absent=refused_are_absent)


CASES: dict[str, tuple[int, Callable[[SmallDiskCluster], Awaitable[None]]]] = {
    "log": (1, log_fills),
    "state": (1, state_fills),
    "all data": (1, all_fills),
    "making a snapshot": (1, making_a_snapshot_fills),
    "one of three": (3, one_of_three_is_full),
    "receiving a snapshot": (3, receiving_a_snapshot_fills),
}


def main() -> None:
    """Runs one case; whatever fails raises."""
    nodes, case = CASES[sys.argv[1]]
    with SmallDiskCluster(nodes, 2, parent_dir=Path(sys.argv[2]), keep=True) as cluster:
        asyncio.run(run(cluster, case))
    sys.stdout.write("done\n")


async def run(
    cluster: SmallDiskCluster, case: Callable[[SmallDiskCluster], Awaitable[None]]
) -> None:
    await cluster.led()
    await case(cluster)


if __name__ == "__main__":
    main()
