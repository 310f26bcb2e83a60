"""What may leave before its records are synced, and what must not."""

import pytest

from cluster.raft import messages
from cluster.raft.outbox import Outbox
from cluster.raft.types import Outgoing
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from tests.unit.raft.kit import WAL, Cluster, Message


def sync(wal: Wal) -> None:
    ticket = wal.seal()
    assert ticket is not None
    wal.write_and_sync(ticket)
    wal.complete(ticket)


def test_entries_leave_before_the_leaders_own_sync() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    (position,) = leader.propose(b"value")
    leader.before_sync()
    assert leader.log.durable_index < position.index
    (message,) = cluster.sent(1, 2, messages.APPEND)
    assert message[7] == [position.term, b"\x00value"]


def test_entries_wait_while_the_leaders_term_is_not_durable() -> None:
    wal = Wal.open(MemoryStorage(), WAL)
    log = wal.group(0)
    outbox = Outbox(wal, log)
    log.set_hard_state(HardState(4, 1, 0))
    append = Outgoing(2, (messages.APPEND, 0, 4))
    outbox.send_entries([append])
    assert outbox.take_early() == []
    assert outbox.take_synced() == []
    sync(wal)
    assert outbox.take_synced() == [append]


def test_promises_leave_in_order_each_with_its_sync() -> None:
    wal = Wal.open(MemoryStorage(), WAL)
    log = wal.group(0)
    outbox = Outbox(wal, log)
    first, second, third = (Outgoing(2, (n,)) for n in range(3))
    log.append(1, 1, b"\x01")
    outbox.send_synced(first)
    ticket = wal.seal()
    assert ticket is not None
    wal.write_and_sync(ticket)
    log.append(2, 1, b"\x00")
    outbox.send_synced(second)
    wal.complete(ticket)
    assert outbox.take_synced() == [first], "the second record came after the seal"
    outbox.send_synced(third)
    assert outbox.take_synced() == []
    sync(wal)
    assert outbox.take_synced() == [second, third]
    fourth = Outgoing(2, (4,))
    outbox.send_synced(fourth)
    assert outbox.take_synced() == [fourth], "nothing of this group waits for a sync"


def test_acknowledgement_of_a_replaced_tail_waits_for_the_replacement() -> None:
    """A sync that was sealed before the truncation covers the old entries, not the new ones."""
    cluster = Cluster()
    old = cluster.elect(1)
    cluster.run()
    cluster.isolate(1)
    old.propose(b"old tail")
    old.before_sync()
    ticket = old.wal.seal()
    assert ticket is not None
    old.wal.write_and_sync(ticket)
    new = cluster.elect(2, (2, 3))
    new.propose(b"new tail")
    cluster.run((2, 3))
    cluster.connect(1, 2)
    for _ in range(3):
        cluster.clock.now += 0.1
        new.tick()
        new.turn()
        cluster.deliver(2, 1)
        old.turn_without_sync()
        cluster.deliver(1, 2)
    assert old.payloads() == [b"new tail"]
    old.wal.complete(ticket)
    old.after_sync()
    assert new.acknowledged_by(1) < new.log.last_index
    assert cluster.sent(1, 2, messages.APPEND_REPLY) == []
    assert old.applied == [], "and what is not synced is not applied"
    old.turn()
    cluster.deliver(1, 2)
    assert new.acknowledged_by(1) == new.log.last_index
    assert old.applied == [b"new tail"]


def test_commit_index_never_goes_back() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(*(b"%d" % n for n in range(10)))
    cluster.run()
    follower = cluster[2]
    commit, term = follower.group.commit_index, leader.group.term
    for prev_index in range(1, commit + 1):
        prev_term = follower.log.term_at(prev_index)
        for told in (0, prev_index, commit + 5):
            append: Message = [messages.APPEND, 0, term, 500, told, prev_index, prev_term, []]
            follower.group.step(1, append)
            follower.turn()
            assert follower.group.commit_index == commit
    assert follower.payloads() == leader.payloads()


def test_follower_commits_only_what_the_message_verified() -> None:
    """Hidden entries behind a short message may be another leader's."""
    cluster = Cluster()
    old = cluster.elect(1)
    cluster.run()
    cluster.isolate(1)
    old.propose(b"divergent", b"divergent too")
    old.turn()
    cluster.elect(2, (2, 3))
    common = old.log.last_index - 2
    prev_term = old.log.term_at(common)
    heartbeat: Message = [
        messages.APPEND,
        0,
        cluster[2].group.term,
        1,
        common + 2,
        common,
        prev_term,
        [],
    ]
    old.group.step(2, heartbeat)
    old.turn()
    assert old.group.commit_index <= common
    assert old.applied == []


@pytest.mark.parametrize("mode", list(Crash))
def test_acknowledged_entries_survive_every_crash_of_the_majority(mode: Crash) -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"one")
    leader.turn()
    cluster.deliver(1, 2)
    cluster[2].turn()
    cluster.deliver(2, 1)
    leader.turn()
    leader.turn()
    committed = list(leader.applied)
    assert committed == [b"one"]
    for node in (1, 2):
        cluster[node].crash(mode)
    cluster.settle()
    assert cluster[3].applied == [b"one"]


def test_unsynced_proposal_is_lost_without_a_trace_by_a_power_cut() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(b"never synced")
    leader.crash(Crash.SYNCED)
    cluster.settle()
    assert all(b"never synced" not in m.payloads() for m in cluster.members.values())
