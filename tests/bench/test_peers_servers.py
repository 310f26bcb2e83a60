"""Server processes: what is known of them, and that nothing is left."""

import sys
import time
from pathlib import Path

import pytest

from bench.local_cluster import free_ports
from bench.peers.servers import Servers, StartError

SERVER = """
import socket, subprocess, sys, time
busy = "import os\\nparent = os.getppid()\\nwhile os.getppid() == parent: pass"
child = subprocess.Popen([sys.executable, "-c", busy])
print(child.pid, flush=True)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""


def test_children_are_counted_and_nothing_is_left(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with Servers("test", tmp_path) as servers:
        assert servers.directory.parent == tmp_path
        servers.start("one", sys.executable, "-c", SERVER, str(port))
        servers.wait_for_port("one", port)
        used = servers.cpu_seconds()
        while servers.cpu_seconds() < used + 0.1:
            time.sleep(0.01)
        child = Path("/proc") / servers.log_tail("one")
        assert child.exists()
    assert not child.exists() or child.joinpath("stat").read_text().split()[2] == "Z"
    assert not list(tmp_path.iterdir())


def test_they_can_be_started_again(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with Servers("test", tmp_path) as servers:
        for _ in range(2):
            servers.start("one", sys.executable, "-c", SERVER, str(port))
            servers.wait_for_port("one", port)
            servers.end()


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    [port] = free_ports(1)
    with Servers("test", tmp_path) as servers:
        servers.start("one", sys.executable, "-c", "raise SystemExit('no such option')")
        with pytest.raises(StartError, match="one did not start: no such option"):
            servers.wait_for_port("one", port)
    assert not list(tmp_path.iterdir())
