"""A cluster of real node processes on loopback, for measuring."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.testing import HeldPorts, free_ports

__all__ = ["LocalCluster", "free_ports"]

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class LocalCluster:
    """Starts `nodes` node processes in a temporary directory; a context manager."""

    def __init__(
        self,
        nodes: int,
        partitions: int,
        parent_dir: Path | None = None,
        *,
        keep: bool = False,
        secret_files: dict[int, Path] | None = None,
        advertised_ports: dict[int, int] | None = None,
    ) -> None:
        """`keep` leaves the directory behind, for a parent that somebody else removes.

        advertised_ports: where clients are told that they reach the nodes, when it is elsewhere.
        """
        self._secret_files = secret_files or {}
        self._advertised_ports = advertised_ports or {}
        self.partitions = partitions
        self._keep = keep
        self.directory = Path(tempfile.mkdtemp(prefix="flo-bench-", dir=parent_dir))
        # Also of nodes that are down, or not yet started.
        self._ports = HeldPorts(2 * nodes)
        ports = self._ports.numbers
        self.client_ports = dict(enumerate(ports[:nodes], start=1))
        self.peer_ports = dict(enumerate(ports[nodes:], start=1))
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for node in self.client_ports:
                self.start(node)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            _reap(process)
        self._ports.close()
        if error is None and not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        elif error is not None:
            sys.stderr.write(f"node logs are kept in {self.directory}\n")

    def start(self, node: int) -> None:
        """Starts a node, also again after `kill`; returns when it listens."""
        with (self.directory / f"node-{node}.log").open("ab") as log:
            process = subprocess.Popen(
                self._command(node), stdout=subprocess.PIPE, stderr=log, env=self._environment(node)
            )
        self.processes[node] = process
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(b"flo node ready"):
            raise RuntimeError(f"node {node} did not start: see {self.directory}/node-{node}.log")

    def _command(self, node: int) -> list[str]:
        command = [
            *(sys.executable, "-m", "flo.cli", "node", "--id", str(node)),
            *("--listen", f"127.0.0.1:{self.client_ports[node]}"),
            *("--peer-listen", f"127.0.0.1:{self.peer_ports[node]}"),
            *("--data-dir", str(self.directory / f"node-{node}")),
            *("--cluster", self._members(node), "--partitions", str(self.partitions)),
        ]
        if node in self._advertised_ports:
            command += ["--advertise", f"127.0.0.1:{self._advertised_ports[node]}"]
        if node in self._secret_files:
            command += ["--secret-file", str(self._secret_files[node])]
        return command

    def _members(self, node: int) -> str:
        """The peer addresses that a node is given."""
        return ",".join(f"{n}=127.0.0.1:{port}" for n, port in self.peer_ports.items())

    def _environment(self, node: int) -> dict[str, str] | None:
        """What a node finds there; None is what this process has."""
        return None

    def kill(self, node: int) -> None:
        """kill -9."""
        self.processes[node].kill()
        _reap(self.processes[node])

    def stop(self, node: int) -> None:
        """SIGTERM: the node hands its partitions over; returns when it has ended."""
        self.processes[node].terminate()
        _reap(self.processes[node])

    @property
    def endpoints(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.client_ports.values())

    def cpu_seconds(self) -> float:
        """CPU time of all nodes so far, user and system."""
        return sum(self.cpu_seconds_by_node().values())

    def cpu_seconds_by_node(self) -> dict[int, float]:
        """CPU time of each node so far, user and system."""
        found: dict[int, float] = {}
        for node, process in self.processes.items():
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            found[node] = (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
        return found

    def private_mib(self) -> list[float]:
        """Private memory of each node, in MiB."""
        found: list[float] = []
        for process in self.processes.values():
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            rows = dict(line.split(":", 1) for line in text.splitlines()[1:])
            kib = int(rows["Private_Clean"].split()[0]) + int(rows["Private_Dirty"].split()[0])
            found.append(kib / 1024)
        return found


def _reap(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
