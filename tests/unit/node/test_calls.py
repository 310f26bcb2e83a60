"""A call is answered once, with the truth about whether it ran."""

import pytest

from cluster.config import Limits
from cluster.state.commands import BELOW_FLOOR, PUT, SESSION_UNKNOWN
from flo.wire.messages import CallContext
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.kit import (
    PAST_DEADLINE_S,
    PUT_ARGS,
    TIMEOUT_MS,
    Calls,
    Said,
    empty_tables,
    refused,
    session,
)

RESULT, NOT_LEADER, UNKNOWN = 0, 1, 2


def test_a_write_at_the_leader_carries_the_clients_triple() -> None:
    calls = Calls()
    calls.lead(1)
    said = calls.write(context=CallContext(5, 9, 4))
    (asked,) = calls.partition.take()
    assert asked.content == (0x100, 5, 9, 4, *PUT_ARGS)
    assert calls.partition.sizes == [len(b"ns") + len(b"key") + len(b"value")]
    assert calls.turns
    asked.waiter.on_result((0, 12))
    assert said.outcome == (0, 12)
    empty_tables(calls)


def test_a_floor_that_is_not_given_is_the_sequence() -> None:
    calls = Calls()
    calls.lead(1)
    calls.write(context=CallContext(5, 9))
    assert calls.partition.take()[0].content[1:4] == (5, 9, 9)


def test_a_session_of_zero_is_none_so_the_node_gives_its_own() -> None:
    """Session 0 is not deduplicated: a second try of such a command would run twice."""
    calls = Calls()
    calls.lead(1)
    calls.write(context=CallContext(0, 3, 1))
    calls.opened(77)
    assert calls.partition.take()[0].content[1:3] == (77, 1)


def test_a_call_without_a_leader_waits_for_one() -> None:
    calls = Calls()
    said = calls.write(context=session(1))
    assert not calls.partition.writes
    calls.lead(1)
    calls.partition.take()[0].waiter.on_result((0, 1))
    assert said.outcome == (0, 1)
    empty_tables(calls)


def test_a_call_goes_to_the_leader_it_is_sent_to() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.write(context=session(1))
    (to, message) = calls.network.take()[0]
    assert to == 2
    calls.reply(2, message[2], NOT_LEADER, 3)
    (to, again) = calls.network.take()[0]
    assert to == 3
    assert again[5] == message[5]
    assert again[6] == message[6]
    calls.reply(3, again[2], RESULT, [0, 7])
    assert said.outcome == (0, 7)
    empty_tables(calls)


def test_nodes_that_send_a_call_to_each_other_are_not_believed_for_long() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.write(context=session(1))
    for _ in range(10):
        sent = calls.network.take()
        if not sent:
            break
        ((to, message),) = sent
        calls.reply(to, message[2], NOT_LEADER, 5 - to)
    else:
        pytest.fail("the call went to and fro without a pause")
    calls.tick()
    assert len(calls.network.take()) == 1
    calls.tick(PAST_DEADLINE_S)
    assert refused(said) == (Reason.ANSWER_LOST, Ran.UNKNOWN)


def test_a_call_that_went_nowhere_did_not_run() -> None:
    calls = Calls()
    calls.network.peers.clear()
    said = calls.write(context=session(1))
    calls.tick(PAST_DEADLINE_S)
    assert refused(said) == (Reason.LEADER_UNKNOWN, Ran.NO)
    assert isinstance(said.outcome, Refusal)
    assert "nodes 2 and 3 are unreachable, 2 of 3 are needed" in said.outcome.message
    empty_tables(calls)


def test_a_call_that_was_refused_everywhere_did_not_run() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.write(context=session(1))
    ((_, message),) = calls.network.take()
    calls.partition.group.leader = 0
    calls.reply(2, message[2], NOT_LEADER, 0)
    calls.tick(PAST_DEADLINE_S)
    assert refused(said) == (Reason.LEADER_UNKNOWN, Ran.NO)


@pytest.mark.parametrize("leader", [1, 2])
def test_nobody_knows_about_a_call_that_is_still_on_its_way(leader: int) -> None:
    calls = Calls()
    calls.lead(leader)
    said = calls.write(context=session(1))
    calls.tick(PAST_DEADLINE_S)
    assert refused(said) == (Reason.ANSWER_LOST, Ran.UNKNOWN)
    for asked in calls.partition.take():
        asked.waiter.on_result((0, 1))
    for _, message in calls.network.take():
        calls.reply(2, message[2], RESULT, [0, 1])
    assert len(said.outcomes) == 1
    empty_tables(calls)


def test_a_read_that_was_not_answered_changed_nothing() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.read()
    calls.lose_peer(2)
    calls.tick(PAST_DEADLINE_S)
    assert refused(said) == (Reason.LEADER_UNKNOWN, Ran.NO)
    empty_tables(calls)


def test_a_call_whose_answer_was_lost_is_sent_again_with_its_triple() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.write(context=CallContext(5, 9, 8))
    ((_, message),) = calls.network.take()
    calls.lose_peer(2)
    calls.lead(1)
    (asked,) = calls.partition.take()
    assert list(asked.content[1:4]) == message[5] == [5, 9, 8]
    asked.waiter.on_result((0, 3))
    assert said.outcome == (0, 3)
    empty_tables(calls)


@pytest.mark.parametrize(
    "code",
    [
        Reason.SHARD_BUSY,
        Reason.WRITES_STOPPED,
        Reason.TOO_MANY_PROPOSALS,
        Reason.TOO_MANY_WAITERS,
        Reason.UNKNOWN_OP,
        SESSION_UNKNOWN,
    ],
)
def test_a_refused_try_says_nothing_about_an_earlier_one(code: int) -> None:
    first = Calls()
    first.lead(1)
    said = first.write(context=session(1))
    first.partition.take()[0].waiter.on_result((code,))
    assert refused(said)[1] is Ran.NO

    second = Calls()
    second.lead(1)
    said = second.write(context=session(1))
    second.partition.take()[0].waiter.on_unknown()
    second.tick()
    second.partition.take()[0].waiter.on_result((code,))
    assert refused(said)[1] is Ran.UNKNOWN
    empty_tables(second)


def test_below_the_floor_nobody_knows() -> None:
    calls = Calls()
    calls.lead(1)
    said = calls.write(context=session(1))
    calls.partition.take()[0].waiter.on_result((BELOW_FLOOR,))
    assert refused(said) == (Reason.ANSWER_LOST, Ran.UNKNOWN)


def test_what_the_state_refuses_is_a_result() -> None:
    calls = Calls()
    calls.lead(1)
    said = calls.write(context=session(1))
    calls.partition.take()[0].waiter.on_result((int(Reason.CAS_MISMATCH), 4))
    assert said.outcome == (int(Reason.CAS_MISMATCH), 4)


def test_a_deadline_of_the_client_counts_up_to_ten_times_the_usual() -> None:
    calls = Calls()
    short = calls.read(context=CallContext(deadline_ms=100))
    long = calls.read(context=CallContext(deadline_ms=3_600_000))
    calls.tick(0.2)
    assert len(short.outcomes) == 1
    assert not long.outcomes
    calls.tick(10 * TIMEOUT_MS / 1000)
    assert len(long.outcomes) == 1
    empty_tables(calls)


def test_calls_beyond_the_bound_are_refused() -> None:
    calls = Calls(limits=Limits(calls_max=2))
    waiting = [calls.read(), calls.read()]
    assert refused(calls.read()) == (Reason.SHARD_BUSY, Ran.NO)
    calls.tick(PAST_DEADLINE_S)
    assert all(said.outcomes for said in waiting)
    calls.lead(1)
    said = calls.read()
    calls.partition.take()[0].waiter.on_result((0,))
    assert said.outcome == (0,)


def test_a_leader_that_hands_over_is_asked_again_later() -> None:
    calls = Calls()
    calls.lead(1)
    calls.partition.group.transferring = True
    said = calls.write(context=session(1))
    assert not calls.partition.writes
    calls.lead(3)
    ((to, message),) = calls.network.take()
    assert to == 3
    calls.reply(3, message[2], RESULT, [0, 2])
    assert said.outcome == (0, 2)


def test_many_parked_calls_are_tried_again_in_portions() -> None:
    calls = Calls(replicas=((2, 3),))
    said = [Said() for _ in range(5000)]
    for each in said:
        calls.dispatcher.read(0, 0x101, (b"ns", b"k"), None, each.done)
    for to, message in calls.network.take():
        calls.reply(to, message[2], NOT_LEADER, 0)
    calls.tick()
    assert len(calls.network.take()) == 256
    calls.dispatcher.peer_changed()
    assert len(calls.network.take()) == 4096
    calls.dispatcher.peer_changed()
    assert len(calls.network.take()) == 5000 - 4096 - 256


# --- where to ask ---


def test_a_stale_read_is_answered_here() -> None:
    calls = Calls()
    calls.lead(2)
    said = calls.read(context=CallContext(stale=True))
    calls.partition.take()[0].waiter.on_result((0, 1, b"old"))
    assert said.outcome == (0, 1, b"old")
    assert not calls.network.sent


def test_without_a_replica_any_of_them_is_asked() -> None:
    calls = Calls(replicas=((2, 3),))
    said = calls.read()
    asked: set[int] = set()
    for _ in range(2):
        ((to, message),) = calls.network.take()
        asked.add(to)
        calls.reply(to, message[2], NOT_LEADER, 0)
        calls.tick()
    assert asked == {2, 3}, "one that knows nothing must not be asked for ever"
    ((to, message),) = calls.network.take()
    calls.reply(to, message[2], RESULT, [0])
    assert said.outcome == (0,)


def test_a_leader_that_is_gone_does_not_keep_calls_from_the_others() -> None:
    """Nobody told this node who leads now: it has no replica, and had no call on its way."""
    calls = Calls(replicas=((2, 3),))
    calls.dispatcher.leader_changed(0, 2)
    calls.lose_peer(2)
    calls.read()
    assert [to for to, _ in calls.network.take()] == [3]


@pytest.mark.parametrize("stale", [False, True])
def test_a_replica_that_broke_is_no_obstacle(stale: bool) -> None:
    calls = Calls()
    calls.lead(1)
    calls.partition.broken = "InvariantBrokenError"
    said = calls.read(context=CallContext(stale=stale))
    ((to, message),) = calls.network.take()
    assert to in (2, 3)
    calls.reply(to, message[2], RESULT, [0, 5])
    assert said.outcome == (0, 5)


def test_a_replica_that_takes_no_part_is_not_read() -> None:
    """Its data may be another than the one its peers know: even a stale read goes elsewhere."""
    calls = Calls()
    calls.partition.takes_part = False
    told: list[object] = []
    context = CallContext(stale=True)
    calls.dispatcher.read(0, 0x101, (b"ns", b"k"), context, told.append)
    assert calls.partition.take() == []
    assert len(calls.network.take()) == 1


def test_what_unanswered_writes_carry_is_bounded() -> None:
    calls = Calls(limits=Limits(calls_bytes_max=100))
    told: list[object] = []
    for _ in range(2):
        calls.dispatcher.write(0, PUT, (b"ns", b"k", bytes(60), 0, 0, None), None, told.append)
    (refusal,) = told
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.ran) == (Reason.SHARD_BUSY, Ran.NO)
    calls.clock.now += 60
    calls.dispatcher.tick()
    assert calls.dispatcher.unanswered_bytes == 0
