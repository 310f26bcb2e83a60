"""What the tests of the node layer share: fakes that record, and small nodes without sockets."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from random import Random
from typing import ParamSpec, TypeVar, cast

from cluster.calls import Outcome
from cluster.config import Limits
from cluster.dispatch import Dispatcher
from cluster.forwarding import Forwarding
from cluster.operations import Answer
from cluster.partition import Partition, Waiter
from cluster.peers.packing import array_header, pack_message, unpack_messages
from cluster.raft.group import RaftGroup
from cluster.raft.types import GroupConfig, NodeId
from cluster.replica import Replica
from cluster.router import Router
from cluster.scan_cursors import ScanCursors
from cluster.state.commands import Command
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.memory_files import MemoryStorage
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.turn import Turns
from flo.wire.connection import Request
from flo.wire.messages import Body, CallContext, PartitionTable
from flo.wire.registry import OP_OF_REQUEST

P = ParamSpec("P")
T = TypeVar("T")

WAL = WalConfig(segment_bytes=256 << 10, batch_bytes_max=64 << 10, groups_max=8)
TIMEOUT_MS = 5_000


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

    def connected(self, node_id: NodeId) -> bool:
        return node_id in self.peers

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
        self.acknowledged: dict[NodeId, int] = {}
        self.transfers: list[NodeId] = []

    @property
    def is_leader(self) -> bool:
        return self.leader == self.node_id

    @property
    def accepts_proposals(self) -> bool:
        return self.is_leader and not self.transferring

    def acknowledged_by(self, peer: NodeId) -> int:
        return self.acknowledged.get(peer, 0)

    def transfer_leadership(self, peer: NodeId) -> bool:
        self.transfers.append(peer)
        return True


class Asked:
    """A command or a read that a fake partition was given."""

    def __init__(self, content: tuple[object, ...], waiter: Waiter) -> None:
        self.content = content
        self.waiter = waiter


class FakePartition:
    """Keeps what it is given until the test answers."""

    def __init__(
        self, partition_id: int, node_id: NodeId, replicas: tuple[NodeId, ...] = (1, 2, 3)
    ) -> None:
        self.partition_id = partition_id
        self.group = FakeGroup(node_id, replicas)
        self.broken: str | None = None
        self.disk_full = False
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
            self.network, partitions, flush_soon=_nothing, request_turn=self.turns.append
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


def _nothing() -> None:
    pass


class InlineExecutor(Executor):
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class FakeDescribe:
    """Answers that name themselves."""

    def partition_table(self) -> PartitionTable:
        return PartitionTable(9, ())

    def status(self, partition: int | None, *, digest: bool) -> bytes:
        return f"status {partition} {digest}".encode()


@dataclass
class Answers:
    """What the router answered to one request."""

    given: list[Answer] = field(default_factory=list[Answer])

    @property
    def answer(self) -> Answer:
        (answer,) = self.given
        return answer


class SmallNode:
    """Router, dispatcher, forwarding and real partitions of one replica each, in memory."""

    def __init__(self, cluster: "SmallCluster", node_id: NodeId, limits: Limits) -> None:
        self.cluster = cluster
        self.node_id = node_id
        self.callbacks: deque[Callable[[], None]] = deque()
        self.wal = Wal.open(MemoryStorage(), WAL)
        self.partitions = {
            number: self._partition(number, limits)
            for number, (owner,) in enumerate(cluster.replicas)
            if owner == node_id
        }
        self.turns = Turns(
            wal=self.wal,
            network=self,
            clock=cluster.clock,
            call_soon=self.callbacks.append,
            call_soon_threadsafe=self.callbacks.append,
            on_failure=_fail,
            executor=InlineExecutor(),
        )
        self.forwarding = Forwarding(
            self, self.partitions, flush_soon=_nothing, request_turn=self.turns.request
        )
        self.dispatcher = Dispatcher(
            node_id=node_id,
            replicas=cluster.replicas,
            partitions=self.partitions,
            forwarding=self.forwarding,
            clock=cluster.clock,
            rng=Random(node_id),
            limits=limits,
            request_timeout_ms=TIMEOUT_MS,
            request_turn=self.turns.request,
        )
        self.cursors = ScanCursors(node_id, cluster.clock, Random(node_id))
        self.router = Router(
            self.dispatcher,
            partition_count=len(cluster.replicas),
            cursors=self.cursors,
            describe=FakeDescribe(),
            rng=Random(node_id + 100),
            limits=limits,
        )
        for partition in self.partitions.values():
            partition.on_leader = self.dispatcher.leader_changed
            self.turns.request(partition)

    def _partition(self, number: int, limits: Limits) -> Partition:
        log = self.wal.group(number)
        replica = Replica(MemoryStore(), StateMachine())
        group = RaftGroup(
            GroupConfig(number, self.node_id, (self.node_id,)),
            wal=self.wal,
            log=log,
            clock=self.cluster.clock,
            rng=Random(number),
            applied_index=0,
        )
        return Partition(
            number,
            group=group,
            log=log,
            replica=replica,
            clock=self.cluster.clock,
            limits=limits,
        )

    # --- the network ---

    def connected(self, node_id: NodeId) -> bool:
        return node_id in self.cluster.nodes and node_id != self.node_id

    def send(self, node_id: NodeId, message: list[object]) -> bool:
        self.cluster.on_wire.append((self.node_id, node_id, packed_and_back(message)))
        return True

    def send_packed(self, node_id: NodeId, packed: bytes) -> bool:
        raise AssertionError(f"a group of one replica sent {packed!r} to node {node_id}")

    def flush(self) -> None:
        """Messages are on the wire as soon as they are sent."""


class SmallCluster:
    """Nodes that share partitions among them; nothing happens but in `settle`."""

    def __init__(
        self,
        *,
        owners: tuple[NodeId, ...] = (1, 2, 1, 2),
        nodes: tuple[NodeId, ...] = (1, 2),
        limits: Limits | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.replicas = tuple((owner,) for owner in owners)
        self.on_wire: deque[tuple[NodeId, NodeId, list[object]]] = deque()
        self.nodes: dict[NodeId, SmallNode] = {}
        for node_id in nodes:
            self.nodes[node_id] = SmallNode(self, node_id, limits or Limits())
        self.tick()

    def tick(self, seconds: float = 0.02) -> None:
        self.clock.advance(seconds)
        for node in self.nodes.values():
            for partition in node.partitions.values():
                partition.tick()
                node.turns.request(partition)
            node.dispatcher.tick()
        self.settle()

    def settle(self) -> None:
        """Runs everything until nothing is left to do."""
        while self.step():
            pass

    def step(self) -> bool:
        """Delivers a message, or runs what the nodes have to do; false when nothing is left."""
        if self.on_wire:
            sender, receiver, message = self.on_wire.popleft()
            self.nodes[receiver].forwarding.receive(sender, message)
            return True
        busy = False
        for node in self.nodes.values():
            while node.callbacks:
                node.callbacks.popleft()()
                busy = True
        return busy

    def start(
        self, body: Body, *, revision: int = 1, node: NodeId = 1, context: CallContext | None = None
    ) -> Answers:
        answers = Answers()
        request = Request(revision, 1, OP_OF_REQUEST[type(body)], body, context)
        self.nodes[node].router.run(request, answers.given.append)
        return answers

    def run(
        self, body: Body, *, revision: int = 1, node: NodeId = 1, context: CallContext | None = None
    ) -> Answer:
        """The answer to a request."""
        answers = self.start(body, revision=revision, node=node, context=context)
        self.settle()
        return answers.answer


def _fail(error: BaseException) -> None:
    raise AssertionError from error
