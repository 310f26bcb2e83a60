"""What is promised, and when: the one place where a node syncs and sends.

A turn handles everything that has arrived since the last one:

    1  propose, decide          every partition with news
    2  early messages leave     they promise nothing about this node's disk
    3  one batch, one sync      the records of all partitions
    4  count what is durable    a leader's own copy counts only now
    5  promises leave           acknowledgements, votes, vote requests: their records are synced
    6  apply                    only entries that are committed and synced here; see `Replica`
    7  answers leave

On a fast disk the sync is made on the event loop; on a slow one in a thread, and what waits for
it is finished when it returns, while turns go on with whatever needs no disk.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from math import inf
from typing import TYPE_CHECKING, Protocol

from cluster.peers.packing import pack_message
from cluster.storage.wal_errors import WalFull

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.partition import Partition
    from cluster.raft.types import NodeId, Outgoing
    from cluster.storage.wal import Wal
    from cluster.storage.wal_buffer import SyncTicket

logger = logging.getLogger("flo.turn")


_STUCK_S = 2.0
_WRITE_AGAIN_S = 0.5
"""How long to wait before records that found no space are written again."""
_WORK_S = 0.02
"""Of one turn; partitions that have not applied and answered by then do so in the next one."""


class Network(Protocol):
    """The part of the peer network that a turn uses."""

    def send_packed(self, node_id: "NodeId", packed: bytes) -> bool:
        """Queues a packed message for this turn; false when the peer is not connected."""
        ...

    def flush(self) -> None:
        """Writes what is queued, one write per peer."""
        ...


class SyncPolicy:
    """Whether to sync on the loop or in a thread, by how long syncs take.

    Handing over to a thread costs more than a sync of a fast disk (measured: 12,190 puts/s on
    the loop, 7,600 with a thread); a slow disk must not stall heartbeats and reads. What counts
    is the shortest sync of a window: waiting for a busy processor makes single ones long on any
    disk, but only a slow disk makes all of them long.
    """

    SLOW_S = 0.001
    FAST_S = 0.0005
    WINDOW = 32
    STALL_S = 0.05

    def __init__(self) -> None:
        self._shortest_s = inf
        self._count = 0
        self._stalls = 0
        self.in_thread = False

    def took(self, seconds: float) -> None:
        """Notes the duration of a sync."""
        self._stalls = self._stalls + 1 if seconds > self.STALL_S else 0
        if self._stalls == 2:
            # Not by chance: the loop must not stand still for the rest of a window.
            self.in_thread = True
        self._shortest_s = min(self._shortest_s, seconds)
        self._count += 1
        if self._count == self.WINDOW:
            self.in_thread = self._shortest_s > (self.FAST_S if self.in_thread else self.SLOW_S)
            self._shortest_s, self._count = inf, 0


class Turns:
    """Runs the turns of one node. `request` is how everybody else asks for one."""

    def __init__(
        self,
        *,
        wal: "Wal",
        network: Network,
        clock: "Clock",
        call_soon: Callable[[Callable[[], None]], object],
        call_soon_threadsafe: Callable[[Callable[[], None]], object],
        on_failure: Callable[[BaseException], None],
        executor: Executor,
    ) -> None:
        self._wal = wal
        self._network = network
        self._clock = clock
        self._call_soon = call_soon
        self._call_soon_threadsafe = call_soon_threadsafe
        self._on_failure = on_failure
        self._news: dict[Partition, None] = {}
        self._covered: dict[Partition, None] = {}
        """Whose records are in the sync that is in flight."""
        self._waiting: dict[Partition, None] = {}
        """Whose records came after it was sealed."""
        self._scheduled = False
        self._stopped = False
        self._in_flight: SyncTicket | None = None
        self._in_flight_since = 0.0
        self._found_no_space: SyncTicket | None = None
        """To be written again, before anything else is."""
        self._write_again_at = 0.0
        self._preparing = False
        self._executor = executor
        self.policy = SyncPolicy()

    def request(self, partition: "Partition") -> None:
        """`partition` has news; a turn runs before the loop polls again."""
        self._news[partition] = None
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._call_soon(self._run)

    @property
    def disk_is_stuck(self) -> bool:
        """A sync takes so long that nothing should wait for this node's disk."""
        if self._in_flight is None:
            return False
        return self._clock.monotonic() - self._in_flight_since > _STUCK_S

    def stop(self) -> None:
        """No further turn. A sync in flight ends in its thread; nobody is told."""
        self._stopped = True

    def _run(self) -> None:
        self._scheduled = False
        if self._stopped:
            return
        news, self._news = self._news, {}
        try:
            for partition in news:
                partition.before_sync()
                # At once, so that the next group sees what the links have to carry already.
                self._queue(partition.take_early(), partition)
            self._network.flush()
            self._sync(news)
            self._finish(news)
            if self._wal.needs_segment() and not self._preparing:
                self._prepare_segment()
        except Exception as error:
            # A failed sync may have dropped what it was to write: never sync again, stop. Anything
            # else is a mistake of ours that has cost this turn's news: stop as well.
            self._fail(error)

    def _finish(self, partitions: "dict[Partition, None]") -> None:
        for partition in partitions:
            partition.count_durable()
            self._queue(partition.group.take_synced(), partition)
        self._network.flush()
        again: list[Partition] = []
        until = self._clock.monotonic() + _WORK_S
        is_late = False
        for partition in partitions:
            if is_late:
                self.request(partition)
            elif partition.apply_and_answer():
                again.append(partition)
            is_late = self._clock.monotonic() > until
        # Last: whoever had no time comes first in the next turn.
        for partition in again:
            self.request(partition)

    def _queue(self, outgoing: "list[Outgoing]", partition: "Partition") -> None:
        if partition.broken:
            return
        last: object = None
        packed = b""
        for node, message in outgoing:
            if message is not last:
                packed = pack_message(message)
                last = message
            self._network.send_packed(node, packed)

    def _sync(self, news: "dict[Partition, None]") -> None:
        """Syncs what is buffered, or starts to."""
        if self._in_flight is not None:
            self._waiting.update(news)
            return
        again = self._found_no_space
        if again is not None and self._clock.monotonic() < self._write_again_at:
            self._waiting.update(news)
            return
        ticket = again or self._wal.seal()
        if ticket is None:
            return
        if self.policy.in_thread or again is not None:
            self._in_flight, self._found_no_space = ticket, None
            self._in_flight_since = self._clock.monotonic()
            self._covered = {**self._waiting, **news}
            self._waiting = {}
            future = self._executor.submit(self._timed_sync, ticket)
            future.add_done_callback(self._synced_in_thread)
            return
        try:
            self.policy.took(self._timed_sync(ticket))
        except WalFull:
            self._keep(ticket, news)
        else:
            self._wal.complete(ticket)

    def _keep(self, ticket: "SyncTicket", covered: "dict[Partition, None]") -> None:
        """There was no space: the timer, which turns every partition, tries again."""
        self._found_no_space = ticket
        self._write_again_at = self._clock.monotonic() + _WRITE_AGAIN_S
        self._waiting = {**covered, **self._waiting}

    def _timed_sync(self, ticket: "SyncTicket") -> float:
        begun = self._clock.monotonic()
        self._wal.write_and_sync(ticket)
        return self._clock.monotonic() - begun

    def _synced_in_thread(self, future: "Future[float]") -> None:
        self._call_soon_threadsafe(lambda: self._complete(future))

    def _complete(self, future: "Future[float]") -> None:
        ticket, self._in_flight = self._in_flight, None
        if ticket is None or self._stopped:
            return
        covered, self._covered = self._covered, {}
        error = future.exception()
        if isinstance(error, WalFull):
            self._keep(ticket, covered)
            return
        if error is not None:
            self._fail(error)
            return
        waiting, self._waiting = self._waiting, {}
        try:
            self.policy.took(future.result())
            self._wal.complete(ticket)
            self._finish(covered)
        except Exception as failure:
            self._fail(failure)
            return
        for partition in waiting:
            self.request(partition)

    def _prepare_segment(self) -> None:
        self._preparing = True
        future = self._executor.submit(self._wal.prepare_next_segment)
        future.add_done_callback(
            lambda done: self._call_soon_threadsafe(lambda: self._prepared(done))
        )

    def _prepared(self, future: "Future[None]") -> None:
        self._preparing = False
        error = future.exception()
        if error is not None and not self._stopped:
            # A full disk is no error here. Any other one ends the log: it takes no more calls.
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._stopped = True
        logger.critical("this node stops: %s", error, exc_info=error)
        self._on_failure(error)
