"""One call of a client, from the first try to its only answer.

A call is tried at the leader of its partition until it is answered or its deadline has passed.
Writes carry (session, sequence, floor), so a second try of the same call has no second effect;
that makes it safe to try again after an answer was lost. What the client is told at the end
distinguishes "did not run" from "nobody knows".
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cluster.leader_wait import NOT_NOW
from cluster.queries import Result
from cluster.raft.types import NodeId
from cluster.state.commands import BELOW_FLOOR, EMPTY, SESSION_UNKNOWN
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.leader_wait import LeaderWait
    from cluster.node_sessions import NodeSession

Outcome: TypeAlias = "Result | Refusal"


class CallOwner(Protocol):
    """Whoever finds the way for a call: the dispatcher."""

    def try_again(self, call: "Call", leader: NodeId) -> None:
        """A try ended without a result; `leader` is where it should go, 0 when unknown."""
        ...

    def renew_session(self, call: "Call") -> None:
        """This node's session is unknown, and no copy of the call was executed."""
        ...

    def timeout_refusal(self, call: "Call") -> Refusal:
        """What to say when the deadline has passed."""
        ...

    def forget(self, call: "Call") -> None:
        """The call has ended."""
        ...

    def stop_elsewhere(self, call: "Call") -> None:
        """Another node, where the call waits, is to answer now."""
        ...

    def hurry(self, call: "Call") -> None:
        """The call waits no longer: its deadline is that of any other."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


class Call:
    """Implements `WaitingWaiter`. `done` is called exactly once, or never after `cancel`."""

    __slots__ = (
        "ambiguous",
        "args",
        "bucket",
        "code",
        "deadline",
        "dispatcher",
        "done",
        "finished",
        "floor",
        "forwarded_as",
        "forwarded_to",
        "in_progress",
        "is_write",
        "node_session",
        "partition",
        "redirects",
        "renewed",
        "sequence",
        "session",
        "size",
        "stale",
        "wait_until",
        "waits",
        "waits_here",
    )

    def __init__(
        self,
        dispatcher: CallOwner,
        partition: int,
        code: int,
        args: tuple[object, ...],
        done: Callable[[Outcome], None],
    ) -> None:
        self.dispatcher = dispatcher
        self.partition = partition
        self.code = code
        self.args = args
        self.done = done
        self.is_write = False
        self.stale = False
        self.size = 0
        self.session = 0
        self.sequence = 0
        self.floor = 0
        self.node_session: NodeSession | None = None
        """Set when the triple is this node's own, given to a client that sends none; without a
        session yet while that is being opened."""
        self.deadline = 0.0
        self.bucket: dict[Call, None] | None = None
        self.ambiguous = False
        """An earlier try may have taken effect."""
        self.in_progress = False
        """Submitted here or forwarded, and not yet heard of."""
        self.forwarded_to: NodeId = 0
        self.forwarded_as = 0
        """The node that the latest try went to, 0 for this one, and the id it has on the way."""
        self.redirects = 0
        """Immediate tries since the call last waited."""
        self.renewed = False
        """It was tried in a session that had expired."""
        self.finished = False
        self.waits = False
        """For something to come, or it did until it was told to stop."""
        self.wait_until = 0.0
        """Until then, in monotonic seconds, an empty result is waited on; 0 for none."""
        self.waits_here: LeaderWait | None = None
        """Set while it is tried, and waits, at the replica of this node."""

    # --- Waiter ---

    def on_result(self, result: Result) -> None:
        self._heard()
        if self.finished:
            return
        code = result[0]
        if code == 0:
            if self.node_session is not None:
                self.node_session.known_at = self.dispatcher.now()
            self.finish(result)
        elif code == SESSION_UNKNOWN:
            self._session_unknown()
        elif code == BELOW_FLOOR:
            self.finish(_lost("the sequence is below its session's floor: it was answered before"))
        elif code in NOT_NOW and self.waits and not (self.wait_until or self.ambiguous):
            self.finish((EMPTY,))  # It was told to stop.
        elif isinstance(code, int) and code in _NOT_RUN:
            self.finish(self.refusal(Reason(code), _NOT_RUN[code]))
        else:
            self.finish(result)

    def on_not_leader(self, leader: NodeId) -> None:
        self._heard()
        if not self.finished:
            self.dispatcher.try_again(self, leader)

    def on_unknown(self) -> None:
        self._heard()
        if not self.finished:
            self.ambiguous = self.ambiguous or self.is_write
            self.dispatcher.try_again(self, 0)

    def on_arguments(self, args: tuple[object, ...]) -> None:
        """What it waits for is known now, whichever leader it waits at next."""
        self.args = args

    # --- the end ---

    def stop_waiting(self) -> None:
        """Answers that there is nothing, unless a try is under way or was lost: then with what
        that has brought."""
        if self.finished:
            return
        self.wait_until = 0.0
        self.dispatcher.hurry(self)
        if self.waits_here is not None:
            self.waits_here.stop()
        elif self.in_progress:
            self.dispatcher.stop_elsewhere(self)
        elif not self.ambiguous:
            self.finish((EMPTY,))

    def cancel(self) -> None:
        """Nobody wants the answer any more. What has run has run."""
        if not self.finished:
            self.finished = True
            self.dispatcher.forget(self)

    def expire(self) -> None:
        """The deadline has passed while the call was waiting or on its way."""
        if not self.finished:
            self.finish(self.dispatcher.timeout_refusal(self))

    def finish(self, outcome: Outcome) -> None:
        self.finished = True
        self.dispatcher.forget(self)
        self.done(outcome)

    def refusal(self, reason: Reason, message: str) -> Refusal:
        """A refusal of this try; an earlier one may have run all the same."""
        if self.ambiguous:
            return _lost(f"{message}; an earlier try may have taken effect")
        return Refusal(reason, Ran.NO, message)

    def _heard(self) -> None:
        self.in_progress = False
        self.waits_here = None

    def _session_unknown(self) -> None:
        if self.node_session is not None and not self.ambiguous:
            # This node's session expired; no copy of this call was ever executed.
            self.renewed = True
            self.dispatcher.renew_session(self)
        elif self.node_session is not None:
            self.finish(_lost("the session of this call expired while it was tried again"))
        else:
            self.finish(
                Refusal(
                    Reason.SESSION_UNKNOWN,
                    Ran.UNKNOWN if self.ambiguous else Ran.NO,
                    "the session is unknown or expired; this copy of the command did not run",
                )
            )


_NOT_RUN: dict[int, str] = {
    Reason.SHARD_BUSY: "the partition has too many commands waiting, or its leader's log is too"
    " long: try again later",
    Reason.WRITES_STOPPED: "the leader's disk is full: it goes on when there is room again",
    Reason.TOO_MANY_PROPOSALS: "the session keeps too many unanswered commands",
    Reason.TOO_MANY_WAITERS: "the partition has too many sessions, or too many calls that wait",
    Reason.UNKNOWN_OP: "the leader runs a version without this operation",
}


def _lost(message: str) -> Refusal:
    return Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, message)
