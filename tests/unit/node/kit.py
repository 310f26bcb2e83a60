"""What the tests of the node layer share: fakes that record what they are given."""

from collections.abc import Sequence
from random import Random
from typing import cast

from cluster.calls import Outcome
from cluster.config import Limits
from cluster.dispatch import Dispatcher
from cluster.forwarding import Forwarding
from cluster.partition import Partition
from cluster.partition_reads import Waiter
from cluster.peers.packing import array_header, pack_message, unpack_messages
from cluster.raft.types import NodeId
from cluster.state.commands import Command
from flo.wire.messages import CallContext
from flo.wire.status import Ran, Reason, Refusal

TIMEOUT_MS = 5_000
PAST_DEADLINE_S = TIMEOUT_MS / 1000 + 0.1


class ManualClock:
    """Moves only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_now_ms = 1_700_000_000_000

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.wall_now_ms

    def advance(self, seconds: float) -> None:
        """Both clocks."""
        self.now += seconds
        self.wall_now_ms += int(seconds * 1000)


def packed_and_back(message: list[object]) -> list[object]:
    """The message as a peer gets it."""
    return unpack_messages(array_header(1) + pack_message(message))[0]


class FakeNetwork:
    """Records messages as the peer would get them."""

    def __init__(self, *connected: NodeId) -> None:
        self.peers = set(connected)
        self.sent: list[tuple[NodeId, list[object]]] = []
        self.slow: set[NodeId] = set()
        """Peers that do not keep up."""

    def connected(self, node_id: NodeId) -> bool:
        return node_id in self.peers

    def has_room(self, node_id: NodeId) -> bool:
        return self.connected(node_id) and node_id not in self.slow

    def send(self, node_id: NodeId, message: list[object]) -> bool:
        if node_id not in self.peers:
            return False
        self.sent.append((node_id, packed_and_back(message)))
        return True

    def take(self) -> list[tuple[NodeId, list[object]]]:
        sent, self.sent = self.sent, []
        return sent


class FakeConfig:
    def __init__(self, replicas: tuple[NodeId, ...], node_id: NodeId) -> None:
        self.replicas = replicas
        self.peers = tuple(node for node in replicas if node != node_id)


class FakeGroup:
    """What the node layer asks a Raft group."""

    def __init__(self, node_id: NodeId, replicas: tuple[NodeId, ...]) -> None:
        self.node_id = node_id
        self.config = FakeConfig(replicas, node_id)
        self.leader: NodeId = 0
        self.transferring = False
        self.is_ready = True
        self.last_index = 1000
        self.levels: dict[NodeId, int] = {}
        """How far each follower is, with its log and its state."""
        self.transfers: list[NodeId] = []

    @property
    def is_leader(self) -> bool:
        return self.leader == self.node_id

    @property
    def accepts_proposals(self) -> bool:
        return self.is_leader and not self.transferring

    def level_of(self, peer: NodeId) -> int:
        return self.levels.get(peer, 0)

    def transfer_leadership(self, peer: NodeId) -> bool:
        self.transfers.append(peer)
        return True


class Asked:
    """A command or a read that a fake partition was given."""

    def __init__(self, content: tuple[object, ...], waiter: Waiter) -> None:
        self.content = content
        self.waiter = waiter


class FakeTransactions:
    """Has as many open as a test says."""

    def __init__(self) -> None:
        self.open = 0
        self.begins_from = 0.0

    def __len__(self) -> int:
        return self.open

    def pause_begins(self, until: float) -> None:
        self.begins_from = until


class FakePartition:
    """Keeps what it is given until the test answers."""

    def __init__(
        self, partition_id: int, node_id: NodeId, replicas: tuple[NodeId, ...] = (1, 2, 3)
    ) -> None:
        self.partition_id = partition_id
        self.group = FakeGroup(node_id, replicas)
        self.transactions = FakeTransactions()
        self.broken: str | None = None
        self.disk_full = False
        self.log_full = False
        self.log_too_long = False
        self.takes_part = True
        self.writes: list[Asked] = []
        self.reads: list[Asked] = []
        self.stale_reads: list[Asked] = []
        self.sizes: list[int] = []

    def submit(self, command: Command, size: int, waiter: Waiter) -> None:
        if self.broken or not self.group.accepts_proposals:
            waiter.on_not_leader(0 if self.broken else self.group.leader)
            return
        self.sizes.append(size)
        self.writes.append(Asked(command, waiter))

    def read(self, code: int, args: Sequence[object], waiter: Waiter) -> None:
        if self.broken or not self.group.is_leader:
            waiter.on_not_leader(0 if self.broken else self.group.leader)
            return
        self.reads.append(Asked((code, *args), waiter))

    def read_stale(self, code: int, args: Sequence[object], waiter: Waiter) -> None:
        self.stale_reads.append(Asked((code, *args), waiter))

    def take(self) -> list[Asked]:
        """All that waits for an answer; it is forgotten here."""
        asked = self.writes + self.reads + self.stale_reads
        self.writes, self.reads, self.stale_reads = [], [], []
        return asked


def as_partitions(fakes: dict[int, FakePartition]) -> dict[int, Partition]:
    return cast("dict[int, Partition]", fakes)


class Calls:
    """A dispatcher of node 1 between fake partitions and a fake network."""

    def __init__(
        self,
        *,
        replicas: tuple[tuple[NodeId, ...], ...] = ((1, 2, 3),),
        limits: Limits | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.network = FakeNetwork(2, 3)
        self.turns: list[Partition] = []
        self.fakes = {
            number: FakePartition(number, 1, nodes)
            for number, nodes in enumerate(replicas)
            if 1 in nodes
        }
        partitions = as_partitions(self.fakes)
        self.forwarding = Forwarding(
            self.network, partitions, flush_soon=nothing, request_turn=self.turns.append
        )
        self.dispatcher = Dispatcher(
            node_id=1,
            replicas=replicas,
            partitions=partitions,
            forwarding=self.forwarding,
            clock=self.clock,
            rng=Random(7),
            limits=limits or Limits(),
            request_timeout_ms=TIMEOUT_MS,
            request_turn=self.turns.append,
        )

    @property
    def partition(self) -> FakePartition:
        return self.fakes[0]

    def lead(self, leader: NodeId, partition: int = 0) -> None:
        """The local replica learns who leads."""
        self.fakes[partition].group.leader = leader
        self.dispatcher.leader_changed(partition, leader)

    def lose_peer(self, node: NodeId) -> None:
        """As the handler of the peer network tells it."""
        self.network.peers.discard(node)
        self.forwarding.peer_lost(node)
        self.dispatcher.peer_changed()

    def find_peer(self, node: NodeId) -> None:
        self.network.peers.add(node)
        self.dispatcher.peer_changed()

    def tick(self, seconds: float = 0.02) -> None:
        self.clock.advance(seconds)
        self.dispatcher.tick()

    def reply(self, node: NodeId, call_id: object, kind: int, content: object) -> None:
        """What a peer answers to a forwarded call."""
        self.forwarding.receive(node, packed_and_back([33, 0, call_id, kind, content]))

    def write(self, *args: object, context: CallContext | None = None, code: int = 0x100) -> "Said":
        said = Said()
        self.dispatcher.write(0, code, args or PUT_ARGS, context, said.done)
        return said

    def read(self, *args: object, context: CallContext | None = None) -> "Said":
        said = Said()
        self.dispatcher.read(0, 0x101, args or (b"ns", b"key"), context, said.done)
        return said

    def opened(self, session: int = 77) -> None:
        """Answers the session open that the first write without a session has caused."""
        asked = self.partition.take()
        assert [each.content[0] for each in asked] == [0xF001]
        asked[0].waiter.on_result((0, session))


PUT_ARGS = (b"ns", b"key", b"value", 0, 0, None)


def session(sequence: int, *, session_id: int = 5, floor: int | None = None) -> CallContext:
    """The triple of a client that has its own session."""
    return CallContext(session_id, sequence, floor if floor is not None else sequence)


class Said:
    """Collects what a caller is told; it is told once."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.outcomes
        return outcome


def nothing() -> None:
    """For callbacks that a test has no use for."""


def refused(said: Said) -> tuple[Reason, Ran]:
    outcome = said.outcome
    assert isinstance(outcome, Refusal)
    return outcome.reason, outcome.ran


def empty_tables(calls: Calls) -> None:
    """Nothing remembers a call that has ended."""
    dispatcher, forwarding = calls.dispatcher, calls.forwarding
    assert dispatcher.unanswered == 0
    calls.tick()
    assert not any(vars(dispatcher)["_parked"])
    assert not any(vars(dispatcher)["_buckets"].values())
    assert not any(vars(forwarding)["_out"].values())
    for node_session in vars(dispatcher)["_sessions"]:
        assert not vars(node_session)["_queue"]
        assert not vars(node_session)["_awaited"]
        assert not vars(node_session)["_answered"]
