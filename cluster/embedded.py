"""A node inside the program that uses it."""

import asyncio
from contextlib import AsyncExitStack
from enum import Enum
from typing import TYPE_CHECKING

from cluster.errors import NodeFailedError
from flo._endpoints import Endpoint
from flo.client import FloClient
from flo.wire.messages import CallContext, KvScan, Page
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from types import TracebackType

    from cluster.clock import Clock
    from cluster.config import NodeConfig
    from cluster.local_channel import LocalConnector
    from cluster.node import NodeCore

_NAMESPACE = "default"
_EVERY_PARTITION = KvScan(b"", b"", limit=1, keys_only=True)
"""Asks each partition, at its leader."""
_READY_PAUSE_S = 0.02


class _State(Enum):
    NEW = "is not started: use `async with`, or `await node.start()`"
    STARTING = "is still starting"
    RUNNING = "runs"
    STOPPING = "is stopping"
    STOPPED = "is stopped; make a new Node to start it again"


class Node:
    """One node of a cluster in this process, and a client that reaches it without a socket.

    Other programs and nodes reach it over TCP, as they do a node of `flo node`. Use it from the
    event loop it was started in, and keep that loop free: code that blocks it for half a second
    lets the other nodes elect other leaders. A Node is started once.

    Example:
        config = cluster.NodeConfig("data", listen="127.0.0.1:9100")
        async with cluster.Node(config) as node:
            await node.client().kv.put("greeting", b"hello")
    """

    def __init__(self, config: "NodeConfig", *, clock: "Clock | None" = None) -> None:
        """Prepares a node; nothing is opened before `start`. `clock` is for tests."""
        self._config = config
        self._clock = clock
        self._state = _State.NEW
        self._core: NodeCore
        self._connector: LocalConnector
        self._client: FloClient
        self._endpoint: Endpoint | None = None
        self._loop: asyncio.AbstractEventLoop
        self._failure: NodeFailedError | None = None
        self._failed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    @property
    def config(self) -> "NodeConfig":
        """What the node was made with."""
        return self._config

    @property
    def endpoint(self) -> str:
        """Where clients of other programs connect, "host:port"; only once the node is started."""
        if self._endpoint is None:
            raise RuntimeError(f"the node {self._state.value}")
        return str(self._endpoint)

    async def start(self) -> None:
        """Opens the data directory, listens, and takes part; does not wait for other nodes.

        Raises StartError when the node cannot run here, RuntimeError when it was started before.

        Example:
            node = cluster.Node(cluster.NodeConfig("data", listen="127.0.0.1:9100"))
            await node.start()
            await node.stop()
        """
        if self._state is not _State.NEW:
            raise RuntimeError(f"a Node is started once: this one {self._state.value}")
        # Late, so that a program pays for the server only when it runs one.
        from cluster.node import NodeCore

        self._state = _State.STARTING
        self._loop = asyncio.get_running_loop()
        self._core = NodeCore(self._config, clock=self._clock, on_failure=self._fail)
        try:
            async with AsyncExitStack() as undo:
                await self._start_core()
                undo.push_async_callback(self._core.stop)
                await self._open_client()
                undo.push_async_callback(self._client.close)
                self._raise_failure()
                undo.pop_all()
        except BaseException:
            self._state = _State.STOPPED
            raise
        self._state = _State.RUNNING

    async def stop(self) -> None:
        """Hands leadership over, lets calls end, and closes the client and the data directory.

        Calls that take longer than `Limits.connection_close_s` end with NotConnectedError. May be
        called twice; does nothing before `start`.

        Example:
            await node.stop()
        """
        if self._state is _State.RUNNING:
            self._begin_to_close()
        if self._closing is not None:
            try:
                # Goes on when the caller is cancelled: the directory must not stay open.
                await asyncio.shield(self._closing)
            finally:
                await self._client.close()

    async def ready(self, timeout_s: float = 30.0) -> None:
        """Returns when every partition has a leader that this node reaches.

        Calls made earlier wait by themselves. Raises TimeoutError, saying what is missing, and
        NodeFailedError.

        Example:
            await node.ready(timeout_s=60)
        """
        self._check_used_well()
        until = self._loop.time() + timeout_s
        while True:
            left_ms = max(1, int((until - self._loop.time()) * 1000))
            answer = await self._connector.ask(_EVERY_PARTITION, CallContext(deadline_ms=left_ms))
            if isinstance(answer, Page):
                return
            self._check_used_well()
            if self._loop.time() >= until:
                why = answer.message if isinstance(answer, Refusal) else "no answer"
                raise TimeoutError(f"the node is not ready after {timeout_s:g} s: {why}")
            await asyncio.sleep(_READY_PAUSE_S)

    async def wait_failed(self) -> None:
        """Returns never: raises NodeFailedError if the node has to stop, as for a broken disk.

        The node then closes itself, and its client's calls end with errors. Nothing that was
        acknowledged is lost.

        Example:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(node.wait_failed())
                await node.client().kv.put("greeting", b"hello")
                watch.cancel()
        """
        await self._failed.wait()
        self._raise_failure()

    def client(self, namespace: str | None = None) -> FloClient:
        """A connected client that asks this node directly; cheap, as all share one connection.

        It reaches the whole cluster, since the node forwards to the leaders. It is closed with the
        node; closing it before does nothing. Raises NodeFailedError if the node had to stop, and
        RuntimeError when it does not run.

        Example:
            orders = node.client("orders")
            await orders.kv.put("1", b"paid")
        """
        self._check_used_well()
        return self._client.with_namespace(_NAMESPACE if namespace is None else namespace)

    async def __aenter__(self) -> "Node":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        await self.stop()

    # --- inside ---

    async def _start_core(self) -> None:
        starting = self._loop.create_task(self._core.start(), name="flo node start")
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # To the end and back: asyncio leaves a socket open when it is stopped while it listens.
            await asyncio.wait((starting,))
            if starting.exception() is None:
                await self._core.stop()
            raise

    async def _open_client(self) -> None:
        from cluster.local_channel import LocalConnector

        host, port = self._config.client_address
        endpoint = Endpoint(host, port or self._core.client_port)
        self._connector = LocalConnector(
            endpoint,
            self._core.router,
            self._config.limits,
            partition_count=self._config.partition_count,
        )
        self._client = FloClient(str(endpoint), connector=self._connector)
        await self._client.connect()
        self._endpoint = endpoint

    def _check_used_well(self) -> None:
        """Raises what is wrong with using the node now."""
        self._raise_failure()
        if self._state is not _State.RUNNING:
            raise RuntimeError(f"the node {self._state.value}")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:
            raise RuntimeError("use the node from the event loop that it was started in")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise NodeFailedError(str(self._failure)) from self._failure.__cause__

    def _fail(self, failure: NodeFailedError) -> None:
        self._failure = failure
        self._failed.set()
        if self._state is not _State.STARTING:
            self._connector.abandon(Refusal(Reason.INTERNAL, Ran.NO, str(failure)))
        if self._state is _State.RUNNING:
            self._begin_to_close()

    def _begin_to_close(self) -> None:
        self._state = _State.STOPPING
        self._closing = self._loop.create_task(self._close(), name="flo node stop")

    async def _close(self) -> None:
        try:
            if self._failure is None:
                await self._core.hand_over()
                self._connector.refuse(Refusal(Reason.SHARD_BUSY, Ran.NO, "the node is stopping"))
                await self._drain()
            # After a failure the client stays until `stop`: it says why, better than a closed one.
            if self._failure is None:
                await self._client.close()
            await self._core.stop()
        finally:
            self._state = _State.STOPPED

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._config.limits.connection_close_s):
                await self._connector.drained()
        except TimeoutError:
            return
