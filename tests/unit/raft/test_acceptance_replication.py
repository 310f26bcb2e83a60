"""More of rows 2, 3, 4, 32 and 34: what the tests beside this one leave open."""

import pytest

from cluster.raft import messages
from cluster.raft.types import InvariantBrokenError
from tests.unit.raft.kit import Cluster, Message, numbered


def test_row_02_leader_that_contradicts_a_committed_entry_stops_the_replica() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"committed")
    cluster.run()
    follower = cluster[2]
    end, term = follower.group.commit_index, follower.group.term
    before, prev_term = follower.terms, follower.log.term_at(end - 1)
    other: Message = [messages.APPEND, 0, term + 1, 9, end, end - 1, prev_term, [term + 1, b"\x00"]]
    with pytest.raises(InvariantBrokenError, match=f"contradicts committed entry {end}"):
        follower.group.step(1, other)
    assert follower.terms == before, "nothing was cut, and what the message hid is back in sight"
    assert follower.group.last_index == end


def test_row_02_what_a_message_hid_is_in_sight_again_after_a_failure() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(*numbered(3))
    cluster.run()
    follower = cluster[2]
    end, term = follower.log.last_index, follower.group.term
    bad: Message = [messages.APPEND, 0, term + 1, 9, 2, 1, 0, [0, b"\x00other"]]
    with pytest.raises(InvariantBrokenError):
        follower.group.step(1, bad)
    # The library would now take entry 1 for the last one, and give its vote to anybody.
    follower.group.step(3, [messages.VOTE, 0, term + 2, 1, 0, 0])
    follower.turn()
    assert cluster.sent(2, 3, messages.VOTE_REPLY) == []
    assert follower.log.last_index == end


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (messages.APPEND_REPLY, [1, 2, False, True, 0]),
        (messages.APPEND_PROGRESS, [1, 2, False, True, 0]),
        (messages.PROBE_REPLY, [1]),
    ],
)
def test_row_03_32_reply_of_a_later_term_deposes_the_leader(
    kind: int, fields: list[object]
) -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.group.read(5)
    leader.turn()
    term = leader.group.term + 3
    leader.group.step(2, [kind, 0, term, *fields])
    leader.turn()
    assert (leader.group.is_leader, leader.group.term) == (False, term)
    assert leader.group.take_lost_reads() == [5]


def test_row_04_reset_from_a_connection_that_was_replaced_sends_nothing_again() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.cut.add((1, 2))
    leader.propose(*numbered(5))
    leader.turn()
    cluster.cut.clear()
    while not cluster.sent(1, 2, messages.APPEND):
        cluster.run((1, 3), rounds=1)
    cluster.deliver(1, 2)
    cluster[2].turn()
    (held,) = cluster.sent(2, 1, messages.APPEND_REPLY)
    assert held[5] is True, "it asks for what was lost"
    cluster.disconnect(1, 2)
    cluster.connect(1, 2)
    leader.turn()
    resent = cluster.sent(1, 2, messages.APPEND)
    assert resent, "a new connection goes on from what was acknowledged"
    leader.group.step(2, list(held))
    leader.turn()
    assert cluster.sent(1, 2, messages.APPEND) == resent
    cluster.run()
    assert cluster[2].payloads() == numbered(5)


def test_row_34_idle_group_costs_a_heartbeat_a_period_and_nothing_on_the_disk() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    sent_before = cluster.counts.copy()
    records_before = [cluster[node].wal.lsn for node in cluster.ids]
    seconds = 20
    cluster.run(rounds=seconds * 50)
    sent = cluster.counts - sent_before
    heartbeats = round(seconds / cluster[1].config.heartbeat_s)
    assert [cluster[node].wal.lsn for node in cluster.ids] == records_before
    for follower in (2, 3):
        assert 0.8 * heartbeats <= sent[1, follower, messages.APPEND] <= heartbeats + 1
        assert sent[follower, 1, messages.APPEND_REPLY] <= heartbeats + 1
    assert {kind for _, _, kind in sent} == {messages.APPEND, messages.APPEND_REPLY}


def test_row_06_no_follower_is_told_to_commit_what_the_leader_has_not_synced() -> None:
    """Its own copy would be one of the majority, and a power cut would take it."""
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
    cluster.links[1, 3].clear()
    for _ in range(10):
        cluster.clock.now += 0.02
        leader.tick()
        leader.turn_without_sync()
    told = [message[4] for message in cluster.sent(1, 3, messages.APPEND)]
    assert told
    assert told == [position.index - 1] * len(told)
    leader.sync()
    leader.after_sync()
    leader.propose(b"next")
    leader.turn()
    assert cluster.sent(1, 3, messages.APPEND)[-1][4] == position.index
