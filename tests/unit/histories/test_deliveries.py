"""Good histories pass, and each kind of bad one is found."""

import pytest

from tests.histories.deliveries import (
    NEVER_ANSWERED,
    Added,
    Deliveries,
    Evidence,
    Returned,
    Stored,
    Taken,
    judge_deliveries,
    judge_log,
    judge_reader,
)
from tests.histories.explain import Violation
from tests.histories.operations import Outcome

OK, UNKNOWN, FAILED = Outcome.OK, Outcome.UNKNOWN, Outcome.FAILED
LEASE_S = 10.0


class Script:
    """Calls of one second each; messages are called by one letter, "a" at place 1."""

    def __init__(self) -> None:
        self.history = Deliveries()

    def add(self, at: float, payloads: str, outcome: Outcome = OK, *, first: int = 0) -> None:
        first = first or place_of(payloads[0])
        places = tuple((first + number,) for number in range(len(payloads)))
        self.history.added.append(
            Added(
                at,
                end_of(at, outcome),
                outcome,
                tuple(payload.encode() for payload in payloads),
                places if outcome is OK else (),
            )
        )

    def take(self, at: float, payload: str, count: int = 1, *, place: int = 0) -> None:
        where = (place or place_of(payload),)
        self.history.taken.append(Taken(at, at + 1, where, payload.encode(), LEASE_S, count))

    def late(self, start: float, end: float, payload: str, count: int) -> None:
        """A message whose consumer waited long."""
        where = (place_of(payload),)
        self.history.taken.append(Taken(start, end, where, payload.encode(), LEASE_S, count))

    def ack(self, at: float, payload: str, outcome: Outcome = OK, *, done: bool = True) -> None:
        where = ((place_of(payload),),)
        self.history.returned.append(Returned(at, end_of(at, outcome), outcome, where, done))

    def check(self) -> Evidence:
        return judge_deliveries(self.history)

    def refuse(self, match: str) -> None:
        with pytest.raises(Violation, match=match):
            self.check()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def handled(script: Script) -> Script:
    """One message, acknowledged in time."""
    script.add(0, "a")
    script.take(2, "a")
    script.ack(4, "a")
    return script


def place_of(payload: str) -> int:
    return ord(payload) - ord("a") + 1


def end_of(at: float, outcome: Outcome) -> float:
    return NEVER_ANSWERED if outcome is UNKNOWN else at + 1


class TestGood:
    def test_each_once(self, handled: Script) -> None:
        handled.add(2, "bc")
        for payload in "bc":
            handled.take(4, payload)
            handled.ack(6, payload)
        assert handled.check() == Evidence(delivered=3, again=0, certain=3, sure=3)

    def test_given_back(self, script: Script) -> None:
        script.add(0, "a")
        script.take(2, "a")
        script.ack(4, "a", done=False)
        script.take(5.5, "a", 2)
        script.ack(7, "a")
        assert script.check() == Evidence(delivered=1, again=1, certain=1, sure=2)

    def test_a_lease_ended(self, script: Script) -> None:
        script.add(0, "a")
        script.take(2, "a")
        script.take(11.5, "a", 2)
        script.ack(13, "a")
        assert script.check() == Evidence(delivered=1, again=1, certain=1, sure=2)

    def test_an_acknowledgement_that_came_too_late(self, script: Script) -> None:
        script.add(0, "a")
        script.take(2, "a")
        script.ack(11.5, "a")
        script.take(13, "a", 2)
        script.ack(15, "a")
        assert script.check() == Evidence(delivered=1, again=1, certain=1, sure=2)

    def test_unknown_outcomes(self, script: Script) -> None:
        """Of an enqueue: there or not. Of an acknowledgement: it may come at any time."""
        script.add(0, "a", UNKNOWN)
        script.add(0, "b", UNKNOWN)
        script.add(0, "c", FAILED)
        script.take(2, "a")
        script.ack(4, "a", UNKNOWN)
        script.take(11.5, "a", 2)
        script.ack(13, "a")
        assert script.check() == Evidence(delivered=1, again=1, certain=1, sure=1)

    def test_two_calls_at_once_whose_order_nobody_knows(self, script: Script) -> None:
        """The one that was answered first was executed last."""
        script.add(0, "a")
        script.take(13, "a", 0)
        script.history.taken.append(Taken(1.5, 14.5, (1,), b"a", LEASE_S))
        script.ack(15, "a")
        assert script.check().again == 1

    def test_a_leader_that_was_paused_answers_when_the_lease_is_over(self, script: Script) -> None:
        """Its entry was in the log, and the next leader gave the message to somebody else."""
        script.add(0, "a")
        script.late(2, 15, "a", 1)
        script.take(12.5, "a", 2)
        script.ack(16, "a")
        assert script.check() == Evidence(delivered=1, again=1, certain=1, sure=1)


class TestBad:
    def test_lost(self, handled: Script) -> None:
        handled.add(2, "b")
        handled.refuse("lost")

    def test_what_is_not_drained_may_lack_messages(self, handled: Script) -> None:
        handled.add(2, "b")
        assert judge_deliveries(handled.history, drained=False).delivered == 1

    def test_what_is_not_drained_is_judged(self, handled: Script) -> None:
        handled.take(20, "a", 2)
        with pytest.raises(Violation, match="after its acknowledgement"):
            judge_deliveries(handled.history, drained=False)

    def test_lost_after_a_delivery(self, handled: Script) -> None:
        handled.add(2, "b")
        handled.take(4, "b")
        handled.ack(6, "b", FAILED)
        handled.refuse("nobody acknowledged")

    @pytest.mark.parametrize("outcome", [None, FAILED])
    def test_invented(self, handled: Script, outcome: Outcome | None) -> None:
        if outcome is not None:
            handled.add(2, "b", outcome)
        handled.take(4, "b")
        handled.ack(6, "b")
        handled.refuse("invented")

    def test_delivered_before_it_was_added(self, handled: Script) -> None:
        handled.add(8, "b")
        handled.take(6, "b")
        handled.ack(9, "b")
        handled.refuse("before it was added")

    def test_another_place_than_was_answered(self, script: Script) -> None:
        script.add(0, "a")
        script.take(2, "a", place=7)
        script.refuse("doubled")

    def test_a_batch_twice(self, script: Script) -> None:
        script.add(0, "ab", UNKNOWN)
        for place, payload in enumerate("abab", start=1):
            script.take(2, payload, place=place)
        script.refuse("doubled")

    def test_half_a_batch(self, handled: Script) -> None:
        handled.add(2, "bc", UNKNOWN)
        handled.take(4, "b")
        handled.ack(6, "b")
        handled.refuse("half a batch")

    def test_one_place_for_two(self, handled: Script) -> None:
        handled.add(2, "b", first=1)
        handled.refuse("one place twice")

    def test_another_payload(self, script: Script) -> None:
        script.add(0, "a", UNKNOWN)
        script.add(0, "b", UNKNOWN)
        script.take(2, "a", place=1)
        script.take(2, "b", place=1)
        script.refuse("is there too")

    def test_reordered(self, handled: Script) -> None:
        handled.add(2, "d")
        handled.add(4, "b")
        handled.refuse("reordered")

    @pytest.mark.parametrize("count", [0, 2])
    def test_delivered_after_its_acknowledgement(self, handled: Script, count: int) -> None:
        if not count:
            handled.history.taken[0] = handled.history.taken[0]._replace(delivery=0)
        handled.take(20, "a", count)
        handled.refuse("after its acknowledgement")

    def test_acknowledged_twice(self, handled: Script) -> None:
        handled.take(20, "a", 2)
        handled.ack(22, "a")
        handled.refuse("acknowledged twice")

    @pytest.mark.parametrize("counts", [(0, 0), (1, 2)])
    def test_two_leases_at_once(self, script: Script, counts: tuple[int, int]) -> None:
        script.add(0, "a")
        script.take(2, "a", counts[0])
        script.take(10, "a", counts[1])
        script.ack(11.5, "a")
        script.refuse("two leases at once")

    def test_two_leases_at_once_though_one_was_asked_for_early(self, script: Script) -> None:
        """The second did not begin before the first ended, and the third came too early for it."""
        script.add(0, "a")
        script.take(2, "a", 1)
        script.late(2, 20, "a", 2)
        script.take(18, "a", 3)
        script.ack(21, "a")
        script.refuse("two leases at once")

    @pytest.mark.parametrize("added_at", [-0.1, 1.1])
    def test_a_leader_with_another_clock(self, handled: Script, added_at: float) -> None:
        handled.history.taken[0] = handled.history.taken[0]._replace(added_at=added_at)
        handled.refuse("clock of the leader")

    def test_one_lease_twice(self, script: Script) -> None:
        script.add(0, "a")
        script.take(2, "a")
        script.take(20, "a")
        script.ack(22, "a")
        script.refuse("one lease twice")


ADDED = [
    Added(0, 1, OK, (b"a",), ((1,),)),
    Added(2, 3, OK, (b"b", b"c"), ((2,), (3,))),
    Added(2, NEVER_ANSWERED, UNKNOWN, (b"d", b"e")),
]
LOG = [Stored((number,), b"%c" % payload) for number, payload in enumerate(b"abcde", start=1)]


class TestStreams:
    @pytest.mark.parametrize("log", [LOG, LOG[:3]])
    def test_good(self, log: list[Stored]) -> None:
        judge_log(ADDED, log)
        judge_reader(log, log)

    @pytest.mark.parametrize(
        ("log", "match"),
        [
            (LOG[1:], "lost"),
            (LOG[:4], "half a batch"),
            ([LOG[1], LOG[0], *LOG[2:]], "reordered"),
            ([*LOG, Stored((6,), b"a")], "doubled"),
            ([*LOG, Stored((6,), b"f")], "invented"),
            ([*LOG[:3], Stored((4,), b"e"), Stored((5,), b"d")], "torn apart"),
        ],
    )
    def test_bad_logs(self, log: list[Stored], match: str) -> None:
        with pytest.raises(Violation, match=match):
            judge_log(ADDED, log)

    @pytest.mark.parametrize(
        ("seen", "match"),
        [
            ([*LOG[:2], *LOG[3:]], "a gap"),
            (LOG[:4], "a gap at the end"),
            ([*LOG[:2], *LOG[1:]], "reordered or twice"),
            ([*LOG, LOG[4]], "invented"),
        ],
    )
    def test_bad_readers(self, seen: list[Stored], match: str) -> None:
        with pytest.raises(Violation, match=match):
            judge_reader(seen, LOG)
