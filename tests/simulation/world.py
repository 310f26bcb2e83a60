"""A cluster in one process, driven by a seed: real log, Raft layer, state machine and turns over a
simulated clock, network and disk."""

from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from random import Random
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from cluster.compaction import INSTALLING, Compaction, restore_point
from cluster.config import Limits
from cluster.partition import Partition
from cluster.peers.packing import array_header, unpack_messages
from cluster.raft.group import RaftGroup
from cluster.raft.learning import Learner
from cluster.raft.types import GroupConfig, NodeId
from cluster.replica import Replica
from cluster.snapshot_transfer import TransferConfig
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.memory_snapshots import MemorySnapshots
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storage.wal_errors import WalFailed
from cluster.turn import Turns

if TYPE_CHECKING:
    from cluster.storage.records import Entry

P = ParamSpec("P")
T = TypeVar("T")

LIMITS = Limits(batch_commands_max=4, apply_bytes_per_turn=200)
"""Small, so that batches are cut and applying takes several turns."""
WAL = WalConfig(segment_bytes=1_500, tail_bytes=600, batch_bytes_max=1_000, groups_max=4)
LOG_BYTES_MAX = 2 * WAL.segment_bytes
"""So little that followers often need a snapshot."""
TRANSFER = TransferConfig(piece_bytes=500, window_bytes=1500)


class SimClock:
    """Time moves only when the world says so, but for a tick at each reading."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall_offset_ms = 1_700_000_000_000

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now

    def wall_ms(self) -> int:
        return self.wall_offset_ms + int(self.now * 1000)


class StepExecutor(Executor):
    """The disk's threads, without any thread: a slow one works off its jobs when it is told to."""

    def __init__(self) -> None:
        self.slow = False
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def has_jobs(self) -> bool:
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()

        def job() -> None:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.slow:
            self._jobs.append(job)
        else:
            job()
        return future

    def run_next(self) -> None:
        """Does the oldest job, if any."""
        if self._jobs:
            self._jobs.popleft()()


class Link:
    """One direction between two nodes: first in, first out while connected."""

    def __init__(self) -> None:
        self.up = False
        self.cut = False
        """Sent messages vanish, the sender notices nothing."""
        self.queue: deque[bytes] = deque()
        self.leftovers: deque[bytes] = deque()
        """In flight when the connection broke; an old socket may still deliver them."""


def unpacked(packed: bytes) -> list[object]:
    """One message as the peer network unpacks it."""
    (message,) = unpack_messages(array_header(1) + packed)
    return message


class SimNode:
    """One node. Its disk and, unless the machine crashes, its state store outlive it."""

    def __init__(self, world: "World", node_id: NodeId) -> None:
        self.world = world
        self.node_id = node_id
        self.storage = MemoryStorage()
        self.store = MemoryStore()
        self.snapshots = MemorySnapshots(lambda: self.store)
        self.clock = SimClock()
        self.learning = False
        """Its disk was lost; noted on the new one until it has learnt enough."""
        self.alive = False
        self.paused = False
        self.failure: BaseException | None = None
        """Why the node stopped itself; it is then as good as crashed."""
        self.slow_disk = False
        self.callbacks: deque[Callable[[], None]] = deque()
        self.start()

    def start(self) -> None:
        """A new process, from what the disk holds. Raises OSError while the disk is full."""
        self.callbacks.clear()
        self.failure = None
        self.executor = StepExecutor()
        self.snapshot_executor = StepExecutor()
        self.wal = Wal.open(self.storage, WAL)
        self.log = self.wal.group(0)
        self.replica = Replica(self.store, StateMachine())
        if restore_point(self.wal, 0, self.snapshots.latest, self.replica.applied_index):
            self.reopen_from_snapshot(0)
        self.partitions: dict[int, Partition] = {}
        self.turns = Turns(
            wal=self.wal,
            network=self,
            clock=self.world.clock,
            call_soon=self.callbacks.append,
            call_soon_threadsafe=self.callbacks.append,
            on_failure=self._failed,
            executor=self.executor,
        )
        self.compaction = Compaction(
            wal=self.wal,
            partitions=self.partitions,
            host=self,
            clock=self.world.clock,
            executor=self.snapshot_executor,
            call_soon_threadsafe=self.callbacks.append,
            request_turn=self.turns.request,
            on_failure=self._failed,
            log_bytes_max=self.world.log_bytes_max,
        )
        self.open_partition()
        self.alive = True
        self.turns.request(self.partition)

    def open_partition(self) -> None:
        """A replica from what log and state hold."""
        self.group = RaftGroup(
            GroupConfig(0, self.node_id, self.world.node_ids, message_bytes=200, window_bytes=600),
            wal=self.wal,
            log=self.log,
            clock=self.world.clock,
            rng=Random(self.world.rng.getrandbits(32)),
            applied_index=self.replica.applied_index,
            learner=self._learner(),
        )
        self.partition = self.partitions[0] = Partition(
            0,
            group=self.group,
            log=self.log,
            replica=self.replica,
            snapshots=self.snapshots,
            clock=self.world.clock,
            limits=LIMITS,
            transfer_config=TRANSFER,
        )
        self.partition.on_snapshot = self.compaction.snapshot_received
        self.partition.on_learned = self._learned

    def _learner(self) -> Learner | None:
        """A new one for each process; a snapshot does not begin learning anew."""
        if not self.learning:
            return None
        retired = self.partitions.get(0)
        known = retired.group.learner if retired is not None else None
        return known or Learner(self.world.rng.getrandbits(40))

    def _learned(self, partition: Partition) -> None:
        self.world.faults["disk repaired"] += 1
        self.learning = False
        partition.group.end_learning()

    def replace_disk(self) -> None:
        """Everything is lost; an operator starts the node again to be repaired."""
        self.storage = MemoryStorage()
        self.store = MemoryStore()
        self.snapshots = MemorySnapshots(lambda: self.store)
        self.learning = True

    # --- what compaction asks of its host ---

    def state_bytes(self) -> int:
        return 0

    def reopen_from_snapshot(self, partition: int) -> None:
        self.store = self.snapshots.restored()
        self.replica = Replica(self.store, StateMachine())

    def replace(self, partition: int) -> None:
        self.world.faults["snapshot installed"] += 1
        self.open_partition()
        for other in self.world.node_ids:
            if other != self.node_id and self.world.links[self.node_id, other].up:
                self.group.peer_connected(other)
        self.turns.request(self.partition)

    def _failed(self, error: BaseException) -> None:
        self.failure = error

    @property
    def runs(self) -> bool:
        return self.alive and not self.paused

    @property
    def has_failed_disk(self) -> bool:
        """It stops itself; its partitions may notice before the loop hears of it."""
        broken = self.partition.broken
        return self.failure is not None or (broken or "").startswith(WalFailed.__name__)

    def run_callbacks(self) -> None:
        """What the event loop has to do. On a slow disk the syncs it starts do not return."""
        self.executor.slow = self.slow_disk
        self.snapshot_executor.slow = self.slow_disk
        for _ in range(len(self.callbacks)):
            # Set each time: the policy itself measures, and simulated syncs take no time.
            self.turns.policy.in_thread = self.slow_disk
            self.callbacks.popleft()()

    def tick(self) -> None:
        self.partition.tick()
        self.turns.request(self.partition)
        self.compaction.tick()

    def receive(self, sender: NodeId, packed: bytes) -> None:
        self.partition.step(sender, unpacked(packed))
        self.turns.request(self.partition)

    # --- the network as a turn sees it ---

    def send_packed(self, node_id: NodeId, packed: bytes) -> bool:
        link = self.world.links[self.node_id, node_id]
        if not link.up:
            return False
        if not link.cut:
            link.queue.append(packed)
        return True

    def flush(self) -> None:
        """Messages are on the link as soon as they are sent."""


def _nothing() -> None:
    """Nobody wants to hear of crashes."""


class World:
    """Nodes, links and time. `check` asserts what must hold at any moment."""

    def __init__(self, seed: int, nodes: int, *, log_bytes_max: int = LOG_BYTES_MAX) -> None:
        self.log_bytes_max = log_bytes_max
        self.faults: Counter[str] = Counter()
        """How often each kind of fault took effect."""
        self.on_crash: Callable[[], None] = _nothing
        self.rng = Random(seed)
        self.clock = SimClock()
        self.node_ids = tuple(range(1, nodes + 1))
        self.links = {(a, b): Link() for a in self.node_ids for b in self.node_ids if a != b}
        self.nodes: dict[NodeId, SimNode] = {}
        for node_id in self.node_ids:
            self.nodes[node_id] = SimNode(self, node_id)
        self.leaders: dict[int, NodeId] = {}
        self.committed: dict[int, Entry] = {}
        self._checked: dict[NodeId, int] = dict.fromkeys(self.node_ids, 0)

    @property
    def pairs(self) -> list[tuple[NodeId, NodeId]]:
        return [(a, b) for a in self.node_ids for b in self.node_ids if a < b]

    # --- faults ---

    def connect(self, a: NodeId, b: NodeId) -> None:
        if self.links[a, b].up or not (self.nodes[a].alive and self.nodes[b].alive):
            return
        for me, other in ((a, b), (b, a)):
            link = self.links[me, other]
            link.up, link.cut = True, False
            node = self.nodes[me]
            node.group.peer_connected(other)
            node.turns.request(node.partition)

    def disconnect(self, a: NodeId, b: NodeId) -> None:
        if not self.links[a, b].up:
            return
        self.faults["disconnect"] += 1
        for me, other in ((a, b), (b, a)):
            link = self.links[me, other]
            link.up = False
            link.leftovers.extend(link.queue)
            link.queue.clear()
            node = self.nodes[me]
            if node.alive:
                node.group.peer_disconnected(other)
                node.turns.request(node.partition)

    def crash(self, node_id: NodeId, mode: Crash) -> None:
        """The process dies; with any other mode than PROCESS the machine does."""
        node = self.nodes[node_id]
        self.faults[f"crash {mode.value}"] += 1
        self.faults["crash with a sync in flight"] += node.executor.has_jobs
        for other in self.node_ids:
            if other != node_id:
                self.disconnect(min(node_id, other), max(node_id, other))
                self.links[node_id, other].leftovers.clear()
                self.links[other, node_id].leftovers.clear()
        node.alive = False
        node.storage.crash(self.rng, mode)
        if mode is not Crash.PROCESS:
            node.store = MemoryStore()
        self._checked[node_id] = 0
        self.on_crash()

    def restart(self, node_id: NodeId) -> None:
        node = self.nodes[node_id]
        if not node.alive:
            try:
                node.start()
            except OSError:
                # Its disk is full: it stays down.
                self.faults["start on a full disk"] += 1

    def stop_failed(self) -> None:
        """A node whose disk failed has stopped itself."""
        for node in self.nodes.values():
            if node.alive and node.failure is not None:
                self.faults["disk failed"] += 1
                self.crash(node.node_id, self.rng.choice(list(Crash)))

    def deliver(self, a: NodeId, b: NodeId, count: int) -> None:
        link, node = self.links[a, b], self.nodes[b]
        while count and link.queue and node.runs:
            node.receive(a, link.queue.popleft())
            count -= 1

    def deliver_leftover(self, a: NodeId, b: NodeId) -> None:
        """A message of a connection that was replaced arrives after all."""
        link, node = self.links[a, b], self.nodes[b]
        if link.leftovers and node.runs:
            self.faults["late message"] += 1
            node.receive(a, link.leftovers.popleft())

    def duplicate(self, a: NodeId, b: NodeId) -> None:
        """A message comes a second time: at once, or whenever leftovers come."""
        link = self.links[a, b]
        if link.queue:
            self.faults["repeated message"] += 1
            message = self.rng.choice(list(link.queue))
            self.rng.choice((link.queue, link.leftovers)).append(message)

    # --- invariants ---

    def check(self) -> None:
        """One leader per term; what is committed anywhere stays, and is the same everywhere."""
        for node in self.nodes.values():
            failure = node.failure
            assert failure is None or isinstance(failure, OSError | WalFailed), (
                f"node {node.node_id}: {failure!r}"
            )
            if not node.alive or node.has_failed_disk:
                continue
            if node.partition.broken == INSTALLING:
                continue
            assert node.partition.broken is None, f"node {node.node_id}: {node.partition.broken}"
            term = node.group.leads_term
            if term:
                leader = self.leaders.setdefault(term, node.node_id)
                assert leader == node.node_id, f"term {term} led by {leader} and {node.node_id}"
            self._check_committed(node)

    def _check_committed(self, node: SimNode) -> None:
        ends = (node.replica.applied_index, node.group.commit_index, node.log.durable_index)
        assert ends == tuple(sorted(ends)), (
            f"node {node.node_id}: applied, committed, synced {ends}"
        )
        first = max(self._checked[node.node_id] + 1, node.log.first_index)
        last = node.group.commit_index
        if first > last:
            return
        for entry in node.log.entries(first, last + 1):
            known = self.committed.setdefault(entry.index, entry)
            assert known == entry, f"entry {entry.index} is {known} and, on {node.node_id}, {entry}"
        self._checked[node.node_id] = last
