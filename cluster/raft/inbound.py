"""The receive filter: what a peer's message may do to this replica.

An allow-list. Messages reach the consensus core only in a shape and at a moment in which the
core handles them safely; what it does unsafely, or lacks, is handled here. Row numbers are
those of DESIGN.md.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from cluster.raft import messages
from cluster.raft.election import LogEnd
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import InvariantBrokenError, NodeId, Outgoing

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.raft.core import Core
    from cluster.raft.election import Election
    from cluster.raft.journal import CoreJournal
    from cluster.raft.learning import Learning
    from cluster.raft.outbox import Outbox, SyncedLog
    from cluster.raft.reads import ReadIndex
    from cluster.raft.replication import Replication
    from cluster.raft.types import GroupConfig
    from cluster.storage.group_log import GroupLog


_NOT_FOR_LEARNERS = (messages.VOTE, messages.PREVOTE, messages.TIMEOUT_NOW, messages.PROBE)
"""An answer would count in a majority that must not count on this replica."""


class Inbound:
    """Handles the messages of one group. Its collaborators are the group's own."""

    def __init__(
        self,
        *,
        config: "GroupConfig",
        clock: "Clock",
        wal: "SyncedLog",
        log: "GroupLog",
        journal: "CoreJournal",
        election: "Election",
        replication: "Replication",
        reads: "ReadIndex",
        outbox: "Outbox",
        learning: "Learning",
        applied_index: "Callable[[], int]",
    ) -> None:
        self._config = config
        self._clock = clock
        self._wal = wal
        self._log = log
        self._journal = journal
        self._election = election
        self._replication = replication
        self._reads = reads
        self._outbox = outbox
        self._applied_index = applied_index
        self._core: Core
        self._voters: set[tuple[int, NodeId]] = set()
        self._handling: messages.Append | None = None
        self._verified = (0, 0)
        """(term, index): up to there the log agrees with that of the term's leader."""
        self._learning = learning
        self.acks_arrived = False
        """The core has acknowledgements it has not counted yet."""
        self._handlers: dict[object, Callable[[NodeId, list[object]], None]] = {
            messages.APPEND: self._on_append,
            messages.APPEND_REPLY: self._on_append_reply,
            messages.VOTE: self._on_vote,
            messages.VOTE_REPLY: self._on_vote_reply,
            messages.PREVOTE: self._on_prevote,
            messages.PREVOTE_REPLY: self._on_prevote_reply,
            messages.TIMEOUT_NOW: self._on_timeout_now,
            messages.PROBE: self._on_probe,
            messages.PROBE_REPLY: self._on_probe_reply,
            messages.TERM: self._on_term,
            messages.APPEND_PROGRESS: self._on_append_progress,
            messages.LEARN: learning.on_learn,
            messages.LEARN_TARGET: learning.on_target,
        }

    def attach(self, core: "Core") -> None:
        """The core calls back while it is being built, so it comes last."""
        self._core = core
        self._learning.attach(core)

    def step(self, sender: NodeId, message: list[object]) -> None:
        if sender not in self._config.peers:
            raise MalformedMessageError(f"node {sender} is no replica of this group")
        kind = message[0] if message else None
        handler = self._handlers.get(kind) if type(kind) is int else None
        if handler is None:
            raise MalformedMessageError(f"unknown message kind {kind!r}")
        if self._learning.learner is not None and kind in _NOT_FOR_LEARNERS:
            return
        handler(sender, message[2:])

    # --- append_entries, follower's side ---

    def _on_append(self, sender: NodeId, fields: list[object]) -> None:
        append = messages.decode_append(fields)
        core = self._core
        if append.term < core.term:
            self._tell_term(sender)
            return
        if append.term == core.term and core.leader not in (0, sender):
            raise InvariantBrokenError(
                f"nodes {core.leader} and {sender} both lead term {core.term}"
            )
        if append.entries and not self._wal.has_room(sum(len(e[0]) for e in append.entries)):
            # A full disk: still hear the leader, but take and acknowledge nothing.
            append = append._replace(entries=[])
        self._election.heard_leader(self._clock.monotonic())
        self._handling = append
        core.receive(
            sender,
            {
                "type": "append_entries",
                "term": append.term,
                "commit_index": append.commit,
                "entries": append.entries,
                "prevLogIdx": append.prev_index,
                "prevLogTerm": append.prev_term,
            },
        )
        self._handling = None

    def core_sends(self, peer: NodeId, message: Mapping[str, object]) -> None:
        """Turns what the core wants to say into a message of ours."""
        kind, group, term = message["type"], self._config.group_id, self._core.term
        if kind == "next_node_idx":
            self._reply_to_append(peer, message)
        elif kind == "request_vote":
            end = cast(int, message["last_log_index"]), cast(int, message["last_log_term"])
            self._outbox.send_synced(Outgoing(peer, (messages.VOTE, group, term, *end, 0)))
        elif kind == "response_vote":
            self._outbox.send_synced(Outgoing(peer, (messages.VOTE_REPLY, group, term)))
        else:
            raise InvariantBrokenError(f"the core sends {kind!r}, which is not used")

    def _reply_to_append(self, peer: NodeId, message: Mapping[str, object]) -> None:
        # Rows 3 and 4: the core's reply has neither a term nor a tie to what it answers.
        append = self._handling
        if append is None:
            raise InvariantBrokenError("the core answers an append_entries that never came")
        next_index = cast(int, message["next_node_idx"])
        reset, success = bool(message["reset"]), bool(message["success"])
        if success:
            self._note_verified(next_index - 1)
        elif reset and not self._wal.has_room(self._config.message_bytes):
            # A full disk asks for nothing: it could not take it, and would ask again at once.
            reset = False
        elif reset and self._log.term_at(append.prev_index) is not None:
            next_index = self._first_to_send_anew(append.prev_index)
        reply = (
            messages.APPEND_REPLY if self._learning.learner is None else messages.APPEND_PROGRESS,
            self._config.group_id,
            self._core.term,
            append.sequence,
            next_index,
            reset,
            success,
            self._applied_index(),
        )
        self._outbox.send_synced(Outgoing(peer, reply))

    def _first_to_send_anew(self, prev_index: int) -> int:
        """Where to go on after entry `prev_index` turned out to be of another term.

        The core would probe back entry by entry. A term that differs at its end is best sent
        anew from its start; what is committed, or was acknowledged to this leader, agrees.
        """
        first = max(self._log.first_index_of_term_run(prev_index), self._journal.committed + 1)
        term, index = self._verified
        return max(first, index + 1) if term == self._core.term else first

    def _note_verified(self, index: int) -> None:
        term, known = self._verified
        if term != self._core.term:
            self._verified = (self._core.term, index)
        elif index > known:
            self._verified = (term, index)

    # --- append_entries, leader's side ---

    def _on_append_reply(self, sender: NodeId, fields: list[object]) -> None:
        reply = messages.decode_append_reply(fields)
        if not self._is_about_my_leadership(reply.term):
            return
        self._replication.on_reply(sender, reply)
        self.pass_acknowledgement(sender)

    def _on_append_progress(self, sender: NodeId, fields: list[object]) -> None:
        reply = messages.decode_append_reply(fields)
        if self._is_about_my_leadership(reply.term):
            self._replication.on_progress(sender, reply)

    def pass_acknowledgement(self, peer: NodeId) -> None:
        """Tells the core what `peer` acknowledged, up to what is durable here (row 6)."""
        acked = min(self._replication.acked(peer), self._log.durable_index)
        self._core.receive(
            peer,
            {
                "type": "next_node_idx",
                "next_node_idx": acked + 1,
                "reset": False,
                "success": True,
            },
        )
        self.acks_arrived = True

    # --- elections ---

    def _on_vote(self, sender: NodeId, fields: list[object]) -> None:
        vote = messages.decode_vote(fields)
        if vote.term < self._core.term:
            self._tell_term(sender)
            return
        self._core.receive(
            sender,
            {
                "type": "request_vote",
                "term": vote.term,
                "last_log_index": vote.last_index,
                "last_log_term": vote.last_term,
            },
        )

    def _on_vote_reply(self, sender: NodeId, fields: list[object]) -> None:
        term = messages.decode_term(fields)
        if term != self._core.term or (term, sender) in self._voters:
            return  # Row 14: the core counts messages, not voters.
        self._voters = {each for each in self._voters if each[0] == term}
        self._voters.add((term, sender))
        self._core.receive(sender, {"type": "response_vote", "term": term})

    def _on_prevote(self, sender: NodeId, fields: list[object]) -> None:
        vote = messages.decode_vote(fields)
        core, log = self._core, self._log
        leader_connected = core.is_leader or core.leader in self._replication.connected
        granted = (
            vote.term > core.term
            and LogEnd(vote.last_term, vote.last_index) >= LogEnd(log.last_term, log.last_index)
            and not core.is_leader
            and not self._election.has_live_leader(
                self._clock.monotonic(), leader_connected=leader_connected
            )
        )
        group = self._config.group_id
        reply = (messages.PREVOTE_REPLY, group, core.term, vote.round, granted)
        self._outbox.send_early(Outgoing(sender, reply))

    def _on_prevote_reply(self, sender: NodeId, fields: list[object]) -> None:
        reply = messages.decode_prevote_reply(fields)
        if reply.term > self._core.term:
            self._core.step_down(reply.term)
        elif reply.granted and self._election.count_grant(sender, reply.round):
            self._core.campaign()

    def _on_timeout_now(self, sender: NodeId, fields: list[object]) -> None:
        term = messages.decode_term(fields)
        if term != self._core.term or sender != self._core.leader:
            return
        if sender not in self._replication.connected:
            return  # A leftover. Without any peer the core would wait to campaign for ever.
        self._core.receive(sender, {"type": "timeout_now", "term": term})
        if self._core.transfer_pending:
            self._core.campaign()

    # --- reads ---

    def _on_probe(self, sender: NodeId, fields: list[object]) -> None:
        probe = messages.decode_probe(fields)
        if probe.term < self._core.term:
            self._tell_term(sender)
        elif probe.term == self._core.term and sender == self._core.leader:
            group = self._config.group_id
            reply = (messages.PROBE_REPLY, group, probe.term, probe.round)
            self._outbox.send_early(Outgoing(sender, reply))

    def _on_probe_reply(self, sender: NodeId, fields: list[object]) -> None:
        probe = messages.decode_probe(fields)
        if self._is_about_my_leadership(probe.term):
            self._reads.confirm(sender, probe.round)

    # --- learning ---

    @property
    def has_learned(self) -> bool:
        """This learner has all that it can ever have acknowledged."""
        learner = self._learning.learner
        return learner is not None and learner.is_done(self._verified, self._log.durable_index)

    # --- terms ---

    def _on_term(self, sender: NodeId, fields: list[object]) -> None:
        term = messages.decode_term(fields)
        if term > self._core.term:
            self._core.step_down(term)

    def _is_about_my_leadership(self, term: int) -> bool:
        if term > self._core.term:
            self._core.step_down(term)
        return term == self._core.term and self._core.is_leader

    def _tell_term(self, peer: NodeId) -> None:
        # Row 32: a deposed leader or a late candidate learns that it is late.
        message = (messages.TERM, self._config.group_id, self._core.term)
        self._outbox.send_synced(Outgoing(peer, message))
