"""A node: everything put together, started, and stopped in the reverse order."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from cluster.clock import Clock, Pauses, SystemClock
from cluster.compaction import Compaction
from cluster.damage import DataDamagedError, RepairAdvice
from cluster.data import NodeData
from cluster.describe import NodeDescription
from cluster.dispatch import Dispatcher
from cluster.errors import NodeFailedError, StartError
from cluster.forwarding import Forwarding
from cluster.gateway import Gateway
from cluster.leadership import Leadership
from cluster.partition import Partition
from cluster.peer_handler import NodePeerHandler
from cluster.peers.admission import own_identity
from cluster.peers.config import PeerConfig
from cluster.peers.network import ListenError, PeerNetwork
from cluster.raft.group import RaftGroup
from cluster.raft.learning import Learner
from cluster.raft.types import GroupConfig, InvariantBrokenError
from cluster.room import Room
from cluster.router import Router
from cluster.scan_cursors import ScanCursors
from cluster.sealed_files import DataDirectoryError
from cluster.storing import Storing
from cluster.transactions import Budget
from cluster.turn import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.config import NodeConfig

logger = logging.getLogger("flo.node")

TICK_S = 0.02
IDLE_TICK_S = 0.06
"""While no partition waits for a tick: often enough for heartbeats, and for who is missing."""
_HAND_OVER_S = 2.0
_ARRIVAL_BITS = 61
_FINISH_AGAIN_S = 5.0
"""After the end of a repair could not be noted on the disk."""


class NodeCore:
    """One node in this process. `start`, then `stop`; all from one event loop, and once.

    `on_failure` is called once if the node has to stop; it is to be stopped then, too. `command` is
    what starts this node: messages for operators repeat it.
    """

    def __init__(
        self,
        config: "NodeConfig",
        *,
        clock: Clock | None = None,
        on_failure: "Callable[[NodeFailedError], None]",
        command: str = "flo node ...",
    ) -> None:
        self.config = config
        self._advice = RepairAdvice(config, command)
        self._clock = clock or SystemClock()
        self._on_failure = on_failure
        self._failed = False
        self._rng = SystemRandom()
        self._tick_timer: asyncio.TimerHandle | None = None
        self._transaction_budget = Budget()
        self._flush_scheduled = False
        self._finish_repair_at = 0.0
        self.partitions: dict[int, Partition] = {}

    async def start(self) -> None:
        """Opens the data directory, listens, and takes part. Raises StartError."""
        self._loop = asyncio.get_running_loop()
        try:
            self._data = NodeData(self.config)
        except DataDamagedError as error:
            advice = self._advice.how_to_repair(error.partition)
            raise StartError(f"{error}.\n{advice}") from error
        try:
            self._data.mark_initialized()
            self._assemble()
            await self._listen()
        except BaseException:
            self._data.close()
            raise
        self._pauses = Pauses(self._clock, pause_s=IDLE_TICK_S + 4 * TICK_S)
        self._schedule_tick()
        for partition in self.partitions.values():
            self._turns.request(partition)

    async def hand_over(self) -> None:
        """Lets other nodes lead, as far as there are any: requests are served all the while."""
        if not self._failed:
            await self._leadership.hand_over_all(_HAND_OVER_S)

    async def stop(self) -> None:
        """Closes connections, and leaves the data cleanly closed. `hand_over` should come first."""
        await self._gateway.close()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        await self._network.close()
        self._turns.stop()
        for partition in self.partitions.values():
            partition.transfer.close()
        self._compaction.stop()
        for executor in (self._executor, self._snapshot_executor):
            await self._loop.run_in_executor(None, executor.shutdown)
        self._data.close()

    @property
    def client_port(self) -> int:
        """Where clients connect, also when port 0 was asked for."""
        return self._client_port

    @property
    def router(self) -> Router:
        """What runs requests."""
        return self._router

    # --- assembly ---

    def _assemble(self) -> None:
        config, data = self.config, self._data
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="flo-disk")
        # Apart: a snapshot takes long, and a sync must not wait for it.
        self._snapshot_executor = ThreadPoolExecutor(1, thread_name_prefix="flo-snapshot")
        self._peer_handler = NodePeerHandler(data.directory, self._clock)
        self._network = PeerNetwork(
            PeerConfig(
                identity=own_identity(data.directory, str(config.client_address)),
                listen=config.peer_listen,
                peers={m.node_id: m.address for m in config.members if m.node_id != config.node_id},
                secret=config.secret,
            ),
            self._peer_handler,
        )
        self._turns = Turns(
            wal=data.wal,
            network=self._network,
            clock=self._clock,
            call_soon=self._loop.call_soon,
            call_soon_threadsafe=self._loop.call_soon_threadsafe,
            on_failure=self._fail,
            executor=self._executor,
        )
        self._compaction = Compaction(
            wal=data.wal,
            partitions=self.partitions,
            host=self,
            clock=self._clock,
            executor=self._snapshot_executor,
            call_soon_threadsafe=self._loop.call_soon_threadsafe,
            request_turn=self._turns.request,
            on_failure=self._fail,
            log_bytes_max=config.limits.log_bytes_max,
        )
        self._storing = Storing(self.partitions, self._clock)
        self._commands_room = Room(config.limits.calls_bytes_max)
        for number in data.replicas:
            self.partitions[number] = self._partition(number)
        self._leadership = Leadership(
            config.node_id, self.partitions, self._network, self._clock, self._turns.request
        )
        self._assemble_requests()

    def _assemble_requests(self) -> None:
        """What serves clients, here and on behalf of other nodes."""
        config, data = self.config, self._data
        self._forwarding = Forwarding(
            self._network,
            self.partitions,
            flush_soon=self._flush_soon,
            request_turn=self._turns.request,
        )
        self._dispatcher = Dispatcher(
            node_id=config.node_id,
            replicas=data.directory.founding.replicas,
            partitions=self.partitions,
            forwarding=self._forwarding,
            clock=self._clock,
            rng=self._rng,
            limits=config.limits,
            request_timeout_ms=config.request_timeout_ms,
            request_turn=self._turns.request,
        )
        self._describe = NodeDescription(
            node_id=config.node_id,
            client_address=str(config.client_address),
            members=config.members,
            founding=data.directory.founding,
            partitions=self.partitions,
            dispatcher=self._dispatcher,
            network=self._network,
            takes_part=self._peer_handler.may_take_part,
        )
        for partition in self.partitions.values():
            self._connect(partition)
        self._peer_handler.attach(
            partitions=self.partitions,
            forwarding=self._forwarding,
            dispatcher=self._dispatcher,
            describe=self._describe,
            request_turn=self._turns.request,
        )
        self._router = Router(
            self._dispatcher,
            partition_count=data.directory.founding.partition_count,
            cursors=ScanCursors(config.node_id, self._clock, self._rng),
            describe=self._describe,
            rng=self._rng,
            limits=config.limits,
        )
        self._gateway = Gateway(self._router, config.limits, self._loop)

    def _partition(self, number: int) -> Partition:
        data, config = self._data, self.config
        log, replica = data.wal.group(number), data.replicas[number]
        group_config = GroupConfig(
            group_id=number,
            node_id=config.node_id,
            replicas=data.directory.founding.replicas[number],
        )
        try:
            group = RaftGroup(
                group_config,
                wal=data.wal,
                log=log,
                clock=self._clock,
                # Timeouts are drawn with every message: no system call for each of them.
                rng=Random(self._rng.getrandbits(64)),
                applied_index=replica.applied_index,
                has_room=self._network.has_room,
                learner=self._learner(number),
            )
        except InvariantBrokenError as error:
            raise StartError(f"partition {number} in {config.data_dir}: {error}") from error
        return Partition(
            number,
            group=group,
            log=log,
            replica=replica,
            snapshots=data.snapshots[number],
            clock=self._clock,
            limits=config.limits,
            has_room=self._network.has_room,
            room=self._commands_room,
            transaction_budget=self._transaction_budget,
        )

    def _learner(self, number: int) -> Learner | None:
        """Set while the partition is being repaired; a snapshot does not begin that anew."""
        if number not in self._data.directory.repairing:
            return None
        retired = self.partitions.get(number)
        known = retired.group.learner if retired is not None else None
        return known or Learner(self._rng.getrandbits(_ARRIVAL_BITS))

    def _connect(self, partition: Partition) -> None:
        """Lets a partition tell what it learns."""
        partition.on_leader = self._dispatcher.leader_changed
        partition.on_snapshot = self._compaction.snapshot_received
        partition.on_learned = self._learned

    def _learned(self, partition: Partition) -> None:
        now = self._clock.monotonic()
        if now < self._finish_repair_at:
            return
        try:
            self._data.directory.finish_repair(partition.partition_id)
        except DataDirectoryError as error:
            self._finish_repair_at = now + _FINISH_AGAIN_S
            logger.error("partition %d is not repaired yet: %s", partition.partition_id, error)
            return
        partition.group.end_learning()
        logger.info("partition %d is repaired: it votes again", partition.partition_id)

    async def _listen(self) -> None:
        listen = self.config.listen
        try:
            self._client_port = await self._gateway.listen(listen.host, listen.port)
        except OSError as error:
            raise StartError(
                f"cannot listen for clients on {listen}: {error.strerror or error}. Stop what"
                " listens there, or choose another address with --listen"
            ) from error
        try:
            await self._network.start()
        except ListenError as error:
            await self._gateway.close()
            raise StartError(str(error)) from error

    # --- what compaction asks of its host ---

    def state_bytes(self) -> int:
        return self._data.state_bytes()

    def reopen_from_snapshot(self, partition: int) -> None:
        self._data.reopen_from_snapshot(partition)

    def replace(self, partition: int) -> None:
        retired = self.partitions[partition]
        new = self.partitions[partition] = self._partition(partition)
        new.takes_part = retired.takes_part
        self._connect(new)
        for peer in new.group.config.peers:
            if self._network.connected(peer):
                new.group.peer_connected(peer)
        self._turns.request(new)

    # --- running ---

    def _schedule_tick(self) -> None:
        is_idle = all(map(self._is_idle, self.partitions.values()))
        self._tick_timer = self._loop.call_later(IDLE_TICK_S if is_idle else TICK_S, self._tick)

    def _is_idle(self, partition: Partition) -> bool:
        if partition.broken:
            return True
        leader = partition.group.leader
        # Without a leader in sight, an election is near.
        in_sight = leader == self.config.node_id or self._network.connected(leader)
        return in_sight and partition.is_idle

    def _tick(self) -> None:
        self._schedule_tick()
        if self._pauses.noticed():
            return
        for number, partition in self.partitions.items():
            if self._peer_handler.may_take_part(number):
                partition.tick()
                self._turns.request(partition)
        self._advice.tell_broken(self.partitions)
        self._dispatcher.tick()
        self._leadership.tick(disk_is_stuck=self._turns.disk_is_stuck)
        try:
            self._storing.tick()
            self._compaction.tick()
        except Exception as error:
            # A failed sync, or a mistake of ours: nobody knows what the store holds.
            self._fail(error)

    def _flush_soon(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._network.flush()

    def _fail(self, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            failure = NodeFailedError(f"the node had to stop: {error}")
            failure.__cause__ = error
            self._on_failure(failure)
