"""A write-ahead log without room: nothing is taken, nothing is promised, everybody is heard."""

from random import Random

import pytest

from cluster.raft import messages
from cluster.raft.group import RaftGroup
from cluster.raft.types import GroupConfig, LogFullError, NodeId
from tests.unit.raft.kit import Cluster, Member


class WalWithoutRoom:
    """A write-ahead log whose `has_room` the test decides. Implements `SyncedLog`."""

    def __init__(self, member: Member) -> None:
        self._wal = member.wal
        self.full = True

    @property
    def lsn(self) -> int:
        return self._wal.lsn

    @property
    def durable_lsn(self) -> int:
        return self._wal.durable_lsn

    def has_room(self, nbytes: int) -> bool:
        return not self.full


def fill(member: Member) -> WalWithoutRoom:
    """Restarts a member on a full disk."""
    cluster = member.cluster
    peers = [peer for peer in cluster.ids if (peer, member.node_id) in cluster.up]
    member.crash()
    member.start()
    wal = WalWithoutRoom(member)
    member.group = RaftGroup(
        member.config,
        wal=wal,
        log=member.log,
        clock=cluster.clock,
        rng=Random(1),
        applied_index=0,
    )
    for peer in peers:
        cluster.connect(peer, member.node_id)
    return wal


def tiny_messages(node: NodeId, replicas: tuple[NodeId, ...]) -> GroupConfig:
    return GroupConfig(0, node, replicas, message_bytes=10)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(config=tiny_messages)
    cluster.elect(1)
    cluster.run()
    return cluster


def test_leader_refuses_proposals_with_nothing_appended(cluster: Cluster) -> None:
    wal = fill(cluster[1])
    leader = cluster.elect(1)
    before = leader.log.last_index
    with pytest.raises(LogFullError):
        leader.propose(b"value")
    assert leader.log.last_index == before
    wal.full = False
    leader.propose(b"value")
    cluster.run()
    assert cluster[2].applied[-1:] == [b"value"]


def test_follower_hears_the_leader_and_acknowledges_nothing(cluster: Cluster) -> None:
    fill(cluster[2])
    cluster.run()
    leader, follower = cluster[1], cluster[2]
    term, end = leader.group.term, follower.log.last_index
    leader.propose(*(b"value %d" % n for n in range(20)))
    cluster.run(rounds=200)
    assert leader.group.term == term, "it does not campaign"
    assert follower.group.leader == 1
    assert follower.log.last_index == end
    assert leader.acknowledged_by(2) == end
    assert len(leader.applied) == 20, "the others are a majority"


def test_follower_catches_up_when_there_is_room_again(cluster: Cluster) -> None:
    wal = fill(cluster[2])
    cluster.run()
    leader = cluster[1]
    leader.propose(*(b"value %d" % n for n in range(20)))
    cluster.run(rounds=50)
    wal.full = False
    cluster.run(rounds=50)
    assert cluster[2].payloads() == leader.payloads()


def test_full_follower_is_not_sent_the_same_entries_at_network_speed(cluster: Cluster) -> None:
    fill(cluster[2])
    cluster.run()
    leader = cluster[1]
    leader.propose(*(b"value %d" % n for n in range(20)))
    sent = 0
    for _ in range(100):  # round trips, while no time passes
        leader.turn()
        sent += len(cluster.sent(1, 2, messages.APPEND))
        cluster.deliver(1, 2)
        cluster[2].turn()
        cluster.deliver(2, 1)
    assert sent <= 60


def test_follower_with_a_divergent_tail_catches_up_after_a_full_disk(cluster: Cluster) -> None:
    """Its answer to a message that it could not take must not ask for acknowledged entries."""
    old = cluster.elect(2)
    cluster.run()
    cluster.isolate(1)
    (_, common) = old.propose(b"common 1", b"common 2")
    old.turn()
    cluster.deliver(2, 3)
    cluster[3].turn()
    cluster.isolate(2)  # the acknowledgement is lost: it does not know them to be committed
    old.propose(*(b"divergent %d" % n for n in range(6)))
    old.turn()
    wal = fill(old)
    cluster.connect(1, 3)
    cluster.connect(2, 3)
    new = cluster.elect(3)
    new.propose(*(b"right %d" % n for n in range(4)))
    cluster.run(rounds=20)
    assert new.acknowledged_by(2) >= common.index, "by a message without what followed"
    wal.full = False
    cluster.run(rounds=60)
    assert old.payloads() == new.payloads()
