"""Linearizable reads (row 25): what confirms a read, and what must not."""

from cluster.raft import messages
from cluster.raft.reads import ReadIndex, ReadReady
from tests.unit.raft.bare import BareNet
from tests.unit.raft.kit import Cluster, Member


def confirmed(member: Member) -> list[int]:
    """The tokens of the reads that may be answered now."""
    return [
        token
        for ready in member.confirmed
        if ready.index <= member.group.applied_index
        for token in ready.tokens
    ]


def exchange(cluster: Cluster, a: int, b: int) -> None:
    """One round trip from `a` to `b`."""
    cluster.deliver(a, b)
    cluster[b].turn()
    cluster.deliver(b, a)
    cluster[a].turn()


def test_bare_library_row_25_isolated_leader_believes_in_itself() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    net.cut |= {(2, 1), (3, 1)}
    since = net.now
    while net[1].is_leader:
        net.tick(1, after_s=0.05)
    assert net.now - since > 29, "seconds, in which it answers reads with old values"


def test_row_25_isolated_leader_steps_down_and_confirms_nothing() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.cut |= {(2, 1), (3, 1)}
    leader.group.read(1)
    since = cluster.clock.now
    while leader.group.is_leader:
        cluster.run((1,), rounds=1)
    assert cluster.clock.now - since < 1.2
    assert leader.confirmed == []
    assert leader.group.take_lost_reads() == [1]


def test_row_25_same_term_reply_held_while_another_leader_writes_is_not_served() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"old value")
    cluster.run()
    # Two replies of this leader's term are in flight to it, sent before anything else happens.
    leader.group.read(1)
    leader.turn()
    cluster.deliver(1, 2)
    cluster[2].turn()
    leader.turn()
    held = [*cluster.links[2, 1]]
    assert any(message[0] == messages.PROBE_REPLY for message in held)
    cluster.links[2, 1].clear()
    assert leader.confirmed == []
    # Another leader is elected and writes; the old one does not know.
    cluster.isolate(1)
    new = cluster.elect(2, (2, 3))
    new.propose(b"new value")
    cluster.run((2, 3))
    assert new.applied == [b"old value", b"new value"]
    assert leader.group.is_leader
    leader.group.read(2)
    leader.turn()
    for message in held:
        leader.group.step(2, message)
    leader.turn()
    assert 2 not in confirmed(leader), "read 2 began after the new value was acknowledged"


def test_reply_of_an_earlier_leadership_confirms_nothing() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.group.read(1)
    leader.turn()
    cluster.deliver(1, 2)
    cluster[2].turn()
    held = cluster.sent(2, 1, messages.PROBE_REPLY)
    cluster.links[2, 1].clear()
    cluster.elect(2)
    cluster.elect(1)
    cluster.run()
    assert leader.group.take_lost_reads() == [1]
    leader.group.read(2)
    leader.turn()
    for message in held:
        leader.group.step(2, message)
    leader.turn()
    assert confirmed(leader) == []


def test_read_waits_for_the_first_entry_of_the_term() -> None:
    cluster = Cluster()
    first = cluster.elect(1)
    cluster.run()
    cluster.disconnect(1, 3)
    first.propose(b"acknowledged")
    exchange_rounds(cluster, 1, 2, 2)
    assert first.applied == [b"acknowledged"]
    first.crash()
    cluster.clock.now += 2
    second = cluster[2]
    while not second.group.is_leader:
        cluster.run((2, 3), rounds=1, ticking=[2])
    assert second.group.commit_index < second.log.last_index
    second.group.read(1)
    second.turn()
    assert cluster.sent(2, 3, messages.PROBE) == [], "its commit index may be an old one"
    cluster.run((2, 3))
    (ready,) = second.confirmed
    assert ready.index >= second.log.last_index - 1
    assert second.applied == [b"acknowledged"]


def exchange_rounds(cluster: Cluster, a: int, b: int, rounds: int) -> None:
    cluster[a].turn()
    for _ in range(rounds):
        exchange(cluster, a, b)


def test_read_index_is_the_commit_index_noted_before_the_probe_left() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    noted = leader.group.commit_index
    leader.group.read(1)
    leader.turn()
    leader.propose(b"later")
    leader.turn()
    exchange(cluster, 1, 2)
    assert leader.confirmed == [ReadReady(noted, [1])]


def test_one_round_serves_all_reads_that_wait() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    for token in range(1, 101):
        leader.group.read(token)
    leader.turn()
    assert len(cluster.sent(1, 2, messages.PROBE)) == 1
    exchange(cluster, 1, 2)
    assert confirmed(leader) == list(range(1, 101))


def test_later_reply_confirms_earlier_rounds() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    for token in (1, 2, 3):
        leader.group.read(token)
        leader.turn()
    probes = cluster.sent(1, 2, messages.PROBE)
    assert len(probes) == 3
    cluster.links[1, 2][:] = [probes[-1]]
    exchange(cluster, 1, 2)
    assert confirmed(leader) == [1, 2, 3]


def test_lost_probe_is_repeated() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.group.read(1)
    leader.turn()
    for peer in (2, 3):
        assert cluster.sent(1, peer, messages.PROBE)
        cluster.links[1, peer].clear()
    cluster.run(rounds=6)
    assert confirmed(leader) == [1]


def test_probe_is_answered_while_the_followers_disk_is_busy() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(b"value")
    leader.turn()
    cluster.deliver(1, 2)
    leader.group.read(1)
    leader.turn()
    cluster.deliver(1, 2)
    cluster[2].turn_without_sync()
    assert cluster.sent(2, 1, messages.APPEND_REPLY) == []
    cluster.deliver(2, 1)
    leader.turn()
    assert confirmed(leader) == [1]


def test_probe_of_an_old_leader_is_answered_with_the_term() -> None:
    cluster = Cluster()
    old = cluster.elect(1)
    cluster.run()
    cluster.isolate(1)
    cluster.elect(2, (2, 3))
    cluster.connect(1, 3)
    old.group.read(1)
    old.turn()
    cluster.deliver(1, 3)
    cluster[3].turn()
    assert cluster.sent(3, 1, messages.PROBE_REPLY) == []
    cluster.deliver(3, 1)
    assert not old.group.is_leader
    assert old.group.take_lost_reads() == [1]


def test_one_node_group_reads_what_it_has_applied() -> None:
    cluster = Cluster(1)
    alone = cluster[1]
    cluster.clock.now += 1
    alone.tick()
    alone.group.read(1)
    alone.turn_without_sync()
    assert confirmed(alone) == []
    alone.turn()
    alone.turn()
    assert confirmed(alone) == [1]


def test_same_peer_twice_is_no_majority_of_five() -> None:
    reads = ReadIndex(1, 3)
    reads.add(7)
    number = reads.start_round(40)
    reads.confirm(2, number)
    reads.confirm(2, number)
    assert reads.take_ready() == []
    reads.confirm(3, number)
    assert reads.take_ready() == [ReadReady(40, [7])]
    assert reads.unconfirmed == 0
