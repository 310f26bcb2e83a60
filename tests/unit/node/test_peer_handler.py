"""Where the messages of peers go, and which never get anywhere."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from cluster.addresses import parse_members
from cluster.describe import NodeDescription
from cluster.forwarding import FORWARD, FORWARD_REPLY
from cluster.founding import DataDirectory, FoundingParameters
from cluster.peer_handler import NodePeerHandler
from cluster.raft.messages import APPEND
from cluster.raft.types import NodeId
from tests.unit.node.kit import Calls, FakePartition, as_partitions

if TYPE_CHECKING:
    from cluster.partition import Partition

MEMBERS = parse_members("1=a:1,2=b:1,3=c:1")


class RecordingPartition(FakePartition):
    """A partition that keeps the messages of its group."""

    def __init__(self) -> None:
        super().__init__(0, 1)
        self.messages: list[tuple[NodeId, list[object]]] = []
        self.ticks = 0
        self.peers: set[NodeId] = set()
        vars(self.group)["peer_connected"] = self.peers.add
        vars(self.group)["peer_disconnected"] = self.peers.discard

    def step(self, sender: NodeId, message: list[object]) -> None:
        self.messages.append((sender, message))

    def tick(self) -> None:
        self.ticks += 1


class RecordingDescribe:
    def __init__(self) -> None:
        self.addresses: dict[NodeId, str] = {}

    def learn_address(self, node_id: NodeId, client_address: str) -> None:
        self.addresses[node_id] = client_address


class Handled:
    """The peer handler of node 1, with partition 0 on all three nodes."""

    def __init__(self, path: Path) -> None:
        parameters = FoundingParameters(MEMBERS, replication=3, partition_count=1)
        self.directory = DataDirectory(path, 1, parameters)
        self.calls = Calls()
        self.partition = RecordingPartition()
        self.calls.fakes[0] = self.partition
        self.describe = RecordingDescribe()
        self.turns: list[Partition] = []
        self.handler = NodePeerHandler(self.directory, self.calls.clock)
        partitions = as_partitions({0: self.partition})
        vars(self.calls.forwarding)["_partitions"][0] = partitions[0]
        self.handler.attach(
            partitions=partitions,
            forwarding=self.calls.forwarding,
            dispatcher=self.calls.dispatcher,
            describe=cast(NodeDescription, self.describe),
            request_turn=self.turns.append,
        )

    def connect(self, node_id: NodeId) -> None:
        self.directory.remember_peer(node_id, f"{node_id:032x}")
        self.handler.on_connected(node_id, f"n{node_id}:9000")


@pytest.fixture
def handled(tmp_path: Path) -> Handled:
    return Handled(tmp_path)


def test_a_node_takes_part_once_enough_peers_have_accepted_it(handled: Handled) -> None:
    """Before, it could be one that has lost its disk."""
    append: list[object] = [APPEND, 0, 1]
    handled.connect(2)
    assert not handled.handler.may_take_part(0)
    handled.handler.on_messages(2, [append])
    handled.handler.on_disconnected(2)
    assert not handled.partition.messages
    assert not handled.turns
    assert not handled.partition.ticks

    handled.connect(2)
    handled.connect(3)
    assert handled.handler.may_take_part(0)
    assert handled.turns
    handled.handler.on_messages(2, [append])
    assert handled.partition.messages == [(2, append)]


def test_a_restarted_node_takes_part_at_once(handled: Handled, tmp_path: Path) -> None:
    handled.connect(2)
    handled.connect(3)
    handled.directory.close()
    again = Handled(tmp_path)
    assert again.handler.may_take_part(0)


def test_a_connected_peer_is_made_known(handled: Handled) -> None:
    handled.partition.takes_part = True
    handled.calls.network.peers.discard(2)
    handled.calls.lead(2)
    said = handled.calls.read()
    handled.calls.network.peers.add(2)
    handled.partition.group.leader = 2
    handled.connect(2)
    assert handled.describe.addresses == {2: "n2:9000"}
    assert handled.partition.peers == {2}
    assert [to for to, _ in handled.calls.network.take()] == [2], "the call that waited for it"
    assert not said.outcomes


def test_a_lost_peer_is_noticed_at_once(handled: Handled) -> None:
    handled.connect(2)
    handled.connect(3)
    handled.partition.group.leader = 2
    handled.calls.read()
    assert len(handled.calls.network.take()) == 1
    handled.turns.clear()
    handled.calls.network.peers.discard(2)
    handled.handler.on_disconnected(2)
    assert handled.partition.peers == {3}
    assert handled.partition.ticks == 1, "the first in rank campaigns without waiting for a timer"
    assert handled.turns
    assert not any(vars(handled.calls.forwarding)["_out"].values())


@pytest.mark.parametrize(
    "message",
    [
        [0],
        [99, 0],
        [-1],
        [APPEND],
        [APPEND, b"0"],
        [APPEND, None, 1],
        [APPEND, [0], 1],
        [FORWARD],
        [FORWARD, [], 1, 0, 0x101, [0, 0, 0], []],
        [FORWARD_REPLY, 0],
    ],
)
def test_a_bad_message_is_dropped_and_the_next_one_taken(
    handled: Handled, caplog: pytest.LogCaptureFixture, message: list[object]
) -> None:
    handled.connect(2)
    handled.connect(3)
    good: list[object] = [APPEND, 0, 5]
    with caplog.at_level(logging.WARNING, "flo.node"):
        handled.handler.on_messages(2, [message, good])
    assert handled.partition.messages == [(2, good)]
    assert "node 2 sent a bad message, dropped" in caplog.text


def test_a_message_for_a_partition_of_others_is_ignored(handled: Handled) -> None:
    handled.connect(2)
    handled.connect(3)
    handled.handler.on_messages(2, [[APPEND, 7, 1]])
    assert not handled.partition.messages


def test_forwarded_calls_reach_the_partition(handled: Handled) -> None:
    handled.connect(2)
    handled.connect(3)
    handled.partition.group.leader = 1
    message: list[object] = [FORWARD, 0, 4, 0, 0x101, [0, 0, 0], [b"ns", b"k"]]
    handled.handler.on_messages(2, [message])
    (asked,) = handled.partition.reads
    handled.calls.network.take()
    asked.waiter.on_result((0, 1, b"v"))
    assert handled.calls.network.take() == [(2, [FORWARD_REPLY, 0, 4, 0, [0, 1, b"v"]])]
