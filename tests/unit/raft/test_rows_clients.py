"""Holes in what the library tells its callers, rows 18 to 21 and 30: each first shown on the bare
library, then closed here. The numbers are those of the table in `cluster/raft/DESIGN.md`."""

from typing import cast

import pytest

from cluster.forwarding import FORWARD_REPLY, Forwarding
from cluster.peers.packing import pack_message
from cluster.queries import GET, Result
from cluster.raft import messages
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId, NotLeaderError
from cluster.state.commands import PUT
from cluster.state.packing import pack
from flo.wire.status import Ran, Refusal
from tests.simulation.node import SimNode
from tests.simulation.world import World
from tests.unit.node.kit import (
    Calls,
    FakeNetwork,
    FakePartition,
    as_partitions,
    nothing,
    packed_and_back,
    session,
)
from tests.unit.raft.bare import VERSION, BareNet, call, pickled
from tests.unit.raft.kit import Cluster

LEADER_CHANGED = 5
"""The library's failure code, which its users read as "did not run"."""


class Recorder:
    """Implements `Waiter`; `outcomes` is everything it was told."""

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def on_result(self, result: Result) -> None:
        self.outcomes.append(result)

    def on_not_leader(self, leader: NodeId) -> None:
        self.outcomes.append("not leader")

    def on_unknown(self) -> None:
        self.outcomes.append("unknown")


def run(world: World, nodes: tuple[NodeId, ...], rounds: int = 60) -> None:
    """Time and messages among some nodes."""
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


def started_world() -> tuple[World, SimNode]:
    """Three connected nodes and their leader, which is node 1."""
    world = World(1, 3)
    for a, b in world.pairs:
        world.connect(a, b)
    run(world, (1, 2, 3))
    assert world.nodes[1].group.is_ready
    return world, world.nodes[1]


def put(node: SimNode, key: bytes) -> Recorder:
    waiter = Recorder()
    node.partition.submit((PUT, 0, 0, 0, b"ns", key, b"value", 0, 0, None), 50, waiter)
    node.turns.request(node.partition)
    return waiter


def stored(node: SimNode, key: bytes) -> bool:
    waiter = Recorder()
    node.partition.read_stale(GET, (b"ns", key), waiter)
    (result,) = waiter.outcomes
    return bool(cast(tuple[object, ...], result)[0] == 0)


# --- row 18: forwarded requests reuse ids after a restart ---


def test_bare_library_row_18_restarted_follower_is_told_the_result_of_another_request() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    net[2].put(b"old", lambda _, __: None)
    net.tick(2)
    net.deliver(2, 1)  # it waits in the leader's queue
    net.isolate(2)
    journal = net[2].journal
    restarted = net.add(2, (1, 2, 3))
    restarted.set_private("raftLog", journal)
    restarted.set_private("raftCurrentTerm", journal.getCurrentTerm())
    net.connect(1, 2)
    net.connect(2, 3)
    end, end_term = net[1].log[-1]
    heartbeat = {
        "type": "append_entries",
        "term": net[1].raftCurrentTerm,
        "commit_index": net[1].commit_index,
        "entries": list[bytes](),
        "prevLogIdx": end,
        "prevLogTerm": end_term,
    }
    net.receive(2, 1, heartbeat)
    results: list[object] = []
    restarted.put(b"new", lambda result, _: results.append(result))
    net.tick(2)
    net.deliver(2, 1)
    net.run()
    # What applying returns is the number of commands so far: this is the first one's.
    assert net[1].applied == [b"old", b"new"]
    assert results == [1]


def test_row_18_follower_forwards_nothing() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    before = [list(cluster.links[2, peer]) for peer in (1, 3)]
    with pytest.raises(NotLeaderError) as refused:
        cluster[2].propose(b"value")
    assert refused.value.leader == 1
    cluster[2].turn()
    assert [cluster.links[2, peer] for peer in (1, 3)] == before
    for kind in ("apply_command", "apply_command_response", 11):
        with pytest.raises(MalformedMessageError):
            cluster[1].group.step(2, [kind, 0, {"command": b"\x00value", "request_id": 1}])


def test_row_18_answer_to_a_request_from_before_a_restart_is_not_given_to_a_later_one() -> None:
    """Node 1 forwards a write to node 2, which leads, and is restarted before the answer."""
    network, partition = FakeNetwork(1), FakePartition(0, 2)
    partition.group.leader = 2
    leader = Forwarding(
        network, as_partitions({0: partition}), flush_soon=nothing, request_turn=nobody_cares
    )
    numbers: list[object] = []
    for _ in range(3):  # three processes, one after the other
        leader.peer_lost(1)
        asking = Calls()
        asking.lead(2)
        asking.write(context=session(1))
        ((_, forwarded),) = asking.network.take()
        numbers.append(forwarded[2])
        leader.receive(1, packed_and_back(forwarded))
    assert len(set(numbers)) == 1, "they number their calls alike"
    first, second, third = (asked.waiter for asked in partition.take())
    first.on_result((0, 17))
    second.on_unknown()
    assert network.sent == []
    third.on_result((0, 18))
    assert network.sent == [(1, [FORWARD_REPLY, 0, numbers[2], 0, [0, 18]])]


def nobody_cares(_: object) -> None:
    """The fake partition takes no turns."""


# --- row 19: an unknown outcome presented as a failure ---


def test_bare_library_row_19_says_failed_of_a_request_that_is_committed() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    errors: list[object] = []
    net[2].put(b"value", lambda _, error: errors.append(error))
    net.tick(2)
    net.deliver(2, 1)
    net.tick(1)
    net.deliver(1, 3)  # on a majority
    net.disconnect(1, 2)
    net.elect(3, (2, 3))
    net.run((2, 3))
    assert errors == [LEADER_CHANGED]
    assert net[3].applied == [b"value"]


def test_row_19_lost_leader_says_unknown_of_a_request_that_is_committed() -> None:
    world, leader = started_world()
    waiter = put(leader, b"key")
    leader.run_callbacks()
    world.deliver(1, 2, 1000)
    world.nodes[2].run_callbacks()
    world.disconnect(1, 2)
    world.disconnect(1, 3)
    run(world, (1, 2, 3), rounds=100)
    assert not leader.group.is_leader
    assert waiter.outcomes == ["unknown"]
    assert stored(world.nodes[3], b"key")


def test_row_19_write_of_another_node_whose_leader_is_lost_stays_unknown() -> None:
    network, partition = FakeNetwork(1), FakePartition(0, 2)
    partition.group.leader = 2
    leader = Forwarding(
        network, as_partitions({0: partition}), flush_soon=nothing, request_turn=nobody_cares
    )
    asking = Calls()
    asking.lead(2)
    said = asking.write(context=session(1))
    ((_, forwarded),) = asking.network.take()
    leader.receive(1, packed_and_back(forwarded))
    (asked,) = partition.take()
    asked.waiter.on_unknown()
    ((_, reply),) = network.take()
    asking.forwarding.receive(2, packed_and_back(reply))
    asking.lose_peer(2)
    asking.tick(60.0)
    assert isinstance(said.outcome, Refusal)
    assert said.outcome.ran is Ran.UNKNOWN


def test_row_19_what_was_not_appended_is_reported_as_not_run() -> None:
    world, leader = started_world()
    world.nodes[1].group.transfer_leadership(2)
    waiter = put(leader, b"key")
    assert waiter.outcomes == ["not leader"]
    run(world, (1, 2, 3))
    assert not stored(world.nodes[3], b"key")


# --- row 20: an exception while applying ---


def test_bare_library_row_20_failing_command_is_tried_for_ever_and_never_answered() -> None:
    class Failure(Exception):
        pass

    attempts: list[bytes] = []

    def fail(payload: bytes) -> None:
        attempts.append(payload)
        raise Failure

    net = BareNet((1,))
    net.elect(1)
    net[1].apply_hook = fail
    answers: list[object] = []
    net[1].put(b"value", lambda _, error: answers.append(error))
    net.tick(1)
    for _ in range(4):
        with pytest.raises(Failure):
            net.tick(1)
    assert len(attempts) == 4
    assert not answers


def test_row_20_replica_that_cannot_apply_stops_and_answers_unknown() -> None:
    world, leader = started_world()
    leader.group.propose(b"no entry of ours")
    waiter = put(leader, b"key")
    run(world, (1, 2, 3))
    assert waiter.outcomes == ["unknown"]
    applied = leader.replica.applied_index
    assert leader.partition.broken is not None
    assert "UnknownCommand" in leader.partition.broken
    link = world.links[1, 2]
    link.queue.clear()
    run(world, (1, 2, 3))
    assert not link.queue, "it says nothing to its peers"
    assert leader.replica.applied_index == applied
    assert put(leader, b"later").outcomes == ["not leader"]


# --- row 21: entries after an unknown code version ---


def test_bare_library_row_21_commands_after_an_unknown_version_are_applied_twice() -> None:
    net = BareNet((1,))
    net.elect(1)
    call(net[1], "_applyCommand", pickled(7), None, VERSION)
    net[1].put(b"one")
    net[1].put(b"two")
    net.run(rounds=3)
    assert net[1].applied.count(b"two") > 1


def test_row_21_unknown_entry_version_stops_the_replica() -> None:
    world, leader = started_world()
    leader.group.propose(pack((99, 1, ())))
    after = put(leader, b"key")
    run(world, (1, 2, 3))
    assert leader.partition.broken is not None
    assert "entry version 99" in leader.partition.broken
    assert after.outcomes == ["unknown"]


# --- row 30: callbacks of skipped indices ---


def test_bare_library_row_30_caller_waits_for_ever_after_a_snapshot() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    net.isolate(1)
    answers: list[object] = []
    net[1].put(b"skipped", lambda _, error: answers.append(error))
    net.tick(1)
    net.elect(2, (2, 3))
    for n in range(20):
        net[2].put(b"%d" % n)
    net.run((2, 3))
    net[2].compact()
    net.run((2, 3))
    net.connect(1, 2)
    net.run(rounds=200)
    assert net[1].applied == net[2].applied
    assert answers == []


def test_row_30_deposed_leader_answers_every_caller_at_once() -> None:
    world, leader = started_world()
    world.disconnect(1, 2)
    world.disconnect(1, 3)
    waiters = [put(leader, b"key%d" % n) for n in range(3)]
    leader.run_callbacks()
    run(world, (2, 3))
    assert [waiter.outcomes for waiter in waiters] == [[], [], []]
    term = world.nodes[2].group.term
    leader.receive(2, pack_message((messages.TERM, 0, term)))
    leader.run_callbacks()
    assert [waiter.outcomes for waiter in waiters] == [["unknown"]] * 3
    assert leader.partition.unanswered == 0
