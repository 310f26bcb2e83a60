"""Disks that fill up and get room again: writes are refused meanwhile, nothing is lost."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.local_cluster import LocalCluster
from flo import ConnectionFailedError, FloClient
from tests.integration.disk_full_scenarios import CASES
from tests.integration.kit import eventually

_TIMEOUT_S = 120


def may_mount(directory: Path) -> bool:
    """Whether this user may make a mount namespace and mount a small file system in it."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(_TIMEOUT_S + 30)
@pytest.mark.parametrize("case", CASES)
def test_a_full_disk_refuses_writes_and_service_returns_by_itself(
    tmp_path: Path, case: str
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own (root)")
    command = [sys.executable, "-m", "tests.integration.disk_full_scenarios", case, str(tmp_path)]
    with subprocess.Popen(
        ["unshare", "--mount", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as scenario:
        try:
            output, errors = scenario.communicate(timeout=_TIMEOUT_S)
        finally:
            if scenario.poll() is None:  # Its nodes are in its group.
                os.killpg(scenario.pid, signal.SIGKILL)
    assert scenario.returncode == 0, errors
    assert output == "done\n"


class SilencedNode(LocalCluster):
    """What its node prints goes to a device that is always full."""

    def start(self, node: int) -> None:
        with Path("/dev/full").open("wb") as full:
            self.processes[node] = subprocess.Popen(
                self._command(node), stdout=full, stderr=full, env=self._environment(node)
            )


async def test_a_node_whose_output_is_full_serves_and_ends_as_always(tmp_path: Path) -> None:
    with SilencedNode(1, 1, parent_dir=tmp_path, keep=True) as cluster:

        async def serves() -> bool:
            try:
                async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
                    await client.kv.put("key", b"value")
            except ConnectionFailedError:
                return False
            return True

        await eventually("the node serves", serves)
        await _make_it_warn(cluster)
        assert await serves()
        cluster.stop(1)
        assert cluster.processes[1].returncode == 0


def test_a_refused_start_whose_message_cannot_be_printed_has_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "foreign").touch()
    command = [sys.executable, "-m", "flo.cli", "node", "--data-dir", str(tmp_path / "data")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*command, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"],
            stdout=full,
            stderr=full,
            check=False,
        )
    assert done.returncode == 3


async def _make_it_warn(cluster: LocalCluster) -> None:
    """A stranger at the peer port is something that a node logs."""
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", cluster.peer_ports[1])
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        await reader.read()
        writer.close()
        await writer.wait_closed()
