"""The turn of a node: the order of promises, on a fast disk and on a slow one."""

import pytest

from cluster.queries import GET, Result
from cluster.raft import messages
from cluster.raft.types import NodeId
from cluster.state.commands import PUT
from cluster.storage.memory_files import Operation
from cluster.turn import SyncPolicy
from tests.simulation.network import unpacked
from tests.simulation.node import SimNode
from tests.simulation.world import World


class Recorder:
    """Implements `Waiter`."""

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def on_result(self, result: Result) -> None:
        self.outcomes.append(result[0])

    def on_not_leader(self, leader: NodeId) -> None:
        self.outcomes.append(("not leader", leader))

    def on_unknown(self) -> None:
        self.outcomes.append("unknown")


def run(world: World, rounds: int = 60, nodes: tuple[NodeId, ...] = (1, 2, 3)) -> None:
    for _ in range(rounds):
        world.clock.now += 0.02
        for node_id in nodes:
            world.nodes[node_id].tick()
            world.nodes[node_id].run_callbacks()
        for a in nodes:
            for b in nodes:
                if a != b:
                    world.deliver(a, b, 1000)
        for node_id in nodes:
            world.nodes[node_id].run_callbacks()


@pytest.fixture
def world() -> World:
    """Three connected nodes; node 1 leads."""
    world = World(1, 3, log_bytes_max=1 << 30)
    for a, b in world.pairs:
        world.connect(a, b)
    run(world)
    assert world.nodes[1].group.is_ready
    return world


def put(node: SimNode, key: bytes) -> Recorder:
    waiter = Recorder()
    node.partition.submit((PUT, 0, 0, 0, b"ns", key, b"value", 0, 0, None), 50, waiter)
    node.turns.request(node.partition)
    return waiter


def read(node: SimNode) -> Recorder:
    waiter = Recorder()
    node.partition.read(GET, (b"ns", b"key"), waiter)
    node.turns.request(node.partition)
    return waiter


def sent(world: World, a: NodeId, b: NodeId) -> list[object]:
    """The kinds of the messages on a link, in order."""
    return [unpacked(packed)[0] for packed in world.links[a, b].queue]


def test_one_turn_makes_one_entry_and_one_sync_of_all_commands(world: World) -> None:
    leader = world.nodes[1]
    before, lsn = leader.log.last_index, leader.wal.lsn
    for n in range(3):
        put(leader, b"%d" % n)
    leader.run_callbacks()
    assert leader.log.last_index == before + 1
    assert leader.wal.lsn == leader.wal.durable_lsn == lsn + 1
    assert sent(world, 1, 2) == [messages.APPEND]


def test_slow_sync_holds_back_promises_but_not_heartbeats_and_reads(world: World) -> None:
    leader, follower = world.nodes[1], world.nodes[2]
    follower.slow_disk = True
    written = put(leader, b"key")
    leader.run_callbacks()
    world.deliver(1, 2, 1000)
    follower.run_callbacks()
    assert follower.executor.has_jobs, "the sync is under way"
    assert messages.APPEND_REPLY not in sent(world, 2, 1)
    answered = read(leader)
    leader.run_callbacks()
    world.deliver(1, 2, 1000)
    follower.run_callbacks()
    assert sent(world, 2, 1) == [messages.PROBE_REPLY]
    world.deliver(2, 1, 1000)
    leader.run_callbacks()
    assert len(answered.outcomes) == 1, "a read is served meanwhile"
    assert written.outcomes == []
    follower.executor.run_next()
    assert messages.APPEND_REPLY not in sent(world, 2, 1), "until the loop hears of it"
    follower.run_callbacks()
    assert sent(world, 2, 1) == [messages.APPEND_REPLY]
    world.deliver(2, 1, 1000)
    leader.run_callbacks()
    assert written.outcomes == [0]


def test_leader_with_a_slow_disk_keeps_sending_and_stays_leader(world: World) -> None:
    leader = world.nodes[1]
    leader.slow_disk = True
    term = leader.group.term
    waiters = [put(leader, b"first")]
    run(world, 20)
    waiters.append(put(leader, b"second"))
    run(world, 100)
    assert leader.group.leads_term == term
    assert world.nodes[2].log.last_index == leader.log.last_index, "early send"
    assert [waiter.outcomes for waiter in waiters] == [[], []], "it promises only what it has"
    for _ in range(2):
        leader.executor.run_next()
        run(world, 2)
    assert [waiter.outcomes for waiter in waiters] == [[0], [0]]


def test_records_that_came_after_the_seal_get_a_sync_of_their_own(world: World) -> None:
    follower = world.nodes[2]
    follower.slow_disk = True
    for n in range(2):
        put(world.nodes[1], b"%d" % n)
        world.nodes[1].run_callbacks()
        world.deliver(1, 2, 1000)
        follower.run_callbacks()
    follower.executor.run_next()
    assert not follower.executor.has_jobs
    follower.run_callbacks()
    assert sent(world, 2, 1) == [messages.APPEND_REPLY]
    follower.run_callbacks()
    assert follower.executor.has_jobs, "the second sync was asked for by the end of the first"
    follower.executor.run_next()
    follower.run_callbacks()
    assert sent(world, 2, 1) == [messages.APPEND_REPLY] * 2


def test_one_node_group_answers_while_more_commands_follow_on_a_slow_disk() -> None:
    world = World(1, 1)
    alone = world.nodes[1]
    run(world, nodes=(1,))
    alone.slow_disk = True
    waiters: list[Recorder] = []
    for n in range(20):
        waiters.append(put(alone, b"%d" % n))
        alone.run_callbacks()
        alone.executor.run_next()
        waiters.append(put(alone, b"%d, behind" % n))
        alone.run_callbacks()
    assert sum(len(waiter.outcomes) for waiter in waiters) >= 30


@pytest.mark.parametrize("slow", [False, True])
def test_failed_sync_stops_the_node_before_any_promise(world: World, slow: bool) -> None:
    follower = world.nodes[2]
    follower.slow_disk = slow
    follower.storage.fail(Operation.SYNC)
    put(world.nodes[1], b"key")
    world.nodes[1].run_callbacks()
    world.deliver(1, 2, 1000)
    follower.run_callbacks()
    follower.executor.run_next()
    follower.run_callbacks()
    assert isinstance(follower.failure, OSError)
    follower.tick()
    follower.run_callbacks()
    assert sent(world, 2, 1) == [], "it says nothing any more"


@pytest.mark.parametrize("slow", [False, True])
def test_failure_to_make_a_segment_stops_the_node(world: World, slow: bool) -> None:
    """After it the log takes no more calls: a node that went on would be there in name only."""
    node = world.nodes[2]
    other = node.wal.group(1)
    while not node.wal.needs_segment():
        other.append(other.last_index + 1, 1, bytes(500))
        ticket = node.wal.seal()
        assert ticket is not None
        node.wal.write_and_sync(ticket)
        node.wal.complete(ticket)
    node.slow_disk = slow
    node.storage.fail(Operation.ANY)
    node.turns.request(node.partition)
    for _ in range(4):
        node.run_callbacks()
        node.executor.run_next()
    assert isinstance(node.failure, OSError)


def test_damaged_log_stops_the_replica_and_not_the_node(world: World) -> None:
    leader = world.nodes[1]
    world.disconnect(1, 3)
    world.disconnect(2, 3)
    for n in range(30):
        put(leader, b"marked %d" % n)
        run(world, 1, (1, 2))
    for name in leader.storage.list():
        file = leader.storage.open(name)
        data = file.read_at(0, file.size())
        if b"marked 3" in data:
            file.write_at(data.index(b"marked 3"), b"harmed")
    world.connect(1, 3)
    run(world, 3, (1, 3))
    assert leader.partition.broken is not None
    assert leader.partition.broken.startswith("WalDamaged")
    assert leader.failure is None


def test_hand_over_refuses_commands_without_naming_itself(world: World) -> None:
    leader = world.nodes[1]
    leader.group.transfer_leadership(2)
    assert put(leader, b"key").outcomes == [("not leader", 0)]


def test_stopped_turns_do_nothing(world: World) -> None:
    leader = world.nodes[1]
    leader.turns.stop()
    put(leader, b"key")
    leader.run_callbacks()
    assert sent(world, 1, 2) == []
    assert leader.wal.lsn == leader.wal.durable_lsn


# --- when to sync where ---


def took(policy: SyncPolicy, *seconds: float, windows: int = 1) -> None:
    """Fills whole windows with these durations in turn."""
    for n in range(policy.WINDOW * windows):
        policy.took(seconds[n % len(seconds)])


def test_fast_disk_syncs_on_the_loop() -> None:
    policy = SyncPolicy()
    assert not policy.in_thread
    took(policy, 0.0003, windows=10)
    assert not policy.in_thread


def test_slow_disk_syncs_in_a_thread_after_one_window() -> None:
    policy = SyncPolicy()
    took(policy, 0.005)
    assert policy.in_thread


def test_busy_processor_does_not_make_a_disk_slow() -> None:
    policy = SyncPolicy()
    took(policy, 0.0003, 0.030, 0.012, 3.0, windows=5)
    assert not policy.in_thread


def test_disk_between_the_limits_stays_where_it_is() -> None:
    policy = SyncPolicy()
    took(policy, 0.0008)
    assert not policy.in_thread
    took(policy, 0.003)
    assert policy.in_thread
    took(policy, 0.0008)
    assert policy.in_thread
    took(policy, 0.0003)
    assert not policy.in_thread
