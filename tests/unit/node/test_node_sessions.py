"""The sessions that a node opens for clients that bring none."""

from typing import cast

from cluster.config import Limits
from cluster.state.commands import SESSION_UNKNOWN
from flo.wire.messages import CallContext
from flo.wire.status import Ran, Reason
from tests.unit.node.kit import PAST_DEADLINE_S, Calls, empty_tables, refused


def test_one_session_is_opened_for_many_first_calls() -> None:
    calls = Calls()
    calls.lead(1)
    said = [calls.write() for _ in range(5)]
    assert len(calls.partition.writes) == 1
    calls.opened(77)
    asked = calls.partition.take()
    assert [each.content[1:4] for each in asked] == [(77, 1 + n, 1) for n in range(5)]
    for each in asked:
        each.waiter.on_result((0, 1))
    assert all(each.outcome == (0, 1) for each in said)
    empty_tables(calls)


def test_the_floor_is_the_lowest_sequence_still_awaited() -> None:
    calls = Calls()
    calls.lead(1)
    for _ in range(3):
        calls.write()
    calls.opened()
    first, second, third = calls.partition.take()
    third.waiter.on_result((0, 1))
    calls.write()
    second.waiter.on_result((0, 1))
    calls.write()
    first.waiter.on_result((0, 1))
    calls.write()
    assert [each.content[2:4] for each in calls.partition.take()] == [(4, 1), (5, 1), (6, 4)]


def test_the_open_is_retried_with_the_same_token() -> None:
    calls = Calls()
    calls.lead(1)
    calls.write()
    (opening,) = calls.partition.take()
    opening.waiter.on_unknown()
    calls.tick()
    (again,) = calls.partition.take()
    assert again.content == opening.content


def test_a_forgotten_session_is_replaced_for_calls_that_never_ran() -> None:
    calls = Calls()
    calls.lead(1)
    said = [calls.write(), calls.write()]
    calls.opened(77)
    never, perhaps = calls.partition.take()
    perhaps.waiter.on_unknown()
    calls.tick()
    (again,) = calls.partition.take()
    never.waiter.on_result((SESSION_UNKNOWN,))
    again.waiter.on_result((SESSION_UNKNOWN,))
    calls.opened(78)
    (renewed,) = calls.partition.take()
    assert renewed.content[1:4] == (78, 1, 1)
    renewed.waiter.on_result((0, 4))
    assert said[0].outcome == (0, 4)
    assert refused(said[1]) == (Reason.ANSWER_LOST, Ran.UNKNOWN)
    empty_tables(calls)


def test_calls_that_wait_for_a_session_have_not_run() -> None:
    calls = Calls()
    calls.lead(1)
    said = calls.write()
    calls.tick(PAST_DEADLINE_S)
    assert refused(said)[1] is Ran.NO
    calls.opened()
    assert not calls.partition.take()
    empty_tables(calls)


def test_a_call_that_waits_for_a_new_session_has_not_run() -> None:
    calls = Calls()
    calls.lead(1)
    said = calls.write()
    calls.opened(77)
    calls.partition.take()[0].waiter.on_result((SESSION_UNKNOWN,))
    calls.tick(PAST_DEADLINE_S)
    assert refused(said)[1] is Ran.NO
    empty_tables(calls)


def test_an_open_that_takes_too_long_does_not_end_younger_calls() -> None:
    calls = Calls()
    first = calls.write()
    calls.tick(4.0)
    second = calls.write()
    calls.tick(1.1)
    assert refused(first) == (Reason.LEADER_UNKNOWN, Ran.NO)
    assert not second.outcomes
    calls.lead(1)
    calls.opened()
    calls.partition.take()[0].waiter.on_result((0, 1))
    assert second.outcome == (0, 1)
    empty_tables(calls)


def test_a_partition_with_too_many_sessions_refuses() -> None:
    calls = Calls()
    calls.lead(1)
    said = [calls.write(), calls.write()]
    calls.partition.take()[0].waiter.on_result((int(Reason.TOO_MANY_WAITERS),))
    for each in said:
        assert refused(each) == (Reason.TOO_MANY_WAITERS, Ran.NO)
    calls.write()
    calls.opened()
    empty = calls.partition.take()
    assert len(empty) == 1, "the next call tries again"


def test_a_session_that_cannot_be_asked_for_is_refused() -> None:
    calls = Calls(limits=Limits(calls_max=1))
    calls.lead(1)
    assert refused(calls.write()) == (Reason.SHARD_BUSY, Ran.NO)
    empty_tables(calls)


def test_expired_calls_do_not_pile_up_before_the_session_is_open() -> None:
    calls = Calls()
    calls.write()
    for _ in range(100):
        calls.write(context=CallContext(deadline_ms=1))
        calls.tick(0.1)
    (node_session,) = cast("list[object]", vars(calls.dispatcher)["_sessions"])
    assert len(cast("dict[object, None]", vars(node_session)["_queue"])) <= 1
