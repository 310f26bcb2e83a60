"""Pre-vote, fast failover and the election timers."""

from random import Random

import pytest

from cluster.raft import messages
from cluster.raft.election import Election
from cluster.raft.types import GroupConfig, Role
from tests.unit.raft.kit import Cluster, Message


def ask(cluster: Cluster, voter: int, candidate: int, *, behind: int = 0) -> Message:
    """The answer to a pre-vote request."""
    member = cluster[voter]
    end = member.log.last_index - behind
    member.group.step(
        candidate,
        [messages.PREVOTE, 0, member.group.term + 1, end, member.log.last_term, 77],
    )
    member.turn()
    (reply,) = cluster.sent(voter, candidate, messages.PREVOTE_REPLY)
    cluster.links[voter, candidate].remove(reply)
    assert reply[2:4] == [member.group.term, 77]
    return reply


def test_prevote_is_refused_while_a_leader_is_heard() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    assert ask(cluster, 2, 3)[4] is False
    assert ask(cluster, 1, 3)[4] is False, "by the leader itself, too"


def test_prevote_is_granted_when_the_leader_was_not_heard_for_the_minimum_timeout() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.clock.now += cluster[2].config.election_min_s
    assert ask(cluster, 2, 3)[4] is True


def test_prevote_is_granted_when_the_leaders_connection_is_gone() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.disconnect(1, 2)
    assert ask(cluster, 2, 3)[4] is True


def test_prevote_is_refused_to_a_shorter_log() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.disconnect(1, 2)
    assert ask(cluster, 2, 3, behind=1)[4] is False


def test_prevote_promises_nothing() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.disconnect(1, 2)
    before = cluster[2].log.hard_state
    assert ask(cluster, 2, 3)[4] is True
    assert cluster[2].log.hard_state == before


def test_refusal_of_a_higher_term_is_believed() -> None:
    cluster = Cluster()
    member = cluster[1]
    member.group.step(2, [messages.PREVOTE_REPLY, 0, 9, 1, False])
    assert member.group.term == 9
    assert member.group.role is Role.FOLLOWER


def test_grant_of_an_earlier_round_does_not_count() -> None:
    cluster = Cluster()
    candidate = cluster[1]
    for _ in range(2):
        cluster.clock.now += 2
        candidate.tick()
        candidate.turn()
    (first, second) = (message[5] for message in cluster.sent(1, 2, messages.PREVOTE))
    assert first != second
    candidate.group.step(2, [messages.PREVOTE_REPLY, 0, 0, first, True])
    assert candidate.group.term == 0
    candidate.group.step(2, [messages.PREVOTE_REPLY, 0, 0, second, True])
    assert candidate.group.role is Role.CANDIDATE


def test_grants_are_void_once_a_leader_is_heard() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    follower = cluster[2]
    cluster.clock.now += 2
    follower.tick()
    follower.turn()
    (ask_message,) = cluster.sent(2, 3, messages.PREVOTE)
    end, term = follower.log.last_index, follower.group.term
    follower.group.step(1, [messages.APPEND, 0, term, 99, end, end, term, []])
    follower.group.step(3, [messages.PREVOTE_REPLY, 0, term, ask_message[5], True])
    assert follower.group.role is Role.FOLLOWER
    assert follower.group.leader == 1


@pytest.mark.parametrize("size", [3, 5])
def test_first_of_the_remaining_replicas_leads_within_a_fifth_of_a_second(size: int) -> None:
    cluster = Cluster(size)
    cluster.elect(1)
    cluster.run()
    broken_at = cluster.clock.now
    cluster[1].crash()
    while not cluster.leaders:
        cluster.run(rounds=1, step_s=0.005)
    assert cluster.leaders == [2]
    assert cluster.clock.now - broken_at < 0.2


def test_next_rank_leads_when_the_first_cannot() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.isolate(1)
    broken_at = cluster.clock.now
    while cluster.leaders != [1, 3]:
        cluster.run((2, 3), rounds=1, step_s=0.005, ticking=[3])
    assert cluster.clock.now - broken_at < 0.2


def test_first_replica_leads_a_new_cluster_without_waiting_for_a_timeout() -> None:
    cluster = Cluster()
    started_at = cluster.clock.now
    while not cluster.leaders:
        cluster.run(rounds=1, step_s=0.005)
    assert cluster.leaders == [1]
    assert cluster.clock.now - started_at < 0.1


def test_paused_replica_does_not_depose_the_leader_when_it_wakes() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    term = leader.group.term
    for _ in range(100):
        cluster.run((1, 2), rounds=1, step_s=0.1)
    sleeper = cluster[3]
    sleeper.tick()  # before it reads anything
    sleeper.turn()
    cluster.run(rounds=50)
    assert cluster.leaders == [1]
    assert leader.group.term == term


def test_paused_leader_gives_way_when_it_wakes() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    for _ in range(100):
        cluster.run((2, 3), rounds=1)
    (old, new) = cluster.leaders
    assert old == 1
    cluster[1].group.read(5)
    cluster.run(rounds=10)
    assert cluster.leaders == [new]
    assert cluster[1].confirmed == []


def test_one_broken_connection_deposes_nobody() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    term = leader.group.term
    cluster.disconnect(1, 2)
    cluster.run(rounds=200)
    assert cluster.leaders == [1]
    assert leader.group.term == term
    cluster.connect(1, 2)
    leader.propose(b"value")
    cluster.run()
    assert cluster[2].applied == [b"value"]


def test_deadlines_are_random_within_their_limits() -> None:
    config = GroupConfig(0, 1, (1, 2, 3))
    election = Election(config, Random(1))
    deadlines: set[float] = set()
    for _ in range(200):
        election.restart_deadline(0.0)
        assert config.election_min_s <= election.deadline < config.election_max_s
        deadlines.add(election.deadline)
    assert len(deadlines) > 100


def test_refused_round_is_repeated_soon() -> None:
    config = GroupConfig(0, 1, (1, 2, 3))
    election = Election(config, Random(1))
    election.restart_deadline(0.0)
    election.start_round(10.0)
    low, high = config.prevote_retry_s
    assert 10.0 + low <= election.deadline < 10.0 + high
