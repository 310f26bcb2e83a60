"""The client: connections to a cluster, shared by all tasks of a program."""

import asyncio
import copy
import json
import logging
from time import perf_counter
from typing import cast

from flo._caller import Caller, timeout_s
from flo._connection import TcpConnector
from flo._endpoints import parse_endpoint, parse_endpoints
from flo._health import ClientHealth
from flo._link import Link, LinkSettings
from flo._names import encode_namespace
from flo._observe import ClientObserver
from flo._transport import Connector
from flo.exceptions import NotConnectedError, ProtocolError, ValidationError
from flo.kv import KVOperations
from flo.queue import QueueOperations
from flo.retry import DEFAULT_RETRY_POLICY, RetryPolicy
from flo.streams import StreamOperations
from flo.wire.messages import ClusterStatus, ClusterStatusRequest, Ping
from flo.worker import StreamWorker
from flo.worker_types import WORKER_BLOCK_MS_DEFAULT, StreamRecordHandler

IN_FLIGHT_MAX_DEFAULT = 10_000

_logger = logging.getLogger("flo")


class FloClient:
    """A client of one cluster.

    One client serves a whole program: thousands of tasks may call it at once, over one connection
    per node. It finds the leaders by itself, reconnects by itself, and tries calls again within
    their time; a write is executed exactly once for all that.

    Example:
        async with FloClient("localhost:9000,localhost:9001") as client:
            await client.kv.put("greeting", b"hello")
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
        observer: ClientObserver | None = None,
        tracing: bool | None = None,
    ) -> None:
        """Prepares a client; nothing is sent before `connect`.

        endpoint: `host:port`, several with commas between; `flo://` may stand before.
        namespace: where the keys are, unless an operation's options say otherwise.
        timeout_ms: how long a call may take with all its tries, unless it says otherwise; the time
            it is told to wait comes on top. At most a day: more counts as a day.
        debug: shows what the client logs about connections and retries.
        retry: how often calls are tried again, and after which pauses.
        in_flight_max: calls under way at once; further ones wait, first come first served.
        connector: opens the connections, instead of TCP.
        observer: is called with an event for each call, retry and connection.
        tracing: whether calls make OpenTelemetry spans. With None they do if the program has set
            OpenTelemetry up when the client connects.

        Raises InvalidEndpointError, ValidationError.
        """
        if in_flight_max < 1:
            raise ValidationError(f"in_flight_max of {in_flight_max}: at least 1 is needed")
        timeout_s(timeout_ms)
        # Another client when this is a view of it: only that one holds the connections.
        self._origin = self
        self._settings = LinkSettings(
            endpoints=parse_endpoints(endpoint),
            timeout_ms=timeout_ms,
            retry=retry,
            in_flight_max=in_flight_max,
            connector=TcpConnector() if connector is None else connector,
            observer=observer,
            tracing=tracing,
        )
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._use_namespace(namespace)
        if debug:
            _show_log()

    def with_namespace(self, name: str) -> "FloClient":
        """The same client with another default namespace: a view over the same connections.

        Cheap enough to be made for each request. Closing the view closes nothing; once this client
        is closed, calls through the view raise NotConnectedError.

        Example:
            orders = client.with_namespace("orders")
            await orders.kv.put("1", b"paid")
        """
        view = copy.copy(self)
        view._use_namespace(name)
        return view

    @property
    def namespace(self) -> str:
        """The namespace of operations whose options name none."""
        return self._namespace

    def get_namespace(self, override: str | None) -> str:
        """The namespace an operation uses whose options name `override`, or None.

        Example:
            print(client.get_namespace(None), client.get_namespace("orders"))  # default orders
        """
        return self._namespace if override is None else override

    @property
    def observer(self) -> ClientObserver | None:
        """Who is called with events, as given to the constructor."""
        return self._settings.observer

    @property
    def is_connected(self) -> bool:
        """Whether at least one node is connected right now."""
        link = self._origin._link
        return link is not None and link.connected

    async def connect(self) -> "FloClient":
        """Connects to the cluster and learns its partitions; returns the client.

        Needs one reachable node, and takes `timeout_ms` at most. Raises ConnectionFailedError, or
        what the node answered.

        Example:
            client = await FloClient("localhost:9000").connect()
            await client.close()
        """
        if self._origin is not self:
            # A view connects nothing; this raises when there is nothing to share.
            self._open_caller()
            return self
        await self._open(None)
        return self

    async def close(self) -> None:
        """Ends all connections. Calls under way end with NotConnectedError. May be called twice.

        A client whose event loop has ended, or whose process was forked, is only forgotten: its
        connections are not this loop's, or not this process's, to close.

        Example:
            client = FloClient("localhost:9000")
            await client.connect()
            await client.close()
        """
        if self._origin is not self or self._link is None:
            return
        if not self._link.gone:
            self._link.caller.home.check()
        link, self._link, self._opening = self._link, None, asyncio.Lock()
        if not link.gone:
            await link.close()

    def interrupt(self) -> None:
        """Ends all connections at once, and every call under way with UnexpectedEofError.

        The client stays open: the next call connects again. Does nothing when it is not open.

        Example:
            client.interrupt()
            await client.kv.get("greeting")  # connects again
        """
        link = self._origin._link
        if link is not None:
            link.interrupt()

    async def reconnect(self, *, timeout: float = 300.0) -> None:
        """Returns when a node is connected; opens a client that is not open.

        Calls do this by themselves; it is for programs that want to wait for the cluster. `timeout`
        is in seconds. Raises ConnectionFailedError.

        Example:
            await client.reconnect(timeout=60)
        """
        if self._origin is not self:
            self._open_caller()
            await self._origin.reconnect(timeout=timeout)
        elif self._link is None:
            await self._open(timeout)
        else:
            await self._link.wait_connected(timeout)

    def health(self) -> ClientHealth:
        """How the connections are right now. Asks nobody, and may be called from any thread.

        Example:
            for node in client.health().nodes:
                print(node.endpoint, node.connected, node.unanswered, node.last_error)
        """
        link = self._origin._link
        return ClientHealth((), 0, 0, 0, 0) if link is None else link.health()

    async def ping(self, node: str | None = None, *, timeout_ms: float | None = None) -> float:
        """Asks a node for a sign of life; returns how long the answer took, in milliseconds.

        `node` is its client address, "host:port"; any node when None. An answer says that the node
        runs, not that its partitions have leaders. Raises FloError.

        Example:
            print(f"answered in {await client.ping():.2f} ms")
        """
        link = self._open_link()
        # Not the loop's clock: uvloop's counts milliseconds, and stands still within a turn.
        began_s = perf_counter()
        if node is None:
            await link.caller.call(Ping(), timeout_ms=timeout_ms)
            return (perf_counter() - began_s) * 1000
        endpoint = parse_endpoint(node)
        await link.caller.call_node(endpoint, Ping(), timeout_ms=timeout_ms)
        took_s = perf_counter() - began_s
        link.pool.note_round_trip(endpoint, took_s)
        return took_s * 1000

    async def cluster_status(
        self, node: str | None = None, *, timeout_ms: float | None = None
    ) -> dict[str, object]:
        """How one node sees the cluster: nodes, partitions, leaders, terms and indexes.

        `node` is the client address of the node to ask, "host:port"; any node when None.

        Example:
            status = await client.cluster_status()
            print(status["partition_count"], "partitions")  # 8 partitions
        """
        caller = self._open_caller()
        request = ClusterStatusRequest()
        if node is None:
            answer = await caller.call(request, timeout_ms=timeout_ms)
        else:
            answer = await caller.call_node(parse_endpoint(node), request, timeout_ms=timeout_ms)
        return _status_object(cast(ClusterStatus, answer).document)

    def new_stream_worker(
        self,
        *,
        stream: str,
        group: str,
        handler: StreamRecordHandler,
        consumer: str | None = None,
        worker_id: str | None = None,
        concurrency: int = 10,
        batch_size: int = 10,
        block_ms: int = WORKER_BLOCK_MS_DEFAULT,
        message_timeout: float = 300.0,
        redeliver_pending_on_reconnect: bool = True,
        claim_min_idle_ms: int = 0,
    ) -> StreamWorker:
        """A worker that handles the records of a stream as a consumer of a group.

        handler: is awaited with a `StreamContext` for each record; when it raises, the record is
            given back, and delivered again.
        consumer, worker_id: its name in the group; by default the host's with a random end. One
            that begins again under its name also takes up what it had not acknowledged.
        concurrency: how many records are handled at once, 1 to 1,000.
        batch_size: how many are taken at a time, 1 to 1,000.
        block_ms: how long one read waits; the worker reads again.
        message_timeout: seconds after which a handler is cancelled, and its record given back. The
            group's ack timeout (330 s by default) should be longer.
        redeliver_pending_on_reconnect: whether it takes up what was given to it, and got lost with
            a connection or an earlier run; else that comes back with the group's ack timeout.
        claim_min_idle_ms: not 0: takes over what other consumers have held for so long, as dead
            ones do. It should be longer than `message_timeout`.

        Raises ValidationError.

        Example:
            async def handle(ctx: StreamContext) -> None:
                print(ctx.json())

            worker = client.new_stream_worker(stream="events", group="printers", handler=handle)
            await worker.close()  # instead of: await worker.start()
        """
        return StreamWorker(
            self,
            handler,
            stream=stream,
            group=group,
            consumer=consumer,
            worker_id=worker_id,
            concurrency=concurrency,
            batch_size=batch_size,
            block_ms=block_ms,
            message_timeout=message_timeout,
            redeliver_pending_on_reconnect=redeliver_pending_on_reconnect,
            claim_min_idle_ms=claim_min_idle_ms,
        )

    async def __aenter__(self) -> "FloClient":
        return await self.connect()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _open(self, wait_s: float | None) -> None:
        if self._link is not None and self._link.gone:
            self._link, self._opening = None, asyncio.Lock()
        if self._link is not None:
            self._link.caller.home.check()
            return
        async with self._opening:
            # Another task may have been quicker.
            if self._link is None:
                link = Link(self._settings)
                await link.open(wait_s)
                self._link = link

    def _open_link(self) -> Link:
        link = self._origin._link
        if link is None:
            if self._origin is not self:
                raise NotConnectedError("the client that this one is a view of is not connected")
            raise NotConnectedError("the client is not connected: use `async with`, or `connect()`")
        return link

    def _open_caller(self) -> Caller:
        return self._open_link().caller

    def _use_namespace(self, name: str) -> None:
        """Binds everything that has a default namespace to one."""
        self._namespace = name
        namespace = encode_namespace(name)
        self.kv: KVOperations = KVOperations(self._open_caller, namespace)
        self.queue: QueueOperations = QueueOperations(self._open_caller, namespace)
        self.stream: StreamOperations = StreamOperations(self._open_caller, namespace)


def _status_object(document: bytes) -> dict[str, object]:
    try:
        status: object = json.loads(document)
    except ValueError as error:
        raise ProtocolError(f"the cluster status is not JSON: {error}") from error
    if not isinstance(status, dict):
        raise ProtocolError("the cluster status is not a JSON object")
    return cast(dict[str, object], status)


def _show_log() -> None:
    """Lets a program that has set up no logging see the client's."""
    _logger.setLevel(logging.DEBUG)
    if not _logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        _logger.addHandler(handler)
