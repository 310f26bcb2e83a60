"""What a client has while it is open: connections, background tasks, and what makes its calls."""

import asyncio
from dataclasses import dataclass

from flo._caller import Caller, timeout_s
from flo._endpoints import Endpoint
from flo._health import ClientHealth
from flo._observe import ClientObserver, Reporter
from flo._pool import Pool
from flo._router import Router
from flo._tasks import TaskOwner
from flo._tracing import find_tracer
from flo._transport import Connector
from flo._watch import CallWatch
from flo.exceptions import ConnectionFailedError, NotConnectedError, ProtocolError
from flo.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What stays the same when a client is closed and opened again."""

    endpoints: tuple[Endpoint, ...]
    timeout_ms: float
    retry: RetryPolicy
    in_flight_max: int
    connector: Connector
    observer: ClientObserver | None
    tracing: bool | None


class Link:
    """The way to one cluster. Open it in the event loop that uses it, and close it there."""

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._tasks = TaskOwner()
        reporter = Reporter(settings.observer)
        tracer = find_tracer(settings.tracing)
        watched = settings.observer is not None or tracer is not None
        self._router = Router(self._forget_sessions)
        self.pool = Pool(
            settings.endpoints,
            settings.connector,
            self._tasks,
            self._router.changed,
            reporter=reporter,
        )
        self._router.attach(self.pool)
        self.caller = Caller(
            self._router,
            reporter,
            timeout_ms=settings.timeout_ms,
            retry=settings.retry,
            in_flight_max=settings.in_flight_max,
            watch=CallWatch(reporter, tracer) if watched else None,
        )

    @property
    def gone(self) -> bool:
        """Whether it can be neither used nor closed: its loop has ended, or this is a fork."""
        return self.caller.home.gone

    @property
    def connected(self) -> bool:
        """Whether any node can be asked right now."""
        return self.pool.connected and not self.gone

    async def open(self, wait_s: float | None) -> None:
        """Connects and learns the partitions. Without `wait_s` each endpoint is tried once.

        Raises ConnectionFailedError, or what the node answered; nothing is left open then.
        """
        await self._tasks.start()
        try:
            await self._open(wait_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Ends all connections and tasks; calls under way end with NotConnectedError."""
        self.caller.close()
        await self._tasks.close()
        await self.pool.close()

    def interrupt(self) -> None:
        """Ends all connections and the calls under way, and stays open."""
        self.caller.home.check()
        self.caller.interrupt()
        self.pool.interrupt()

    async def wait_connected(self, within_s: float) -> None:
        """Returns when a node is connected.

        Raises ConnectionFailedError when the time ends, NotConnectedError when the client does.
        """
        self.caller.home.check()
        try:
            async with asyncio.timeout(within_s):
                await self.pool.wait_ready()
                # An interruption and the end wake the waiting ones too.
                while not self.pool.connected:
                    if not self._tasks.is_open:
                        raise NotConnectedError("the client was closed")
                    await self.pool.wait_ready()
        except TimeoutError:
            raise ConnectionFailedError(
                f"no node could be reached in {within_s:g} s: {self.pool.describe_failures()}."
                " Check the addresses, and that the nodes run"
            ) from None

    def health(self) -> ClientHealth:
        """How everything is right now."""
        slots = self.caller.slots
        return ClientHealth(
            nodes=self.pool.health(self.caller.home.loop.time()),
            partitions=self._router.partition_count,
            leaders_known=self._router.leaders_known,
            calls_in_flight=self._settings.in_flight_max - slots.free,
            calls_waiting=slots.waiting,
        )

    async def _open(self, wait_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s(self._settings.timeout_ms)
        if wait_s is None:
            await self.pool.connect_first(deadline - loop.time())
        else:
            await self.wait_connected(wait_s)
            deadline = loop.time() + timeout_s(self._settings.timeout_ms)
        left_ms = max(1.0, (deadline - loop.time()) * 1000)
        self._router.learn(await self.caller.partition_table(left_ms))
        if not self._router.partition_count:
            raise ProtocolError("the node knows no partitions: is it a node of a founded cluster?")
        self.pool.start()
        self._tasks.spawn(
            self._router.keep_fresh(self.caller.partition_table), "flo partition table"
        )

    def _forget_sessions(self) -> None:
        self.caller.sessions.discard_all()
