"""The client: connections to a cluster, shared by all tasks of a program."""

import asyncio
import json
import logging
from typing import cast

from flo._caller import Caller
from flo._connection import TcpConnector
from flo._endpoints import parse_endpoint, parse_endpoints
from flo._names import encode_namespace
from flo._pool import Pool
from flo._retry import DEFAULT_RETRY_POLICY, RetryPolicy
from flo._router import Router
from flo._tasks import TaskOwner
from flo._transport import Connector
from flo.exceptions import (
    ConnectionFailedError,
    NotConnectedError,
    ProtocolError,
    ValidationError,
)
from flo.kv import KVOperations
from flo.wire.messages import ClusterStatus, ClusterStatusRequest

IN_FLIGHT_MAX_DEFAULT = 10_000

_logger = logging.getLogger("flo")


class FloClient:
    """A client of one cluster.

    async with FloClient("10.0.0.1:9000,10.0.0.2:9000") as client:
        await client.kv.put("greeting", b"hello")

    One client serves a whole program: thousands of tasks may call it at once, over one connection
    per node. It finds the leaders by itself, reconnects by itself, and tries calls again within
    their time; a write is executed exactly once for all that.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        namespace: str = "default",
        timeout_ms: float = 5000,
        debug: bool = False,
        retry: RetryPolicy = DEFAULT_RETRY_POLICY,
        in_flight_max: int = IN_FLIGHT_MAX_DEFAULT,
        connector: Connector | None = None,
    ) -> None:
        """Prepares a client; nothing is sent before `connect`.

        endpoint: `host:port`, several with commas between; `flo://` may stand before.
        namespace: where the keys are, unless an operation's options say otherwise.
        timeout_ms: how long a call may take with all its tries, unless it says otherwise.
        debug: logs connections and retries to the logger "flo".
        retry: how often calls are tried again, and after which pauses.
        in_flight_max: calls under way at once; further ones wait, first come first served.
        connector: opens the connections, instead of TCP.

        Raises InvalidEndpointError, ValidationError.
        """
        if in_flight_max < 1:
            raise ValidationError(f"in_flight_max of {in_flight_max}: at least 1 is needed")
        self._endpoints = parse_endpoints(endpoint)
        self._namespace = namespace
        self._timeout_ms = timeout_ms
        self._retry = retry
        self._in_flight_max = in_flight_max
        self._connector = TcpConnector() if connector is None else connector
        self._tasks = TaskOwner()
        self._router: Router | None = None
        self._caller: Caller | None = None
        self.kv = KVOperations(self._open_caller, encode_namespace(namespace))
        if debug:
            _logger.setLevel(logging.DEBUG)

    @property
    def namespace(self) -> str:
        """The namespace of operations whose options name none."""
        return self._namespace

    @property
    def is_connected(self) -> bool:
        """Whether at least one node is connected right now."""
        return self._router is not None and self._router.pool.connected

    async def connect(self) -> "FloClient":
        """Connects to the cluster and learns its partitions; returns the client.

        Needs one reachable node. Raises ConnectionFailedError, or what the node answered.
        """
        if self._caller is not None:
            return self
        await self._tasks.start()
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Ends all connections. Calls under way end with NotConnectedError. May be called twice."""
        caller, self._caller = self._caller, None
        router, self._router = self._router, None
        if caller is not None:
            caller.close()
        await self._tasks.close()
        if router is not None:
            await router.pool.close()

    async def reconnect(self, *, timeout: float = 300.0) -> None:
        """Returns when a node is connected, or connects a client that is not open.

        Calls do this by themselves; it is for programs that want to wait for the cluster. `timeout`
        is in seconds. Raises ConnectionFailedError.
        """
        if self._router is None:
            await self.connect()
            return
        pool = self._router.pool
        try:
            async with asyncio.timeout(timeout):
                await pool.wait_ready()
        except TimeoutError:
            raise ConnectionFailedError(
                f"no node could be reached in {timeout:g} s: {pool.describe_failures()}"
            ) from None

    async def cluster_status(
        self, node: str | None = None, *, timeout_ms: float | None = None
    ) -> dict[str, object]:
        """How one node sees the cluster: nodes, partitions, leaders, terms and indexes.

        `node` is the client address of the node to ask, "host:port"; any node when None.
        """
        caller = self._open_caller()
        request = ClusterStatusRequest()
        if node is None:
            answer = await caller.call(request, timeout_ms=timeout_ms)
        else:
            answer = await caller.call_node(parse_endpoint(node), request, timeout_ms=timeout_ms)
        return _status_object(cast(ClusterStatus, answer).document)

    async def __aenter__(self) -> "FloClient":
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> None:
        router = Router(self._forget_sessions)
        pool = Pool(self._endpoints, self._connector, self._tasks, router.changed)
        router.attach(pool)
        caller = Caller(
            router,
            timeout_ms=self._timeout_ms,
            retry=self._retry,
            in_flight_max=self._in_flight_max,
        )
        self._router, self._caller = router, caller
        await pool.connect_first()
        router.learn(await caller.partition_table())
        if not router.partition_count:
            raise ProtocolError("the node knows no partitions: is it a node of a founded cluster?")
        pool.start()
        self._tasks.spawn(router.keep_fresh(caller.partition_table), "flo partition table")

    def _forget_sessions(self) -> None:
        if self._caller is not None:
            self._caller.sessions.discard_all()

    def _open_caller(self) -> Caller:
        if self._caller is None:
            raise NotConnectedError("the client is not connected: use `async with`, or `connect()`")
        return self._caller


def _status_object(document: bytes) -> dict[str, object]:
    try:
        status: object = json.loads(document)
    except ValueError as error:
        raise ProtocolError(f"the cluster status is not JSON: {error}") from error
    if not isinstance(status, dict):
        raise ProtocolError("the cluster status is not a JSON object")
    return cast(dict[str, object], status)
