"""Leadership handed over on purpose."""

import pytest

from cluster.raft import messages
from cluster.raft.types import NotLeaderError, Role
from tests.unit.raft.kit import Cluster


def test_target_leads_within_a_few_round_trips_and_no_time() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose(b"value")
    leader.turn()
    assert leader.group.transfer_leadership(3)
    cluster.run(rounds=10, step_s=0.0)
    assert cluster.leaders == [3]
    assert cluster[3].applied == [b"value"]


def test_leader_drains_before_it_lets_go() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(b"value")
    leader.turn()
    leader.group.transfer_leadership(3)
    leader.turn()
    assert cluster.sent(1, 3, messages.TIMEOUT_NOW) == [], "replica 3 lacks the last entry"
    cluster.deliver(1, 3)
    cluster[3].turn()
    cluster.deliver(3, 1)
    leader.turn()
    assert len(cluster.sent(1, 3, messages.TIMEOUT_NOW)) == 1


def test_nothing_is_proposed_meanwhile() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.group.transfer_leadership(3)
    assert not leader.group.accepts_proposals
    before = leader.log.last_index
    with pytest.raises(NotLeaderError) as refused:
        leader.propose(b"value")
    assert refused.value.leader == 0, "nobody to send it to yet"
    assert leader.log.last_index == before
    leader.group.read(1)
    cluster.run((1, 2), rounds=3)
    assert leader.confirmed, "reads go on"


def test_leader_resumes_when_nobody_takes_over() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.cut.add((1, 3))
    leader.group.transfer_leadership(3)
    until = cluster.clock.now + leader.config.election_max_s
    while cluster.clock.now < until:
        assert not leader.group.accepts_proposals
        cluster.run((1, 2), rounds=1)
    cluster.run((1, 2), rounds=2)
    assert leader.group.accepts_proposals
    leader.propose(b"value")
    cluster.run((1, 2))
    assert leader.applied == [b"value"]


def test_unreachable_or_unknown_target_is_refused() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.disconnect(1, 3)
    assert not leader.group.transfer_leadership(3)
    assert not leader.group.transfer_leadership(9)
    assert not cluster[2].group.transfer_leadership(1), "it does not lead"
    assert leader.group.accepts_proposals


def test_only_the_present_leader_may_ask_to_take_over() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    follower, term = cluster[3], cluster[3].group.term
    follower.group.step(2, [messages.TIMEOUT_NOW, 0, term])
    follower.group.step(1, [messages.TIMEOUT_NOW, 0, term - 1])
    assert follower.group.term == term
    follower.group.step(1, [messages.TIMEOUT_NOW, 0, term])
    assert follower.group.role is Role.CANDIDATE


def test_late_request_to_take_over_does_not_stop_an_isolated_replica_from_following() -> None:
    """It cannot campaign without peers, and must not wait for that for ever."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    cluster.isolate(3)
    cluster[3].group.step(1, [messages.TIMEOUT_NOW, 0, leader.group.term])
    cluster.connect(1, 3)
    cluster.connect(2, 3)
    cluster.run(rounds=200)
    assert cluster.leaders == [1]
    assert cluster.counts[3, 2, messages.PREVOTE] <= 2, "it hears its leader and goes on following"


def test_leader_knows_who_has_the_log_and_not_the_state() -> None:
    """Who led without its state would refuse everybody until that has caught up."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    before = leader.group.level_of(3)
    cluster[3].applies = False
    leader.propose(*(b"%d" % number for number in range(20)))
    cluster.run(rounds=20)
    last = leader.log.last_index
    assert leader.acknowledged_by(3) == last
    assert leader.group.level_of(3) == before < last
    assert leader.group.level_of(2) == last
    cluster[3].applies = True
    cluster.run(rounds=20)
    assert leader.group.level_of(3) == last
