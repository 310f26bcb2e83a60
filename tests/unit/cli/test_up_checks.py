"""What `flo up` refuses before it starts a node."""

import fcntl
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.addresses import parse_members
from cluster.founding import DataDirectory, FoundingParameters
from cluster.peers.secret import load_secret
from flo.cli import main
from flo.cli.up import checks
from flo.cli.up.checks import Size, size_of
from flo.cli.up.errors import UpError
from tests.ports import free_base_port


def _found(directory: Path, nodes: int = 3, partitions: int = 4) -> None:
    members = ",".join(f"{each}=127.0.0.1:{9499 + each}" for each in range(1, nodes + 1))
    parameters = FoundingParameters(parse_members(members), partition_count=partitions)
    DataDirectory(directory / "node-2", 2, parameters).close()


def test_a_taken_port_is_named_and_the_secret_kept(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["up", "--data-dir", str(tmp_path), "--base-port", str(port)]
        refused = CliRunner().invoke(main, arguments)
        assert refused.exit_code == 3
        assert f"port {port} is taken (node 1 wants it for clients)" in refused.stderr
        secret = load_secret(tmp_path / "secret")
        assert CliRunner().invoke(main, arguments).exit_code == 3
        assert load_secret(tmp_path / "secret") == secret


def test_a_new_cluster_has_the_size_given_or_the_default(tmp_path: Path) -> None:
    assert size_of(tmp_path, None, None) == Size(3, 8)
    assert size_of(tmp_path, 5, 16) == Size(5, 16)


def test_a_cluster_keeps_the_size_it_was_founded_with(tmp_path: Path) -> None:
    _found(tmp_path)
    assert size_of(tmp_path, None, None) == Size(3, 4)
    assert size_of(tmp_path, 3, 4) == Size(3, 4)


@pytest.mark.parametrize(("option", "given", "found"), [("--nodes", 5, 3), ("--partitions", 8, 4)])
def test_another_size_is_refused(tmp_path: Path, option: str, given: int, found: int) -> None:
    _found(tmp_path)
    arguments = ["up", "--data-dir", str(tmp_path), option, str(given)]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 3
    assert f"holds a cluster with {option} {found}, this start gives {option} {given}" in (
        refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1


def test_damaged_data_is_not_taken_for_new(tmp_path: Path) -> None:
    _found(tmp_path)
    (tmp_path / "node-2" / "founding.json").write_text("{}")
    with pytest.raises(UpError, match="damaged"):
        size_of(tmp_path, None, None)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    directory = tmp_path / "file" / "data"
    refused = CliRunner().invoke(main, ["up", "--data-dir", str(directory)])
    assert refused.exit_code == 3
    assert f"cannot write to the data directory {directory}: Not a directory" in refused.stderr


def test_two_of_them_do_not_share_a_directory(tmp_path: Path) -> None:
    with checks.own(tmp_path):
        refused = CliRunner().invoke(main, ["up", "--data-dir", str(tmp_path)])
    assert refused.exit_code == 3
    assert f"another `flo up` runs on {tmp_path}" in refused.stderr
    lock = os.open(tmp_path / "up.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_a_node_that_does_not_start_stops_it_all(tmp_path: Path) -> None:
    # A node's data directory where a file stands.
    (tmp_path / "node-1").write_text("")
    base = free_base_port(nodes=1)
    arguments = ["--data-dir", str(tmp_path), "--base-port", str(base), "--nodes", "1"]
    refused = CliRunner().invoke(main, ["up", *arguments])
    assert refused.exit_code == 3
    assert "node 1 ended with exit code 2: " in refused.stderr
    assert f"{tmp_path}/node-1' is a file" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
