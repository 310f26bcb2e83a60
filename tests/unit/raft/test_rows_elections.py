"""Holes of the library's elections, rows 14 to 16, 26, 32 and 35: each first shown on the bare
library, then closed here. The numbers are those of the table in `cluster/raft/DESIGN.md`."""

import pytest

from cluster.raft import messages
from cluster.raft.types import GroupConfig, InvariantBrokenError, NodeId
from cluster.storage.memory_files import Crash
from tests.unit.raft.bare import BareNet
from tests.unit.raft.kit import Cluster, Member, Message


def campaign(cluster: Cluster, node: int) -> Member:
    """Brings `node` to the point where its vote requests have left."""
    member = cluster[node]
    cluster.clock.now += 2
    member.tick()
    member.turn()
    for peer in cluster.ids:
        if peer != node:
            cluster.deliver(node, peer)
            cluster[peer].turn()
            cluster.deliver(peer, node)
    member.turn()
    return member


# --- row 14: votes are counted by messages, not by voters ---


def test_bare_library_row_14_repeated_vote_makes_a_leader_with_two_of_five() -> None:
    net = BareNet(range(1, 6))
    net[1].campaign_at_next_tick()
    net.tick(1)
    net.deliver(1, 2)
    vote = net.links[2, 1].popleft()
    net.receive(1, 2, vote)
    net.receive(1, 2, vote)
    assert net[1].is_leader


def test_row_14_repeated_vote_counts_once() -> None:
    cluster = Cluster(5)
    candidate = campaign(cluster, 1)
    cluster.deliver(1, 2)
    cluster[2].turn()
    (vote,) = cluster.sent(2, 1, messages.VOTE_REPLY)
    for _ in range(4):
        candidate.group.step(2, list(vote))
    assert not candidate.group.is_leader
    cluster.deliver(1, 3)
    cluster[3].turn()
    cluster.deliver(3, 1)
    assert candidate.group.is_leader, "with the third vote"


def test_row_14_vote_of_an_earlier_term_does_not_count() -> None:
    cluster = Cluster(5)
    candidate = campaign(cluster, 1)
    first = candidate.group.term
    campaign(cluster, 1)
    assert candidate.group.term == first + 1
    for voter in (2, 3, 4):
        candidate.group.step(voter, [messages.VOTE_REPLY, 0, first])
    assert not candidate.group.is_leader


# --- row 15: term and vote are forgotten at a restart ---


def test_bare_library_row_15_restarted_voter_elects_a_second_leader_of_the_term() -> None:
    net = BareNet((1, 2, 3))
    net.disconnect(1, 2)
    net.elect(1, (1, 3))
    net.isolate(3)
    net.add(3, (1, 2, 3))
    net.connect(2, 3)
    net.elect(2, (2, 3))
    assert net[1].is_leader
    assert net[2].is_leader
    assert net[1].raftCurrentTerm == net[2].raftCurrentTerm


@pytest.mark.parametrize("mode", list(Crash))
def test_row_15_restarted_voter_keeps_its_vote(mode: Crash) -> None:
    cluster = Cluster()
    candidate = campaign(cluster, 1)
    term = candidate.group.term
    cluster.deliver(1, 3)
    voter = cluster[3]
    voter.turn()
    assert cluster.sent(3, 1, messages.VOTE_REPLY), "the vote has left"
    voter.crash(mode)
    voter.start()
    cluster.connect(2, 3)
    voter.group.step(2, [messages.VOTE, 0, term, 10, term, 0])
    voter.turn()
    assert voter.group.term == term
    assert not cluster.sent(3, 2, messages.VOTE_REPLY)


# --- row 16: what the library does right ---


def test_row_16_candidate_with_a_shorter_log_gets_no_vote() -> None:
    cluster = Cluster()
    cluster.elect(1).propose(b"value")
    cluster.run()
    voter = cluster[2]
    end, term = voter.log.last_index, voter.group.term
    for last_index, last_term in ((end - 1, term), (end + 5, term - 1)):
        voter.group.step(3, [messages.VOTE, 0, voter.group.term + 1, last_index, last_term, 0])
        voter.turn()
        assert not cluster.sent(2, 3, messages.VOTE_REPLY)
    voter.group.step(3, [messages.VOTE, 0, voter.group.term + 1, end, term, 0])
    voter.turn()
    assert cluster.sent(2, 3, messages.VOTE_REPLY)


def test_row_16_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    def one_entry_a_message(node: NodeId, replicas: tuple[NodeId, ...]) -> GroupConfig:
        return GroupConfig(0, node, replicas, message_bytes=1)

    cluster = Cluster(5, config=one_entry_a_message)
    first = cluster.elect(1)
    cluster.run()
    for other in (3, 4, 5):
        cluster.disconnect(1, other)
    (position,) = first.propose(b"old term")
    cluster.run((1, 2), rounds=2)
    first.crash()
    second = cluster[2]
    cluster.clock.now += 2
    while not second.group.is_leader:
        cluster.run((2, 3, 4, 5), rounds=1, ticking=[2])
    second.turn()
    for peer in (3, 4, 5):
        _exchange(cluster, 2, peer)  # a reset: the old entry is missing there
        cluster.deliver(2, peer, 1)  # it arrives; the new term's first entry does not yet
        cluster.links[2, peer].clear()
        cluster[peer].turn()
        cluster.deliver(peer, 2)
        assert second.acknowledged_by(peer) == position.index
    second.turn()
    assert second.group.commit_index < position.index
    cluster.run((2, 3, 4, 5))
    assert second.applied == [b"old term"], "committed together with the term's first entry"


def _exchange(cluster: Cluster, leader: NodeId, follower: NodeId) -> None:
    cluster.deliver(leader, follower)
    cluster[follower].turn()
    cluster.deliver(follower, leader)
    cluster[leader].turn()


def test_row_16_one_vote_per_term() -> None:
    cluster = Cluster()
    voter = cluster[3]
    for candidate in (1, 2):
        voter.group.step(candidate, [messages.VOTE, 0, 9, 5, 5, 0])
    voter.turn()
    assert len(cluster.sent(3, 1, messages.VOTE_REPLY)) == 1
    assert cluster.sent(3, 2, messages.VOTE_REPLY) == []


def test_two_leaders_of_one_term_stop_the_replica() -> None:
    cluster = Cluster()
    cluster.elect(1)
    follower = cluster[2]
    append: Message = [messages.APPEND, 0, follower.group.term, 1, 0, 1, 0, []]
    with pytest.raises(InvariantBrokenError, match="nodes 1 and 3 both lead term"):
        follower.group.step(3, append)


# --- row 26: terms are burnt by those who cannot hear ---


def test_bare_library_row_26_deaf_follower_deposes_leaders() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    term = net[1].raftCurrentTerm
    net.cut |= {(1, 3), (2, 3)}
    net[3].campaign_at_next_tick()
    for _ in range(600):
        for node in (1, 2, 3):
            net.tick(node, after_s=0.1 / 3)
        for a in (1, 2, 3):
            for b in (1, 2, 3):
                net.deliver(a, b)
    assert max(net[node].raftCurrentTerm for node in (1, 2)) > term + 20


@pytest.mark.parametrize("cut", [((1, 3), (2, 3)), ((3, 1), (3, 2)), ((1, 3),), ((3, 1),)])
def test_row_26_one_way_loss_burns_no_terms(cut: tuple[tuple[int, int], ...]) -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    term = leader.group.term
    cluster.cut |= set(cut)
    without_leader = 0
    for _ in range(1_200):
        cluster.run(rounds=1, step_s=0.05)
        without_leader += not cluster.leaders
    assert max(member.group.term for member in cluster.members.values()) <= term + 1
    assert without_leader == 0


def test_row_26_deposed_leader_waits_a_whole_timeout() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.clock.now += 100
    leader.group.step(2, [messages.TERM, 0, leader.group.term + 1])
    leader.tick()
    leader.turn()
    assert not leader.group.is_leader
    assert cluster.sent(1, 2, messages.PREVOTE) == []
    cluster.clock.now += leader.config.election_max_s
    leader.tick()
    leader.turn()
    assert len(cluster.sent(1, 2, messages.PREVOTE)) == 1


# --- row 32: a leader of an old term is never told ---


def test_bare_library_row_32_old_leader_hears_nothing() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    net.isolate(1)
    net.elect(2, (2, 3))
    net.run((2, 3))
    net.connect(1, 3)
    net.links[3, 1].clear()
    net.tick(1, after_s=0.2)
    net.deliver(1, 3)
    net.tick(3)
    assert not net.links[3, 1]
    assert net[1].is_leader


def test_row_32_old_leader_is_told_and_steps_down() -> None:
    cluster = Cluster()
    old = cluster.elect(1)
    cluster.run()
    cluster.isolate(1)
    cluster.elect(2, (2, 3))
    cluster.connect(1, 3)
    assert old.group.is_leader
    for _ in range(2):
        cluster.run((1, 3), rounds=1, ticking=[])
    assert not old.group.is_leader
    assert old.group.term == cluster[2].group.term


def test_row_32_late_candidate_is_told() -> None:
    cluster = Cluster()
    cluster.elect(1)
    voter = cluster[2]
    voter.group.step(3, [messages.VOTE, 0, 0, 1, 0, 0])
    voter.turn()
    assert cluster.sent(2, 3, messages.TERM) == [[messages.TERM, 0, voter.group.term]]


# --- row 35: the candidate's own vote leaves before it is durable ---


def test_bare_library_row_35_candidate_votes_twice_after_a_power_cut() -> None:
    net = BareNet((1, 2, 3))
    net.disconnect(1, 3)
    net[1].campaign_at_next_tick()
    net.tick(1)
    assert net.links[1, 2], "the request has left in the tick of the vote, before any sync"
    net.deliver(1, 2)
    net.deliver(2, 1)
    assert net[1].is_leader
    first = net[1]
    net.isolate(1)
    net.add(1, (1, 2, 3))  # the power cut took what no sync had covered
    net.connect(1, 3)
    net.elect(3, (1, 3))
    assert net[3].raftCurrentTerm == first.raftCurrentTerm, "a second leader of that term"


def test_row_35_vote_request_waits_for_the_candidates_own_vote() -> None:
    cluster = Cluster()
    candidate = cluster[1]
    cluster.clock.now += 2
    candidate.tick()
    candidate.turn_without_sync()
    cluster.deliver(1, 2)
    cluster[2].turn()
    cluster.deliver(2, 1)  # the pre-vote is granted: it campaigns
    candidate.turn_without_sync()
    term = candidate.group.term
    assert candidate.log.hard_state[:2] == (term, 1)
    assert cluster.sent(1, 2, messages.VOTE) == []
    candidate.sync()
    candidate.after_sync()
    assert len(cluster.sent(1, 2, messages.VOTE)) == 1
    candidate.crash(Crash.SYNCED)
    candidate.start()
    cluster.connect(1, 3)
    candidate.group.step(3, [messages.VOTE, 0, term, 9, 9, 0])
    candidate.turn()
    assert cluster.sent(1, 3, messages.VOTE_REPLY) == [], "it has voted in that term"
