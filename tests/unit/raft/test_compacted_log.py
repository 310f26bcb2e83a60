"""Groups whose logs have let go of their beginning: what is sent, and what the core sees."""

import pytest

from cluster.raft import messages
from cluster.raft.journal import CoreJournal
from cluster.raft.types import InvariantBrokenError
from cluster.storage.group_log import GroupLog
from cluster.storage.memory_files import MemoryStorage
from cluster.storage.wal import Wal
from tests.unit.raft.kit import WAL, Cluster, Message, numbered


def far_behind(base: int = 8) -> Cluster:
    """1 leads and 2 follows; both have let go of what 3, which was away, needs next."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.isolate(3)
    cluster[1].propose(*numbered(10))
    cluster.run((1, 2))
    for node in (1, 2):
        cluster[node].log.compact(base)
        cluster[node].sync()
    cluster.connect(1, 3)
    cluster.connect(2, 3)
    return cluster


# What a leader sends


def test_follower_below_the_base_needs_a_snapshot_and_hears_its_leader_meanwhile() -> None:
    cluster = far_behind()
    cluster.run()
    before = cluster.counts.copy()
    cluster.run(rounds=200)
    assert cluster.leaders == [1]
    assert cluster[1].group.needing_snapshot == [3]
    sent = cluster.counts - before
    assert sent[3, 1, messages.PREVOTE] == 0, "heartbeats go on"
    appended = sent[1, 3, messages.APPEND]
    assert appended < 2 * 200 * 0.02 / cluster[1].config.heartbeat_s, "and no more than those"
    assert cluster[3].log.last_index == 2
    cluster[1].propose(b"goes on")
    cluster.run()
    assert cluster[1].applied[-1] == b"goes on"


def test_entries_resume_after_the_snapshot() -> None:
    cluster = far_behind(base=8)
    cluster.run()
    cluster[3].install(8, cluster[1].log.base_term)
    cluster.run(rounds=50)
    assert cluster[1].group.needing_snapshot == []
    assert cluster[3].payloads() == numbered(10)[6:]
    assert cluster[1].acknowledged_by(3) == cluster[1].log.last_index
    cluster.isolate(2)
    cluster[1].propose(b"needs 3")
    cluster.run((1, 3))
    assert cluster[1].applied[-1] == b"needs 3"


def test_snapshot_may_be_newer_than_the_leaders_base() -> None:
    """The log keeps some of what the snapshot holds, for those that were away for a short time."""
    cluster = far_behind(base=5)
    cluster.run()
    term = cluster[1].log.term_at(9)
    assert term is not None
    cluster[3].install(9, term)
    cluster.run(rounds=50)
    assert cluster[1].group.needing_snapshot == []
    assert cluster[3].log.first_index == 10
    assert cluster[3].payloads() == numbered(10)[7:]


def test_snapshot_older_than_the_leaders_base_does_not_help() -> None:
    cluster = far_behind(base=8)
    cluster.run()
    term = cluster[2].log.base_term
    cluster[3].install(6, term)
    cluster.run(rounds=50)
    assert cluster[1].group.needing_snapshot == [3]


@pytest.mark.parametrize(("next_index", "needs"), [(8, True), (9, False)])
def test_reset_at_the_edge_of_the_log(next_index: int, needs: bool) -> None:
    cluster = far_behind(base=8)
    leader = cluster[1]
    leader.turn()
    sequence = cluster.sent(1, 3, messages.APPEND)[-1][3]
    reset = [messages.APPEND_REPLY, 0, leader.group.term, sequence, next_index, True, False, 0]
    leader.group.step(3, reset)
    cluster.links[1, 3].clear()
    leader.turn()
    assert (leader.group.needing_snapshot == [3]) is needs
    sent = [message for message in cluster.sent(1, 3, messages.APPEND) if message[7]]
    assert bool(sent) is not needs
    if sent:
        assert sent[0][5:7] == [8, leader.log.base_term], "the base stands for all before it"


def test_compaction_beyond_what_a_follower_is_sent_next_turns_to_a_snapshot() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.run()
    cluster.cut.add((3, 1))
    leader = cluster[1]
    leader.propose(*numbered(10))
    cluster.run((1, 2))
    cluster.disconnect(1, 3)
    cluster.connect(1, 3)  # From what it acknowledged last.
    leader.log.compact(leader.log.last_index - 1)
    cluster.run((1, 2), rounds=5)
    assert leader.group.needing_snapshot == [3]


def test_new_leader_finds_out_again_who_needs_a_snapshot() -> None:
    cluster = far_behind()
    cluster.run()
    cluster.elect(2)
    assert cluster[1].group.needing_snapshot == [], "it does not lead any more"
    cluster.run(ticking=[2])
    assert cluster[2].group.needing_snapshot == [3]
    cluster.isolate(3)
    assert cluster[2].group.needing_snapshot == [], "nobody to send to"


def test_replica_without_a_log_before_its_base_is_elected_and_leads() -> None:
    cluster = far_behind(base=12)
    cluster.isolate(3)
    for node in (1, 2):
        assert cluster[node].log.first_index == 13
        assert cluster[node].log.last_index == 12, "the whole log is in the snapshot"
        cluster[node].crash()
        cluster[node].start()
    cluster.connect(1, 2)
    cluster.elect(2, among=(1, 2))
    cluster[2].propose(b"after")
    cluster.run((1, 2))
    assert cluster[1].applied == cluster[2].applied == [b"after"]


def test_log_of_an_old_leader_that_differs_after_the_base_is_cut() -> None:
    cluster = Cluster()
    old = cluster.elect(1)
    old.propose(*numbered(5))
    cluster.run()
    cluster.isolate(1)
    old.propose(*numbered(3, "never "))
    old.turn()
    cluster.elect(2, among=(2, 3))
    cluster[2].propose(b"instead")
    cluster.run((2, 3))
    for node in (1, 2, 3):
        cluster[node].log.compact(7)
    cluster.settle()
    assert cluster[1].payloads() == [b"instead"]


def test_late_append_from_before_the_base_changes_nothing() -> None:
    cluster = far_behind(base=8)
    follower = cluster[2]
    term, last = cluster[1].group.term, follower.log.last_index
    late: Message = [messages.APPEND, 0, term, 1, 2, 2, 1, [1, b"\x00" + b"w0"]]
    follower.group.step(1, late)
    follower.turn()
    assert follower.log.last_index == last
    assert follower.group.commit_index == last
    cluster[1].propose(b"more")
    cluster.run((1, 2))
    assert follower.applied[-1] == b"more"


# What the core sees


def log_with_base(
    base: int, last: int, *, base_term: int = 3, term: int = 4
) -> tuple[Wal, GroupLog]:
    wal = Wal.open(MemoryStorage(), WAL)
    log = wal.group(0)
    log.reset(base, base_term)
    for index in range(base + 1, last + 1):
        log.append(index, term, b"\x00data")
    ticket = wal.seal()
    assert ticket is not None
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    return wal, log


def test_core_sees_the_base_as_its_first_entry() -> None:
    _, log = log_with_base(10, 13)
    journal = CoreJournal(log, 10)
    assert len(journal) == 4
    assert [journal[n][1:] for n in range(4)] == [(10, 3), (11, 4), (12, 4), (13, 4)]
    assert journal[-1][1:] == (13, 4)
    with pytest.raises(IndexError):
        journal[4]
    assert journal.light_entries(10, None) == [(b"", 10, 3), (b"", 11, 4)]
    assert journal.light_entries(9, None) == [], "nothing is known of it"
    assert journal.light_entries(13, None) == [(b"", 13, 4)]


def test_core_sees_an_empty_log_after_a_base() -> None:
    _, log = log_with_base(10, 10)
    journal = CoreJournal(log, 10)
    assert len(journal) == 1
    assert journal[-1][1:] == journal[0][1:] == (10, 3)
    assert journal.getRaftCommitIndex() == 10
    journal.add(b"\x00next", 11, 5)
    assert journal[-1][1:] == (11, 5)


def test_truncation_hides_down_to_the_base_and_shows_again() -> None:
    _, log = log_with_base(10, 13)
    journal = CoreJournal(log, 10)
    journal.deleteEntriesFrom(1)
    assert journal[-1][1] == 10
    journal.add(b"\x00data", 11, 4)
    assert journal[-1][1] == 11
    journal.end_message()
    assert journal[-1][1] == 13
    journal.deleteEntriesFrom(2)
    journal.add(b"\x00other", 12, 5)
    journal.end_message()
    assert journal[-1][1:] == (12, 5)
    assert log.last_index == 12


def test_compaction_between_two_messages_moves_the_cores_first_entry() -> None:
    _, log = log_with_base(10, 13)
    journal = CoreJournal(log, 13)
    log.compact(12)
    assert [journal[n][1] for n in range(len(journal))] == [12, 13]
    journal.deleteEntriesFrom(1)
    assert journal[-1][1] == 12


@pytest.mark.parametrize(
    ("applied", "complaint"),
    [(9, "goes on after 10: the snapshot between them is missing.*--repair"), (14, "ends at 13")],
)
def test_state_that_does_not_fit_the_log_is_refused(applied: int, complaint: str) -> None:
    _, log = log_with_base(10, 13)
    with pytest.raises(InvariantBrokenError, match=complaint):
        CoreJournal(log, applied)
