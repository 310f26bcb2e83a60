"""The server processes of a peer, in a temporary directory, without anything left behind."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 90.0
_END_S = 15.0
_LOG_TAIL = 600


class StartError(Exception):
    """A server did not start; with the end of what it logged."""


class _Process(NamedTuple):
    """As /proc tells of it. A number is used again, but not with the same time of start."""

    pid: int
    parent: int
    cpu_ticks: int
    """Its own, and that of its children which have ended."""
    started: int
    zombie: bool


class Servers:
    """Starts and ends server processes; a context manager that leaves nothing behind."""

    def __init__(self, name: str, parent_dir: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"bench-{name}-", dir=parent_dir))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.end()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, label: str, *command: str) -> None:
        """Its output goes to `LABEL.log`, and its working directory is ours."""
        with self._log(label).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        self._running[label] = process

    def wait_for_port(self, label: str, port: int) -> None:
        """Until something listens there. Raises StartError when the process ends, or too late."""
        deadline = time.monotonic() + _START_S
        while not _listens(port):
            if time.monotonic() > deadline or self._running[label].poll() is not None:
                raise StartError(f"{label} did not start: {self.log_tail(label)}")
            time.sleep(0.05)

    def log_tail(self, label: str) -> str:
        """The end of what it wrote."""
        return self._log(label).read_text(errors="replace")[-_LOG_TAIL:].strip()

    def end(self) -> None:
        """Kills all processes and what they started: their data is of no use to anybody."""
        family = list(_family([process.pid for process in self._running.values()]))
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running.clear()
        deadline = time.monotonic() + _END_S
        while left := [each for each in family if _lives(each)]:
            for each in left:
                _kill(each.pid)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes do not end: {[each.pid for each in left]}")
            time.sleep(0.01)

    def cpu_seconds(self) -> float:
        """CPU time of all processes so far and of what they started, user and system."""
        family = _family([process.pid for process in self._running.values()])
        return sum(process.cpu_ticks for process in family) / _CLOCK_TICKS

    def _log(self, label: str) -> Path:
        return self.directory / f"{label}.log"


def _family(roots: list[int]) -> Iterator[_Process]:
    """These processes, their children, and theirs."""
    everybody = [process for process in map(_look, _pids()) if process is not None]
    children: dict[int, list[_Process]] = {}
    for process in everybody:
        children.setdefault(process.parent, []).append(process)
    waiting = [process for process in everybody if process.pid in roots]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children.get(process.pid, [])


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _look(pid: int) -> _Process | None:
    """None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return _Process(
        pid, int(fields[1]), sum(map(int, fields[11:15])), int(fields[19]), fields[0] == "Z"
    )


def _lives(process: _Process) -> bool:
    now = _look(process.pid)
    return now is not None and now.started == process.started and not now.zombie


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True
