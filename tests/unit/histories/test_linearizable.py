"""The search accepts what a correct register gives, and nothing else."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories.explain import Violation
from tests.histories.linearizable import Undecided, check_key
from tests.histories.operations import NEVER, Answer, Kind, Operation, Outcome, counter_bytes
from tests.unit.histories.generate import (
    COUNTER_KINDS,
    REGISTER_KINDS,
    has_an_order,
    mutations,
    right_history,
)


def call(
    start: int,
    end: int,
    kind: Kind,
    argument: bytes | int = b"",
    *,
    says: Answer | None = None,
) -> Operation:
    """One answered call, or without `says` one whose outcome is unknown."""
    value, number = (argument, 0) if isinstance(argument, bytes) else (b"", argument)
    outcome = Outcome.UNKNOWN if says is None else Outcome.OK
    return Operation(start, kind, "key", start, end, outcome, value, number, says)


def put(start: int, end: int, value: bytes, version: int) -> Operation:
    return call(start, end, Kind.PUT, value, says=Answer(version=version))


def lost_put(start: int, value: bytes) -> Operation:
    return call(start, NEVER, Kind.PUT, value)


def get(start: int, end: int, value: bytes | None, version: int = 0) -> Operation:
    return call(start, end, Kind.GET, says=Answer(value=value, version=version))


def incr(start: int, end: int, total: int, version: int) -> Operation:
    return call(start, end, Kind.INCR, 1, says=Answer(version=version, value=counter_bytes(total)))


def cas(start: int, end: int, required: int, says: Answer, value: bytes = b"cas") -> Operation:
    return Operation(start, Kind.CAS, "key", start, end, Outcome.OK, value, required, says)


def delete(start: int, end: int, *, happened: bool = True) -> Operation:
    return call(start, end, Kind.DELETE, says=Answer(happened=happened))


def put_if_absent(start: int, end: int, value: bytes, version: int) -> Operation:
    says = Answer(version=version) if version else Answer(happened=False)
    return call(start, end, Kind.PUT_IF_ABSENT, value, says=says)


REFUSED = Answer(happened=False)

BAD = {
    "a write that is lost": [put(1, 2, b"a", 1), get(3, 4, None)],
    "a stale read": [put(1, 2, b"a", 1), put(3, 4, b"b", 2), get(5, 6, b"a", 1)],
    "a read that goes back while a write is under way": [
        put(1, 2, b"a", 1),
        put(3, 10, b"b", 2),
        get(4, 5, b"b", 2),
        get(6, 7, b"a", 1),
    ],
    "a value that nobody wrote": [put(1, 2, b"a", 1), get(3, 4, b"z", 1)],
    "a value from the future": [get(1, 2, b"a", 1), put(3, 4, b"a", 1)],
    "a value from the future, and its writer never heard": [get(1, 2, b"a", 1), lost_put(3, b"a")],
    "an increment that counts twice": [incr(1, 2, 1, 1), incr(3, 4, 3, 2)],
    "two increments with one answer": [incr(1, 4, 1, 1), incr(2, 3, 1, 2)],
    "an increment that is lost": [incr(1, 2, 1, 1), incr(3, 4, 1, 2)],
    "more increments than were asked for": [
        incr(1, 2, 1, 1),
        call(3, NEVER, Kind.INCR, 1),
        get(4, 5, counter_bytes(3), 5),
    ],
    "an open write that comes twice": [
        lost_put(1, b"a"),
        get(2, 3, b"a", 1),
        put(4, 5, b"b", 2),
        get(6, 7, b"b", 2),
        get(8, 9, b"a", 3),
    ],
    "an overwritten version that comes back": [
        lost_put(1, b"a"),
        get(2, 3, b"a", 1),
        put(4, 5, b"b", 2),
        get(6, 7, b"a", 1),
    ],
    "an open write that took effect before it was asked for": [
        put(1, 2, b"a", 1),
        get(3, 4, b"b", 2),
        lost_put(5, b"b"),
    ],
    "versions that go back": [put(1, 2, b"a", 5), put(3, 4, b"b", 4)],
    "versions that go back over a deletion": [
        put(1, 2, b"a", 5),
        delete(3, 4),
        put(5, 6, b"b", 6),
    ],
    "one version for two writes": [put(1, 4, b"a", 1), put(2, 3, b"b", 1)],
    "a read with another version than the write": [put(1, 2, b"a", 1), get(3, 4, b"a", 2)],
    "one value read with two versions": [
        lost_put(1, b"a"),
        get(2, 3, b"a", 1),
        get(4, 5, b"a", 2),
    ],
    "a deleted value that comes back": [
        put(1, 2, b"a", 1),
        delete(3, 4),
        get(5, 6, b"a", 1),
    ],
    "a deletion of nothing that found something": [delete(1, 2)],
    "a deletion that found nothing": [put(1, 2, b"a", 1), delete(3, 4, happened=False)],
    "two deletions of one write": [put(1, 2, b"a", 1), delete(3, 6), delete(4, 5)],
    "a lost update": [
        put(1, 2, b"a", 1),
        cas(3, 6, 1, Answer(version=2), b"b"),
        cas(4, 5, 1, Answer(version=3), b"c"),
    ],
    "a cas that was refused for nothing": [put(1, 2, b"a", 1), cas(3, 4, 1, REFUSED)],
    "a cas of a version that was gone": [
        put(1, 2, b"a", 1),
        put(3, 4, b"b", 2),
        cas(5, 6, 1, Answer(version=3)),
    ],
    "two first writers": [put_if_absent(1, 4, b"a", 1), put_if_absent(2, 3, b"b", 2)],
    "a first write over another": [put(1, 2, b"a", 1), put_if_absent(3, 4, b"b", 2)],
    "a first write refused for nothing": [put_if_absent(1, 2, b"a", 0)],
}

GOOD = {
    "nothing": [],
    "an open write that comes late": [
        lost_put(1, b"a"),
        put(2, 3, b"b", 1),
        get(4, 5, b"b", 1),
        get(6, 7, b"a", 2),
    ],
    "an open write that never comes": [lost_put(1, b"a"), get(2, 3, None)],
    "reads in both orders of two writes under way": [
        put(1, 10, b"a", 1),
        put(2, 9, b"b", 2),
        get(3, 4, b"a", 1),
        get(5, 6, b"b", 2),
    ],
    "open increments, some of them": [
        call(1, NEVER, Kind.INCR, 1),
        call(2, NEVER, Kind.INCR, 1),
        call(3, NEVER, Kind.INCR, 1),
        incr(4, 5, 3, 7),
    ],
    "an open deletion, and an open first write": [
        put(1, 2, b"a", 1),
        call(3, NEVER, Kind.DELETE),
        call(4, NEVER, Kind.PUT_IF_ABSENT, b"b"),
        get(5, 6, b"b", 9),
    ],
    "a cas over an open write whose version was never told": [
        lost_put(1, b"a"),
        cas(2, 3, 4, Answer(version=5)),
    ],
    "a read without an answer": [call(1, NEVER, Kind.GET), put(2, 3, b"a", 1)],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_refused(name: str) -> None:
    assert not has_an_order(BAD[name])
    with pytest.raises(Violation):
        check_key(BAD[name])


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_are_accepted(name: str) -> None:
    assert has_an_order(GOOD[name])
    check_key(GOOD[name])


@given(
    rng=st.randoms(use_true_random=True),
    kinds=st.sampled_from((REGISTER_KINDS, COUNTER_KINDS, (Kind.GET, Kind.INCR, Kind.DELETE))),
    clients=st.integers(1, 12),
    lost=st.sampled_from((0.0, 0.02, 0.1)),
)
@settings(max_examples=100)
def test_whatever_a_correct_register_answers_is_accepted(
    rng: Random, kinds: tuple[Kind, ...], clients: int, lost: float
) -> None:
    check_key(right_history(rng, kinds, clients=clients, calls=100, lost=lost))


@given(
    rng=st.randoms(use_true_random=True),
    kinds=st.sampled_from((REGISTER_KINDS, COUNTER_KINDS)),
    clients=st.integers(1, 4),
)
@settings(max_examples=300)
def test_the_verdict_is_that_of_brute_force(
    rng: Random, kinds: tuple[Kind, ...], clients: int
) -> None:
    history = right_history(rng, kinds, clients=clients, calls=7, lost=0.15)
    for changed in [history, *mutations(history, rng)]:
        assert accepted(changed) == has_an_order(changed)


def accepted(history: list[Operation]) -> bool:
    try:
        check_key(history)
    except Violation:
        return False
    return True


@pytest.mark.parametrize("kinds", [REGISTER_KINDS, COUNTER_KINDS])
def test_a_changed_answer_in_a_long_history_is_found(kinds: tuple[Kind, ...]) -> None:
    rng = Random(7)
    history = right_history(rng, kinds, clients=6, calls=400, lost=0.01)
    verdicts = [accepted(changed) for changed in mutations(history, rng)]
    assert len(verdicts) > 200
    # Others are one more possible answer, as a version that nobody read.
    assert verdicts.count(False) > 0.6 * len(verdicts)


@pytest.mark.parametrize("kinds", [REGISTER_KINDS, COUNTER_KINDS])
def test_thousands_of_calls_by_twenty_clients_take_few_steps(kinds: tuple[Kind, ...]) -> None:
    history = right_history(Random(1), kinds, clients=20, calls=5_000, lost=0.005)
    assert check_key(history) < 50_000


def test_too_many_orders_are_not_taken_for_a_verdict() -> None:
    history = [
        *(call(start, NEVER, Kind.INCR, start) for start in range(1, 30)),
        get(40, 41, counter_bytes(100_000), 99),
    ]
    with pytest.raises(Undecided):
        check_key(history, 10_000)


def test_the_explanation_names_the_call_and_what_it_could_have_found() -> None:
    history = [
        put(1, 2, b"old", 1),
        get(3, 4, b"old", 1),
        put(5, 6, b"new", 2),
        lost_put(7, b"perhaps"),
        get(8, 9, b"old", 1),
        put(10, 11, b"later", 9),
    ]
    with pytest.raises(Violation) as caught:
        check_key(history)
    text = str(caught.value)
    assert "no order of the calls explains client 8: get -> 'old' version 1" in text
    assert "'new' at version 2" in text
    assert "put 'perhaps' -> unknown" in text
    assert "later" not in text
