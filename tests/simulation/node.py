"""One simulated node, put together as `cluster.node.NodeCore` does it, without its sockets."""

from collections import deque
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from cluster.addresses import Address, Member
from cluster.clock import Pauses
from cluster.compaction import INSTALLING, Compaction, restore_point
from cluster.config import Limits
from cluster.describe import NodeDescription
from cluster.dispatch import Dispatcher
from cluster.forwarding import Forwarding
from cluster.leadership import Leadership
from cluster.node import TICK_S
from cluster.partition import Partition
from cluster.peer_handler import NodePeerHandler
from cluster.raft.group import RaftGroup
from cluster.raft.learning import Learner
from cluster.raft.types import GroupConfig, NodeId
from cluster.replica import Replica
from cluster.room import Room
from cluster.router import Router
from cluster.scan_cursors import ScanCursors
from cluster.sealed_files import DataDirectoryError
from cluster.snapshot_transfer import TransferConfig
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.memory_snapshots import MemorySnapshots
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storage.wal_errors import WalFailed
from cluster.storing import Storing
from cluster.turn import Turns
from tests.simulation.devices import NodeClock, SimDirectory, SimStorage, StepExecutor
from tests.simulation.network import NodeNetwork, unpacked_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.calls import Call
    from cluster.router import DoneCallback
    from cluster.state.store import Store
    from cluster.storage.files import Storage
    from cluster.storage.group_log import GroupLog
    from flo.wire.connection import Request
    from tests.simulation.world import World

LIMITS = Limits(batch_commands_max=4, apply_bytes_per_turn=200)
"""Small, so that batches are cut and applying takes several turns."""
WAL = WalConfig(segment_bytes=1_500, tail_bytes=600, batch_bytes_max=1_000, groups_max=4)
LOG_BYTES_MAX = 2 * WAL.segment_bytes
"""So little that followers often need a snapshot."""
TRANSFER = TransferConfig(piece_bytes=500, window_bytes=1500)
REQUEST_TIMEOUT_MS = 1_500


def _files(files: "Storage") -> "Storage":
    return files


def _state(store: "Store") -> "Store":
    return store


@dataclass(frozen=True)
class Setup:
    """What nodes are made of. The defaults make rare things common."""

    limits: Limits = LIMITS
    wal: WalConfig = WAL
    message_bytes: int = 200
    window_bytes: int = 600
    files: "Callable[[Storage], Storage]" = _files
    """What the log sees of its disk: to look at what it does."""
    state: "Callable[[Store], Store]" = _state
    """What a replica sees of its store."""


RARE_THINGS = Setup()


def address_of(node_id: NodeId) -> str:
    """Where the clients of a node would connect."""
    return f"127.0.0.1:{9000 + node_id}"


class SimNode:
    """One node. Its disk and, unless the machine crashes, its state stores outlive it."""

    def __init__(self, world: "World", node_id: NodeId) -> None:
        self.world = world
        self.setup = world.setup
        self.node_id = node_id
        self.rng = Random(world.rng.getrandbits(48))
        self.clock = NodeClock(world.clock)
        self.numbers = [
            number for number, ids in enumerate(world.founding.replicas) if node_id in ids
        ]
        self.alive = False
        self.paused = False
        self.damaged = False
        """A bit of its log was flipped, and nobody has noticed yet."""
        self.failure: BaseException | None = None
        """Why the node stopped itself; it is then as good as crashed."""
        self.slow_disk = False
        self.callbacks: deque[Callable[[], None]] = deque()
        """What its event loop is to do next."""
        self.network = NodeNetwork(world, node_id)
        self.new_disk(generation=0)
        self.start()

    # --- disks ---

    def new_disk(self, *, generation: int) -> None:
        """An empty one; above generation 0 an operator starts the node to be repaired."""
        self.storage = SimStorage(self.world.faults)
        self.directory = SimDirectory(
            self.world.founding, self.node_id, generation=generation, storage=self.storage
        )
        self.damaged = False
        self.lose_state()
        self.all_snapshots = {
            number: MemorySnapshots(partial(self._store, number)) for number in self.numbers
        }

    def _store(self, number: int) -> MemoryStore:
        return self.stores[number]

    def lose_state(self) -> None:
        """The stores are rebuilt from snapshot and log."""
        self.stores = {number: MemoryStore() for number in self.numbers}

    @property
    def learning(self) -> bool:
        """Its disk was lost, and it has not learnt enough yet to count again."""
        return bool(self.directory.repairing)

    # --- a process ---

    def start(self) -> None:
        """A new process, from what the disk holds. Raises OSError while the disk is full, and
        WalDamaged."""
        self.callbacks.clear()
        self.failure = None
        self.executor = StepExecutor()
        self.snapshot_executor = StepExecutor()
        self.wal = Wal.open(self.setup.files(self.storage), self.setup.wal)
        self.replicas: dict[int, Replica] = {}
        for number in self.numbers:
            replica = self.replicas[number] = self._replica(number)
            latest = self.all_snapshots[number].latest
            if restore_point(self.wal, number, latest, replica.applied_index):
                self.reopen_from_snapshot(number)
        self.partitions: dict[int, Partition] = {}
        self._assemble()
        self._assemble_requests()
        self.alive = True
        for partition in self.partitions.values():
            self.turns.request(partition)

    def _replica(self, number: int) -> Replica:
        return Replica(self.setup.state(self.stores[number]), StateMachine())

    def _assemble(self) -> None:
        self.handler = NodePeerHandler(self.directory, self.clock)
        self.pauses = Pauses(self.clock, pause_s=5 * TICK_S)
        self.room = Room(self.setup.limits.calls_bytes_max)
        self.turns = Turns(
            wal=self.wal,
            network=self.network,
            clock=self.clock,
            call_soon=self.callbacks.append,
            call_soon_threadsafe=self.callbacks.append,
            on_failure=self._failed,
            executor=self.executor,
        )
        self.compaction = Compaction(
            wal=self.wal,
            partitions=self.partitions,
            host=self,
            clock=self.clock,
            executor=self.snapshot_executor,
            call_soon_threadsafe=self.callbacks.append,
            request_turn=self.turns.request,
            on_failure=self._failed,
            log_bytes_max=self.world.log_bytes_max,
        )
        self.storing = Storing(self.partitions, self.clock)
        for number in self.numbers:
            self.partitions[number] = self._partition(number)
        self.leadership = Leadership(
            self.node_id, self.partitions, self.network, self.clock, self.turns.request
        )

    def _assemble_requests(self) -> None:
        founding = self.world.founding
        self.forwarding = Forwarding(
            self.network,
            self.partitions,
            flush_soon=lambda: self.callbacks.append(self.network.flush),
            request_turn=self.turns.request,
        )
        self.dispatcher = Dispatcher(
            node_id=self.node_id,
            replicas=founding.replicas,
            partitions=self.partitions,
            forwarding=self.forwarding,
            clock=self.clock,
            rng=self.rng,
            limits=self.setup.limits,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            request_turn=self.turns.request,
        )
        describe = NodeDescription(
            node_id=self.node_id,
            client_address=address_of(self.node_id),
            members=tuple(Member(n, Address("127.0.0.1", 9500 + n), "") for n in founding.zones),
            founding=founding,
            partitions=self.partitions,
            dispatcher=self.dispatcher,
            network=self.network,
            takes_part=self.handler.may_take_part,
        )
        for partition in self.partitions.values():
            self._connect(partition)
        self.handler.attach(
            partitions=self.partitions,
            forwarding=self.forwarding,
            dispatcher=self.dispatcher,
            describe=describe,
            request_turn=self.turns.request,
        )
        self.router = Router(
            self.dispatcher,
            partition_count=founding.partition_count,
            cursors=ScanCursors(self.node_id, self.clock, self.rng),
            describe=describe,
            rng=self.rng,
            limits=self.setup.limits,
        )

    def _partition(self, number: int) -> Partition:
        """A replica from what log and state hold."""
        log, replica = self.wal.group(number), self.replicas[number]
        group = RaftGroup(
            GroupConfig(
                number,
                self.node_id,
                self.world.founding.replicas[number],
                message_bytes=self.setup.message_bytes,
                window_bytes=self.setup.window_bytes,
            ),
            wal=self.wal,
            log=log,
            clock=self.clock,
            rng=Random(self.rng.getrandbits(32)),
            applied_index=replica.applied_index,
            has_room=self.network.has_room,
            learner=self._learner(number),
        )
        return Partition(
            number,
            group=group,
            log=log,
            replica=replica,
            snapshots=self.all_snapshots[number],
            clock=self.clock,
            limits=self.setup.limits,
            has_room=self.network.has_room,
            transfer_config=TRANSFER,
            room=self.room,
        )

    def _connect(self, partition: Partition) -> None:
        """Lets a partition tell what it learns."""
        partition.on_leader = self.dispatcher.leader_changed
        partition.on_snapshot = self.compaction.snapshot_received
        partition.on_learned = self._learned

    def _learner(self, number: int) -> Learner | None:
        """A new one for each process; a snapshot does not begin learning anew."""
        if number not in self.directory.repairing:
            return None
        retired = self.partitions.get(number)
        known = retired.group.learner if retired is not None else None
        return known or Learner(self.rng.getrandbits(40))

    def _learned(self, partition: Partition) -> None:
        try:
            self.directory.finish_repair(partition.partition_id)
        except DataDirectoryError:
            return  # The disk is full: it is asked again.
        self.world.faults["disk repaired"] += 1
        partition.group.end_learning()

    def _failed(self, error: BaseException) -> None:
        self.failure = error

    # --- what compaction asks of its host ---

    def state_bytes(self) -> int:
        return 0

    def reopen_from_snapshot(self, partition: int) -> None:
        self.replicas[partition].abandon()
        self.stores[partition] = self.all_snapshots[partition].restored()
        self.replicas[partition] = self._replica(partition)

    def replace(self, partition: int) -> None:
        self.world.faults["snapshot installed"] += 1
        retired = self.partitions[partition]
        new = self.partitions[partition] = self._partition(partition)
        new.takes_part = retired.takes_part
        self._connect(new)
        for peer in new.group.config.peers:
            if self.network.connected(peer):
                new.group.peer_connected(peer)
        self.turns.request(new)

    # --- the only partition of a small world ---

    @property
    def partition(self) -> Partition:
        return self.partitions[0]

    @property
    def group(self) -> RaftGroup:
        return self.partition.group

    @property
    def log(self) -> "GroupLog":
        return self.wal.group(0)

    @property
    def replica(self) -> Replica:
        return self.replicas[0]

    @property
    def snapshots(self) -> MemorySnapshots:
        return self.all_snapshots[0]

    # --- running ---

    @property
    def runs(self) -> bool:
        return self.alive and not self.paused

    @property
    def leads(self) -> bool:
        return self.alive and any(each.group.is_leader for each in self.partitions.values())

    @property
    def has_failed_disk(self) -> bool:
        """It stops itself; its partitions may notice before the loop hears of it."""
        return self.failure is not None or any(
            (each.broken or "").startswith(WalFailed.__name__) for each in self.partitions.values()
        )

    @property
    def is_installing(self) -> bool:
        return any(each.broken == INSTALLING for each in self.partitions.values())

    def run_callbacks(self) -> None:
        """What the event loop has to do. On a slow disk the syncs it starts do not return."""
        if not self.callbacks:
            return
        self.executor.slow = self.slow_disk
        self.snapshot_executor.slow = self.slow_disk
        for _ in range(len(self.callbacks)):
            # Set each time: the policy itself measures, and simulated syncs take no time.
            self.turns.policy.in_thread = self.slow_disk
            self.callbacks.popleft()()

    def tick(self) -> None:
        if self.pauses.noticed():
            return
        for number, partition in self.partitions.items():
            if self.handler.may_take_part(number):
                partition.tick()
                self.turns.request(partition)
        self.dispatcher.tick()
        self.leadership.tick(disk_is_stuck=self.turns.disk_is_stuck)
        self.storing.tick()
        self.compaction.tick()

    def receive(self, sender: NodeId, *packed: bytes) -> None:
        self.handler.on_messages(sender, unpacked_all(packed))

    def ask(self, request: "Request", done: "DoneCallback") -> "Callable[[], None]":
        """A client's request has come: it is read when the loop gets to it. What is returned lets
        the client go away, if the request waits by then."""
        waiting: list[Call] = []

        def run() -> None:
            call = self.router.run(request, done)
            if call is not None:
                waiting.append(call)

        def cancel() -> None:
            for call in waiting:
                call.cancel()

        self.callbacks.append(run)
        return partial(self.callbacks.append, cancel)
