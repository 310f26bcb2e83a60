"""Replicas of one group with everything real but clock, network and disk, stepped by hand.

A turn has the order of `cluster/turn.py`. A test may do its parts one by one: `before_sync`,
`sync`, `after_sync`. Links are first in, first out; their queues are plain lists to look into,
to hold back, to repeat.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.peers.packing import array_header, pack_message, unpack_messages
from cluster.raft.group import RaftGroup
from cluster.raft.learning import Learner
from cluster.raft.types import GroupConfig, NodeId, Outgoing, Position
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig

if TYPE_CHECKING:
    from cluster.raft.reads import ReadReady
    from cluster.raft.replication import Replication

GROUP = 0
WAL = WalConfig(segment_bytes=64 << 10, batch_bytes_max=16 << 10, groups_max=4)
_APPLY_BYTES = 1 << 20
_SETTLE_ROUNDS = 400

Message: TypeAlias = list[object]


class ManualClock:
    """Moves only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now * 1000)


class Member:
    """One replica. `applied` are the payloads its state machine has seen since its start."""

    def __init__(self, cluster: "Cluster", config: GroupConfig) -> None:
        self.cluster = cluster
        self.config = config
        self.node_id = config.node_id
        self.storage = MemoryStorage()
        self.alive = False
        self.applies = True
        """False: what is committed waits, as at a replica whose machine has too much to do."""
        self.learner: Learner | None = None
        """Set while the disk is a new one."""
        self.start()

    def start(self, *, applied_index: int = 0) -> None:
        """A new process, from what the disk holds."""
        self.wal = Wal.open(self.storage, self.cluster.wal_config)
        self.log = self.wal.group(GROUP)
        self.group = RaftGroup(
            self.config,
            wal=self.wal,
            log=self.log,
            clock=self.cluster.clock,
            rng=Random(self.node_id),
            # What the log has let go is in a snapshot.
            applied_index=max(applied_index, self.log.base_index),
            learner=self.learner,
        )
        self.applied: list[bytes] = []
        self.confirmed: list[ReadReady] = []
        self.alive = True

    def crash(self, mode: Crash = Crash.SYNCED) -> None:
        """Stops at once: what was not synced is gone, unless the mode says otherwise."""
        self.cluster.isolate(self.node_id)
        self.alive = False
        self.storage.crash(Random(0), mode)

    def lose_disk(self, arrival: int = 1) -> None:
        """The process dies, all data is gone, and the node is started to be repaired."""
        if self.alive:
            self.crash()
        self.storage = MemoryStorage()
        self.learner = Learner(arrival)
        self.start()

    def install(self, base_index: int, base_term: int) -> None:
        """A snapshot takes the place of log and state; the process goes on with new objects."""
        self.log.reset(base_index, base_term)
        self.sync()
        self.learner = self.group.learner
        self.start()
        for peer in self.cluster.ids:
            if (self.node_id, peer) in self.cluster.up:
                self.group.peer_connected(peer)

    # --- requests ---

    def propose(self, *payloads: bytes) -> list[Position]:
        return [self.group.propose(payload) for payload in payloads]

    # --- a turn ---

    def tick(self) -> None:
        self.group.tick()

    def before_sync(self) -> None:
        self.group.advance()
        self._send(self.group.take_early())

    def sync(self) -> None:
        ticket = self.wal.seal()
        if ticket is not None:
            self.wal.write_and_sync(ticket)
            self.wal.complete(ticket)

    def after_sync(self) -> None:
        self.group.after_sync()
        self._send(self.group.take_synced())
        self._apply()
        if self.group.has_learned:
            self.group.end_learning()
        self.confirmed += self.group.take_reads()

    def turn(self) -> None:
        self.before_sync()
        self.sync()
        self.after_sync()

    def turn_without_sync(self) -> None:
        """As on a slow disk: what needs no sync goes on."""
        self.before_sync()
        self.after_sync()

    def _send(self, outgoing: list[Outgoing]) -> None:
        for peer, message in outgoing:
            self.cluster.send(self.node_id, peer, message)

    def _apply(self) -> None:
        if not self.applies:
            return
        entries = self.group.take_committed(_APPLY_BYTES)
        for entry in entries:
            assert entry.index <= self.log.durable_index, "applied what is not synced"
            if entry.data[0] == 0:
                self.applied.append(entry.data[1:])
        if entries:
            self.group.note_applied(entries[-1].index)

    # --- for assertions ---

    def acknowledged_by(self, peer: NodeId) -> int:
        """As leader: the last entry that `peer` has synced, as far as it told."""
        return cast("Replication", vars(self.group)["_replication"]).acked(peer)

    @property
    def terms(self) -> list[int]:
        """The term of each entry, from the first in the log."""
        log = self.log
        return [cast(int, log.term_at(i)) for i in range(log.first_index, log.last_index + 1)]

    def payloads(self) -> list[bytes]:
        """The commands in the log, committed or not."""
        entries = self.log.entries(self.log.first_index, self.log.last_index + 1)
        return [entry.data[1:] for entry in entries if entry.data[0] == 0]


def default_config(node: NodeId, replicas: tuple[NodeId, ...]) -> GroupConfig:
    return GroupConfig(GROUP, node, replicas)


def small_messages(message_bytes: int = 80) -> Callable[[NodeId, tuple[NodeId, ...]], GroupConfig]:
    """Configurations in which entries take several messages."""

    def make(node: NodeId, replicas: tuple[NodeId, ...]) -> GroupConfig:
        return GroupConfig(0, node, replicas, message_bytes=message_bytes)

    return make


def numbered(count: int, prefix: str = "w") -> list[bytes]:
    """Payloads that differ."""
    return [f"{prefix}{n}".encode() for n in range(count)]


class Cluster:
    """Members, links and time."""

    def __init__(
        self,
        size: int = 3,
        *,
        config: Callable[[NodeId, tuple[NodeId, ...]], GroupConfig] | None = None,
        wal_config: WalConfig = WAL,
        connected: bool = True,
    ) -> None:
        self.clock = ManualClock()
        self.wal_config = wal_config
        self.ids = tuple(range(1, size + 1))
        self.links: dict[tuple[NodeId, NodeId], list[Message]] = {
            (a, b): [] for a in self.ids for b in self.ids if a != b
        }
        self.up: set[tuple[NodeId, NodeId]] = set()
        self.cut: set[tuple[NodeId, NodeId]] = set()
        """Directions that lose what is sent from now on; nobody notices."""
        self.counts: Counter[tuple[NodeId, NodeId, object]] = Counter()
        """How many messages were sent, by sender, receiver and kind."""
        make = config or default_config
        self.members = {node: Member(self, make(node, self.ids)) for node in self.ids}
        if connected:
            self.connect_all()

    def __getitem__(self, node: NodeId) -> Member:
        return self.members[node]

    # --- links ---

    def connect(self, a: NodeId, b: NodeId) -> None:
        if (a, b) not in self.up:
            for me, peer in ((a, b), (b, a)):
                self.up.add((me, peer))
                self.members[me].group.peer_connected(peer)

    def disconnect(self, a: NodeId, b: NodeId) -> None:
        if (a, b) in self.up:
            for me, peer in ((a, b), (b, a)):
                self.up.discard((me, peer))
                self.links[me, peer].clear()
                self.members[me].group.peer_disconnected(peer)

    def connect_all(self) -> None:
        for a in self.ids:
            for b in self.ids:
                if a < b:
                    self.connect(a, b)

    def isolate(self, node: NodeId) -> None:
        for other in self.ids:
            if other != node:
                self.disconnect(node, other)

    def send(self, a: NodeId, b: NodeId, message: Sequence[object]) -> None:
        self.counts[a, b, message[0]] += 1
        if (a, b) in self.up and (a, b) not in self.cut:
            packed = array_header(1) + pack_message(list(message))
            self.links[a, b] += unpack_messages(packed)

    def deliver(self, a: NodeId, b: NodeId, count: int | None = None) -> int:
        """Delivers the oldest messages from `a` to `b`, all of them without a count."""
        queue, delivered = self.links[a, b], 0
        while queue and self.members[b].alive and (count is None or delivered < count):
            self.members[b].group.step(a, queue.pop(0))
            delivered += 1
        return delivered

    def sent(self, a: NodeId, b: NodeId, kind: int) -> list[Message]:
        """The messages of a kind that wait on a link."""
        return [message for message in self.links[a, b] if message[0] == kind]

    # --- time ---

    def run(
        self,
        nodes: Iterable[NodeId] | None = None,
        *,
        rounds: int = 20,
        step_s: float = 0.02,
        ticking: Iterable[NodeId] | None = None,
    ) -> None:
        """Turns and deliveries among `nodes`; only `ticking` ones (all by default) see time."""
        ids = [node for node in (nodes or self.ids) if self.members[node].alive]
        awake = set(ids if ticking is None else ticking)
        for _ in range(rounds):
            self.clock.now += step_s
            for node in ids:
                if node in awake:
                    self.members[node].tick()
                self.members[node].turn()
            for a in ids:
                for b in ids:
                    if a != b:
                        self.deliver(a, b)

    def elect(self, node: NodeId, among: Iterable[NodeId] | None = None) -> Member:
        """Lets `node` win an election; the others' timers stand still meanwhile.

        A leader among them hands over: while it lives it would not be deposed.
        """
        member, ids = self.members[node], list(among or self.ids)
        for other in ids:
            if other != node and self.members[other].group.is_leader:
                self.members[other].group.transfer_leadership(node)
        for _ in range(_SETTLE_ROUNDS):
            if member.group.is_ready:
                return member
            self.run(ids, rounds=1, ticking=[node])
        raise AssertionError(f"node {node} does not get elected")

    @property
    def leaders(self) -> list[NodeId]:
        """Who believes to lead."""
        return [n for n, m in self.members.items() if m.alive and m.group.is_leader]

    def settle(self) -> None:
        """Heals all links and runs until everybody has everything."""
        self.cut.clear()
        for member in self.members.values():
            if not member.alive:
                member.start()
        self.connect_all()
        for _ in range(_SETTLE_ROUNDS):
            self.run(rounds=1)
            if any(member.group.learner for member in self.members.values()):
                continue
            ends = {(m.log.last_index, m.group.applied_index) for m in self.members.values()}
            if len(self.leaders) == 1 and len(ends) == 1 and len(set(ends.pop())) == 1:
                break
        else:
            raise AssertionError("the replicas do not come together")
        logs = {tuple(member.payloads()) for member in self.members.values()}
        assert len(logs) == 1, "the logs differ"
