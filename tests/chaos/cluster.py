"""Three node processes whose connections, among each other and from clients, pass links."""

import asyncio
import math
import os
import signal
import socket
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.cluster_view import replicas_of
from bench.local_cluster import LocalCluster
from tests.chaos.power import PowerDisk
from tests.chaos.proxy import Direction, Link

NODES = 3
PARTITIONS = 4
_ROOT = Path(__file__).parents[2]
_STOP_S = 20
_PAUSED_S = 5
"""Who does not answer in this time may be stopped."""
_LOG_LINES = 20


@dataclass
class Stop:
    """A node was surely stopped between these moments; `to` is infinite while it is."""

    since: float
    to: float = math.inf


class ChaosCluster(LocalCluster):
    """Used with `async with`; the links live on the event loop of whoever enters it."""

    def __init__(self, directory: Path, shim: Path | None = None) -> None:
        """With `shim`, as `power.build_shim` makes it, the power of nodes can be cut."""
        super().__init__(NODES, PARTITIONS, directory, keep=True)
        self.disks: dict[int, PowerDisk] = {}
        if shim is not None:
            for node in self.client_ports:
                self.disks[node] = PowerDisk(shim, self.directory / f"node-{node}")
        self.peer_links = {
            (dialer, acceptor): Link(self.peer_ports[acceptor])
            for dialer in self.nodes
            for acceptor in self.nodes
            if dialer > acceptor  # as nodes do: one connection per pair
        }
        self.client_links = {node: Link(port) for node, port in self.client_ports.items()}
        self.stops: dict[int, list[Stop]] = {node: [] for node in self.nodes}

    @property
    def nodes(self) -> list[int]:
        return list(self.client_ports)

    @property
    def links(self) -> list[Link]:
        return [*self.peer_links.values(), *self.client_links.values()]

    @property
    def endpoints(self) -> str:
        return ",".join(f"127.0.0.1:{link.port}" for link in self.client_links.values())

    async def __aenter__(self) -> "ChaosCluster":
        for link in self.links:
            await link.open()
        await asyncio.to_thread(self.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.heal_links()
        for node in self.nodes:
            if self.is_running(node):
                self.signal(node, signal.SIGCONT)
        await asyncio.to_thread(self.__exit__, None, None, None)
        for link in self.links:
            await link.close()

    def start(self, node: int) -> None:
        if node in self.disks:
            self.disks[node].before_start()
        super().start(node)

    def way(self, sender: int, receiver: int) -> Direction:
        """What one node sends to another passes here."""
        if sender > receiver:
            return self.peer_links[sender, receiver].forward
        return self.peer_links[receiver, sender].backward

    def heal_links(self) -> None:
        for link in self.links:
            link.accept()
            link.forward.heal()
            link.backward.heal()

    def signal(self, node: int, number: signal.Signals) -> None:
        os.kill(self.processes[node].pid, number)

    def is_running(self, node: int) -> bool:
        return node in self.processes and self.processes[node].poll() is None

    def is_stopped(self, node: int) -> bool:
        """By SIGSTOP, as the system says."""
        text = Path(f"/proc/{self.processes[node].pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0] == "T"

    def goes_on(self, node: int) -> bool:
        """Neither ended nor stopped."""
        return self.is_running(node) and not self.is_stopped(node)

    def earliest(self, node: int, start: float) -> float:
        """The earliest moment at which the node may have read a request sent at `start`.

        To be asked when the call has ended.
        """
        for stop in self.stops[node]:
            if stop.since <= start < stop.to:
                return min(stop.to, time.monotonic())
        return start

    def listens(self, node: int) -> bool:
        """Whether the node's own port takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.client_ports[node]), timeout=5).close()
        except OSError:
            return False
        return True

    def terminate(self, node: int) -> int:
        """SIGTERM; returns the exit code."""
        process = self.processes[node]
        process.terminate()
        code = process.wait(_STOP_S)
        assert process.stdout is not None
        process.stdout.close()
        return code

    async def leaders(self, among: list[int]) -> dict[int, int]:
        """Partition to the node, of these, that says it leads; who does not answer is left out."""
        found: dict[int, int] = {}
        for node in among:
            try:
                replicas = await asyncio.to_thread(replicas_of, self.client_ports[node], _PAUSED_S)
            except (OSError, RuntimeError):
                continue
            for replica in replicas:
                if replica["role"] == "leader":
                    found[replica["partition"]] = node
        return found

    async def is_level(self) -> bool:
        """Whether all replicas of each partition have applied the same entries."""
        applied: defaultdict[int, set[int]] = defaultdict(set)
        for port in self.client_ports.values():
            for replica in await asyncio.to_thread(replicas_of, port):
                applied[replica["partition"]].add(replica["applied_index"])
        return all(len(indexes) == 1 for indexes in applied.values())

    def count_in_logs(self, text: str) -> int:
        """How often the nodes have said something."""
        logs = [self.directory / f"node-{node}.log" for node in self.nodes]
        return sum(log.read_text().count(text) for log in logs)

    async def describe(self) -> str:
        """How things stand: what each node says, and the links between them."""
        lines: list[str] = []
        for node, port in self.client_ports.items():
            try:
                said = str(await asyncio.to_thread(replicas_of, port, _PAUSED_S))
            except (OSError, RuntimeError) as error:
                said = repr(error)
            lines.append(f"node {node}: {said}")
        lines += [f"link {pair}: {link}" for pair, link in self.peer_links.items()]
        for node in self.nodes:
            log = (self.directory / f"node-{node}.log").read_text().splitlines()
            lines += [f"log of node {node}:", *log[-_LOG_LINES:]]
        return "\n".join(lines)

    def _members(self, node: int) -> str:
        ports = dict(self.peer_ports)
        for (dialer, acceptor), link in self.peer_links.items():
            if dialer == node:
                ports[acceptor] = link.port
        return ",".join(f"{n}=127.0.0.1:{port}" for n, port in ports.items())

    def _command(self, node: int) -> list[str]:
        python, _, _, _, *options = super()._command(node)
        own = f"127.0.0.1:{self.client_links[node].port}"
        return [python, "-m", "tests.chaos.small_node", *options, "--advertise", own]

    def _environment(self, node: int) -> dict[str, str] | None:
        disk = self.disks[node].environment() if self.disks else dict(os.environ)
        return {**disk, "PYTHONPATH": str(_ROOT)}
