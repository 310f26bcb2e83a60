"""Small nodes without sockets or disks: real routers and partitions over a wire that is stepped."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from random import Random
from typing import ParamSpec, TypeVar

from cluster.calls import Call
from cluster.config import Limits
from cluster.dispatch import Dispatcher
from cluster.forwarding import Forwarding
from cluster.operation import Answer
from cluster.partition import Partition
from cluster.raft.group import RaftGroup
from cluster.raft.types import GroupConfig, NodeId
from cluster.replica import Replica
from cluster.router import Router
from cluster.scan_cursors import ScanCursors
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.memory_files import MemoryStorage
from cluster.storage.memory_snapshots import MemorySnapshots
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storing import Storing
from cluster.turn import Turns
from flo.wire.connection import Request
from flo.wire.messages import Body, CallContext, PartitionTable
from flo.wire.registry import OP_OF_REQUEST
from tests.unit.node.kit import TIMEOUT_MS, ManualClock, nothing, packed_and_back

P = ParamSpec("P")
T = TypeVar("T")

WAL = WalConfig(segment_bytes=256 << 10, batch_bytes_max=64 << 10, groups_max=8)


class InlineExecutor(Executor):
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
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
    call: Call | None = None
    """Set when it may wait."""

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
        self.storage = MemoryStorage()
        self.wal = Wal.open(self.storage, cluster.wal_config)
        self.stores: dict[int, MemoryStore] = {}
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
            self, self.partitions, flush_soon=nothing, request_turn=self.turns.request
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
        self.storing = Storing(self.partitions, cluster.clock)
        for partition in self.partitions.values():
            partition.on_leader = self.dispatcher.leader_changed
            self.turns.request(partition)

    def _partition(self, number: int, limits: Limits) -> Partition:
        log = self.wal.group(number)
        store = self.stores[number] = MemoryStore()
        replica = Replica(store, StateMachine())
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
            snapshots=MemorySnapshots(lambda: store),
            clock=self.cluster.clock,
            limits=limits,
        )

    # --- the network ---

    def connected(self, node_id: NodeId) -> bool:
        return node_id in self.cluster.nodes and node_id != self.node_id

    def has_room(self, node_id: NodeId) -> bool:
        return self.connected(node_id)

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
        wal_config: WalConfig = WAL,
    ) -> None:
        self.wal_config = wal_config
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
            node.storing.tick()
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
        answers.call = self.nodes[node].router.run(request, answers.given.append)
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
