"""The connections of one client: at most one per node, opened when wanted, given up when silent."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable

from flo._endpoints import Endpoint
from flo._health import NodeHealth
from flo._observe import Connected, ConnectFailed, Disconnected, Reporter
from flo._tasks import TaskOwner
from flo._transport import Channel, Connector
from flo.exceptions import ConnectionFailedError, NotConnectedError
from flo.retry import RetryPolicy
from flo.wire.messages import CallContext, Ping

CONNECT_TIMEOUT_S = 2.0
# A node that answers nothing for so long, while it owes answers, is given up: it may be frozen, or
# the network may drop packets. Longer than an election, during which a healthy node may hold
# requests.
SILENCE_MAX_S = 3.0
_PING_MS = 1000
_SILENCE_CHECK_S = 0.5
_RECONNECT = RetryPolicy(initial_backoff_ms=20, max_backoff_ms=2_000)


class _Node:
    """What is known about the way to one address."""

    __slots__ = (
        "channel",
        "connected_at_s",
        "connecting",
        "error",
        "failures",
        "not_before_s",
        "round_trip_s",
    )

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.connected_at_s = 0.0
        self.round_trip_s: float | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.failures = 0
        self.not_before_s = 0.0
        self.error = "not tried yet"


class Pool:
    """Channels by address.

    `endpoints`, the addresses given by the user, are kept for ever; others come from the partition
    table and are forgotten with it. `on_change` is called whenever a channel came or went.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        connector: Connector,
        tasks: TaskOwner,
        on_change: Callable[[], None],
        *,
        reporter: Reporter,
    ) -> None:
        self._reporter = reporter
        self._endpoints = tuple(endpoints)
        self._connector = connector
        self._tasks = tasks
        self._on_change = on_change
        self._nodes = {endpoint: _Node() for endpoint in self._endpoints}
        self._ready: list[Channel] = []
        self._any_ready = asyncio.Event()
        self._waiters = 0
        self._turn = 0
        self._closed = False
        self._connect_timeout_s = CONNECT_TIMEOUT_S

    @property
    def connected(self) -> bool:
        """Whether any node can be asked right now."""
        return bool(self._ready)

    def start(self) -> None:
        """Begins to watch for silent nodes."""
        self._tasks.spawn(self._watch(), "flo silence watch")

    async def connect_first(self, timeout_s: float) -> None:
        """Tries every endpoint once, for so long, and returns with the first connection.

        Raises ConnectionFailedError when none can be reached.
        """
        self._connect_timeout_s = timeout_s
        pending = {task for endpoint in self._endpoints if (task := self._start(endpoint))}
        while pending and not self._ready:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        self._connect_timeout_s = CONNECT_TIMEOUT_S
        if not self._ready:
            raise ConnectionFailedError(
                f"no node could be reached: {self.describe_failures()}. Check the addresses, and"
                " that the nodes run"
            )

    def set_known(self, addresses: Iterable[Endpoint]) -> None:
        """The addresses of the newest partition table: others, not the user's, are forgotten."""
        known = {*self._endpoints, *addresses}
        for endpoint in known - self._nodes.keys():
            self._nodes[endpoint] = _Node()
        for endpoint in self._nodes.keys() - known:
            node = self._nodes[endpoint]
            if node.channel is None and node.connecting is None:
                del self._nodes[endpoint]

    def channel_to(self, endpoint: Endpoint) -> Channel | None:
        """The channel to a node. None, and one is being opened unless that failed just now."""
        node = self._nodes.get(endpoint)
        if node is None:
            return None
        channel = node.channel or self._by_other_name(endpoint)
        if channel is not None:
            return channel
        if node.not_before_s <= asyncio.get_running_loop().time():
            self._start(endpoint)
        return None

    def any_channel(self, avoid: Channel | None = None) -> Channel | None:
        """Some channel, another one than `avoid` when there is one; they take turns."""
        ready = self._ready
        if not ready:
            return None
        self._turn += 1
        for shift in range(len(ready)):
            channel = ready[(self._turn + shift) % len(ready)]
            if channel is not avoid:
                return channel
        return avoid

    async def wait_ready(self) -> None:
        """Returns when a node is connected; every known address is tried until then."""
        self._waiters += 1
        try:
            for endpoint in self._nodes:
                self._start(endpoint)
            await self._any_ready.wait()
        finally:
            self._waiters -= 1

    async def open(self, endpoint: Endpoint) -> Channel:
        """The channel to this very address. Raises ConnectionFailedError."""
        known = self._by_other_name(endpoint)
        if known is not None:
            return known
        node = self._nodes.setdefault(endpoint, _Node())
        if node.channel is None:
            task = self._start(endpoint)
            if task is None:
                raise NotConnectedError("the client is closed")
            await asyncio.wait((task,))
        if node.channel is None:
            raise ConnectionFailedError(
                f"{endpoint} could not be reached: {node.error}. Check the address, and that the"
                " node runs"
            )
        return node.channel

    def describe_failures(self) -> str:
        """Every address with why it is not connected, in one line."""
        return ", ".join(
            f"{endpoint} ({node.error})"
            for endpoint, node in self._nodes.items()
            if node.channel is None
        )

    def health(self, now: float) -> tuple[NodeHealth, ...]:
        """How the way to each known node is; `now` is loop time."""
        # Copies in one step: another thread may ask.
        nodes = list(self._nodes.items())
        peers = {channel.peer for channel in list(self._ready)}
        return tuple(
            _health(endpoint, node, now)
            for endpoint, node in nodes
            # Not what is reached by another name.
            if node.channel is not None or endpoint not in peers
        )

    def note_round_trip(self, endpoint: Endpoint, seconds: float) -> None:
        """What a ping took."""
        channel = self._by_other_name(endpoint)
        node = self._nodes.get(endpoint if channel is None else channel.endpoint)
        if node is not None:
            node.round_trip_s = seconds

    def _by_other_name(self, endpoint: Endpoint) -> Channel | None:
        """The channel that reached this address, under whatever name."""
        return next((each for each in self._ready if each.peer == endpoint), None)

    def interrupt(self) -> None:
        """Ends every channel now; they are opened again when they are needed."""
        for channel in list(self._ready):
            channel.close("interrupted by the program")
            self._lost(channel)
        if not self._ready:
            # Those who wait for a connection wake up once, and see that they shall not.
            self._any_ready.set()
            self._any_ready.clear()

    async def close(self) -> None:
        """Ends every channel and waits for it."""
        self._closed = True
        self._any_ready.set()
        channels = list(self._ready)
        for channel in channels:
            channel.close("the client is closed")
        for channel in channels:
            await channel.wait_closed()

    def _start(self, endpoint: Endpoint) -> asyncio.Task[None] | None:
        node = self._nodes[endpoint]
        # While the client closes, its tasks may still look for a channel before they end.
        if node.channel is None and node.connecting is None and self._tasks.is_open:
            work = self._connect(endpoint, node)
            node.connecting = self._tasks.spawn(work, f"flo connect {endpoint}")
        return node.connecting

    async def _connect(self, endpoint: Endpoint, node: _Node) -> None:
        """Tries until connected as long as somebody waits, else once."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(max(0.0, node.not_before_s - loop.time()))
                if await self._try(endpoint, node):
                    return
                node.failures += 1
                pause_s = _RECONNECT.pause_s(node.failures)
                node.not_before_s = loop.time() + pause_s
                self._reporter.report(
                    ConnectFailed(str(endpoint), node.error, node.failures, pause_s * 1000)
                )
                if self._ready or not self._waiters:
                    return
        finally:
            node.connecting = None

    async def _try(self, endpoint: Endpoint, node: _Node) -> bool:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        timeout_s = self._connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                channel = await self._connector.connect(endpoint, self._lost)
        except TimeoutError:
            node.error = f"no connection within {timeout_s:g} s"
        except OSError as error:
            node.error = _reason(error)
        else:
            node.connected_at_s = loop.time()
            node.round_trip_s = node.connected_at_s - began_s
            node.channel = channel
            node.failures = 0
            self._ready.append(channel)
            self._any_ready.set()
            self._on_change()
            self._reporter.report(Connected(str(endpoint), node.round_trip_s * 1000))
            return True
        return False

    def _lost(self, channel: Channel) -> None:
        if channel not in self._ready:
            return
        self._ready.remove(channel)
        node = self._nodes[channel.endpoint]
        node.channel = None
        node.error = channel.end_reason
        # Once at least somebody else shall be asked first: the node may be frozen, and still
        # accept.
        node.failures = 1
        node.not_before_s = asyncio.get_running_loop().time() + _RECONNECT.pause_s(1)
        if self._closed:
            return
        if not self._ready:
            self._any_ready.clear()
        self._on_change()
        self._reporter.report(
            Disconnected(str(channel.endpoint), channel.end_reason, channel.unanswered)
        )

    def drop_silent(self, now: float) -> None:
        """Ends the channels that owe answers and gave none for too long; `now` is loop time.

        A call may wait for long at a node that is well, so it is asked for a sign of life first.
        """
        for channel in list(self._ready):
            silence_s = channel.silence_s(now)
            if silence_s > SILENCE_MAX_S:
                channel.close(f"it answered nothing for {SILENCE_MAX_S:g} s")
            elif silence_s > SILENCE_MAX_S / 2:
                channel.send(Ping(), CallContext(deadline_ms=_PING_MS))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_SILENCE_CHECK_S)
            self.drop_silent(asyncio.get_running_loop().time())


def _health(endpoint: Endpoint, node: _Node, now: float) -> NodeHealth:
    channel = node.channel
    return NodeHealth(
        endpoint=str(endpoint),
        connected_for_s=None if channel is None else now - node.connected_at_s,
        unanswered=0 if channel is None else channel.unanswered,
        round_trip_ms=None if node.round_trip_s is None else node.round_trip_s * 1000,
        failures=node.failures,
        last_error=None if channel is not None else node.error,
        retry_in_s=0.0 if channel is not None else max(0.0, node.not_before_s - now),
    )


def _reason(error: OSError) -> str:
    """What the system says, without the address that asyncio adds to it."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
