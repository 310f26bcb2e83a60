"""The log of a node stays bounded, whatever happens to one of its partitions."""

from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster import replica, storing
from cluster.compaction import INSTALLING, Compaction
from cluster.config import Limits
from cluster.queries import Result
from cluster.raft.types import NodeId
from cluster.state.commands import PUT, encode_entry
from cluster.state.errors import CorruptState
from cluster.storage.memory_snapshots import MemorySnapshots
from tests.simulation.devices import StepExecutor
from tests.simulation.world import World
from tests.unit.node.small_cluster import WAL, SmallCluster, SmallNode

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND = 6 * WAL.segment_bytes
SLACK = 2 * WAL.segment_bytes
"""The segment that is being written, and the one whose last entries nobody has let go yet."""
RETRY_S = 5.0


class Nobody:
    """Implements `Waiter`."""

    def on_result(self, result: Result) -> None:
        assert result[0] == 0

    def on_not_leader(self, leader: NodeId) -> None:
        raise AssertionError("a group of one replica leads")

    def on_unknown(self) -> None:
        raise AssertionError("a group of one replica leads")


class Keeper:
    """One node with partitions of one replica each, and its compaction. Implements ReplicaHost."""

    def __init__(self, partitions: int = 2, *, log_bytes_max: int = BOUND) -> None:
        self.cluster = SmallCluster(owners=(1,) * partitions, nodes=(1,), limits=Limits())
        self.node: SmallNode = self.cluster.nodes[1]
        self.executor = StepExecutor()
        self.callbacks: list[Callable[[], None]] = []
        self.failures: list[BaseException] = []
        self.states = 0
        self.reopened: list[int] = []
        self.replaced: list[int] = []
        self.reopen_error: Exception | None = None
        self.compaction = Compaction(
            wal=self.node.wal,
            partitions=self.node.partitions,
            host=self,
            clock=self.cluster.clock,
            executor=self.executor,
            call_soon_threadsafe=self.callbacks.append,
            request_turn=self.node.turns.request,
            on_failure=self.failures.append,
            log_bytes_max=log_bytes_max,
        )
        self.rng = Random(1)

    def state_bytes(self) -> int:
        return self.states

    def reopen_from_snapshot(self, partition: int) -> None:
        self.reopened.append(partition)
        if self.reopen_error is not None:
            raise self.reopen_error

    def replace(self, partition: int) -> None:
        self.replaced.append(partition)

    def snapshots(self, partition: int) -> MemorySnapshots:
        snapshots = self.node.partitions[partition].snapshots
        assert isinstance(snapshots, MemorySnapshots)
        return snapshots

    def base(self, partition: int) -> int:
        return self.node.wal.group(partition).base_index

    @property
    def log_bytes(self) -> int:
        return self.node.wal.bytes_in_use

    def write(self, nbytes: int, *partitions: int) -> None:
        """So many bytes of commands for each partition, one entry each 8 KiB."""
        for _ in range(nbytes >> 13):
            for number in partitions:
                value = self.rng.randbytes(8 << 10)
                command = (PUT, 0, 0, 0, b"ns", b"key", value, 0, 0, None)
                partition = self.node.partitions[number]
                partition.submit(command, len(value), Nobody())
                self.node.turns.request(partition)
            self.cluster.tick()

    def look(self) -> None:
        """The timer of a node, but no turn: nothing is synced."""
        self.cluster.clock.advance(0.1)
        self.compaction.tick()
        while self.callbacks:
            self.callbacks.pop(0)()

    def tick(self, rounds: int = 20) -> None:
        """As a node does: looks, does what there is, turns."""
        for _ in range(rounds):
            self.look()
            self.executor.run_next()
            self.cluster.tick()


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


# The bound


def test_endless_writes_keep_log_and_memory_bounded(keeper: Keeper) -> None:
    most = 0
    for _ in range(40):
        keeper.write(WAL.segment_bytes // 2, 0, 1)
        keeper.tick()
        most = max(most, keeper.log_bytes)
    assert most <= BOUND + SLACK
    assert keeper.base(0) > 200
    assert keeper.base(1) > 200
    assert not keeper.failures


def test_half_of_the_bound_stays_for_those_that_were_away_for_a_short_time(keeper: Keeper) -> None:
    keeper.write(BOUND + WAL.segment_bytes, 0)
    assert keeper.log_bytes > BOUND
    keeper.tick()
    assert BOUND // 2 - WAL.segment_bytes <= keeper.log_bytes <= BOUND // 2 + WAL.segment_bytes
    log = keeper.node.wal.group(0)
    assert log.last_index - log.base_index >= 10


def test_large_states_allow_a_larger_log(keeper: Keeper) -> None:
    keeper.states = 4 * BOUND
    keeper.write(2 * BOUND - WAL.segment_bytes, 0)
    keeper.tick()
    assert keeper.base(0) == 0
    keeper.states = 0
    keeper.tick()
    assert keeper.base(0) > 0


def test_small_log_is_left_alone(keeper: Keeper) -> None:
    keeper.write(BOUND // 2, 0)
    keeper.tick()
    assert keeper.base(0) == 0
    assert keeper.snapshots(0).latest is None


def test_partition_that_needs_no_old_segment_is_left_alone(keeper: Keeper) -> None:
    keeper.write(2 * BOUND, 0)
    keeper.tick()
    taken, base = keeper.snapshots(1).latest, keeper.base(0)
    assert taken is not None, "it had an entry at the beginning"
    keeper.write(BOUND, 0)
    keeper.write(WAL.segment_bytes, 1)
    keeper.tick()
    assert keeper.base(0) > base
    assert keeper.snapshots(1).latest == taken


def test_at_most_one_job_at_a_time_and_writes_go_on_meanwhile(keeper: Keeper) -> None:
    keeper.executor.slow = True
    submitted = 0
    for _ in range(30):
        keeper.write(WAL.segment_bytes // 4, 0, 1)
        keeper.look()
        keeper.look()
        submitted = max(submitted, keeper.executor.waiting)
    assert submitted == 1
    for _ in range(30):
        keeper.tick()
    assert keeper.log_bytes <= BOUND


def test_nothing_is_released_before_the_compaction_is_durable(keeper: Keeper) -> None:
    keeper.write(2 * BOUND, 0)
    before = keeper.log_bytes
    for _ in range(10):
        keeper.look()
    assert keeper.base(0) > 0, "decided"
    assert keeper.log_bytes == before
    keeper.cluster.settle()
    keeper.tick()
    assert keeper.log_bytes < before


# What goes wrong


@pytest.mark.parametrize("what", ["copy", "name"])
def test_job_without_space_is_tried_again_after_a_while(
    keeper: Keeper, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.write(2 * BOUND, 0)
    keeper.executor.slow = True
    if what == "name":
        keeper.look()
        keeper.executor.run_next()
    keeper.snapshots(0).failures = 1
    keeper.tick(10)
    assert keeper.base(0) == 0
    assert caplog.text.count("No space left on device; tried again in 5 s") == 1
    keeper.cluster.clock.advance(RETRY_S)
    keeper.tick()
    assert keeper.base(0) > 0
    assert not keeper.failures


def test_partition_whose_snapshots_fail_does_not_hold_up_the_others(keeper: Keeper) -> None:
    """It still pins the log, which they share; but they have done their part."""
    keeper.snapshots(0).failures = 1 << 30
    keeper.write(2 * BOUND, 0, 1)
    keeper.tick()
    assert keeper.base(0) == 0
    assert keeper.base(1) > 0
    before = keeper.log_bytes
    keeper.snapshots(0).failures = 0
    keeper.cluster.clock.advance(RETRY_S)
    keeper.tick()
    assert keeper.base(0) > 0
    assert keeper.log_bytes < before


def test_broken_partition_keeps_its_log_and_does_not_hold_up_the_others(keeper: Keeper) -> None:
    keeper.write(2 * BOUND, 0, 1)
    keeper.node.partitions[0].broken = "CorruptState: for this test"
    keeper.tick()
    assert keeper.base(0) == 0, "kept for inspection"
    assert keeper.base(1) > 0
    assert not keeper.failures


def test_mistake_of_ours_stops_the_node(keeper: Keeper) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    keeper.write(2 * BOUND, 0)
    keeper.node.wal.release = broken  # type: ignore[method-assign]
    keeper.tick()
    assert [type(error) for error in keeper.failures] == [ZeroDivisionError]
    keeper.tick()
    assert len(keeper.failures) == 1


def test_nothing_follows_from_a_job_that_ends_after_the_stop(keeper: Keeper) -> None:
    keeper.executor.slow = True
    keeper.write(2 * BOUND, 0)
    keeper.look()
    keeper.compaction.stop()
    keeper.tick()
    assert keeper.snapshots(0).latest is None
    assert keeper.base(0) == 0
    assert not keeper.executor.has_jobs


# Snapshots that are missing


def test_log_whose_beginning_no_snapshot_holds_gets_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file was removed, or another one came to nothing: the state is all there is."""
    stores_never(monkeypatch)
    keeper = Keeper()
    keeper.write(2 * BOUND, 0)
    keeper.tick()
    keeper.write(1 << 14, 0)
    assert keeper.node.partitions[0].replica.unstored_bytes
    snapshots = keeper.snapshots(0)
    assert snapshots.latest is not None
    snapshots.latest = None
    keeper.tick()
    assert snapshots.latest is not None
    assert snapshots.latest.last_index == keeper.node.partitions[0].group.applied_index


def test_state_that_is_found_damaged_gets_none(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log may not forget what a copy of it would hold."""
    keeper.write(2 * BOUND, 0)
    keeper.tick()
    latest = keeper.snapshots(0).latest
    keeper.snapshots(0).latest = None
    partition = keeper.node.partitions[0]

    def damaged() -> None:
        raise CorruptState("for this test")

    monkeypatch.setattr(partition.replica, "store", damaged)
    keeper.tick()
    assert latest is not None
    assert partition.broken == "CorruptState: for this test"
    assert keeper.snapshots(0).latest is None


# Installing


def test_received_snapshot_that_the_log_has_passed_is_thrown_away(keeper: Keeper) -> None:
    keeper.write(2 * BOUND, 0)
    keeper.tick()
    snapshots = keeper.snapshots(0)
    latest = snapshots.latest
    assert latest is not None
    incoming = snapshots.receive(latest)
    incoming.write(snapshots.content)
    keeper.write(1 << 14, 0)
    keeper.compaction.snapshot_received(0, incoming)
    keeper.tick()
    assert keeper.reopened == []
    assert keeper.node.partitions[0].broken is None


def test_log_keeps_what_a_full_state_has_yet_to_apply(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a snapshot that was received meanwhile holds it: that was not installed."""
    monkeypatch.setattr(replica, "UNSTORED_BYTES_MAX", 1)
    keeper.write(1 << 14, 0)
    partition = keeper.node.partitions[0]
    applied = partition.group.applied_index
    store = vars(partition.replica)["_store"]
    store.full = True
    value = bytes(8 << 10)
    command = (PUT, 0, 0, 0, b"ns", b"key", value, 0, 0, None)
    for _ in range(2 * BOUND >> 13):
        partition.group.propose(encode_entry(1, [command]))
        keeper.node.turns.request(partition)
        keeper.cluster.tick()
    assert partition.group.applied_index == applied
    ahead = Keeper()
    ahead.write((2 * BOUND) - (1 << 16), 0)
    info = ahead.snapshots(0).take().publish(1)
    assert applied < info.last_index < partition.group.commit_index
    keeper.snapshots(0).adopt(info, ahead.snapshots(0).content)
    keeper.tick()
    assert keeper.base(0) <= applied
    store.full = False
    keeper.tick(rounds=100)
    assert partition.broken is None
    assert partition.group.applied_index == partition.group.commit_index
    keeper.tick()
    assert keeper.base(0) > applied, "then it is let go"


def stores_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody asks for it."""
    monkeypatch.setattr(storing, "STORE_EVERY_S", 1e9)
    monkeypatch.setattr(replica, "UNSTORED_BYTES_MAX", 1 << 30)


def test_snapshot_holds_what_was_applied_though_nothing_had_stored_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores_never(monkeypatch)
    keeper = Keeper()
    keeper.write(2 * BOUND, 0)
    partition = keeper.node.partitions[0]
    assert partition.replica.stored_index == 0
    keeper.look()
    latest = keeper.snapshots(0).latest
    keeper.executor.run_next()
    keeper.look()
    assert latest is None
    latest = keeper.snapshots(0).latest
    assert latest is not None
    assert latest.last_index == partition.replica.applied_index


@pytest.mark.parametrize("full", [False, True])
def test_log_keeps_what_is_not_stored(monkeypatch: pytest.MonkeyPatch, *, full: bool) -> None:
    """It is applied again after a crash: a snapshot that was received, and not installed since the
    log has gone on, is none of the state that is there."""
    stores_never(monkeypatch)
    keeper, ahead = Keeper(), Keeper()
    for each in (keeper, ahead):
        each.write(2 * BOUND, 0)
    partition = keeper.node.partitions[0]
    ahead.node.partitions[0].store()
    info = ahead.snapshots(0).take().publish(1)
    assert info.last_index == partition.group.applied_index
    assert partition.replica.stored_index == 0
    keeper.snapshots(0).adopt(info, ahead.snapshots(0).content)
    keeper.node.stores[0].full = full
    for _ in range(40):
        keeper.tick(1)
        assert keeper.base(0) <= partition.replica.stored_index
    assert partition.disk_full == full
    assert (keeper.base(0) == 0) == full
    keeper.node.stores[0].full = False
    keeper.tick(60)
    assert 0 < keeper.base(0) <= partition.replica.stored_index
    assert partition.broken is None


def test_install_that_fails_is_tried_again_and_holds_up_nobody(keeper: Keeper) -> None:
    ahead = Keeper()
    ahead.write(BOUND, 0)
    copy = ahead.snapshots(0).take()
    info = copy.publish(1)
    incoming = keeper.snapshots(0).receive(info)
    incoming.write(ahead.snapshots(0).content)
    keeper.reopen_error = OSError(28, "No space left on device")
    keeper.compaction.snapshot_received(0, incoming)
    keeper.tick()
    assert keeper.node.partitions[0].broken == INSTALLING
    assert keeper.base(0) == info.last_index
    assert keeper.reopened == [0]
    keeper.write(2 * BOUND, 1)
    keeper.tick()
    assert keeper.base(1) > 0, "the others are kept bounded meanwhile"
    keeper.reopen_error = None
    keeper.cluster.clock.advance(RETRY_S)
    keeper.tick()
    assert keeper.replaced == [0]
    assert not keeper.failures


def test_state_follows_only_when_the_log_that_fits_it_is_durable(keeper: Keeper) -> None:
    """A start then finds a state that is older than its log, and takes the snapshot."""
    ahead = Keeper()
    ahead.write(BOUND, 0)
    info = ahead.snapshots(0).take().publish(1)
    incoming = keeper.snapshots(0).receive(info)
    incoming.write(ahead.snapshots(0).content)
    keeper.compaction.snapshot_received(0, incoming)
    for _ in range(10):
        keeper.look()
    assert keeper.base(0) == info.last_index
    assert keeper.reopened == []
    keeper.tick()
    assert keeper.replaced == [0]


# A follower that is receiving


def far_behind_world(*, log_bytes_max: int = 30_000) -> World:
    """Three nodes; 3 was away so long that its next entries are gone, and is back."""
    world = World(3, 3, log_bytes_max=log_bytes_max)
    for pair in world.pairs:
        world.connect(*pair)
    run(world)
    for pair in ((1, 3), (2, 3)):
        world.disconnect(*pair)
    write(world, 500)
    leader = leader_of(world)
    assert world.nodes[leader].log.base_index > world.nodes[3].log.last_index
    world.connect(min(leader, 3), max(leader, 3))
    return world


def run(world: World, rounds: int = 60, nodes: tuple[NodeId, ...] = (1, 2, 3)) -> None:
    for _ in range(rounds):
        world.clock.now += 0.02
        for node_id in nodes:
            world.nodes[node_id].tick()
            world.nodes[node_id].run_callbacks()
        for a, b in world.links:
            if b in nodes:
                world.deliver(a, b, 1000)
        for node_id in nodes:
            world.nodes[node_id].run_callbacks()


def leader_of(world: World) -> NodeId:
    (leader,) = (n for n, node in world.nodes.items() if node.alive and node.group.is_ready)
    return leader


def write(world: World, count: int, nodes: tuple[NodeId, ...] = (1, 2)) -> None:
    node = world.nodes[leader_of(world)]
    for number in range(count):
        command = (PUT, 0, 0, 0, b"ns", b"%d" % (number % 5), b"x" * 50, 0, 0, None)
        node.partition.submit(command, 100, Nobody())
        node.turns.request(node.partition)
        run(world, 2, nodes)


def test_log_is_kept_for_a_follower_that_is_receiving_but_not_for_ever() -> None:
    world = far_behind_world()
    leader = world.nodes[leader_of(world)]
    # 3 hears its leader but takes no piece: its disk stands still.
    run(world, 5, (1, 2))
    needed_from = leader.partition.transfer.needed_from
    assert needed_from is not None
    bound = world.log_bytes_max
    kept = 0
    most = 0
    for _ in range(500):
        write(world, 1)
        kept = max(kept, leader.wal.bytes_in_use if leader.log.base_index <= needed_from else 0)
        most = max(most, leader.wal.bytes_in_use)
    assert kept > bound, "kept for the follower"
    assert leader.log.base_index > needed_from
    assert most <= 2 * bound + 3 * 1_500, "but not for ever"
    run(world, 200)
    assert world.nodes[3].replica.applied_index == leader.replica.applied_index
    world.check()


def test_no_snapshot_is_taken_again_and_again_for_a_log_that_is_kept() -> None:
    world = far_behind_world()
    leader = world.nodes[leader_of(world)]
    run(world, 5, (1, 2))
    begun = leader.snapshots.latest
    over = 0
    while leader.wal.bytes_in_use <= 2 * world.log_bytes_max - 3_000:
        assert leader.snapshots.latest == begun
        over += leader.wal.bytes_in_use > world.log_bytes_max
        write(world, 1)
    assert over > 50


def test_snapshot_that_is_damaged_at_the_leader_is_taken_anew() -> None:
    """Nobody writes, so nothing else would replace it."""
    world = far_behind_world()
    leader = world.nodes[leader_of(world)]
    content = leader.snapshots.content
    leader.snapshots.content = content[:-1] + bytes((content[-1] ^ 1,))
    run(world, 800)
    assert world.nodes[3].replica.applied_index == leader.replica.applied_index
    assert world.nodes[3].replica.digest() == leader.replica.digest()
    assert world.faults["snapshot installed"] == 1
