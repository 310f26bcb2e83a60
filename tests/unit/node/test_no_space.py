"""A node without space: what it refuses, what goes on, and that it comes back by itself."""

from dataclasses import dataclass, field

import pytest

from cluster import replica
from cluster.config import Limits
from cluster.queries import GET, Result
from cluster.raft.types import NodeId
from cluster.state.commands import PUT, encode_entry
from flo.wire.status import Reason
from tests.unit.node.small_cluster import WAL, SmallCluster
from tests.unit.node.test_compaction import BOUND, Keeper


@dataclass
class Answered:
    """Implements `Waiter`."""

    outcomes: list[object] = field(default_factory=list[object])

    def on_result(self, result: Result) -> None:
        self.outcomes.append(result[0])

    def on_not_leader(self, leader: NodeId) -> None:
        self.outcomes.append(("not leader", leader))

    def on_unknown(self) -> None:
        self.outcomes.append("unknown")


class Alone:
    """One node with one partition."""

    def __init__(self) -> None:
        self.cluster = SmallCluster(owners=(1,), nodes=(1,), limits=Limits())
        self.node = self.cluster.nodes[1]
        self.partition = self.node.partitions[0]

    def put(self, nbytes: int = 5, *, ttl_ms: int = 0) -> Answered:
        answered = Answered()
        command = (PUT, 0, 0, 0, b"ns", b"key", b"v" * nbytes, ttl_ms, 0, None)
        self.partition.submit(command, nbytes, answered)
        self.node.turns.request(self.partition)
        self.cluster.settle()
        return answered

    def get(self) -> Answered:
        answered = Answered()
        self.partition.read(GET, (b"ns", b"key"), answered)
        self.node.turns.request(self.partition)
        self.cluster.settle()
        return answered


@pytest.fixture
def alone() -> Alone:
    return Alone()


@pytest.fixture
def stores_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one entry is applied above what is stored."""
    monkeypatch.setattr(replica, "UNSTORED_BYTES_MAX", 1)


# The log


@pytest.mark.parametrize("in_thread", [False, True])
def test_records_that_find_no_space_are_written_when_there_is_some(
    alone: Alone,
    in_thread: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No segment was ready in time, and none can be made: the node goes on without promises."""
    node = alone.node
    monkeypatch.setattr(node.wal, "needs_segment", lambda: False)
    node.turns.policy.in_thread = in_thread
    node.storage.space_bytes = 0
    waiting: list[Answered] = []
    while not waiting or waiting[-1].outcomes:
        waiting.append(alone.put(30_000))
        assert len(waiting) < 20, "the segment never became full"
        assert waiting[-1].outcomes in ([], [0])
    assert "no space to write the log" in caplog.text
    assert alone.get().outcomes == [0], "reads go on"
    assert alone.put().outcomes == [Reason.WRITES_STOPPED]
    for _ in range(100):
        alone.cluster.tick()
    assert waiting[-1].outcomes == []
    node.storage.space_bytes = None
    for _ in range(100):
        alone.cluster.tick()
    assert waiting[-1].outcomes == [0], "what it had taken is kept"
    assert alone.put().outcomes == [0]
    assert alone.get().outcomes == [0]


def test_no_space_is_said_once(alone: Alone, caplog: pytest.LogCaptureFixture) -> None:
    alone.node.storage.space_bytes = 0
    for _ in range(20):
        alone.put(30_000)
        alone.cluster.tick()
    for _ in range(100):
        alone.cluster.tick()
    assert caplog.text.count("for the next") == 1


# The state


@pytest.mark.usefixtures("stores_at_once")
def test_reads_go_on_while_the_state_cannot_be_written(alone: Alone) -> None:
    """A committed entry waits to be applied: its writer was told nothing, so nobody need see it."""
    assert alone.put(5).outcomes == [0]
    alone.node.stores[0].full = True
    waiting = alone.put(7)
    assert waiting.outcomes == []
    assert alone.get().outcomes == [0]
    assert alone.put(9).outcomes == [Reason.WRITES_STOPPED]
    alone.node.stores[0].full = False
    for _ in range(50):
        alone.cluster.tick()
    assert waiting.outcomes == [0]
    assert alone.put(9).outcomes == [0]


def test_full_disk_is_noticed_when_the_state_is_stored(
    alone: Alone, caplog: pytest.LogCaptureFixture
) -> None:
    """What was applied until then is in the log and seen; it is stored once there is space."""
    caplog.set_level("INFO")
    alone.node.stores[0].full = True
    assert alone.put(7).outcomes == [0]
    assert not alone.partition.disk_full
    for _ in range(200):
        alone.cluster.tick()
    assert alone.partition.disk_full
    assert caplog.text.count("stops applying") == 1
    assert alone.put(9).outcomes == [Reason.WRITES_STOPPED]
    assert alone.get().outcomes == [0]
    applied = alone.partition.replica.applied_index
    assert alone.partition.replica.stored_index == 0
    alone.node.stores[0].full = False
    for _ in range(100):
        alone.cluster.tick()
    assert not alone.partition.disk_full
    assert caplog.text.count("applies again") == 1
    assert alone.partition.replica.stored_index == applied
    assert alone.put(9).outcomes == [0]


def test_full_disk_is_asked_again_only_after_a_while(alone: Alone) -> None:
    alone.put()
    store = alone.node.stores[0]
    store.full = True
    alone.partition.store()
    assert alone.partition.disk_full
    store.full = False
    alone.partition.store()
    assert alone.partition.disk_full
    alone.cluster.clock.advance(0.5)
    alone.partition.store()
    assert not alone.partition.disk_full


def test_state_is_stored_before_more_is_applied_on_a_disk_that_was_full(alone: Alone) -> None:
    """An entry of another leader may come while it is."""
    alone.put()
    alone.node.stores[0].full = True
    alone.partition.store()
    applied = alone.partition.replica.applied_index
    alone.partition.group.propose(encode_entry(1, []))
    for _ in range(100):
        alone.cluster.tick()
        assert alone.partition.replica.applied_index == applied
    alone.node.stores[0].full = False
    for _ in range(100):
        alone.cluster.tick()
    assert alone.partition.replica.applied_index == applied + 1
    assert not alone.partition.disk_full


@pytest.mark.usefixtures("stores_at_once")
def test_read_that_needs_a_new_entry_is_refused_on_a_full_disk(alone: Alone) -> None:
    """Its key may have expired: that takes an entry, which could not be applied."""
    assert alone.put(ttl_ms=1000).outcomes == [0]
    alone.node.stores[0].full = True
    alone.put()
    alone.cluster.clock.advance(5.0)
    last = alone.partition.group.last_index
    assert alone.get().outcomes == [Reason.WRITES_STOPPED]
    assert alone.partition.group.last_index == last, "no entry for nothing"


# The length of the log


def over(keeper: Keeper, times: int) -> None:
    while keeper.log_bytes <= times * BOUND:
        keeper.write(WAL.segment_bytes, 0)


def put_in(keeper: Keeper, number: int = 0) -> Answered:
    answered = Answered()
    command = (PUT, 0, 0, 0, b"ns", b"key", b"value", 0, 0, None)
    keeper.node.partitions[number].submit(command, 5, answered)
    keeper.node.turns.request(keeper.node.partitions[number])
    keeper.cluster.settle()
    return answered


def test_log_that_cannot_be_let_go_in_time_refuses_writes_until_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Keeper()
    keeper.executor.slow = True
    over(keeper, 1)
    keeper.look()
    over(keeper, 2)
    keeper.look()
    assert put_in(keeper).outcomes == [0], "a snapshot may take a while"
    over(keeper, 3)
    keeper.look()
    assert put_in(keeper).outcomes == [Reason.SHARD_BUSY]
    assert put_in(keeper, 1).outcomes == [Reason.SHARD_BUSY], "the log is that of the node"
    assert caplog.text.count("takes no writes") == 1
    assert "is the disk slow?" in caplog.text
    keeper.tick()
    assert put_in(keeper).outcomes == [0], "a snapshot ends by itself"
    assert "writes are taken again" in caplog.text


def test_partition_that_has_stopped_is_named_when_it_holds_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Keeper()
    keeper.write(WAL.segment_bytes, 1)
    keeper.node.partitions[1].broken = "CorruptState: for this test"
    over(keeper, 3)
    keeper.tick()
    assert put_in(keeper).outcomes == [Reason.SHARD_BUSY]
    assert "Partitions that have stopped hold it: [1]. Repair this node" in caplog.text


def test_entries_of_raft_and_reads_go_on_beside_a_log_that_is_too_long() -> None:
    """Else nothing could be committed any more, and so nothing be let go."""
    keeper = Keeper()
    keeper.executor.slow = True
    over(keeper, 3)
    keeper.look()
    assert keeper.node.wal.has_room(1000)
    partition = keeper.node.partitions[0]
    group = partition.group
    term, last = group.term, group.last_index
    answered = Answered()
    partition.read(GET, (b"ns", b"key"), answered)
    keeper.node.turns.request(partition)
    keeper.cluster.settle()
    assert answered.outcomes == [0]
    assert (group.term, group.last_index) == (term, last)


def test_others_entries_are_held_back_only_while_a_job_is_under_way() -> None:
    """Whatever the job waits for, it is not these entries; anything else might."""
    keeper = Keeper()
    keeper.executor.slow = True
    over(keeper, 4)
    for partition in keeper.node.partitions.values():
        partition.broken = "CorruptState: for this test"
    keeper.look()
    assert keeper.node.wal.has_room(1000), "nothing is being done about it"
    for partition in keeper.node.partitions.values():
        partition.broken = None
    keeper.look()  # begins a snapshot
    keeper.look()
    assert keeper.executor.has_jobs
    assert not keeper.node.wal.has_room(1000)
    assert not keeper.node.partitions[0].log_full, "the disk is not full"
    keeper.tick()
    assert keeper.node.wal.has_room(1000)
