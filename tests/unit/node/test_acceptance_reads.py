"""Reads of real nodes, stepped by hand: what a linearizable one waits for, and a stale one not.

What confirms a read is in `tests/unit/raft/test_read_index.py`.
"""

from typing import TYPE_CHECKING

from cluster.queries import GET, Result
from cluster.raft.types import NodeId
from tests.simulation.node import SimNode
from tests.unit.node.test_acceptance_install import (
    DONE,
    connect,
    connected,
    isolate,
    leader_among,
    put,
    run,
)

if TYPE_CHECKING:
    from cluster.storage.records import Entry


class Reader:
    """Implements `Waiter`; `said` is everything it was told."""

    def __init__(self) -> None:
        self.said: list[Result | str] = []

    def on_result(self, result: Result) -> None:
        self.said.append(result)

    def on_not_leader(self, leader: NodeId) -> None:
        self.said.append("elsewhere")

    def on_unknown(self) -> None:
        self.said.append("unknown")


def read(node: SimNode, key: bytes) -> Reader:
    reader = Reader()
    node.partition.read(GET, (b"ns", key), reader)
    node.turns.request(node.partition)
    return reader


def read_stale(node: SimNode, key: bytes) -> Reader:
    reader = Reader()
    node.partition.read_stale(GET, (b"ns", key), reader)
    return reader


def value_of(reader: Reader) -> object:
    (result,) = reader.said
    assert not isinstance(result, str)
    return result[2] if result[0] == 0 else None


def test_confirmed_read_waits_until_its_index_is_applied() -> None:
    """What is committed, and so acknowledged by the next leader, may not be in the state yet."""
    world = connected()
    leader = leader_among(world, 1, 2, 3)
    assert put(leader, b"key", b"old").outcomes == []
    run(world, world.node_ids)
    vars(leader.group)["take_committed"] = nothing_to_apply
    put(leader, b"key", b"new")
    run(world, world.node_ids)
    noted = leader.group.commit_index
    assert leader.replica.applied_index < noted
    reader = read(leader, b"key")
    run(world, world.node_ids)
    assert leader.group.is_leader
    assert reader.said == [], "confirmed long ago"
    del vars(leader.group)["take_committed"]
    run(world, world.node_ids, 2)
    assert value_of(reader) == b"new"


def nothing_to_apply(_: int) -> list["Entry"]:
    """Instead of `RaftGroup.take_committed`."""
    return []


def test_replica_that_is_cut_off_answers_stale_reads_with_what_it_had_and_no_others() -> None:
    world = connected()
    old = leader_among(world, 1, 2, 3)
    assert put(old, b"key", b"before").outcomes == []
    run(world, world.node_ids)
    isolate(world, old.node_id)
    others = tuple(node for node in world.node_ids if node != old.node_id)
    new = leader_among(world, *others)
    written = put(new, b"key", b"after")
    run(world, others)
    assert written.outcomes == [DONE]
    unanswered = read(old, b"key")
    run(world, (old.node_id,), 300)
    assert unanswered.said == ["elsewhere"]
    assert value_of(read_stale(old, b"key")) == b"before", "at once, and however old"
    assert value_of(read_stale(new, b"key")) == b"after"
    for other in others:
        connect(world, old.node_id, other)
    run(world, world.node_ids, 100)
    assert value_of(read_stale(old, b"key")) == b"after", "a heartbeat later it has it"


def test_stale_read_asks_nobody() -> None:
    world = connected()
    leader = leader_among(world, 1, 2, 3)
    put(leader, b"key")
    run(world, world.node_ids)
    queued = {pair: len(link.queue) for pair, link in world.links.items()}
    for node in world.nodes.values():
        assert value_of(read_stale(node, b"key")) == b"value"
        node.run_callbacks()
    assert {pair: len(link.queue) for pair, link in world.links.items()} == queued
