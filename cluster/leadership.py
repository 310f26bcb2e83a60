"""Who should lead: leadership goes back to the preferred replica, and away before a stop."""

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.clock import Clock
    from cluster.forwarding import MessageSender
    from cluster.partition import Partition
    from cluster.raft.types import NodeId

logger = logging.getLogger("flo.node")

_CHECK_EVERY_S = 1.0
_STABLE_S = 5.0
"""How long this node must have led, and the preferred one must have been here."""
_POLL_S = 0.01
_DRAIN_S = 1.0
"""How long open transactions may take to end before leadership moves, which would lose them."""
_MOVE_S = 1.0
"""How long a hand-over may take after that: an election timeout."""
_CLOSE = 100


class _Drain(NamedTuple):
    """A hand-over that waits for open transactions."""

    peer: "NodeId"
    until: float


class Leadership:
    """Moves the leadership of this node's partitions: also away from a full or stuck disk.

    The first replica of a partition is its preferred leader, which spreads the work: after a
    restart it gets its partitions back once it has caught up.
    """

    def __init__(
        self,
        node_id: "NodeId",
        partitions: "dict[int, Partition]",
        network: "MessageSender",
        clock: "Clock",
        request_turn: "Callable[[Partition], None]",
    ) -> None:
        self._node_id = node_id
        self._partitions = partitions
        self._network = network
        self._clock = clock
        self._request_turn = request_turn
        self._next_check = clock.monotonic() + _CHECK_EVERY_S
        self._level: dict[int, int] = {}
        self._leave_again_at: dict[int, float] = {}
        """By partition, after a full disk made this node hand it over: to whom may be no better."""
        self._drains: dict[int, _Drain] = {}
        self._unstable_until = dict.fromkeys(partitions, self._next_check)

    def tick(self, *, disk_is_stuck: bool = False) -> None:
        """Gives partitions back to their preferred leaders; call often, it looks seldom."""
        now = self._clock.monotonic()
        for number in list(self._drains):
            self._go_on(number, now)
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_EVERY_S
        for number, partition in self._partitions.items():
            if partition.broken:
                continue
            preferred = partition.group.config.replicas[0]
            full = partition.disk_full or partition.log_full or partition.log_too_long
            if full or disk_is_stuck:
                if now >= self._leave_again_at.get(number, 0.0):
                    self._leave_again_at[number] = now + 6 * _STABLE_S
                    self._hand_over(partition)
                continue
            ready = (
                preferred != self._node_id
                and partition.group.is_ready
                and self._network.connected(preferred)
                and self._keeps_up(number, partition, preferred)
            )
            if not ready:
                self._unstable_until[number] = now + _STABLE_S
            elif now >= self._unstable_until[number]:
                self._unstable_until[number] = now + 6 * _STABLE_S
                partition.transactions.pause_begins(now + _DRAIN_S + _MOVE_S)
                self._drains[number] = _Drain(preferred, now + _DRAIN_S)
                self._go_on(number, now)

    def _go_on(self, number: int, now: float) -> None:
        """Hands over once no transaction is open; if they take long, some other time."""
        partition, drain = self._partitions[number], self._drains[number]
        if not partition.group.is_leader:
            del self._drains[number]
        elif not len(partition.transactions):
            del self._drains[number]
            logger.info("partition %d: leadership goes to node %d", number, drain.peer)
            partition.group.transfer_leadership(drain.peer)
            self._request_turn(partition)
        elif now >= drain.until:
            del self._drains[number]
            partition.transactions.pause_begins(0.0)

    def _keeps_up(self, number: int, partition: "Partition", peer: "NodeId") -> bool:
        """Whether `peer` is close to the end of the log and moves on, so a hand-over can end.

        Its state counts as well as its log: until that has caught up it would refuse everybody. One
        whose disk is full stands still, however close it is.
        """
        level, last = partition.group.level_of(peer), partition.group.last_index
        moves = level == last or level > self._level.get(number, 0)
        self._level[number] = level
        return moves and last - level < _CLOSE

    async def hand_over_all(self, timeout_s: float) -> None:
        """Hands every led partition to the replica that is furthest with it.

        Returns when none is led any more, or after `timeout_s`: the others then notice the
        closed connection and elect without a hand-over.
        """
        now = self._clock.monotonic()
        until, drain_until = now + timeout_s, now + min(_DRAIN_S, timeout_s / 2)
        while now < until:
            parts = self._partitions.values()
            led = [each for each in parts if each.group.is_leader and not each.broken]
            for partition in led:
                partition.transactions.pause_begins(until)
            may_wait = now < drain_until
            waited_for = [
                partition
                for partition in led
                if self._hand_over(partition, ends_transactions=not may_wait)
            ]
            if not waited_for:
                return
            await asyncio.sleep(_POLL_S)
            now = self._clock.monotonic()

    def _hand_over(self, partition: "Partition", *, ends_transactions: bool = True) -> bool:
        """Whether there is somebody to wait for. Open transactions are lost, if they may be."""
        group = partition.group
        peers = [peer for peer in group.config.peers if self._network.connected(peer)]
        if not peers:
            return False
        if group.accepts_proposals and (ends_transactions or not len(partition.transactions)):
            group.transfer_leadership(max(peers, key=group.level_of))
            self._request_turn(partition)
        return True
