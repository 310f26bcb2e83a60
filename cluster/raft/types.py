"""What the Raft layer and its caller say to each other."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

NodeId = int
"""1..65535, unique in the cluster; 0 stands for nobody."""


class Role(IntEnum):
    """The numbers are the consensus core's."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2


@dataclass(frozen=True, slots=True)
class Position:
    """Where a proposal stands in the log. It is committed once *this* term is applied there."""

    term: int
    index: int


class Outgoing(NamedTuple):
    """A message for a peer. Two peers may be given the very same `message` object."""

    node: NodeId
    message: tuple[object, ...]


class NotLeaderError(Exception):
    """This replica may not propose; nothing was appended.

    `leader` is where to try instead, 0 when unknown.
    """

    def __init__(self, leader: NodeId) -> None:
        super().__init__("not the leader" + (f"; node {leader} is" if leader else ""))
        self.leader = leader


class LogFullError(Exception):
    """The write-ahead log has no room; nothing was appended. It may succeed later."""


class InvariantBrokenError(Exception):
    """A promise of Raft or of our log does not hold: this replica must stop, not guess."""


@dataclass(frozen=True)
class GroupConfig:
    """One replica of one partition. Times in seconds.

    Election timeouts are drawn from [election_min_s, election_max_s). `heartbeat_s` must stay
    below a third of `election_min_s`, or a single lost heartbeat starts elections.
    """

    group_id: int
    node_id: NodeId
    replicas: tuple[NodeId, ...]
    """All replicas in order of preference, this node included."""
    election_min_s: float = 0.5
    election_max_s: float = 1.0
    heartbeat_s: float = 0.1
    leader_fallback_s: float = 1.0
    """A leader that heard no majority for this long steps down."""
    failover_step_s: float = 0.05
    """A follower of rank r campaigns r steps after the leader's connection broke."""
    prevote_retry_s: tuple[float, float] = (0.05, 0.1)
    window_bytes: int = 8 << 20
    """Unacknowledged bytes per follower."""
    message_bytes: int = 1 << 20
    """Entries of one append_entries message; a larger single entry travels alone."""

    def __post_init__(self) -> None:
        if self.node_id not in self.replicas:
            raise ValueError(f"node {self.node_id} is not among the replicas {self.replicas}")
        if self.election_min_s <= 3 * self.heartbeat_s:
            raise ValueError(
                f"election_min_s ({self.election_min_s}) must be more than three times"
                f" heartbeat_s ({self.heartbeat_s})"
            )
        if self.election_max_s <= self.election_min_s:
            raise ValueError(
                f"election_max_s ({self.election_max_s}) must be above"
                f" election_min_s ({self.election_min_s})"
            )

    @property
    def majority(self) -> int:
        return len(self.replicas) // 2 + 1

    @cached_property
    def peers(self) -> tuple[NodeId, ...]:
        return tuple(node for node in self.replicas if node != self.node_id)
