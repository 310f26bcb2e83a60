"""A replica that lost its disk: what it does not do, and when it counts again (row 36)."""

from dataclasses import replace

import pytest

from cluster.raft import messages
from cluster.raft.learning import Learner, Target
from cluster.raft.types import GroupConfig, NodeId, Role
from tests.unit.raft.kit import Cluster, Member, Message, default_config, numbered

ARRIVAL = 7


def lost_and_back(cluster: Cluster, node: NodeId, among: tuple[NodeId, ...] = ()) -> Member:
    """`node` comes back empty, connected to `among` (all others by default), and asks at once."""
    member = cluster[node]
    member.lose_disk(ARRIVAL)
    for other in among or cluster.ids:
        if other != node:
            cluster.connect(min(node, other), max(node, other))
    return member


def led_by_1(size: int = 3, *payloads: bytes) -> Cluster:
    """Everybody has the payloads."""
    cluster = Cluster(size)
    cluster.elect(1)
    cluster[1].propose(*payloads)
    cluster.run()
    return cluster


# What a learner does not do


def test_row_36_learner_gives_no_vote_and_confirms_nothing() -> None:
    cluster = led_by_1()
    learner = lost_and_back(cluster, 3)
    term = cluster[1].group.term
    cluster[1].group.advance()
    asked: list[Message] = [
        [messages.PREVOTE, 0, term + 5, 99, term + 4, 1],
        [messages.VOTE, 0, term + 5, 99, term + 4, 0],
        [messages.PROBE, 0, term, 1],
    ]
    for message in asked:
        learner.group.step(2, message)
        learner.turn()
    assert learner.group.term == 0, "not even the term of a candidate"
    assert learner.log.hard_state.voted_for == 0
    for kind in (messages.PREVOTE_REPLY, messages.VOTE_REPLY, messages.PROBE_REPLY):
        assert cluster.counts[3, 2, kind] == 0


def test_learner_does_not_take_over() -> None:
    cluster = led_by_1()
    learner = lost_and_back(cluster, 3)
    cluster.run((1, 3), rounds=3, ticking=())
    cluster[1].turn()
    cluster.deliver(1, 3)
    assert learner.group.leader == 1
    learner.group.step(1, [messages.TIMEOUT_NOW, 0, learner.group.term])
    assert learner.group.role is Role.FOLLOWER
    assert not learner.group.has_learned


def test_learner_never_campaigns_however_long_it_is_alone() -> None:
    cluster = led_by_1()
    learner = lost_and_back(cluster, 3)
    cluster.disconnect(1, 3)
    before = cluster.counts.copy()
    cluster.run((3,), rounds=500)
    cluster.disconnect(2, 3)
    cluster.run((3,), rounds=500)
    assert learner.group.role is Role.FOLLOWER
    assert learner.group.term == 0
    sent = {kind for (sender, _, kind), _ in (cluster.counts - before).items() if sender == 3}
    assert messages.LEARN in sent
    assert not sent & {messages.PREVOTE, messages.VOTE}


# What others make of its replies


def test_learners_progress_commits_nothing_but_moves_the_window() -> None:
    cluster = Cluster(
        config=lambda n, ids: GroupConfig(0, n, ids, message_bytes=80, window_bytes=200)
    )
    leader = cluster.elect(1)
    cluster.run()
    learner = lost_and_back(cluster, 3, among=(1,))
    cluster.isolate(2)
    committed = leader.group.commit_index
    leader.propose(*numbered(50, "some payload "))
    cluster.run((1, 3), ticking=[3])
    assert learner.log.last_index == leader.log.last_index, "far more than one window"
    assert leader.group.commit_index == committed
    assert leader.acknowledged_by(3) == 0
    assert leader.applied == []
    cluster.connect(1, 2)
    cluster.run((1, 2), ticking=())
    assert len(leader.applied) == 50


def test_read_is_not_confirmed_by_a_learner() -> None:
    cluster = led_by_1()
    lost_and_back(cluster, 3)
    cluster.isolate(2)
    cluster[1].group.read(1)
    cluster.run((1, 3), rounds=5, ticking=())
    assert cluster.counts[1, 3, messages.PROBE] == 1
    assert cluster[1].confirmed == []
    cluster.connect(1, 2)
    cluster.run((1, 2), ticking=[1])
    assert len(cluster[1].confirmed) == 1


def test_leadership_is_not_handed_to_a_learner() -> None:
    """It has the whole log; the leader waits for an acknowledgement that does not come."""
    cluster = led_by_1(3, b"value")
    lost_and_back(cluster, 3, among=(1,))
    cluster.run((1, 3), ticking=())
    assert cluster[1].group.transfer_leadership(3)
    cluster.run((1, 3), rounds=10, ticking=())
    assert cluster.counts[1, 3, messages.TIMEOUT_NOW] == 0
    assert cluster.leaders == [1]


def test_leader_with_only_a_learner_steps_down() -> None:
    cluster = led_by_1()
    lost_and_back(cluster, 3)
    cluster.isolate(2)
    cluster.run((1, 3), rounds=200)
    assert cluster.leaders == []


# How learning ends


def test_leader_from_before_the_arrival_hands_over_and_the_next_one_teaches() -> None:
    cluster = led_by_1(3, b"a", b"b")
    old_term = cluster[1].group.term
    learner = lost_and_back(cluster, 3)
    cluster.run(rounds=100)
    assert learner.group.learner is None
    assert cluster.leaders == [2]
    assert cluster[2].group.term == old_term + 1, "one hand-over is enough"
    assert learner.payloads() == [b"a", b"b"]
    cluster.isolate(1)
    cluster[2].propose(b"c")
    cluster.run((2, 3))
    assert cluster[2].applied[-1] == b"c", "it counts again"
    cluster.isolate(2)
    cluster.connect(1, 3)
    cluster.run((1, 3), rounds=200)
    assert cluster[3].group.is_leader, "and is elected: it alone of the two has everything"
    assert cluster[3].applied[-1] == b"c"


def test_lost_leader_is_repaired_as_well() -> None:
    cluster = led_by_1(3, b"a")
    cluster[1].crash()
    cluster.run((2, 3), rounds=100)
    assert cluster.leaders
    learner = lost_and_back(cluster, 1)
    cluster.run(rounds=100)
    assert learner.group.learner is None
    assert learner.payloads() == [b"a"]


def test_target_comes_only_from_a_leader_of_a_later_term_than_the_first_news() -> None:
    cluster = led_by_1(3)
    lost_and_back(cluster, 3)
    for node in (1, 2):
        cluster[node].group.step(3, [messages.LEARN, 0, ARRIVAL])
        cluster[node].turn()
        assert cluster.counts[node, 3, messages.LEARN_TARGET] == 0
    cluster.elect(2, among=(1, 2))
    cluster.run((1, 2, 3), ticking=())
    cluster[2].group.step(3, [messages.LEARN, 0, ARRIVAL])
    cluster[2].turn()
    (target,) = cluster.sent(2, 3, messages.LEARN_TARGET)
    assert target[2:] == [cluster[2].group.term, ARRIVAL, cluster[2].log.last_index]
    cluster[2].group.step(3, [messages.LEARN, 0, ARRIVAL + 1])
    cluster[2].turn()
    assert len(cluster.sent(2, 3, messages.LEARN_TARGET)) == 1, "started again: that is news"


def test_follower_gives_no_target() -> None:
    cluster = led_by_1(3)
    learner = lost_and_back(cluster, 3)
    cluster.run((1, 3), rounds=3, ticking=())
    term = learner.group.term
    learner.group.step(2, [messages.LEARN_TARGET, 0, term, ARRIVAL, 1])
    known = learner.group.learner
    assert known is not None
    assert known.target is None, "it does not lead"
    learner.group.step(1, [messages.LEARN_TARGET, 0, term - 1, ARRIVAL, 1])
    learner.group.step(1, [messages.LEARN_TARGET, 0, term, ARRIVAL + 1, 1])
    assert known.target is None, "an old term, or another start"
    learner.group.step(1, [messages.LEARN_TARGET, 0, term, ARRIVAL, 1])
    assert known.target == Target(term, 1)
    learner.group.step(1, [messages.LEARN_TARGET, 0, term, ARRIVAL, 0])
    assert known.target == Target(term, 1), "the first one stands"


def test_done_when_verified_and_durable_up_to_the_target() -> None:
    learner = Learner(ARRIVAL)
    assert not learner.is_done((4, 9), 9)
    learner.target = Target(4, 9)
    assert not learner.is_done((4, 8), 9)
    assert not learner.is_done((4, 9), 8)
    assert not learner.is_done((3, 9), 9)
    assert not learner.is_done((5, 9), 9), "verified against another leader"
    assert learner.is_done((4, 9), 9)


def test_what_a_learner_has_not_synced_is_not_learnt() -> None:
    cluster = led_by_1(3, b"a")
    learner = lost_and_back(cluster, 3)
    cluster.run((1, 3), ticking=())
    target = learner.log.last_index + 1
    learner.group.step(1, [messages.LEARN_TARGET, 0, learner.group.term, ARRIVAL, target])
    cluster[1].propose(b"b")
    cluster[1].turn()
    cluster.deliver(1, 3)
    learner.turn_without_sync()
    assert learner.log.last_index == target
    assert learner.group.learner is not None
    learner.turn()
    assert learner.group.learner is None


def test_another_term_voids_the_target() -> None:
    cluster = led_by_1(3)
    learner = lost_and_back(cluster, 3)
    cluster.run((1, 3), rounds=3, ticking=())
    known = learner.group.learner
    assert known is not None
    term = learner.group.term
    learner.group.step(1, [messages.LEARN_TARGET, 0, term, ARRIVAL, 99])
    assert known.target == Target(term, 99)
    learner.group.step(2, [messages.TERM, 0, term + 1])
    cluster.clock.now += 1.0
    learner.tick()
    assert known.target is None
    learner.turn()
    assert cluster.counts[3, 2, messages.LEARN] == 1, "it asks again"


def test_end_of_learning_leaves_no_vote_to_give_in_this_term() -> None:
    """It may have voted in this term before it lost its disk."""
    cluster = led_by_1(3, b"a")
    learner = lost_and_back(cluster, 3)
    cluster.run(rounds=100)
    assert learner.group.learner is None
    assert learner.log.hard_state.voted_for == cluster.leaders[0]
    term, end = learner.group.term, learner.log.last_index
    before = cluster.counts[3, 1, messages.VOTE_REPLY]
    learner.group.step(1, [messages.VOTE, 0, term, end + 5, term, 0])
    learner.turn()
    assert cluster.counts[3, 1, messages.VOTE_REPLY] == before


def test_restart_in_the_middle_begins_with_a_new_arrival_and_keeps_the_log() -> None:
    cluster = led_by_1(3, *numbered(5))
    learner = lost_and_back(cluster, 3)
    cluster.run((1, 3), ticking=())
    assert learner.payloads() == numbered(5)
    learner.crash()
    learner.learner = Learner(ARRIVAL + 1)
    learner.start()
    assert learner.payloads() == numbered(5)
    assert not learner.group.has_learned, "durable, but nobody vouches for it"
    cluster.settle()
    assert learner.group.learner is None


def test_snapshot_does_not_begin_learning_anew() -> None:
    cluster = led_by_1(3, *numbered(5))
    for node in (1, 2):
        cluster[node].log.compact(4)
    learner = lost_and_back(cluster, 3)
    cluster.run(rounds=100)
    (leader,) = cluster.leaders
    assert cluster[leader].group.needing_snapshot == [3]
    term = cluster[leader].group.term
    assert learner.group.learner is not None
    assert learner.group.learner.target is not None
    base = cluster[leader].log
    learner.install(base.base_index, base.base_term)
    cluster.run(rounds=100)
    assert learner.group.learner is None
    assert cluster[leader].group.term == term, "no second hand-over"
    assert learner.payloads() == numbered(5)[2:]


# Rather unavailable than wrong


@pytest.mark.parametrize("leader_is_left", [True, False])
def test_with_a_further_replica_down_nothing_is_committed_and_nobody_elected(
    leader_is_left: bool,
) -> None:
    cluster = led_by_1(3, b"acknowledged")
    left, down = (1, 2) if leader_is_left else (2, 1)
    cluster[down].crash()
    learner = lost_and_back(cluster, 3, among=(left,))
    committed = cluster[left].group.commit_index
    if leader_is_left:
        cluster[1].propose(b"not to be acknowledged")
    cluster.run((left, 3), rounds=500)
    assert cluster.leaders == []
    assert learner.group.learner is not None
    assert cluster[left].group.commit_index == committed
    assert cluster[left].applied == [b"acknowledged"]
    cluster.settle()
    assert learner.group.learner is None


def test_replica_that_lacks_what_the_lost_one_had_acknowledged_is_not_made_leader() -> None:
    """Entry on 1 and 3; 3 loses its disk, 1 is away: 2 and the new 3 must not go on without it."""
    cluster = led_by_1(3)
    cluster.isolate(2)
    cluster[1].propose(b"acknowledged")
    cluster.run((1, 3))
    assert cluster[1].applied == [b"acknowledged"]
    cluster.isolate(1)
    lost_and_back(cluster, 3, among=(2,))
    cluster.run((2, 3), rounds=500)
    assert cluster.leaders in ([], [1]), "1 may still believe to lead"
    assert b"acknowledged" not in cluster[2].payloads()
    cluster.settle()
    assert cluster[3].payloads() == [b"acknowledged"]


def test_leader_from_before_the_loss_does_not_go_on_with_the_new_replica() -> None:
    """3 had helped another leader to commit: the old one must not count on what 3 has become."""
    cluster = Cluster(config=lambda n, ids: replace(default_config(n, ids), leader_fallback_s=99))
    cluster.elect(2)
    cluster.run()
    cluster.isolate(2)
    cluster.elect(1, among=(1, 3))
    cluster[1].propose(b"acknowledged")
    cluster.run((1, 3))
    assert cluster[1].applied == [b"acknowledged"]
    cluster.isolate(1)
    lost_and_back(cluster, 3, among=(2,))
    assert cluster[2].group.is_leader, "as far as it knows"
    cluster[2].propose(b"instead")
    cluster.run((2, 3), rounds=200)
    assert cluster[2].applied == []
    assert cluster[2].group.commit_index < cluster[1].group.commit_index
    cluster.settle()
    for member in cluster.members.values():
        assert member.payloads() == [b"acknowledged"]


def test_vote_given_before_the_loss_elects_nobody_against_what_is_acknowledged_after() -> None:
    """Five replicas. 5 collects votes in a later term, and has one of the lost 1; 3 votes late.

    If 1 counted for the new leader already, what 2, 4 and 1 acknowledge would be undone by 5, 1
    (from before) and 3.
    """
    cluster = Cluster(
        5, config=lambda n, ids: replace(default_config(n, ids), leader_fallback_s=99)
    )
    cluster.elect(2)
    cluster.run()
    late_vote_request = _campaign_twice_heard_by_1_alone(cluster)
    learner = lost_and_back(cluster, 1, among=(2, 3, 4))
    cluster.run((1, 2, 3, 4), rounds=1)
    for _ in range(100):
        cluster.run((1, 2, 3, 4), rounds=1)
        if cluster[4].group.is_leader or cluster[3].group.is_leader:
            break
    (leader,) = set(cluster.leaders) & {3, 4}
    assert cluster[leader].group.term < cluster[5].group.term
    # The follower that votes late has voted for this leader, and hears nothing from it.
    voter = 7 - leader
    cluster.isolate(voter)
    cluster[leader].propose(b"value")
    cluster.run((1, 2, leader), rounds=60)
    assert learner.log.last_index == cluster[leader].log.last_index
    acknowledged = cluster[leader].applied == [b"value"]

    cluster.connect(min(voter, 5), max(voter, 5))
    cluster[voter].group.step(5, late_vote_request)
    cluster.run((voter, 5), rounds=5, ticking=())
    cluster.settle()
    assert learner.group.learner is None
    assert not acknowledged or b"value" in cluster[5].payloads()


def _campaign_twice_heard_by_1_alone(cluster: Cluster) -> Message:
    """5 is granted pre-votes; of its vote requests only the one to 1 in the second term arrives.

    Returns that request: it is still on its way to the others.
    """
    candidate = cluster[5]
    for other in (2, 3, 4):
        cluster.disconnect(other, 5)
    _campaign_heard_by_nobody(cluster)
    request = _campaign_heard_by_nobody(cluster)
    cluster[1].group.step(5, request)
    cluster[1].turn()
    cluster.deliver(1, 5)
    assert candidate.group.role is Role.CANDIDATE
    return request


def _campaign_heard_by_nobody(cluster: Cluster) -> Message:
    candidate = cluster[5]
    while not cluster.sent(5, 1, messages.PREVOTE):
        cluster.clock.now += 0.02
        candidate.tick()
        candidate.turn()
    round_number = cluster.sent(5, 1, messages.PREVOTE)[-1][5]
    term = candidate.group.term
    for voter in (3, 4):
        grant: Message = [messages.PREVOTE_REPLY, 0, term, round_number, True]
        candidate.group.step(voter, grant)
    candidate.turn()
    (request,) = cluster.sent(5, 1, messages.VOTE)
    cluster.links[5, 1].clear()
    return request
