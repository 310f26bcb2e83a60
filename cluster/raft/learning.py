"""A replica whose disk was lost and replaced: it learns before it votes or acknowledges.

It has forgotten what it voted for and what it acknowledged, so a majority that counts on it may be
none. It follows like any other, but gives no vote, confirms no read, and its replies tell progress
without being counted, until a leader that was elected after its arrival, and without its vote, has
brought it to the last index that this leader had. Such a leader's log holds every committed entry,
and with it everything this replica can ever have acknowledged that matters. A leader that was there
before hands over; with too few others for an election the group stays without a leader rather than
guess.

What it voted for is left. Somebody may still collect votes in a later term than that leader's, and
have one of this replica from before. So all others must have answered the leader first: whoever
follows it campaigns only in the old vote's future. DESIGN.md, "A lost disk", has the argument.
"""

from typing import TYPE_CHECKING, NamedTuple

from cluster.raft import messages
from cluster.raft.types import NodeId, Outgoing

if TYPE_CHECKING:
    from cluster.raft.core import Core
    from cluster.raft.outbox import Outbox
    from cluster.raft.replication import Replication
    from cluster.storage.group_log import GroupLog

ASK_EVERY_S = 0.5


class Target(NamedTuple):
    """Where learning ends: the leader of `term` has brought this replica to `last_index`."""

    term: int
    last_index: int


class Learner:
    """What a learning replica knows; it goes on when the replica's objects are replaced.

    `arrival` names this start: others tell it from earlier ones.
    """

    def __init__(self, arrival: int) -> None:
        self.arrival = arrival
        self.target: Target | None = None
        self.ask_at = 0.0

    def is_done(self, verified: tuple[int, int], durable_index: int) -> bool:
        """`verified` is the term and index up to which the log agrees with that term's leader."""
        if self.target is None:
            return False
        term, index = verified
        return term == self.target.term and min(index, durable_index) >= self.target.last_index


class Learning:
    """Both sides of learning in one group. `learner` is None where nothing was lost."""

    def __init__(
        self,
        group_id: int,
        learner: Learner | None,
        *,
        log: "GroupLog",
        outbox: "Outbox",
        replication: "Replication",
    ) -> None:
        self.learner = learner
        self.election_wanted = False
        """As leader: a learner needs one that was elected after its arrival."""
        self._group_id = group_id
        self._log = log
        self._outbox = outbox
        self._replication = replication
        self._core: Core
        self._arrivals: dict[NodeId, tuple[int, int]] = {}
        """The last arrival heard of, and in which term that was; both forgotten at a restart."""

    def attach(self, core: "Core") -> None:
        self._core = core

    # --- the learner's side ---

    def ask(self, now: float) -> None:
        """Time has passed: asks all others for a target, now and then."""
        learner = self.learner
        if learner is None:
            return
        if learner.target is not None and learner.target.term != self._core.term:
            learner.target = None
        if learner.target is None and now >= learner.ask_at:
            learner.ask_at = now + ASK_EVERY_S
            message = (messages.LEARN, self._group_id, learner.arrival)
            for peer in self._replication.connected:
                self._outbox.send_early(Outgoing(peer, message))

    def on_target(self, sender: NodeId, fields: list[object]) -> None:
        """A leader says where learning ends."""
        target = messages.decode_learn_target(fields)
        core, learner = self._core, self.learner
        if learner is None or target.arrival != learner.arrival:
            return
        if target.term == core.term and sender == core.leader and learner.target is None:
            learner.target = Target(target.term, target.last_index)

    # --- the others' side ---

    def on_learn(self, sender: NodeId, fields: list[object]) -> None:
        """A peer has lost its disk."""
        arrival = messages.decode_learn(fields)
        core = self._core
        known = self._arrivals.get(sender)
        if known is None or known[0] != arrival:
            known = self._arrivals[sender] = (arrival, core.term)
        if not core.is_leader:
            return
        if core.term == known[1]:
            self.election_wanted = True
        elif self._replication.all_have_answered:
            target = (messages.LEARN_TARGET, self._group_id, core.term, arrival)
            self._outbox.send_early(Outgoing(sender, (*target, self._log.last_index)))
