"""`flo node` and `flo up`: what they make of their options, and how they watch processes."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.addresses import Address, Member
from cluster.peers.secret import create_secret_file, load_secret
from flo.cli import main
from flo.cli.node import NodeOptions, build_config
from flo.cli.up import Child

THREE = "1=10.0.0.1:9500,2=10.0.0.2:9500@b,3=10.0.0.3:9501"


def _options() -> NodeOptions:
    return NodeOptions(
        node_id=None,
        listen="127.0.0.1:9000",
        advertise=None,
        peer_listen=None,
        data_dir=Path("data"),
        cluster=None,
        partitions=8,
        replication=None,
        secret_file=None,
    )


def test_alone_by_default() -> None:
    config = build_config(_options())
    assert config.node_id == 1
    assert config.peer_listen == Address("127.0.0.1", 9500)
    assert config.members == (Member(1, Address("127.0.0.1", 9500), ""),)
    assert (config.partition_count, config.replication, config.secret) == (8, 1, None)


def test_one_of_three() -> None:
    options = _options()
    options["node_id"] = 3
    options["cluster"] = THREE
    options["listen"] = "0.0.0.0:9000"
    config = build_config(options)
    assert config.peer_listen == Address("0.0.0.0", 9501)
    assert [member.node_id for member in config.members] == [1, 2, 3]
    assert config.replication == 3


def test_what_is_given_counts(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    create_secret_file(secret)
    options = _options()
    options["node_id"] = 2
    options["cluster"] = THREE
    options["peer_listen"] = "127.0.0.1:7"
    options["partitions"] = 4
    options["replication"] = 2
    options["secret_file"] = secret
    config = build_config(options)
    assert config.peer_listen == Address("127.0.0.1", 7)
    assert (config.partition_count, config.replication) == (4, 2)
    assert config.secret == load_secret(secret)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--cluster", THREE], "--id"),
        (["--cluster", THREE, "--id", "4"], "node id 4"),
        (["--cluster", "1=a", "--id", "1"], "port"),
        (["--listen", "nowhere"], "nowhere"),
        (["--listen", "127.0.0.1:0"], "--peer-listen"),
        (["--listen", "127.0.0.1:65400"], "--peer-listen"),
        (["--replication", "2"], "replication"),
        (["--id", "0"], "--id"),
        (["--partitions", "0"], "--partitions"),
    ],
)
def test_refuses_what_cannot_be_meant(arguments: list[str], names: str) -> None:
    refused = CliRunner().invoke(main, ["node", *arguments])
    assert refused.exit_code == 2
    assert names in refused.stderr


def test_environment_of_node() -> None:
    environment = {"FLO_CLUSTER": THREE, "FLO_NODE_ID": "9"}
    refused = CliRunner().invoke(main, ["node"], env=environment)
    assert refused.exit_code == 2
    assert "node id 9" in refused.stderr


def test_a_secret_that_cannot_be_used_is_exit_code_3(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    refused = CliRunner().invoke(main, ["node", "--secret-file", str(missing)])
    assert refused.exit_code == 3
    assert str(missing) in refused.stderr


def test_up_refuses_a_taken_port_and_keeps_the_secret(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["up", "--data-dir", str(tmp_path), "--base-port", str(port)]
        refused = CliRunner().invoke(main, arguments)
        assert refused.exit_code == 3
        assert f"port {port} is taken" in refused.stderr
        secret = load_secret(tmp_path / "secret")
        assert CliRunner().invoke(main, arguments).exit_code == 3
        assert load_secret(tmp_path / "secret") == secret


async def test_up_notices_ready_nodes_and_dead_ones(tmp_path: Path) -> None:
    script = "import sys; print('flo node ready: id 1', flush=True); sys.stdin.read(); sys.exit(5)"
    child = Child(1, 9000, tmp_path)
    news: asyncio.Queue[Child] = asyncio.Queue()
    await child.start([], program=(sys.executable, "-c", script))
    async with asyncio.TaskGroup() as group:
        group.create_task(child.watch(news))
        assert await news.get() is child
        assert child.ready
        assert not child.ended
        assert child.process is not None
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert await news.get() is child
    assert child.ended
    assert "exit code 5: flo node ready: id 1" in child.obituary()
    await child.stop()


async def test_up_stops_its_nodes(tmp_path: Path) -> None:
    child = Child(2, 9000, tmp_path)
    news: asyncio.Queue[Child] = asyncio.Queue()
    wait = "import signal; print('flo node ready', flush=True); signal.pause()"
    await child.start([], program=(sys.executable, "-c", wait))
    async with asyncio.TaskGroup() as group:
        group.create_task(child.watch(news))
        await news.get()
        await child.stop()
    assert child.process is not None
    assert child.process.returncode == -15


def test_a_node_advertises_what_it_is_told_to() -> None:
    options = _options()
    options["advertise"] = "flo.example:9001"
    assert str(build_config(options).client_address) == "flo.example:9001"
