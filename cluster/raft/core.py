"""The one door to pysyncobj: election arithmetic, append handling and commit counting.

Every override of a private name says which hole of DESIGN.md it closes;
`tests/unit/raft/test_core_names.py` asserts that each name still exists. Nothing outside
`cluster/raft` sees the library.
"""

import logging
from collections.abc import Callable, Mapping
from math import inf
from threading import local
from typing import TYPE_CHECKING, Protocol, cast

from pysyncobj import SyncObj, syncobj
from pysyncobj.config import SyncObjConf
from pysyncobj.journal import Journal, createJournal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from cluster.raft.types import GroupConfig, InvariantBrokenError, NodeId, Role

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.raft.journal import CoreJournal

# The library reports what its own users must know ("truncating already-applied log entries");
# here the journal asserts it instead.
logging.getLogger("pysyncobj").setLevel(logging.CRITICAL + 1)

_NEVER_COMPACT = 1 << 62


def _journal_or_file(journal_file: object = None) -> Journal:
    return journal_file if isinstance(journal_file, Journal) else createJournal(journal_file)


# The seam through which the library takes a journal of ours.
syncobj.createJournal = _journal_or_file


class _LibraryClock(local):
    """The library reads one module global; nodes of other threads have their own clocks."""

    now: Callable[[], float]


_library_clock = _LibraryClock()


def use_clock(now: Callable[[], float]) -> None:
    """What the library reads in this thread from here on; each entry into it calls this."""
    _library_clock.now = now


def _library_now() -> float:
    return _library_clock.now()


syncobj.monotonicTime = _library_now


class CoreEvents(Protocol):
    """What the core tells the group that owns it."""

    def core_sends(self, peer: NodeId, message: Mapping[str, object]) -> None:
        """The core has a vote, a vote request or an append reply for `peer`."""
        ...

    def core_wants_append(self) -> None:
        """As leader: a heartbeat is due, or the term's no-op was appended."""
        ...

    def core_resets_deadline(self) -> None:
        """The core heard a leader or gave its vote: the election deadline starts anew."""
        ...

    def core_changed_role(self, old: Role, new: Role) -> None: ...


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """The event loop of the node polls; the core only computes."""


class _CoreTransport(Transport):
    """Hands the core's messages to the group; always ready, connects nothing."""

    ready = True

    def __init__(self, events: CoreEvents) -> None:
        super().__init__(None, None, ())
        self._events = events

    def send(self, node: Node, message: Mapping[str, object]) -> bool:
        self._events.core_sends(node.id, message)
        return True

    def receive(self, node: Node, message: Mapping[str, object]) -> None:
        self._onMessageReceived(node, message)

    def connected(self, node: Node) -> None:
        self._onNodeConnected(node)

    def disconnected(self, node: Node) -> None:
        self._onNodeDisconnected(node)

    def tryGetReady(self) -> None:
        """Nothing to bind."""

    def destroy(self) -> None:
        """Nothing to close."""


class Core(SyncObj):
    """pysyncobj with its storage, network, clock, sending and applying taken away."""

    def __init__(
        self, config: GroupConfig, journal: "CoreJournal", clock: "Clock", events: CoreEvents
    ) -> None:
        self._clock = clock
        self._events = events
        self._journal = journal
        self._heartbeat_s = config.heartbeat_s
        self._nodes = {node: Node(node) for node in config.replicas}
        self._core_transport = _CoreTransport(events)
        use_clock(self._clock.monotonic)
        super().__init__(
            self._nodes[config.node_id],
            [self._nodes[node] for node in config.peers],
            conf=_core_conf(config, journal, events),
            transport=self._core_transport,
        )
        self._poller = _NoPoller()

    # --- what the group does to the core ---

    def tick(self) -> None:
        use_clock(self._clock.monotonic)
        self.doTick(0.0)

    def tick_durable(self) -> None:
        """A tick in which the core sees and counts only what is durable here."""
        self._journal.hide_unsynced()
        self.tick()
        self._journal.end_message()

    def receive(self, sender: NodeId, message: Mapping[str, object]) -> None:
        """Handles a message that has passed the receive filter.

        The commit index never goes back: a short message may verify less than is committed.
        """
        committed = self._SyncObj__raftCommitIndex
        use_clock(self._clock.monotonic)
        try:
            self._core_transport.receive(self._nodes[sender], message)
        finally:
            self._journal.end_message()
        if self._SyncObj__raftCommitIndex < committed:
            self._SyncObj__raftCommitIndex = committed

    def campaign(self) -> None:
        """Starts an election at once. The caller has won the pre-vote, or has no peers."""
        self._SyncObj__raftElectionDeadline = 0.0
        self.tick()

    def step_down(self, term: int) -> None:
        """Adopts a higher term as a follower (row 32: a deposed leader is told)."""
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(Role.FOLLOWER)
        self._SyncObj__raftLeader = None

    def vote_for_leader(self) -> None:
        """Whatever this replica voted in this term before it lost its disk, it votes no more."""
        leader = self.leader
        if leader and not self._SyncObj__votedForNodeId:
            self._SyncObj__setCurrentTerm(self.term, leader)

    def append(self, data: bytes) -> int:
        """As leader: appends one entry, returns its index."""
        index = self._journal[-1][1] + 1
        self._journal.add(data, index, self.term)
        return index

    def peer_connected(self, peer: NodeId) -> None:
        self._core_transport.connected(self._nodes[peer])

    def peer_disconnected(self, peer: NodeId) -> None:
        self._core_transport.disconnected(self._nodes[peer])

    # --- what the group reads from the core ---

    @property
    def term(self) -> int:
        return self._SyncObj__raftCurrentTerm

    @property
    def role(self) -> Role:
        return Role(self._SyncObj__raftState)

    @property
    def is_leader(self) -> bool:
        return self._SyncObj__raftState == Role.LEADER

    @property
    def leader(self) -> NodeId:
        node = self._SyncObj__raftLeader
        return node.id if node is not None else 0

    @property
    def commit_index(self) -> int:
        return self._SyncObj__raftCommitIndex

    @property
    def noop_index(self) -> int:
        """Index of the entry with which this leader opened its term; 0 before it ever led."""
        return self._SyncObj__noopIDx or 0

    @property
    def transfer_pending(self) -> bool:
        """The leader asked this replica to take over; its heartbeats no longer hold it back."""
        return self._SyncObj__transferInProgress

    def match_index(self, peer: NodeId) -> int:
        return self._SyncObj__raftMatchIndex.get(self._nodes[peer], 0)

    # --- overrides ---

    def _checkCommandsToApply(self) -> None:
        """Rows 18, 31: proposals are appended directly, never queued or forwarded."""

    def _applyCommand(
        self, command: bytes, callback: object, commandType: int | None = None
    ) -> None:
        raise InvariantBrokenError("the core's own command queue is not used")

    def _SyncObj__applyLogEntries(self) -> bool:
        """Rows 20, 21, 24, 30: the group applies, bounded, only what is synced."""
        return False

    def _SyncObj__doApplyCommand(self, command: bytes) -> object:
        raise InvariantBrokenError("the core applies nothing")

    def _SyncObj__changeCluster(self, request: object) -> bool:
        """Rows 7-9: membership is the founding configuration; no entry changes it."""
        return False

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:
        raise InvariantBrokenError("the core's dump files are not used")

    def _SyncObj__tryLogCompaction(self) -> None:
        """Rows 10-13, 27: snapshots and compaction are not the core's."""

    def _SyncObj__generateRaftTimeout(self) -> float:
        """Row 26: asked for exactly when the deadline starts anew; the group keeps the deadline."""
        self._events.core_resets_deadline()
        return inf

    def _SyncObj__getEntries(
        self, fromIDx: int | None, count: int | None = None, maxSizeBytes: int | None = None
    ) -> list[tuple[bytes, int, int]]:
        """The core only compares terms, so no payload is read or copied for it."""
        return self._journal.light_entries(fromIDx, count)

    def _SyncObj__sendAppendEntries(self) -> None:
        """Rows 4, 13, 27-29: the group sends, with a window per follower, nothing in chunks."""
        now = self._clock.monotonic()
        self._SyncObj__newAppendEntriesTime = now + self._heartbeat_s
        self._events.core_wants_append()


def _core_conf(config: GroupConfig, journal: "CoreJournal", events: CoreEvents) -> SyncObjConf:
    def changed(old: int, new: int) -> None:
        events.core_changed_role(Role(old), Role(new))

    return SyncObjConf(
        autoTick=False,
        # Only the batching of the library's own queue, and a pipe per group that wakes it.
        appendEntriesUseBatch=True,
        appendEntriesPeriod=config.heartbeat_s,
        connectionTimeout=max(3.5, config.election_max_s),
        dynamicMembershipChange=False,
        fullDumpFile=None,
        journalFile=cast(object, journal),
        leaderFallbackTimeout=config.leader_fallback_s,
        logCompactionMinEntries=_NEVER_COMPACT,
        logCompactionMinTime=_NEVER_COMPACT,
        onStateChanged=changed,
        raftMaxTimeout=config.election_max_s,
        raftMinTimeout=config.election_min_s,
    )
