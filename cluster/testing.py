"""A small cluster for the tests of programs that use Flo; the pytest plugin gives it as a fixture.

Its nodes are real: they sync to disk, elect leaders and speak TCP. Only their sizes are small, so
that they start in a fraction of a second.
"""

import asyncio
import socket
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import TypeVar

import uvloop

from cluster.config import NodeConfig
from cluster.embedded import Node
from cluster.errors import StartError
from cluster.storage.wal_config import WalConfig
from flo.client import FloClient

HOST = "127.0.0.1"
READY_TIMEOUT_S = 30.0
_NODES = 3
_PARTITIONS = 4
_WAL = WalConfig(segment_bytes=5 << 20)
_PORTS = range(20_000, 32_000)
"""Below the range that the kernel takes for outgoing connections: a node that dials a peer which
does not listen yet could otherwise be connected to itself, and hold the peer's port."""
_FOUNDING_TRIES = 5

_T = TypeVar("_T")


def free_ports(count: int) -> list[int]:
    """Ports of this machine that were free a moment ago."""
    with HeldPorts(count) as held:
        return held.numbers


class HeldPorts:
    """Free ports that nobody else gets until `close`; a context manager.

    A server can listen there, and again later, if it sets SO_REUSEADDR as those of asyncio do:
    Linux lets it share a port with sockets that do not listen.
    """

    def __init__(self, count: int) -> None:
        self.numbers: list[int] = []
        self._sockets: list[socket.socket] = []
        rng = SystemRandom()
        while len(self.numbers) < count:
            each = socket.socket()
            port = rng.choice(_PORTS)
            try:
                each.bind((HOST, port))
            except OSError:
                each.close()
                continue
            # Not before: two who hold a port could share it, too.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets.append(each)
            self.numbers.append(port)

    def close(self) -> None:
        """Anybody may have them now. May be called twice."""
        for each in self._sockets:
            each.close()

    def __enter__(self) -> "HeldPorts":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class EmbeddedCluster:
    """Three nodes in one background thread, on free ports, with a temporary directory.

    They have an event loop of their own, so any test may use them: one without a loop, or with any
    kind of loop. The methods may be called from any other thread, and block it.

    Example:
        from cluster.testing import EmbeddedCluster

        with EmbeddedCluster() as nodes:
            print(nodes.endpoints)
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="flo-test-")
        self._configs: dict[int, NodeConfig] = {}
        self._nodes: dict[int, Node] = {}
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="flo test cluster", daemon=True)
        self._opened = threading.Event()
        self._closing: asyncio.Event

    def __enter__(self) -> "EmbeddedCluster":
        self._thread.start()
        self._opened.wait()
        try:
            self._call(self._found())
            self.wait_ready()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def endpoints(self) -> str:
        """The client addresses of all nodes, "host:port,host:port,host:port"."""
        return ",".join(str(config.client_address) for config in self._configs.values())

    def client(self, namespace: str = "default", *, timeout_ms: float = 5000) -> FloClient:
        """A client over TCP, not yet connected: `async with cluster.client() as client`."""
        return FloClient(self.endpoints, namespace=namespace, timeout_ms=timeout_ms)

    def stop_node(self, node_id: int) -> None:
        """Stops a node (1 to 3) in an orderly way; it keeps its data. Does nothing if it is."""
        self._check(node_id)
        self._call(self._stop_node(node_id))

    def start_node(self, node_id: int) -> None:
        """Starts a stopped node again; does nothing if it runs."""
        self._check(node_id)
        self._call(self._start_node(node_id))

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when every running node reaches the leaders of all partitions.

        Clients wait by themselves; this is for tests that look at the nodes. Raises TimeoutError.
        """
        self._call(self._ready(timeout_s))

    # --- in the caller's thread ---

    def _call(self, work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _check(self, node_id: int) -> None:
        if node_id not in self._configs:
            raise ValueError(f"node {node_id}: the nodes are {sorted(self._configs)}")

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._directory.cleanup()

    # --- in the nodes' thread ---

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._opened.set()
        await self._closing.wait()
        # One after the other: each hands over to those that stay.
        for node_id in list(self._nodes):
            await self._stop_node(node_id)

    async def _found(self) -> None:
        for tries_left in reversed(range(_FOUNDING_TRIES)):
            self._configs = _configs(Path(self._directory.name) / str(tries_left))
            try:
                for node_id in self._configs:
                    await self._start_node(node_id)
            except StartError:
                # Another program may have taken a port.
                for node_id in list(self._nodes):
                    await self._stop_node(node_id)
                if not tries_left:
                    raise
            else:
                return

    async def _start_node(self, node_id: int) -> None:
        if node_id not in self._nodes:
            node = Node(self._configs[node_id])
            await node.start()
            self._nodes[node_id] = node

    async def _stop_node(self, node_id: int) -> None:
        node = self._nodes.pop(node_id, None)
        if node is not None:
            await node.stop()

    async def _ready(self, timeout_s: float) -> None:
        await asyncio.gather(*(node.ready(timeout_s) for node in self._nodes.values()))


def _configs(directory: Path) -> dict[int, NodeConfig]:
    """Configurations of the nodes of a cluster on free ports, by node id."""
    ports = free_ports(2 * _NODES)
    ids = range(1, _NODES + 1)
    members = ",".join(f"{node_id}={HOST}:{ports[_NODES + node_id - 1]}" for node_id in ids)
    return {
        node_id: NodeConfig(
            directory / f"node-{node_id}",
            node_id=node_id,
            listen=f"{HOST}:{ports[node_id - 1]}",
            members=members,
            partition_count=_PARTITIONS,
            wal=_WAL,
        )
        for node_id in ids
    }
