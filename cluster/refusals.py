"""What a node says about calls that it could not bring to their partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.calls import Outcome
    from cluster.raft.types import NodeId


def no_leader(partition: int, replicas: int, missing: list[NodeId]) -> Refusal:
    """The time of a call is over, and no leader took it; `missing` are out of reach."""
    if replicas - len(missing) <= replicas // 2:
        listed = " and ".join(str(node) for node in sorted(missing)) or "none"
        message = (
            f"no leader for partition {partition}: nodes {listed} are unreachable,"
            f" {replicas // 2 + 1} of {replicas} are needed"
        )
    else:
        message = f"no leader for partition {partition} answered in time: try again"
    return Refusal(Reason.LEADER_UNKNOWN, Ran.NO, message)


def answer_lost(partition: int) -> Refusal:
    """The time of a write is over that a leader has taken."""
    message = f"partition {partition} did not answer in time; the command may have run"
    return Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, message)


def busy_way(partition: int, leader: NodeId) -> Refusal:
    """The way to the leader is full."""
    message = f"partition {partition}: too much waits for its leader, node {leader}"
    return Refusal(Reason.SHARD_BUSY, Ran.NO, f"{message}: try again later")


def is_timeout(outcome: Outcome) -> bool:
    """Whether a call ended because its time was over."""
    reasons = (Reason.LEADER_UNKNOWN, Reason.ANSWER_LOST)
    return isinstance(outcome, Refusal) and outcome.reason in reasons


def no_session(outcome: Outcome) -> Refusal:
    """A write that needs a session, and could not get one."""
    if isinstance(outcome, Refusal):
        reason, message = outcome.reason, outcome.message
    else:
        reason, message = Reason.UNCLASSIFIED, f"the leader answered with code {outcome[0]!r}"
    return Refusal(reason, Ran.NO, f"no session could be opened: {message}")
