"""Rows 1, 12, 13 and 30 where they can occur with snapshots of ours: the real nodes of the
simulation, stepped by hand. The numbers are those of the table in `cluster/raft/DESIGN.md`."""

from typing import cast

import pytest

from cluster.queries import GET, Result
from cluster.raft import messages
from cluster.raft.types import NodeId
from cluster.state.commands import PUT
from cluster.state.errors import CorruptState
from cluster.storage.memory_snapshots import MemoryIncoming
from cluster.storage.snapshots import SnapshotDamaged
from tests.simulation.network import unpacked
from tests.simulation.node import TRANSFER, SimNode
from tests.simulation.world import World

DONE, UNKNOWN = "done", "unknown"


class Teller:
    """Implements `Waiter`; `outcomes` is everything it was told."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def on_result(self, result: Result) -> None:
        assert result[0] == 0
        self.outcomes.append(DONE)

    def on_not_leader(self, leader: NodeId) -> None:
        self.outcomes.append("not leader")

    def on_unknown(self) -> None:
        self.outcomes.append(UNKNOWN)


def connected(size: int = 3) -> World:
    world = World(5, size, log_bytes_max=12_000)
    for pair in world.pairs:
        world.connect(*pair)
    run(world, world.node_ids, 100)
    return world


def step(world: World, nodes: tuple[NodeId, ...], count: int = 1000) -> None:
    """A moment for some nodes; up to `count` messages on each link between them."""
    world.clock.now += 0.01
    for node_id in nodes:
        world.nodes[node_id].tick()
        world.nodes[node_id].run_callbacks()
    for a, b in world.links:
        if a in nodes and b in nodes:
            world.deliver(a, b, count)
    for node_id in nodes:
        world.nodes[node_id].run_callbacks()


def run(world: World, nodes: tuple[NodeId, ...], rounds: int = 60) -> None:
    for _ in range(rounds):
        step(world, nodes)


def leader_among(world: World, *nodes: NodeId) -> SimNode:
    for _ in range(500):
        for node_id in nodes:
            if world.nodes[node_id].group.is_ready:
                return world.nodes[node_id]
        step(world, nodes)
    raise AssertionError("nobody is elected")


def put(node: SimNode, key: bytes, value: bytes = b"value") -> Teller:
    teller = Teller()
    command = (PUT, 0, 0, 0, b"ns", key, value, 0, 0, None)
    node.partition.submit(command, len(value), teller)
    node.turns.request(node.partition)
    return teller


def stored(node: SimNode, key: bytes) -> bool:
    found: list[Result] = []
    teller = Teller()
    vars(teller)["on_result"] = found.append
    node.partition.read_stale(GET, (b"ns", key), teller)
    return found[0][0] == 0


def fill(world: World, nodes: tuple[NodeId, ...], count: int = 250) -> SimNode:
    """Writes until what the others have is gone from the log; returns the leader."""
    leader = leader_among(world, *nodes)
    for number in range(count):
        assert put(leader, b"key %d" % (number % 50), b"x" * 80).outcomes == []
        run(world, nodes, 2)
    run(world, nodes, 50)
    return leader


def connect(world: World, a: NodeId, b: NodeId) -> None:
    world.connect(min(a, b), max(a, b))


def isolate(world: World, node: NodeId) -> None:
    for other in world.node_ids:
        if other != node:
            world.disconnect(min(node, other), max(node, other))


def test_row_01_30_deposed_leader_answers_nothing_from_entries_that_a_snapshot_replaces() -> None:
    world = connected()
    old = leader_among(world, 1, 2, 3)
    others = cast(tuple[NodeId, NodeId], tuple(n for n in world.node_ids if n != old.node_id))
    isolate(world, old.node_id)
    tellers = [put(old, b"never %d" % n) for n in range(40)]
    for _ in range(20):
        old.run_callbacks()
    old_end, committed = old.log.last_index, old.group.commit_index
    assert old_end > committed
    new = fill(world, others)
    assert new.log.base_index > old_end, "all that the deposed leader has differs is gone"
    connect(world, old.node_id, new.node_id)
    pair = (old.node_id, new.node_id)
    for _ in range(3_000):
        step(world, pair, count=1)
        outcomes = {outcome for teller in tellers for outcome in teller.outcomes}
        assert outcomes <= {UNKNOWN}
        assert old.replica.applied_index <= committed or old.log.base_index > old_end
        if old.replica.applied_index == new.replica.applied_index:
            break
    assert [teller.outcomes for teller in tellers] == [[UNKNOWN]] * 40
    assert old.partition.unanswered == 0
    assert world.faults["snapshot installed"] == 1
    assert not any(stored(old, b"never %d" % n) for n in range(40))
    assert old.replica.digest() == new.replica.digest()


@pytest.mark.parametrize("error", [SnapshotDamaged, CorruptState, OSError])
def test_row_12_failed_install_acknowledges_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = connected()
    behind = next(n for n in world.node_ids if n != leader_among(world, 1, 2, 3).node_id)
    isolate(world, behind)
    others = cast(tuple[NodeId, NodeId], tuple(n for n in world.node_ids if n != behind))
    leader = fill(world, others)
    (away,) = (n for n in others if n != leader.node_id)
    refused: list[None] = []

    def refuse(_: MemoryIncoming) -> None:
        refused.append(None)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(MemoryIncoming, "publish", refuse)
        connect(world, leader.node_id, behind)
        pair = (leader.node_id, behind)
        run(world, pair, 10)
        isolate(world, away)
        committed = leader.group.commit_index
        teller = put(leader, b"needs both")
        run(world, pair, 900)
        assert refused
        acked = vars(leader.group)["_replication"].acked(behind)
        assert acked <= world.nodes[behind].log.last_index
        assert world.nodes[behind].log.last_index < leader.log.base_index
        assert leader.group.commit_index == committed
        assert teller.outcomes == []
    run(world, pair, 900)
    assert teller.outcomes == [DONE]
    assert world.nodes[behind].replica.digest() == leader.replica.digest()


def test_row_13_transfer_goes_on_where_it_was_and_the_leader_serves_meanwhile() -> None:
    world = connected()
    behind = next(n for n in world.node_ids if n != leader_among(world, 1, 2, 3).node_id)
    isolate(world, behind)
    others = cast(tuple[NodeId, NodeId], tuple(n for n in world.node_ids if n != behind))
    leader = fill(world, others)
    link = world.links[leader.node_id, behind]
    follower = world.nodes[behind]
    connect(world, leader.node_id, behind)
    offsets: list[int] = []
    answered = 0
    breaks: list[int] = []
    for moment in range(2_000):
        teller = put(leader, b"meanwhile %d" % (moment % 10))
        step(world, others)
        step(world, (leader.node_id, behind), count=0)
        pieces = [unpacked(packed) for packed in link.queue]
        offsets += [offset_of(piece) for piece in pieces if is_piece(piece)]
        step(world, (leader.node_id, behind), count=2)
        step(world, others)
        answered += teller.outcomes == [DONE]
        if follower.log.base_index:
            break
        assert teller.outcomes == [DONE], "writes go on while it is sent"
        if max(offsets, default=0) > 3 * TRANSFER.piece_bytes and not breaks:
            breaks.append(len(offsets))
            isolate(world, behind)
            connect(world, leader.node_id, behind)
    assert answered > 10
    (broken_after,) = breaks
    assert min(offsets[broken_after:]) > TRANSFER.piece_bytes, "what has come is not sent again"
    run(world, world.node_ids, 200)
    assert follower.replica.digest() == leader.replica.digest()
    world.check()


def is_piece(message: list[object]) -> bool:
    """Of a snapshot, with bytes: offers have none."""
    return message[0] == messages.SNAPSHOT and bool(message[8])


def offset_of(piece: list[object]) -> int:
    return cast(int, piece[6])


def test_installing_leaves_acknowledged_entries_that_follow_the_snapshot_in_the_log() -> None:
    """The follower has synced and acknowledged two entries; only of the first it learns, by the
    snapshot, that it is committed."""
    world = connected()
    leader = leader_among(world, 1, 2, 3)
    first, second = (world.nodes[n] for n in world.node_ids if n != leader.node_id)
    for key in (b"one", b"two"):
        put(leader, key)
        leader.run_callbacks()
        world.deliver(leader.node_id, first.node_id, 1000)
        world.deliver(leader.node_id, second.node_id, 1000)
        first.run_callbacks()
        second.run_callbacks()
    end, committed = first.log.last_index, first.group.commit_index
    assert (end, first.log.durable_index) == (committed + 2, end)
    world.deliver(second.node_id, leader.node_id, 1)
    leader.run_callbacks()
    assert leader.replica.applied_index == committed + 1
    leader.partition.store()
    info = leader.snapshots.take().publish(leader.group.term)
    incoming = first.snapshots.receive(info)
    incoming.write(leader.snapshots.content)
    first.compaction.snapshot_received(0, incoming)
    for _ in range(20):
        first.tick()
        first.run_callbacks()
    assert world.faults["snapshot installed"] == 1
    assert (first.log.base_index, first.log.last_index) == (committed + 1, end)
    assert first.replica.digest() == leader.replica.digest()
