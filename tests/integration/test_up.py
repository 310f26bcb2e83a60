"""`flo up` as the README says: a local cluster in one command, used by the command line."""

import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_base_port

NODES = 3


class Up:
    """A running `flo up`."""

    def __init__(
        self, directory: Path, *, until: str = "Ctrl-C", stderr: int | None = None
    ) -> None:
        self.base_port = free_base_port()
        self.directory = directory
        command = [sys.executable, "-m", "flo.cli", "up", "--data-dir", str(directory)]
        command += ["--base-port", str(self.base_port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.lines: list[str] = []
        self.wait_for(until)

    def wait_for(self, text: str) -> None:
        """Reads what it prints until `text` is there."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"flo up ended without {text!r}: {self.lines}")

    def flo(self, *arguments: str, node: int = 1) -> "subprocess.CompletedProcess[str]":
        host = f"localhost:{self.base_port + node - 1}"
        command = [sys.executable, "-m", "flo.cli", "--host", host, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait() == 0


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "cluster")
    yield running
    if running.process.poll() is None:
        running.stop()


def test_a_newcomer_writes_reads_and_looks(up: Up) -> None:
    assert any("kv set" in line for line in up.lines), "it says what to try"
    assert up.flo("kv", "set", "greeting", "hello").returncode == 0
    for node in (1, 2, 3):
        assert up.flo("kv", "get", "greeting", node=node).stdout.rstrip("\n") == "hello"
    assert up.flo("kv", "get", "nothing").returncode == 1
    found = json.loads(up.flo("--format", "json", "kv", "get", "greeting", node=3).stdout)
    assert found == {"key": "greeting", "value": "hello", "version": 1}
    assert up.flo("kv", "incr", "visits", "--by", "5").stdout.strip() == "5"
    assert "greeting" in up.flo("kv", "list", "--keys-only").stdout
    assert up.flo("kv", "delete", "greeting").returncode == 0
    assert up.flo("kv", "exists", "greeting").returncode == 1
    status = up.flo("cluster", "status")
    assert status.returncode == 0
    assert status.stdout.count("leader") == 8


def test_the_program_in_the_readme_runs(up: Up) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    program = readme.split("```python\n")[1].split("```")[0]
    for number in range(NODES):
        program = program.replace(
            f"localhost:{9000 + number}", f"localhost:{up.base_port + number}"
        )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "b'Ada'" in done.stdout


def test_stopped_and_started_again_it_keeps_the_data(up: Up) -> None:
    assert up.flo("kv", "set", "kept", "yes").returncode == 0
    up.stop()
    again = Up(up.directory)
    try:
        assert again.flo("kv", "get", "kept", node=2).stdout.rstrip("\n") == "yes"
    finally:
        again.stop()


def test_it_goes_on_quietly_when_nobody_reads_its_lines(tmp_path: Path) -> None:
    up = Up(tmp_path / "cluster", until="starting", stderr=subprocess.PIPE)
    assert up.process.stdout is not None
    up.process.stdout.close()
    try:
        while up.flo("kv", "set", "greeting", "hello").returncode:
            assert up.process.poll() is None, "it ended"
        up.process.send_signal(signal.SIGINT)
        assert up.process.stderr is not None
        with up.process.stderr as errors:
            assert errors.read() == ""
        assert up.process.wait() == 0
    finally:
        up.process.kill()
        up.process.wait()


def test_no_node_outlives_a_killed_parent(up: Up) -> None:
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    assert len(children) == NODES
    watched = [os.pidfd_open(int(pid)) for pid in children]
    up.process.kill()
    up.process.wait()
    assert up.process.stdout is not None
    up.process.stdout.close()
    for descriptor in watched:
        # A pidfd is readable once its process has ended.
        with os.fdopen(descriptor) as file:
            readable, _, _ = select.select([file], [], [], 60)
            assert readable, "a node outlived flo up"


def test_a_node_that_was_killed_can_be_started_again_as_it_says(up: Up) -> None:
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    up.wait_for("flo node --id 2")
    assert any("node 2 was killed by SIGKILL" in line for line in up.lines)
    command = [sys.executable, "-m", "flo.cli", *shlex.split(up.lines[-1])[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as again:
        assert again.stdout is not None
        assert again.stdout.readline().startswith("flo node ready")
        again.terminate()
    assert again.returncode == 0


def test_on_a_terminal_there_is_a_table_and_the_terminal_comes_back(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("CI", None)
    command = [sys.executable, "-m", "flo.cli", "up", "--data-dir", str(tmp_path)]
    command += ["--base-port", str(free_base_port())]
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        while b"8 partitions, each has a leader" not in shown:
            shown += os.read(master, 65_536)
        process.send_signal(signal.SIGINT)
        # On Linux the end of a terminal that nobody has open any more is an error.
        with contextlib.suppress(OSError):
            while data := os.read(master, 65_536):
                shown += data
    os.close(master)
    assert process.returncode == 0
    assert b"kv set greeting hello" in shown
    assert b"WRITES/S" in shown
    assert shown.rstrip().endswith(b"stopped")
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is back"
