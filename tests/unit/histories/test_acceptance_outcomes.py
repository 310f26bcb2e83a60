"""What the judge makes of calls that failed, and of calls whose outcome is unknown.

A call that failed must never take effect. One whose outcome is unknown may take effect at any time
after it began, once, or never.
"""

import pytest

from tests.histories.explain import Violation
from tests.histories.judge import Verdict, judge
from tests.histories.operations import (
    NEVER,
    Answer,
    Kind,
    Operation,
    Outcome,
    counter_bytes,
)

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN
HELD = 7
"""The version of what the key holds first."""


def call(
    start: int,
    kind: Kind,
    outcome: Outcome,
    value: bytes = b"",
    number: int = 0,
    answer: Answer | None = None,
) -> Operation:
    """One call, over before the next one begins; without an answer if its outcome is unknown."""
    end = NEVER if outcome is UNKNOWN else start + 1
    return Operation(start, kind, "key", start, end, outcome, value, number, answer)


def holds(start: int, value: bytes | None, version: int = 0) -> Operation:
    return call(start, Kind.GET, OK, answer=Answer(version=version, value=value))


def first_put() -> Operation:
    return call(1, Kind.PUT, OK, b"first", answer=Answer(version=HELD))


def judged(*operations: Operation, ended: bool = False) -> Verdict:
    return judge(operations, lambda _: 0, ended=ended)


CHANGES = {
    "put": ((Kind.PUT, b"second", 0), holds(90, b"second", HELD + 1)),
    "cas": ((Kind.CAS, b"second", HELD), holds(90, b"second", HELD + 1)),
    "delete": ((Kind.DELETE, b"", 0), holds(90, None)),
}
"""A call that changes what is there, and what is read when it has done so."""


@pytest.mark.parametrize("name", CHANGES)
def test_failed_call_that_took_effect_is_a_violation(name: str) -> None:
    change, seen = CHANGES[name]
    with pytest.raises(Violation):
        judged(first_put(), call(3, change[0], FAILED, *change[1:]), seen)
    judged(first_put(), call(3, change[0], FAILED, *change[1:]), holds(90, b"first", HELD))


@pytest.mark.parametrize("name", CHANGES)
def test_failed_call_that_takes_effect_late_is_a_violation(name: str) -> None:
    change, seen = CHANGES[name]
    untouched = holds(5, b"first", HELD)
    with pytest.raises(Violation):
        judged(first_put(), call(3, change[0], FAILED, *change[1:]), untouched, seen)


@pytest.mark.parametrize("reads_between", [0, 1, 20])
@pytest.mark.parametrize("name", CHANGES)
def test_unknown_call_takes_effect_at_any_later_time_or_never(
    name: str, reads_between: int
) -> None:
    change, seen = CHANGES[name]
    lost = call(3, change[0], UNKNOWN, *change[1:])
    between = [holds(5 + 2 * n, b"first", HELD) for n in range(reads_between)]
    judged(first_put(), lost, *between, seen)
    judged(first_put(), lost, *between)


@pytest.mark.parametrize("name", CHANGES)
def test_unknown_call_takes_effect_once_and_not_before_it_began(name: str) -> None:
    change, seen = CHANGES[name]
    with pytest.raises(Violation):
        judged(first_put(), seen, call(92, change[0], UNKNOWN, *change[1:]))
    lost = call(3, change[0], UNKNOWN, *change[1:])
    back = call(95, Kind.PUT, OK, b"third", answer=Answer(version=HELD + 5))
    again = seen.answer
    assert again is not None
    twice = Answer(version=HELD + 6 if again.value else 0, value=again.value)
    with pytest.raises(Violation):
        judged(first_put(), lost, seen, back, call(97, Kind.GET, OK, answer=twice))


def test_failed_first_write_and_failed_deletion_leave_things_as_they_are() -> None:
    absent = call(1, Kind.PUT_IF_ABSENT, FAILED, b"first")
    judged(absent, holds(3, None))
    with pytest.raises(Violation):
        judged(absent, holds(3, b"first", HELD))


@pytest.mark.parametrize(
    ("outcome", "totals"), [(FAILED, {1}), (UNKNOWN, {1, 11})], ids=["failed", "unknown"]
)
def test_increment_that_failed_never_counts_and_an_unknown_one_at_most_once(
    outcome: Outcome, totals: set[int]
) -> None:
    for total in (0, 1, 2, 10, 11, 12, 21):
        counted = Answer(version=HELD, value=counter_bytes(1))
        history = (
            call(1, Kind.INCR, OK, number=1, answer=counted),
            call(3, Kind.INCR, outcome, number=10),
            holds(90, counter_bytes(total), HELD if total == 1 else HELD + 1),
        )
        if total in totals:
            judged(*history, ended=True)
        else:
            with pytest.raises(Violation):
                judged(*history, ended=True)


def test_reads_without_an_answer_say_nothing() -> None:
    judged(first_put(), call(3, Kind.GET, UNKNOWN), call(5, Kind.GET, FAILED))
