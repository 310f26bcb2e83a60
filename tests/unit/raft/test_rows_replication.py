"""Holes of the library's replication, rows 1 to 6: each first shown on the bare
library, then closed here. The numbers are those of the table in `cluster/raft/DESIGN.md`."""

import os
from pathlib import Path

import pytest

from cluster.raft import messages
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId
from cluster.storage.memory_files import Crash
from tests.unit.raft.bare import BareNet, close, file_journal
from tests.unit.raft.kit import Cluster, Message, numbered, small_messages

# --- row 1: the commit index moves on snapshot messages without a log match ---


def test_bare_library_row_01_answers_from_entries_the_snapshot_erases() -> None:
    net = BareNet((1, 2, 3), logCompactionBatchSize=16)
    net.elect(1)
    net[1].put(b"base")
    net.run()
    net.isolate(1)
    answers: list[object] = []
    net[1].put(b"lost", lambda _, error: answers.append(error))
    net.tick(1)
    net.elect(2, (2, 3))
    for payload in numbered(10):
        net[2].put(payload)
    net.run((2, 3))
    net[2].compact()
    net.run((2, 3))
    net.connect(1, 2)
    for _ in range(400):
        net.tick(2)
        net.tick(1)
        net.deliver(2, 1, 1)
        net.deliver(1, 2)
        if answers:
            break
    assert answers == [0], "the deposed leader answers its client with success"
    assert b"lost" not in net[2].applied


def test_row_01_snapshot_message_is_refused_and_commits_nothing() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"base")
    cluster.run()
    cluster.isolate(1)
    leader.propose(b"lost")
    leader.turn()
    new = cluster.elect(2, (2, 3))
    new.propose(*numbered(10))
    cluster.run((2, 3))
    cluster.connect(1, 2)
    term, commit = new.group.term, new.group.commit_index
    for message in (
        [messages.APPEND, 0, term, 1, commit, "serialized"],
        [messages.APPEND, 0, term, 1, commit, b"chunk", True, False],
        ["append_entries", 0, {"serialized": b"chunk"}],
    ):
        with pytest.raises(MalformedMessageError):
            leader.group.step(2, list[object](message))
    assert b"lost" not in leader.applied
    cluster.settle()
    assert leader.applied == [b"base", *numbered(10)]


# --- row 2: unconditional truncation ---


def test_bare_library_row_02_old_heartbeat_erases_applied_entries() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net[1].put(b"base")
    net.run()
    net.tick(1, after_s=0.2)
    heartbeat = net.links[1, 2][0]
    net.run()
    for payload in numbered(5):
        net[1].put(payload)
    net.run()
    before = len(net[2].log)
    net.receive(2, 1, heartbeat)
    assert len(net[2].log) == before - 5
    assert net[2].last_applied == before


def test_row_02_repeated_heartbeat_keeps_acknowledged_entries() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"base")
    cluster.run()
    heartbeat = _heartbeat(cluster, 1, 2)
    leader.propose(*numbered(5))
    cluster.run()
    follower = cluster[2]
    before, commit = follower.payloads(), follower.group.commit_index
    follower.group.step(1, heartbeat)
    follower.turn()
    assert follower.payloads() == before
    assert follower.group.commit_index == commit
    (reply,) = cluster.sent(2, 1, messages.APPEND_REPLY)
    assert reply[4] == 4, "the reply speaks only of what the heartbeat verified"


def _heartbeat(cluster: Cluster, leader: NodeId, follower: NodeId) -> Message:
    for _ in range(20):
        cluster.clock.now += 0.02
        cluster[leader].tick()
        cluster[leader].turn()
        found = cluster.sent(leader, follower, messages.APPEND)
        if found:
            return list(found[0])
    raise AssertionError("the leader sends no heartbeat")


def test_bare_library_row_02_second_reset_loses_acknowledged_writes() -> None:
    net = BareNet((1, 2, 3), appendEntriesBatchSizeBytes=80)
    net.elect(1)
    net.run()
    net.isolate(3)
    net.cut.add((1, 2))
    acknowledged: list[object] = []
    for n in range(8):
        net[1].put(b"%040d" % n, lambda _, error: acknowledged.append(error))
    net.tick(1)
    net.cut.clear()
    for _ in range(2):
        net.tick(1, after_s=0.2)
    net.deliver(1, 2)
    net.deliver(2, 1, 1)
    net.tick(1, after_s=0.2)
    first = len(net.links[1, 2])
    net.deliver(2, 1, 1)
    net.tick(1, after_s=0.2)
    net.deliver(1, 2, first)
    net.deliver(2, 1)
    net.tick(1)
    assert acknowledged == [0] * 8
    net.deliver(1, 2, 1)
    net.disconnect(1, 2)
    net.connect(2, 3)
    net.elect(2, (2, 3))
    net.run((2, 3))
    assert len(net[2].applied) < 8, "acknowledged writes are gone after the failover"


def test_row_02_second_reset_keeps_acknowledged_entries() -> None:
    cluster = Cluster(config=small_messages())
    leader = cluster.elect(1)
    cluster.run()
    cluster.isolate(3)
    cluster.cut.add((1, 2))
    leader.propose(*(b"%040d" % n for n in range(8)))
    leader.turn()
    cluster.cut.clear()
    heartbeats = [_heartbeat(cluster, 1, 2), _heartbeat(cluster, 1, 2)]
    cluster.links[1, 2][:] = heartbeats
    cluster.deliver(1, 2)
    cluster[2].turn()
    cluster.deliver(2, 1, 1)
    leader.turn()
    resent = list(cluster.links[1, 2])
    assert len(resent) > 1, "the entries take several messages"
    cluster.deliver(2, 1)
    leader.turn()
    assert cluster.links[1, 2] == resent, "the second reset answers an older message"
    cluster.deliver(1, 2)
    cluster[2].turn()
    cluster.deliver(2, 1)
    leader.turn()
    assert len(leader.applied) == 8
    cluster[2].group.step(1, resent[0])
    leader.crash()
    cluster.connect(2, 3)
    cluster.elect(2, (2, 3))
    assert cluster[2].applied == [b"%040d" % n for n in range(8)]


# --- row 3: replies without a term ---


def test_bare_library_row_03_reply_of_an_old_leadership_commits() -> None:
    net = BareNet(range(1, 6))
    net.elect(1)
    net[1].put(b"base")
    net.run()
    for other in (3, 4, 5):
        net.disconnect(1, other)
        net.disconnect(2, other)
    for payload in numbered(5, "old"):
        net[1].put(payload)
    net.tick(1)
    net.deliver(1, 2)  # the replies stay on their link
    net.elect(3, (3, 4, 5))
    net[3].put(b"newer")
    net.run((3, 4, 5))
    for a, b in ((1, 3), (1, 4), (1, 5), (2, 3)):
        net.connect(a, b)
    held = list(net.links[2, 1])
    net.links[2, 1].clear()
    for _ in range(30):
        for node in range(1, 6):
            net.tick(node, after_s=0.05)
        for a in (1, 3, 4, 5):
            for b in (1, 3, 4, 5):
                net.deliver(a, b)
        net.deliver(3, 2)
        net.deliver(2, 3)
    net.links[1, 2].clear()
    net.links[2, 1].clear()
    net.disconnect(1, 2)
    net.elect(1, (1, 3, 4, 5))
    for other in (3, 5):
        net.disconnect(1, other)
    net.disconnect(2, 3)
    answers: list[object] = []
    for payload in numbered(4, "new"):
        net[1].put(payload, lambda _, error: answers.append(error))
    for _ in range(3):
        net.tick(1)
        net.deliver(1, 4)
        net.deliver(4, 1)
    assert not answers
    for message in held:
        net.receive(1, 2, message)
    net.tick(1)
    last_committed = (net[1].commit_index, net[1].raftCurrentTerm)
    copies = sum(last_committed in net[node].log for node in range(1, 6))
    assert answers, "clients are told that entries are committed"
    assert copies == 2, "which two of five replicas hold"


def test_row_03_reply_of_an_old_leadership_counts_nothing() -> None:
    cluster = Cluster(5)
    first = cluster.elect(1)
    first.propose(b"base")
    cluster.run()
    for other in (3, 4, 5):
        cluster.disconnect(1, other)
        cluster.disconnect(2, other)
    first.propose(*numbered(5, "old"))
    first.turn()
    cluster.deliver(1, 2)
    cluster[2].turn()
    held = cluster.sent(2, 1, messages.APPEND_REPLY)
    assert held[-1][4] == first.log.last_index + 1
    cluster.elect(3, (3, 4, 5)).propose(b"newer")
    cluster.run((3, 4, 5))
    cluster.disconnect(1, 2)
    for other in (3, 4, 5):
        cluster.connect(1, other)
        cluster.connect(2, other)
    cluster.run()
    assert first.terms == cluster[2].terms == cluster[3].terms
    cluster.isolate(2)
    cluster.elect(1, (1, 3, 4, 5))
    for other in (3, 5):
        cluster.disconnect(1, other)
    first.propose(*numbered(4, "new"))
    cluster.run((1, 4), rounds=3)
    before = first.group.commit_index
    for reply in held:
        first.group.step(2, reply)
    cluster.run((1, 4), rounds=3)
    assert first.group.commit_index == before
    assert first.acknowledged_by(2) == 0


# --- row 4: resets that answer something older ---


def test_bare_library_row_04_probing_a_divergent_tail_never_ends() -> None:
    net = _bare_divergent_tail()
    # The first batch's reset steps back by one, those of the others step forward again.
    for _ in range(300):
        net.tick(3, after_s=0.11)
        net.deliver(3, 2)
        net.tick(2)
        net.deliver(2, 3)
    assert net[2].log != net[3].log, "after 300 round trips the follower is still not there"


def _bare_divergent_tail() -> BareNet:
    net = BareNet((1, 2, 3), appendEntriesBatchSizeBytes=120)
    net.elect(2)
    net.run()
    net.isolate(2)
    for n in range(10):
        net[2].put(b"divergent %030d" % n)
    net.tick(2)
    net.elect(1, (1, 3))
    for n in range(30):
        net[1].put(b"right %030d" % n)
    net.run((1, 3))
    net.elect(3, (1, 3))
    net.connect(3, 2)
    return net


def test_row_04_divergent_tail_is_replaced_in_a_few_round_trips() -> None:
    cluster = Cluster(config=small_messages(120))
    old = cluster.elect(2)
    cluster.run()
    cluster.isolate(2)
    old.propose(*(b"divergent %030d" % n for n in range(400)))
    old.turn()
    cluster.elect(1, (1, 3)).propose(*(b"right %030d" % n for n in range(300)))
    cluster.run((1, 3))
    new = cluster.elect(3, (1, 3))
    cluster.connect(3, 2)
    round_trips = 0
    while old.log.last_index != new.log.last_index or old.terms != new.terms:
        cluster.clock.now += 0.11
        new.tick()
        new.turn()
        cluster.deliver(3, 2)
        old.turn()
        cluster.deliver(2, 3)
        round_trips += 1
        assert round_trips < 8
    assert old.payloads() == new.payloads()


# --- row 5: nothing is synced ---


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_bare_library_row_05_empty_meta_file_forgets_term_and_vote(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    before = file_journal(path)
    before.setCurrentTerm(7, 3)
    close(before)
    os.truncate(path + ".meta", 0)  # renamed without a sync: what a power cut leaves
    after = file_journal(path)
    assert (after.getCurrentTerm(), after.getVotedForNodeId()) == (0, None)
    close(after)


def test_row_05_acknowledgement_and_vote_wait_for_their_sync() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.links[2, 1].clear()
    leader.propose(b"value")
    leader.turn()
    follower = cluster[2]
    cluster.deliver(1, 2)
    follower.turn_without_sync()
    assert not cluster.sent(2, 1, messages.APPEND_REPLY)
    follower.sync()
    follower.after_sync()
    assert len(cluster.sent(2, 1, messages.APPEND_REPLY)) == 1

    end = leader.log.last_index
    cluster[3].group.step(2, [messages.VOTE, 0, 50, end, leader.group.term, 0])
    cluster[3].turn_without_sync()
    assert not cluster.sent(3, 2, messages.VOTE_REPLY)
    cluster[3].sync()
    cluster[3].after_sync()
    assert cluster.sent(3, 2, messages.VOTE_REPLY) == [[messages.VOTE_REPLY, 0, 50]]


def test_row_05_what_was_acknowledged_survives_a_power_cut_of_all() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(*numbered(5))
    cluster.run()
    assert cluster[1].applied == numbered(5)
    for node in cluster.ids:
        cluster[node].crash(Crash.SYNCED)
    cluster.settle()
    assert cluster[3].applied == numbered(5)


# --- row 6: the leader counts its own copy at once ---


def test_bare_library_row_06_commits_what_the_leader_has_not_stored() -> None:
    net = BareNet((1,))
    net.elect(1)
    answers: list[object] = []
    net[1].put(b"value", lambda _, error: answers.append(error))
    net.tick(1)
    net.tick(1)
    assert answers == [0], "answered; no journal was ever asked to sync anything"


def test_row_06_acknowledgement_waits_for_the_leaders_own_sync() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    (position,) = leader.propose(b"value")
    leader.turn_without_sync()
    cluster.deliver(1, 2)
    cluster[2].turn()
    cluster.deliver(2, 1)
    leader.turn_without_sync()
    assert leader.acknowledged_by(2) == position.index
    assert leader.group.commit_index < position.index
    assert leader.applied == []
    leader.sync()
    leader.after_sync()
    assert leader.applied == [b"value"], "counted as soon as the leader's own copy is durable"


def test_row_06_one_node_group_commits_nothing_before_its_own_sync() -> None:
    cluster = Cluster(1)
    alone = cluster[1]
    cluster.clock.now += 1
    alone.tick()
    alone.turn_without_sync()
    assert not alone.group.is_ready
    assert alone.group.commit_index == 0
    alone.turn()
    assert alone.group.is_ready
    alone.propose(b"value")
    alone.turn_without_sync()
    assert alone.applied == []
    alone.turn()
    assert alone.applied == [b"value"]


def test_row_06_one_node_group_commits_although_more_entries_follow() -> None:
    """On a slow disk there is always an entry that is not synced yet."""
    cluster = Cluster(1)
    alone = cluster[1]
    cluster.clock.now += 1
    alone.tick()
    alone.turn()
    for n in range(5):
        alone.propose(b"%d" % n)
        ticket = alone.wal.seal()
        assert ticket is not None
        alone.wal.write_and_sync(ticket)
        alone.propose(b"%d, behind the seal" % n)
        alone.before_sync()
        alone.wal.complete(ticket)
        alone.after_sync()
        assert alone.applied[-1] == b"%d" % n
