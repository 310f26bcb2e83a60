"""Dead letters, and emptying a queue."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cluster.state import queue_moves
from cluster.state.garbage import ROWS_PER_ENTRY, ROWS_PER_ROW
from cluster.state.queue import DEDUP_MS
from cluster.state.store import Table
from tests.unit.state.queue_bench import (
    QUEUE_TABLES,
    Counts,
    QueueBench,
    ack,
    batch,
    dequeue,
    dlq_purge,
    enqueue,
    nack,
    purge,
    requeue,
)

LEASE_MS = 30_000


@pytest.fixture
def bench() -> QueueBench:
    return QueueBench()


def bury(bench: QueueBench, *sequences: int) -> None:
    """The first messages die in this order."""
    bench.take(len(sequences))
    bench.one(nack(*sequences, to_dead_letter=True))


class TestDeadLetters:
    def test_the_oldest_comes_first(self, bench: QueueBench) -> None:
        bench.run(enqueue(b"a", priority=3), enqueue(b"b", priority=3), enqueue(b"c", priority=4))
        bury(bench, 2, 1)
        bury(bench, 3)
        assert bench.dead() == [2, 1, 3]
        assert bench.dead(2) == [2, 1]
        assert bench.counts() == Counts(dead=3)

    def test_they_stay_until_somebody_wants_them(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        bury(bench, 1)
        bench.run(ack(1), nack(1), at_ms=10 * DEDUP_MS)
        bench.restart()
        assert bench.dead() == [1]
        assert bench.take() == []

    def test_one_that_is_put_back_begins_anew(self, bench: QueueBench) -> None:
        bench.run(enqueue(b"a", priority=9), enqueue(b"b"), enqueue(b"c"))
        bury(bench, 2, 3)
        assert bench.one(requeue(3, 3, 99, 1)) == (0,)
        assert bench.dead() == [2]
        assert bench.counts() == Counts(ready=2, dead=1)
        messages = bench.messages(bench.one(dequeue(5)))
        assert [message[:2] + message[3:] for message in messages] == [
            (3, b"c", 1, 0),
            (1, b"a", 1, 9),
        ]

    def test_it_may_die_again_and_is_the_youngest_then(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bury(bench, 1, 2)
        bench.one(requeue(1))
        bury(bench, 1)
        assert bench.dead() == [2, 1]

    def test_past_their_number_the_oldest_goes(
        self, bench: QueueBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue_moves, "DEAD_MAX", 2)
        bench.run(*(enqueue() for _ in range(4)))
        bury(bench, 3, 1, 2)
        assert bench.dead() == [1, 2]
        assert bench.counts() == Counts(ready=1, dead=2)
        assert bench.rows(Table.QUEUE_BODY) == 3

    def test_a_queue_keeps_ten_thousand(self, bench: QueueBench) -> None:
        for _ in range(11):
            bench.one(batch(*[(b"", 0, 0, None)] * 910))
            while taken := bench.take(100):
                bench.one(nack(*taken, to_dead_letter=True))
        assert bench.counts() == Counts(dead=10_000)
        assert bench.dead(1) == [11]

    def test_they_can_be_purged(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(), enqueue())
        bury(bench, 1, 2)
        assert bench.one(dlq_purge()) == (0, 2)
        assert bench.one(dlq_purge()) == (0, 0)
        assert bench.counts() == Counts(ready=1)
        assert bench.rows() == 2

    def test_there_are_none_in_an_unknown_queue(self, bench: QueueBench) -> None:
        assert bench.run(requeue(1), dlq_purge()) == [(0,), (0, 0)]


class TestPurge:
    def test_everything_goes_but_the_dead_letters(self, bench: QueueBench) -> None:
        bench.run(*(enqueue(b"%d" % number) for number in range(1, 8)))
        bury(bench, 1, 2, 3)
        bench.one(requeue(2))
        bench.one(enqueue(b"8", delay_ms=100))
        bench.take()
        assert bench.counts() == Counts(ready=4, delayed=1, leased=1, dead=2)
        assert bench.one(purge()) == (0, 6)
        assert bench.counts() == Counts(dead=2)
        bench.run()
        assert bench.rows(Table.QUEUE_BODY) == 2
        assert bench.rows(Table.TIMERS, Table.GARBAGE, Table.QUEUE_READY) == 0
        bench.one(requeue(1, 3))
        assert [message[1] for message in bench.peek()] == [b"1", b"3"]

    def test_what_was_about_to_be_taken_is_not(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(), enqueue())
        results = bench.run(dequeue(), purge(), enqueue(), dequeue(2))
        assert [message[0] for message in bench.messages(results[3])] == [4]

    def test_what_comes_after_it_stays(self, bench: QueueBench) -> None:
        results = bench.run(enqueue(), purge(), enqueue(b"new"), purge(), enqueue(b"newer"))
        assert results == [(0, 1), (0, 1), (0, 2), (0, 1), (0, 3)]
        bench.run()
        assert [message[:2] for message in bench.peek()] == [(3, b"newer")]
        assert bench.rows(Table.QUEUE_BODY, Table.QUEUE_READY) == 2

    def test_an_old_lease_or_delay_does_nothing_any_more(self, bench: QueueBench) -> None:
        bench.run(*(enqueue(delay_ms=LEASE_MS) for _ in range(ROWS_PER_ENTRY + 5)), enqueue())
        bench.take()
        bench.one(purge())
        assert bench.rows(Table.TIMERS) > 0, "its rows go little by little"
        bench.one(ack(1), at_ms=LEASE_MS)
        for _ in range(4):
            bench.run(at_ms=LEASE_MS)
        assert bench.counts() == Counts()
        assert bench.rows(*QUEUE_TABLES, Table.TIMERS, Table.GARBAGE) == 0

    def test_a_timer_that_would_run_in_a_hundred_years_goes_too(self, bench: QueueBench) -> None:
        bench.run(enqueue(delay_ms=100 * 365 * 86_400_000), purge())
        bench.run()
        assert bench.rows(Table.TIMERS) == 0

    def test_an_entry_removes_a_bounded_number_of_rows(self, bench: QueueBench) -> None:
        bench.one(batch(*[(b"", 0, 0, None)] * 1000))
        left = [bench.rows(Table.QUEUE_BODY, Table.QUEUE_READY)]
        bench.one(purge())
        while bench.rows(Table.GARBAGE):
            left.append(bench.rows(Table.QUEUE_BODY, Table.QUEUE_READY))
            bench.restart()
            bench.run()
        assert bench.rows() == 0
        steps = [before - after for before, after in pairwise(left)]
        assert max(steps) <= ROWS_PER_ENTRY + ROWS_PER_ROW

    def test_deduplication_goes_on(self, bench: QueueBench) -> None:
        bench.run(enqueue(dedup=b"k"), purge())
        assert bench.one(enqueue(dedup=b"k")) == (0, 1)

    def test_what_is_thrown_away_does_not_pile_up(self, bench: QueueBench) -> None:
        left: list[int] = []
        for _ in range(20):
            bench.run(batch(*[(b"", 0, 0, None)] * 300), purge())
            left.append(bench.rows(*QUEUE_TABLES, Table.GARBAGE))
        assert max(left) <= 300

    def test_a_long_name_may_be_purged(self, bench: QueueBench) -> None:
        name = b"n" * 3000
        bench.run(enqueue(queue=name), enqueue(queue=name, delay_ms=5))
        assert bench.one(purge(queue=name)) == (0, 2)
        bench.one(enqueue(queue=name, delay_ms=5))
        bench.run(at_ms=10)
        assert bench.counts(queue=name) == Counts(ready=1)
