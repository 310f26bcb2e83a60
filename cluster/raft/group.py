"""One replica of one Raft group, as the rest of the server sees it.

Callers feed it messages (`step`), time (`tick`), proposals (`propose`) and reads (`read`), and
take from it what to send at once, what to send when the log is synced, and what to apply. No
method blocks or does I/O. The order in which a node does these things is `cluster/turn.py`.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

from cluster.raft import messages
from cluster.raft.core import Core
from cluster.raft.election import Election
from cluster.raft.inbound import Inbound
from cluster.raft.journal import CoreJournal
from cluster.raft.learning import Learner, Learning
from cluster.raft.outbox import Outbox, SyncedLog
from cluster.raft.reads import ReadIndex, ReadReady, Token
from cluster.raft.replication import Replication
from cluster.raft.types import (
    GroupConfig,
    LogFullError,
    NodeId,
    NotLeaderError,
    Outgoing,
    Position,
    Role,
)
from cluster.storage.records import COMMANDS_KIND

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.storage.group_log import GroupLog
    from cluster.storage.records import Entry


_COMMANDS = bytes((COMMANDS_KIND,))


def _always(_peer: NodeId) -> bool:
    return True


class RaftGroup:
    """A replica. `applied_index` is where its state machine stands at start.

    `has_room` tells whether the link to a peer takes more entries now. A replica that lost its disk
    is given a `learner`: see `cluster.raft.learning`.
    """

    def __init__(
        self,
        config: GroupConfig,
        *,
        wal: SyncedLog,
        log: "GroupLog",
        clock: "Clock",
        rng: Random,
        applied_index: int,
        has_room: Callable[[NodeId], bool] = _always,
        learner: Learner | None = None,
    ) -> None:
        self.config = config
        self._wal = wal
        self._log = log
        self._clock = clock
        self._heartbeat_due = False
        self._next_core_tick = 0.0
        self._transfer_to: NodeId = 0
        self._transfer_until = 0.0
        self._lost_reads: list[Token] = []
        self._applied_index = applied_index
        self._outbox = Outbox(wal, log)
        self._reads = ReadIndex(config.node_id, config.majority)
        self._election = Election(config, rng)
        self._replication = Replication(
            group_id=config.group_id,
            peers=config.peers,
            log=log,
            window_bytes=config.window_bytes,
            message_bytes=config.message_bytes,
            has_room=has_room,
        )
        self._learning = Learning(
            config.group_id, learner, log=log, outbox=self._outbox, replication=self._replication
        )
        self._journal = CoreJournal(log, applied_index)
        self._inbound = Inbound(
            config=config,
            clock=clock,
            wal=wal,
            log=log,
            journal=self._journal,
            election=self._election,
            replication=self._replication,
            reads=self._reads,
            outbox=self._outbox,
            learning=self._learning,
            applied_index=lambda: self._applied_index,
        )
        self._core = Core(config, self._journal, clock, self)
        self._inbound.attach(self._core)
        self._election.restart_deadline(clock.monotonic())
        if not config.peers:
            self._election.hurry(clock.monotonic(), leader=0)

    # --- what a caller asks ---

    @property
    def term(self) -> int:
        return self._core.term

    @property
    def role(self) -> Role:
        return self._core.role

    @property
    def leader(self) -> NodeId:
        """The leader of the current term as far as known, 0 when unknown."""
        return self._core.leader

    @property
    def is_leader(self) -> bool:
        return self._core.is_leader

    @property
    def leads_term(self) -> int:
        """The term in which this replica leads, else 0; changes whenever leadership does."""
        return self._core.term if self._core.is_leader else 0

    @property
    def commit_index(self) -> int:
        """What this replica knows to be committed and has itself synced."""
        return min(self._core.commit_index, self._log.durable_index)

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def applied_index(self) -> int:
        return self._applied_index

    @property
    def is_ready(self) -> bool:
        """Leads, and the entry that opened its term is applied: its state is complete."""
        return self._core.is_leader and self._applied_index >= self._core.noop_index

    @property
    def accepts_proposals(self) -> bool:
        return self._core.is_leader and not self._transfer_to

    @property
    def reads_can_start(self) -> bool:
        """Reads wait that the next `advance` will ask the followers about.

        Before the term's first entry is committed the commit index may be an old one.
        """
        return (
            self._reads.has_waiting
            and self._core.is_leader
            and self._core.commit_index >= self._core.noop_index
        )

    def level_of(self, peer: NodeId) -> int:
        """As leader: the last entry that `peer` has synced and applied, as far as it told."""
        return self._replication.level(peer)

    @property
    def needing_snapshot(self) -> list[NodeId]:
        """As leader: connected followers that need entries which the log has let go."""
        return self._replication.needing_snapshot if self._core.is_leader else []

    @property
    def learner(self) -> Learner | None:
        """Set while this replica, which lost its disk, does not vote or acknowledge yet."""
        return self._learning.learner

    @property
    def has_learned(self) -> bool:
        """Learning is over as soon as `end_learning` is called."""
        return self._inbound.has_learned

    # --- input ---

    def propose(self, payload: bytes) -> Position:
        """Appends one command entry. It is committed once this position is applied.

        Raises NotLeaderError or LogFullError; nothing was appended then.
        """
        if not self.accepts_proposals:
            raise NotLeaderError(0 if self._core.is_leader else self._core.leader)
        if not self._wal.has_room(len(payload)):
            raise LogFullError
        return Position(self._core.term, self._core.append(_COMMANDS + payload))

    def read(self, token: Token) -> None:
        """Asks for a read index; the token comes back in `take_reads` or `take_lost_reads`.

        Raises NotLeaderError.
        """
        if not self._core.is_leader:
            raise NotLeaderError(self._core.leader)
        self._reads.add(token)

    def step(self, sender: NodeId, message: list[object]) -> None:
        """Takes a message of this group from an authenticated peer.

        Raises MalformedMessageError (drop the message) or InvariantBrokenError (stop the
        replica).
        """
        self._inbound.step(sender, message)
        self._note_commit()

    def tick(self) -> None:
        """Time has passed; call every few tens of milliseconds."""
        now = self._clock.monotonic()
        if self._learning.learner is not None:
            self._learning.ask(now)
        elif self._core.is_leader:
            if self._learning.election_wanted:
                self._let_elect()
            if self._transfer_to and now >= self._transfer_until:
                self._transfer_to = 0
            if now >= self._next_core_tick:
                self._next_core_tick = now + self.config.heartbeat_s / 2
                self._probe(self._reads.unconfirmed)
                self._count()
        elif self._election.is_due(now):
            self._campaign(now)

    def end_learning(self) -> None:
        """This replica is like any other from now on; that must be on the disk before."""
        self._core.vote_for_leader()
        self._learning.learner = None
        self._election.restart_deadline(self._clock.monotonic())

    def peer_connected(self, peer: NodeId) -> None:
        if peer not in self.config.peers:
            return
        self._core.peer_connected(peer)
        self._replication.peer_connected(peer)
        self._heartbeat_due = self._core.is_leader
        if not self._core.leader and len(self._replication.connected) + 1 >= self.config.majority:
            self._election.hurry(self._clock.monotonic(), leader=0)

    def peer_disconnected(self, peer: NodeId) -> None:
        if peer not in self._replication.connected:
            return
        self._core.peer_disconnected(peer)
        self._replication.peer_disconnected(peer)
        if peer == self._core.leader:
            self._election.hurry(self._clock.monotonic(), leader=peer)

    def transfer_leadership(self, peer: NodeId) -> bool:
        """Stops proposing and hands over to `peer` once it has the whole log.

        Best effort: if nobody takes over within an election timeout this replica goes on.
        """
        if not self._core.is_leader or peer not in self._replication.connected:
            return False
        self._transfer_to = peer
        self._transfer_until = self._clock.monotonic() + self.config.election_max_s
        return True

    # --- output, in the order of a turn ---

    def advance(self) -> None:
        """Does what the inputs since the last turn call for: commits, probes, sends."""
        if self._inbound.acks_arrived:
            self._count()
        if not self._core.is_leader:
            return
        if self.reads_can_start:
            self._probe(self._reads.start_round(self._core.commit_index))
        outgoing = self._replication.send(
            self._core.commit_index, self._core.term, heartbeat=self._heartbeat_due
        )
        self._heartbeat_due = False
        if outgoing:
            self._outbox.send_entries(outgoing)
        if self._transfer_to:
            self._finish_transfer()

    def take_early(self) -> list[Outgoing]:
        """Messages that promise nothing about the disk: they may leave before the sync."""
        return self._outbox.take_early()

    def after_sync(self) -> None:
        """The log's durable position moved: counts acknowledgements that waited for it."""
        if not self._core.is_leader:
            return
        durable = self._log.durable_index
        behind = not self.config.peers and self._core.commit_index < durable
        for peer in self.config.peers:
            if self._core.match_index(peer) < min(self._replication.acked(peer), durable):
                self._inbound.pass_acknowledgement(peer)
                behind = True
        if behind:
            self._count()

    def take_synced(self) -> list[Outgoing]:
        """Messages whose promise is durable by now: votes, vote requests, acknowledgements."""
        return self._outbox.take_synced()

    def take_committed(self, max_bytes: int) -> "list[Entry]":
        """The next entries to apply, oldest first: committed, and synced on this replica."""
        first = self._applied_index + 1
        last = self.commit_index
        return self._log.entries(first, last + 1, max_bytes) if first <= last else []

    def note_applied(self, index: int) -> None:
        """The state machine holds everything up to `index`."""
        self._applied_index = index

    def take_reads(self) -> list[ReadReady]:
        """Reads whose index a majority confirmed; answer them once it is applied."""
        return self._reads.take_ready()

    def take_lost_reads(self) -> list[Token]:
        """Reads that lost their leader before they were confirmed; they may be asked again."""
        lost, self._lost_reads = self._lost_reads, []
        return lost

    # --- what the core tells (CoreEvents) ---

    def core_sends(self, peer: NodeId, message: Mapping[str, object]) -> None:
        self._inbound.core_sends(peer, message)

    def core_wants_append(self) -> None:
        self._heartbeat_due = True

    def core_resets_deadline(self) -> None:
        self._election.restart_deadline(self._clock.monotonic())

    def core_changed_role(self, old: Role, new: Role) -> None:
        if new is Role.LEADER:
            self._replication.begin_term()
            self._election.leading()
        elif old is Role.LEADER:
            self._transfer_to = 0
            self._heartbeat_due = False
            self._lost_reads += self._reads.drop_all()
            # Row 26: the deadline of a deposed leader is long past; it must not campaign at once.
            self._election.restart_deadline(self._clock.monotonic())

    # --- inside ---

    def _count(self) -> None:
        """Lets the core count acknowledgements: the commit index, and whether it still leads."""
        self._inbound.acks_arrived = False
        if self.config.peers:
            self._core.tick()
        elif self._log.durable_index >= self._core.noop_index:
            # Row 6: alone, the core would commit what is not synced.
            self._core.tick_durable()
        self._note_commit()

    def _note_commit(self) -> None:
        commit = self._core.commit_index
        if commit > self._journal.committed:
            self._journal.committed = commit
            self._log.note_commit(commit)

    def _campaign(self, now: float) -> None:
        round_number = self._election.start_round(now)
        if not self.config.peers:
            self._core.campaign()
            return
        ask = (
            messages.PREVOTE,
            self.config.group_id,
            self._core.term + 1,
            self._log.last_index,
            self._log.last_term,
            round_number,
        )
        self._ask_all(ask)

    def _probe(self, round_number: int) -> None:
        if round_number:
            self._ask_all((messages.PROBE, self.config.group_id, self._core.term, round_number))

    def _ask_all(self, message: tuple[object, ...]) -> None:
        for peer in self._replication.connected:
            self._outbox.send_early(Outgoing(peer, message))

    def _finish_transfer(self) -> None:
        if self._replication.acked(self._transfer_to) == self._log.last_index:
            message = (messages.TIMEOUT_NOW, self.config.group_id, self._core.term)
            self._outbox.send_early(Outgoing(self._transfer_to, message))

    def _let_elect(self) -> None:
        """Hands over to the best follower whose vote counts, for the sake of a learner."""
        self._learning.election_wanted = False
        links = self._replication
        voters = [peer for peer in links.connected if not links.learns(peer)]
        if voters and not self._transfer_to:
            self.transfer_leadership(max(voters, key=links.level))
