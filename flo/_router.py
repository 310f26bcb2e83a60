"""Which node to send a request to: the leader of its partition, or any node, which forwards it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flo._endpoints import Endpoint, parse_endpoint
from flo._pool import Pool
from flo._transport import Channel
from flo.exceptions import FloError, InvalidEndpointError
from flo.wire.messages import PartitionTable
from flo.wire.routing import partition_of

REFRESH_INTERVAL_S = 5.0
# While a partition has no leader that we are connected to: an election may be going on.
REFRESH_INTERVAL_INCOMPLETE_S = 0.5
REFRESH_PAUSE_S = 0.1

_logger = logging.getLogger("flo")


class Router:
    """Keeps the partition table, and for each partition the channel to use.

    A wrong choice costs a hop between nodes, never an error. `on_renumbered` is called when the
    number of partitions turns out to be another one, so nothing known about a partition is true any
    more.
    """

    def __init__(self, on_renumbered: Callable[[], None]) -> None:
        self._on_renumbered = on_renumbered
        self._pool: Pool | None = None
        self._leaders: list[Endpoint | None] = []
        # The chosen channel of each partition; emptied whenever the choice may be another one.
        self._chosen: list[Channel | None] = []
        self._wanted = asyncio.Event()
        self._used = False

    def attach(self, pool: Pool) -> None:
        """The connections to choose from; must come first."""
        self._pool = pool

    @property
    def pool(self) -> Pool:
        """The connections that are chosen from."""
        assert self._pool is not None, "attach comes first"
        return self._pool

    @property
    def partition_count(self) -> int:
        """0 before the first table came."""
        return len(self._leaders)

    @property
    def leaders_known(self) -> int:
        """How many partitions have a leader that we know the address of."""
        return sum(leader is not None for leader in self._leaders)

    def partition_of(self, namespace: bytes, key: bytes) -> int:
        """Where a key lives. Only after the first table came."""
        return partition_of(namespace, key, len(self._leaders))

    def channel(self, partition: int | None) -> Channel | None:
        """The channel for a request; None when no node is connected."""
        self._used = True
        if partition is None:
            return self.pool.any_channel()
        channel = self._chosen[partition]
        if channel is None:
            channel = self._chosen[partition] = self._choose(partition)
        return channel

    def other_channel(self, partition: int | None, avoid: Channel | None) -> Channel | None:
        """The same for another try: not the one just tried, if there is a choice."""
        channel = self.channel(partition)
        return self.pool.any_channel(avoid) if channel is avoid else channel

    def changed(self) -> None:
        """Connections came or went."""
        self._chosen = [None] * len(self._leaders)
        self.refresh()

    def refresh(self) -> None:
        """The table may be out of date: it is asked for soon, however often this is called."""
        self._wanted.set()

    def learn(self, table: PartitionTable) -> None:
        """Takes over a table that is not empty.

        The latest one counts, whatever its version: each node numbers its own. Where it knows of no
        leader the one known before stays, which is as good a guess as any.
        """
        count = len(table.partitions)
        if not count:
            return
        renumbered = count != len(self._leaders)
        known_before = [None] * count if renumbered else self._leaders
        self._leaders = [
            _endpoint(row.leader) or before
            for row, before in zip(table.partitions, known_before, strict=True)
        ]
        self._chosen = [None] * count
        replicas = {_endpoint(address) for row in table.partitions for address in row.replicas}
        known = replicas | set(self._leaders)
        self.pool.set_known(endpoint for endpoint in known if endpoint is not None)
        if renumbered:
            self._on_renumbered()

    async def keep_fresh(self, fetch: Callable[[], Awaitable[PartitionTable]]) -> None:
        """Runs for ever: asks for the table when wanted, and every few seconds while it is used."""
        while True:
            try:
                async with asyncio.timeout(self._refresh_interval_s()):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._used:
                    continue
            self._wanted.clear()
            self._used = False
            try:
                self.learn(await fetch())
            except FloError as error:
                _logger.debug("no partition table: %s", error)
            await asyncio.sleep(REFRESH_PAUSE_S)

    def _refresh_interval_s(self) -> float:
        complete = all(leader and self.pool.channel_to(leader) for leader in set(self._leaders))
        return REFRESH_INTERVAL_S if complete else REFRESH_INTERVAL_INCOMPLETE_S

    def _choose(self, partition: int) -> Channel | None:
        leader = self._leaders[partition]
        channel = None if leader is None else self.pool.channel_to(leader)
        return channel or self.pool.any_channel()


def _endpoint(address: str | None) -> Endpoint | None:
    """An address of the table; None when it is none, or not understood."""
    if address is None:
        return None
    try:
        return parse_endpoint(address)
    except InvalidEndpointError as error:
        _logger.debug("in the partition table: %s", error)
        return None
