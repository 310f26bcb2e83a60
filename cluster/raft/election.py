"""When a replica campaigns: the election deadline, the pre-vote and fast failover.

A replica that cannot hear the leader must not depose it (Raft thesis section 9.6, row 26 of
DESIGN.md): before it raises its term it asks whether it could win. A peer says yes to an
up-to-date log when it has no connected leader that it heard within the minimum timeout. When
the connection to the leader breaks, followers campaign by their rank, not after a time-out.
"""

from dataclasses import dataclass
from math import inf
from random import Random

from cluster.raft.types import GroupConfig, NodeId


@dataclass(frozen=True, slots=True, order=True)
class LogEnd:
    """Ordered as Raft compares logs: the last term first, then the last index."""

    term: int
    index: int


class Election:
    """The timers and the pre-vote of one replica; knows nothing of messages or the core."""

    def __init__(self, config: GroupConfig, rng: Random) -> None:
        self._config = config
        self._rng = rng
        self._deadline = inf
        self._round = 0
        self._granted: set[NodeId] | None = None
        """Who granted the running pre-vote; None when there is none."""
        self._heard_leader_at = -inf

    # --- the deadline ---

    @property
    def deadline(self) -> float:
        """When this replica next wants to campaign; the caller's coarse timer may look at it."""
        return self._deadline

    def restart_deadline(self, now: float) -> None:
        """A leader was heard, a vote given, or leadership lost: wait a whole random timeout."""
        low, high = self._config.election_min_s, self._config.election_max_s
        self._deadline = now + low + (high - low) * self._rng.random()
        self._granted = None

    def heard_leader(self, now: float) -> None:
        self._heard_leader_at = now

    def hurry(self, now: float, *, leader: NodeId) -> None:
        """There is certainly no leader (its connection broke, or none is known yet).

        `leader` is who was lost, 0 for nobody; the other followers are ranked without it.
        """
        followers = [node for node in self._config.replicas if node != leader]
        rank = followers.index(self._config.node_id)
        self._deadline = min(self._deadline, now + rank * self._config.failover_step_s)

    def leading(self) -> None:
        """A leader has no deadline."""
        self._deadline = inf
        self._granted = None

    def is_due(self, now: float) -> bool:
        return now >= self._deadline

    # --- asking ---

    def start_round(self, now: float) -> int:
        """Begins a pre-vote round, returns its number. It counts as refused after a while."""
        self._round += 1
        self._granted = {self._config.node_id}
        low, high = self._config.prevote_retry_s
        self._deadline = now + low + (high - low) * self._rng.random()
        return self._round

    def count_grant(self, peer: NodeId, round_number: int) -> bool:
        """Counts a grant; true once the round is won, and only once."""
        if self._granted is None or round_number != self._round:
            return False
        self._granted.add(peer)
        if len(self._granted) < self._config.majority:
            return False
        self._granted = None
        return True

    # --- being asked ---

    def has_live_leader(self, now: float, *, leader_connected: bool) -> bool:
        """Whether a pre-vote must be refused because a leader is alive."""
        return leader_connected and now - self._heard_leader_at < self._config.election_min_s
