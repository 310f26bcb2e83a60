"""What people and networks do wrong: one clear line, and nothing is lost."""

import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cluster_view import ask, wait_until_led
from bench.local_cluster import LocalCluster, free_ports
from flo.wire.messages import KvGet, KvPut, Ping, Pong, Stored, Value
from tests.integration.kit import eventually

MAGIC = b"FLO\x00"


def run_node(*arguments: str, timeout_s: float = 30.0) -> "subprocess.CompletedProcess[str]":
    """`flo node` that is expected to end by itself."""
    command = [sys.executable, "-m", "flo.cli", "node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def refusal_of(process: "subprocess.CompletedProcess[str]", code: int) -> str:
    """The one line on stderr with which a node refused to start."""
    assert process.returncode == code, process.stderr
    assert process.stdout == ""
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1 or code == 2, process.stderr
    return lines[-1]


def single_node(data_dir: Path, *more: str) -> list[str]:
    client, peer = free_ports(2)
    listen = ("--listen", f"127.0.0.1:{client}", "--peer-listen", f"127.0.0.1:{peer}")
    return [*listen, "--data-dir", str(data_dir), *more]


def test_an_unknown_option_is_wrong_usage() -> None:
    assert "--colour" in refusal_of(run_node("--colour", "red"), 2)


BAD_FILES = (
    ('[node]\nlistne = "127.0.0.1:1"', "line 2: unknown setting node.listne"),
    ("[nodes]\nid = 1", "line 1: unknown table [nodes]"),
    ("[node]\nid = 0", "line 2: node.id must be 1 to 65535, not 0"),
    ("[node]\nlisten = 9000", "line 2: node.listen must be text in quotes, not 9000"),
    ('[node]\nlisten = "nowhere"', "has no port: write host:port [node.listen: "),
    ('[node]\npeer_listen = "a:x"', "[node.peer_listen: "),
    ('[node]\nadvertise = "a:0"', "[node.advertise: "),
    ('[node]\ncluster = "1=a:1"', "give its node_id (--id) [node.cluster: "),
    ('[node]\ncluster = ["1=a:1", "1=b:1"]\nid = 1', "node id 1 appears twice"),
    ("[node]\npartitions = 1025", "node.partitions must be 1 to 1024, not 1025"),
    ("[node]\nreplication = 2", "the cluster has 1: correct replication (--replication)"),
    ("[node]\ndata_dir = false", "node.data_dir must be text in quotes, not false"),
    ('[node]\nrequest_timeout_ms = "soon"', 'such as "5s", not "soon"'),
    ('[limits]\nvalue_bytes_max = "4 mb"', "units: B, kB, MB, GB, KiB, MiB, GiB"),
    ("[limits]\ncalls_bytes_max = 1000", "value_bytes_max (1048576) must not exceed"),
    ("[wal]\nsegment_bytes = 1", "wal.segment_bytes must be 8388608 to 1073741824, not 1"),
    ("[node]\nlisten = localhost:9000", "is not valid TOML"),
)


@pytest.mark.parametrize(("text", "says"), BAD_FILES, ids=[text for text, _ in BAD_FILES])
def test_a_mistake_in_the_file_is_one_line_that_names_it(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "flo.toml"
    file.write_text(text)
    refused = run_node("--config", str(file), "--data-dir", str(tmp_path / "data"))
    refusal = refusal_of(refused, 2)
    assert refused.stderr.count("\n") == 1
    assert refusal.startswith("flo: ")
    assert str(file) in refusal
    assert says in refusal
    assert not (tmp_path / "data").exists()


def test_a_missing_secret_is_named_with_the_place_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "flo.toml"
    file.write_text(f'[node]\nsecret_file = "{tmp_path}/missing"\n')
    refusal = refusal_of(run_node(*single_node(tmp_path), "--config", str(file)), 3)
    assert f"{tmp_path}/missing" in refusal
    assert f"[node.secret_file: {file}, line 2]" in refusal


def test_a_node_runs_from_what_print_config_printed(tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text('[limits]\nvalue_bytes_max = "1 KiB"\n[wal]\nsegment_bytes = "8 MiB"\n')
    arguments = single_node(tmp_path / "data", "--partitions", "1", "--config", str(limits))
    printed = run_node(*arguments, "--print-config")
    assert printed.returncode == 0, printed.stderr
    assert not (tmp_path / "data").exists()
    file = tmp_path / "flo.toml"
    file.write_text(printed.stdout)
    port = int(arguments[1].rpartition(":")[2])
    command = [sys.executable, "-m", "flo.cli", "node", "--config", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        try:
            assert f"clients 127.0.0.1:{port}" in node.stdout.readline()
            stored = ask(port, KvPut(b"default", b"key", b"x" * 1024))
            assert isinstance(stored, Stored)
            with pytest.raises(RuntimeError, match="1024"):
                ask(port, KvPut(b"default", b"key", b"x" * 1025))
        finally:
            node.terminate()
    assert node.returncode == 0


def test_an_occupied_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        free = free_ports(1)[0]
        for taken in ("--listen", "--peer-listen"):
            other = "--peer-listen" if taken == "--listen" else "--listen"
            arguments = [taken, f"127.0.0.1:{port}", other, f"127.0.0.1:{free}"]
            refusal = refusal_of(run_node(*arguments, "--data-dir", str(tmp_path / taken)), 3)
            assert f"127.0.0.1:{port}" in refusal


def test_an_unwritable_data_directory_is_named(tmp_path: Path) -> None:
    # A path below a file cannot be created by anybody, not even by root.
    (tmp_path / "file").write_text("")
    refusal = refusal_of(run_node(*single_node(tmp_path / "file" / "data")), 3)
    assert "file/data" in refusal


async def test_data_of_another_node_or_another_founding_is_refused(tmp_path: Path) -> None:
    with LocalCluster(nodes=3, partitions=4, parent_dir=tmp_path, keep=True) as cluster:
        await wait_until_led(cluster)
        cluster.kill(1)
        data = cluster.directory / "node-1"
        members = "1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003"

        def start_with(node: str, partitions: str, nodes: str = members) -> str:
            arguments = [*single_node(data), "--id", node, "--cluster", nodes]
            return refusal_of(run_node(*arguments, "--partitions", partitions), 3)

        refusal = start_with("1", "5")
        assert "partition count" in refusal
        assert "4" in refusal
        assert "5" in refusal
        assert "node 1" in start_with("2", "4")
        assert "node ids" in start_with("1", "4", members.replace("3=", "4="))
        # Refusing changed nothing: started as before, the node is back.
        cluster.start(1)
        await wait_until_led(cluster)


async def test_a_data_directory_in_use_is_refused(cluster: LocalCluster) -> None:
    data = cluster.directory / "node-1"
    members = ",".join(f"{node}=127.0.0.1:{7000 + node}" for node in cluster.client_ports)
    arguments = [*single_node(data), "--id", "1", "--cluster", members]
    assert "in use" in refusal_of(run_node(*arguments), 3)


async def test_an_emptied_data_directory_does_not_vote(cluster: LocalCluster) -> None:
    put = ask(cluster.client_ports[2], KvPut(b"default", b"key", b"value"))
    assert isinstance(put, Stored)
    cluster.kill(1)
    shutil.rmtree(cluster.directory / "node-1")
    cluster.start(1)

    async def both_sides_say_so() -> bool:
        own = (cluster.directory / "node-1.log").read_text()
        others = (cluster.directory / "node-2.log").read_text()
        return "refuses this node" in own and "empty or different data directory" in others

    await eventually("the emptied node is turned away", both_sides_say_so)
    # With only one whole node left nothing may be decided, least of all by the emptied one.
    cluster.kill(3)
    with pytest.raises((RuntimeError, TimeoutError)):
        ask(cluster.client_ports[2], KvPut(b"default", b"key", b"other"), timeout_s=2)
    cluster.start(3)

    async def served_again() -> bool:
        try:
            found = ask(cluster.client_ports[2], KvGet(b"default", b"key"))
        except (RuntimeError, TimeoutError):
            return False
        return isinstance(found, Value) and found.value in (b"value", b"other")

    await eventually("two whole nodes serve", served_again)


def test_a_node_whose_log_is_gone_refuses_to_start(tmp_path: Path) -> None:
    with LocalCluster(nodes=1, partitions=1, parent_dir=tmp_path, keep=True) as cluster:
        cluster.kill(1)
        shutil.rmtree(cluster.directory / "node-1" / "wal")
        address = ["--cluster", "1=127.0.0.1:7001", "--id", "1", "--partitions", "1"]
        arguments = [*single_node(cluster.directory / "node-1"), *address]
        assert "log is missing" in refusal_of(run_node(*arguments), 3)


async def test_a_node_with_another_secret_stays_outside(tmp_path: Path) -> None:
    secrets = {node: tmp_path / f"secret-{node}" for node in (1, 2, 3)}
    for node, path in secrets.items():
        path.touch(mode=0o600)
        path.write_text(("ab" if node == 3 else "cd") * 32)
    with LocalCluster(
        nodes=3, partitions=2, parent_dir=tmp_path, keep=True, secret_files=secrets
    ) as cluster:

        async def both_say_so() -> bool:
            logs = [(cluster.directory / f"node-{node}.log").read_text() for node in (1, 3)]
            return all("secret" in log for log in logs)

        await eventually("the outsider and the others name the secret", both_say_so)
        for port in cluster.client_ports.values():
            assert isinstance(ask(port, Ping()), Pong)


def test_a_client_that_sends_garbage_is_cut_off_and_nobody_else(tmp_path: Path) -> None:
    with LocalCluster(nodes=1, partitions=1, parent_dir=tmp_path, keep=True) as cluster:
        port = cluster.client_ports[1]
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64, MAGIC + b"\xff" * 60):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(garbage)
                answer = read_to_end(client)
            assert answer[:4] == MAGIC, garbage
        assert isinstance(ask(port, Ping()), Pong)


def test_a_header_that_announces_100_mb_is_refused_at_once(tmp_path: Path) -> None:
    with LocalCluster(nodes=1, partitions=1, parent_dir=tmp_path, keep=True) as cluster:
        port = cluster.client_ports[1]
        before = cluster.private_mib()[0]
        header = struct.pack("<4sIQIHBBQ", MAGIC, 100_000_000, 1, 0, 0x100, 1, 0, 0)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(header)
            answer = read_to_end(client)
        assert b"100000000" in answer
        assert cluster.private_mib()[0] - before < 20
        assert isinstance(ask(port, Ping()), Pong)


def read_to_end(client: socket.socket) -> bytes:
    data = b""
    while part := client.recv(65536):
        data += part
    return data
