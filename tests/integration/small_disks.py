"""Nodes whose data, or a part of it, lies on a small file system that can be filled and emptied.

Mounts need a mount namespace of their own: run this below `unshare --mount`, see
`test_disk_full.py`. With the last process of the namespace the mounts are gone.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TypedDict, cast

from bench.cluster_view import ask, wait_until_led
from bench.local_cluster import LocalCluster
from flo import FloClient, FloError
from flo.wire.messages import ClusterStatus, ClusterStatusRequest
from tests.integration.kit import eventually

LOG_BYTES_MAX = 16 << 20
SEGMENT_BYTES = 8 << 20
VALUE_BYTES = 64 << 10
SETTINGS = {
    "FLO_WAL_SEGMENT_BYTES": str(SEGMENT_BYTES),
    "FLO_LIMITS_LOG_BYTES_MAX": str(LOG_BYTES_MAX),
}
TIMEOUT_MS = 2_000


class SmallDisk:
    """A tmpfs with a file that fills it."""

    def __init__(self, folder: Path, size: str) -> None:
        """Mounts over `folder` and takes along what was in it."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        before = folder.with_name(f"{folder.name}.before")
        folder.rename(before)
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        subprocess.run(mount, check=True)
        for path in before.iterdir():
            if path.is_dir():
                shutil.copytree(path, folder / path.name)
            else:
                shutil.copy2(path, folder)
        shutil.rmtree(before)

    def fill(self) -> None:
        """Not a byte is left."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            for count in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(count))
                except OSError:
                    continue

    def free(self) -> None:
        (self.folder / "ballast").unlink()


class SmallDiskCluster(LocalCluster):
    """Its nodes have a short log."""

    def _environment(self, node: int) -> dict[str, str] | None:
        return {**os.environ, **SETTINGS}

    def put_on_small_disk(self, node: int, part: str, size: str) -> SmallDisk:
        """Stops the node, moves a part of its data, "" for all, and starts it."""
        self.stop(node)
        disk = SmallDisk(self.directory / f"node-{node}" / part, size)
        self.start(node)
        return disk

    def log_of(self, node: int) -> str:
        """What the node has printed."""
        return (self.directory / f"node-{node}.log").read_text()

    async def says(self, node: int, *words: str) -> None:
        async def said() -> bool:
            log = await asyncio.to_thread(self.log_of, node)
            return all(word in log for word in words)

        await eventually(f"node {node} says {words}", said)

    async def level(self) -> None:
        """Waits until no replica is behind, or being replaced by a snapshot."""

        async def are_level() -> bool:
            nodes = [await asyncio.to_thread(rows_of, self, node) for node in self.client_ports]
            rows = [row for rows in nodes for row in rows]
            ends = {(row["partition"], row["applied_index"]) for row in rows}
            return all(row["broken"] is None for row in rows) and len(ends) == self.partitions

        await eventually("the replicas are level", are_level)

    async def led(self) -> None:
        await wait_until_led(self)


class Ledger:
    """Writes through one client, and what became of them."""

    def __init__(self, client: FloClient) -> None:
        self._client = client
        self._count = 0
        self.kept: dict[str, bytes] = {}
        self.refused: set[str] = set()
        """Certainly not written."""

    async def write(self, keys: int | None = None) -> FloError | None:
        """One more; the error, if it was not acknowledged. With `keys` so many are overwritten."""
        self._count += 1
        key = f"key-{self._count if keys is None else self._count % keys}"
        value = b"%d " % self._count + os.urandom(VALUE_BYTES)
        try:
            await self._client.kv.put(key, value)
        except FloError as error:
            if error.outcome == "not_applied":
                self.refused.add(key)
            return error
        self.kept[key] = value
        return None

    async def until_refused(self, most: int, keys: int | None = None) -> FloError:
        """Writes until one is certainly not taken; an unknown outcome may come before."""
        for _ in range(most):
            error = await self.write(keys)
            if error is not None and error.outcome == "not_applied":
                return error
        raise AssertionError(f"{most} writes, and none was refused")

    async def until_taken(self) -> None:
        """Waits for service to return."""

        async def taken() -> bool:
            return await self.write() is None

        await eventually("writes are taken again", taken)

    async def check(self, *, refused_are_absent: bool = True) -> None:
        """Every acknowledged write can be read, and nothing that was refused."""
        for key, value in self.kept.items():
            found = await self._client.kv.get(key)
            assert found is not None, f"acknowledged {key} is gone"
            assert found.value == value, f"{key} is {found.value[:20]!r}"
        if refused_are_absent:
            for key in self.refused:
                assert await self._client.kv.get(key) is None, f"{key} was refused, and is there"


class Row(TypedDict):
    """A replica, as its node tells."""

    partition: int
    role: str
    takes_part: bool
    learning: bool
    applied_index: int
    disk_full: bool
    broken: str | None


def rows_of(cluster: LocalCluster, node: int) -> list[Row]:
    """The replicas of a node."""
    answer = ask(cluster.client_ports[node], ClusterStatusRequest(), timeout_s=20)
    assert isinstance(answer, ClusterStatus)
    return cast("list[Row]", json.loads(answer.document)["partitions"])
