"""Queues, rule by rule: order, leases, delays, deduplication, acknowledgement."""

from __future__ import annotations

import pytest

from cluster.state.commands import EMPTY
from cluster.state.errors import CorruptState
from cluster.state.queue import CONSUMED_BYTES_MAX, DEDUP_MS
from cluster.state.queue_reads import PAGE_BYTES_MAX, expand
from cluster.state.store import Table
from cluster.state.timers import TIMERS_PER_ENTRY
from flo.wire.queue_messages import DELIVERY_CONSUME, DELIVERY_LEASE
from flo.wire.status import Reason
from tests.unit.state.helpers import NAMESPACE, START_MS, Triple, open_session, put, within
from tests.unit.state.queue_bench import (
    QUEUE,
    Counts,
    QueueBench,
    ack,
    batch,
    configure,
    dequeue,
    enqueue,
    nack,
    purge,
    touch,
)

LEASE_MS = 30_000
TOPIC = b"q" + NAMESPACE + b"\x00" + QUEUE


@pytest.fixture
def bench() -> QueueBench:
    return QueueBench()


class TestOrder:
    def test_sequences_count_from_one_in_each_queue(self, bench: QueueBench) -> None:
        results = bench.run(enqueue(), enqueue(queue=b"other"), enqueue())
        assert results == [(0, 1), (0, 1), (0, 2)]

    def test_the_lowest_priority_number_comes_first_then_the_lowest_sequence(
        self, bench: QueueBench
    ) -> None:
        bench.run(*(enqueue(priority=priority) for priority in (3, 0, 255, 3, 0)))
        assert bench.peeked() == [2, 5, 1, 4, 3]
        assert bench.take(3) == [2, 5, 1]
        assert bench.take(3) == [4, 3]

    def test_an_answer_has_everything_about_a_message(self, bench: QueueBench) -> None:
        bench.one(enqueue(b"", priority=7), at_ms=5)
        bench.one(enqueue(b"payload"), at_ms=6)
        messages = bench.messages(bench.one(dequeue(2), at_ms=100))
        assert messages == ((2, b"payload", START_MS + 6, 1, 0), (1, b"", START_MS + 5, 1, 7))

    def test_a_batch_is_enqueued_in_its_order(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        items = ((b"a", 5, 0, None), (b"b", 0, 0, None), (b"c", 0, 10, None))
        assert bench.one(batch(*items)) == (0, (2, 3, 4))
        assert bench.peeked() == [1, 3, 2]
        assert bench.counts() == Counts(ready=3, delayed=1)

    def test_queues_and_namespaces_are_apart(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        elsewhere = list(enqueue())
        elsewhere[4] = b"other"
        bench.one(tuple(elsewhere))
        assert bench.take(10) == [1]
        assert bench.take(queue=b"others") == []

    def test_a_queue_is_no_key(self, bench: QueueBench) -> None:
        bench.run(enqueue(b"message"), put(QUEUE, b"value"))
        assert bench.value(QUEUE) == b"value"
        assert bench.counts() == Counts(ready=1)


class TestEmpty:
    def test_nothing_is_ever_not_found(self, bench: QueueBench) -> None:
        results = bench.run(dequeue(), ack(1), nack(1), touch(1), purge())
        assert results == [(EMPTY,), (0,), (0,), (0,), (0, 0)]
        assert bench.peek() == ()
        assert bench.dead() == []
        assert bench.counts() == Counts()
        assert bench.names() == []

    def test_an_empty_dequeue_may_be_tried_again(self, bench: QueueBench) -> None:
        session = bench.one(open_session(1))[1]
        assert isinstance(session, int)
        again = within(Triple(session, 1, 1), dequeue())
        assert bench.one(again) == (EMPTY,)
        bench.one(enqueue(b"m"))
        taken = bench.one(again)
        assert bench.messages(taken)[0][:2] == (1, b"m")
        bench.one(enqueue())
        assert bench.one(again) == taken, "it ran already"


class TestLeases:
    def test_a_message_is_leased_for_the_usual_time(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        assert bench.take() == [1]
        assert bench.counts() == Counts(leased=1)
        assert bench.take(at_ms=LEASE_MS - 1) == []
        assert bench.take(at_ms=LEASE_MS) == [1]

    def test_a_dequeue_may_say_how_long(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        bench.one(dequeue(visibility_ms=10))
        bench.run(at_ms=9)
        assert bench.counts().leased == 1
        bench.run(at_ms=10)
        assert bench.counts().ready == 1

    def test_one_that_comes_back_keeps_its_place(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        assert bench.take() == [1]
        assert bench.peeked() == [2]
        bench.run(enqueue(), at_ms=LEASE_MS)
        assert bench.peeked() == [1, 2, 3]

    def test_deliveries_are_counted(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        for delivery in range(1, 4):
            (message,) = bench.messages(bench.one(dequeue(), at_ms=delivery * LEASE_MS))
            assert message[3] == delivery
        bench.run(at_ms=4 * LEASE_MS)
        assert bench.peek()[0][3] == 3, "a look is no delivery"

    def test_after_five_deliveries_it_is_a_dead_letter(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        for delivery in range(5):
            assert bench.take(at_ms=delivery * LEASE_MS) == [1]
        assert bench.take(at_ms=5 * LEASE_MS) == []
        assert bench.counts() == Counts(dead=1)

    def test_late_is_not_too_late_until_the_lease_was_taken_back(self, bench: QueueBench) -> None:
        """An entry runs a bounded number of timers."""
        count = TIMERS_PER_ENTRY + 1
        bench.run(*(enqueue() for _ in range(count)))
        for _ in range(3):
            bench.run(dequeue(100))
        bench.run(ack(1, count), at_ms=LEASE_MS)
        assert bench.counts() == Counts(ready=TIMERS_PER_ENTRY)
        assert bench.peeked()[:1] == [1], "its time had come first"


class TestAck:
    def test_it_removes_what_is_leased_and_ignores_the_rest(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(), enqueue(delay_ms=10), enqueue())
        assert bench.take(2) == [1, 2]
        assert bench.one(ack(1, 1, 3, 4, 99)) == (0,)
        assert bench.counts() == Counts(ready=1, delayed=1, leased=1)

    def test_nothing_is_left(self, bench: QueueBench) -> None:
        bench.run(enqueue(b"x"), enqueue(b"y"))
        bench.take(2)
        bench.one(ack(1, 2))
        assert bench.rows() == bench.rows(Table.TIMERS) == 0

    def test_one_that_came_back_is_not_removed(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        bench.take()
        bench.one(ack(1), at_ms=LEASE_MS)
        assert bench.counts() == Counts(ready=1)


class TestNack:
    def test_it_comes_back_at_once(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bench.take(2)
        bench.one(nack(2, 2, 5))
        assert bench.counts() == Counts(ready=1, leased=1)
        assert bench.peek()[0][3] == 1
        assert bench.rows(Table.TIMERS) == 1

    def test_it_may_ask_for_a_dead_letter(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bench.take()
        bench.one(nack(1, 2, to_dead_letter=True))
        assert bench.counts() == Counts(ready=1, dead=1)
        assert bench.dead() == [1]

    def test_the_last_attempt_ends_as_a_dead_letter(self, bench: QueueBench) -> None:
        bench.run(configure(max_attempts=2), enqueue())
        for _ in range(2):
            assert bench.take() == [1]
            bench.one(nack(1))
        assert bench.counts() == Counts(dead=1)


class TestTouch:
    def test_the_lease_ends_the_usual_time_from_now(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bench.take()
        bench.one(touch(1, 2, 3), at_ms=20_000)
        bench.run(at_ms=LEASE_MS)
        assert bench.counts() == Counts(ready=1, leased=1)
        bench.run(at_ms=20_000 + LEASE_MS)
        assert bench.counts() == Counts(ready=2)

    def test_it_may_say_how_long(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        bench.take()
        bench.one(touch(1, extend_ms=5), at_ms=10)
        bench.run(at_ms=15)
        assert bench.counts() == Counts(ready=1)

    def test_deliveries_stay(self, bench: QueueBench) -> None:
        bench.one(enqueue())
        bench.take()
        bench.run(touch(1), touch(1), nack(1))
        assert bench.peek()[0][3] == 1


class TestDelay:
    def test_it_is_out_of_sight_until_its_time(self, bench: QueueBench) -> None:
        bench.run(enqueue(delay_ms=50), enqueue())
        assert bench.counts() == Counts(ready=1, delayed=1)
        assert bench.peeked() == [2]
        bench.restart()
        assert bench.take(10, at_ms=49) == [2]
        assert bench.take(10, at_ms=50) == [1]

    def test_it_was_not_delivered_by_that(self, bench: QueueBench) -> None:
        bench.one(enqueue(delay_ms=1))
        (message,) = bench.messages(bench.one(dequeue(), at_ms=1))
        assert message[2:4] == (START_MS, 1)


class TestDeduplication:
    def test_a_known_key_answers_with_its_message(self, bench: QueueBench) -> None:
        results = bench.run(
            enqueue(b"1", dedup=b"k"),
            enqueue(b"2"),
            enqueue(b"3", dedup=b"k"),
            batch((b"4", 0, 0, b"n"), (b"5", 0, 0, b"k"), (b"6", 0, 0, b"n")),
        )
        assert results == [(0, 1), (0, 2), (0, 1), (0, (3, 1, 3))]
        assert [message[1] for message in bench.peek()] == [b"1", b"2", b"4"]

    def test_keys_are_of_one_queue(self, bench: QueueBench) -> None:
        bench.run(enqueue(dedup=b"k"), enqueue(dedup=b"k", queue=b"other"))
        assert bench.counts(queue=b"other") == Counts(ready=1)

    def test_it_outlives_its_message(self, bench: QueueBench) -> None:
        bench.one(enqueue(dedup=b"k"))
        bench.take()
        bench.one(ack(1))
        assert bench.one(enqueue(dedup=b"k"), at_ms=DEDUP_MS - 1) == (0, 1)
        assert bench.counts() == Counts()

    def test_it_is_forgotten_five_minutes_after_the_first(self, bench: QueueBench) -> None:
        bench.one(enqueue(dedup=b"k"))
        bench.one(enqueue(dedup=b"k"), at_ms=DEDUP_MS - 1)
        assert bench.one(enqueue(dedup=b"k"), at_ms=DEDUP_MS) == (0, 2)
        bench.run(at_ms=2 * DEDUP_MS)
        assert bench.rows(Table.QUEUE_DEDUP, Table.TIMERS) == 0

    def test_a_key_whose_timer_has_not_run_is_forgotten_all_the_same(
        self, bench: QueueBench
    ) -> None:
        count = TIMERS_PER_ENTRY + 1
        keys = [b"%d" % number for number in range(count)]
        bench.run(*(enqueue(dedup=key) for key in keys))
        bench.run(*(enqueue(dedup=key) for key in keys), at_ms=DEDUP_MS)
        assert bench.counts() == Counts(ready=2 * count)
        for _ in range(3):
            bench.run(at_ms=2 * DEDUP_MS)
        assert bench.rows(Table.QUEUE_DEDUP, Table.TIMERS) == 0


class TestConsume:
    def test_what_is_taken_is_gone(self, bench: QueueBench) -> None:
        bench.run(configure(DELIVERY_CONSUME), enqueue(b"a"), enqueue(b"b", priority=1))
        result = bench.one(dequeue(5), at_ms=9)
        assert bench.messages(result) == ((1, b"a", START_MS, 1, 0), (2, b"b", START_MS, 1, 1))
        assert bench.rows() == bench.rows(Table.TIMERS) == 0
        assert bench.counts() == Counts()
        assert bench.messages(result), "the answer needs no rows"

    def test_the_answer_is_the_same_when_it_is_asked_for_again(self, bench: QueueBench) -> None:
        session = bench.one(open_session(1))[1]
        assert isinstance(session, int)
        bench.run(configure(DELIVERY_CONSUME), enqueue(b"a"), enqueue(b"b"))
        again = within(Triple(session, 1, 1), dequeue())
        first = bench.messages(bench.one(again))
        bench.restart()
        assert bench.messages(bench.one(again)) == first
        assert bench.counts() == Counts(ready=1)

    def test_it_takes_less_at_once(self, bench: QueueBench) -> None:
        bench.run(configure(DELIVERY_CONSUME), *(enqueue(bytes(100_000)) for _ in range(5)))
        assert bench.take(5) == [1, 2]
        bench.one(enqueue(bytes(CONSUMED_BYTES_MAX + 1)))
        assert bench.take(5) == [3, 4]
        assert bench.take(5) == [5]
        assert bench.take(5) == [6], "one at least"

    def test_leases_go_on_when_a_queue_begins_to_consume(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bench.take()
        bench.one(configure(DELIVERY_CONSUME))
        assert bench.take(5, at_ms=LEASE_MS - 1) == [2]
        assert bench.take(5, at_ms=LEASE_MS) == [1]
        bench.run(configure(DELIVERY_LEASE), enqueue())
        bench.take()
        assert bench.counts() == Counts(leased=1)


class TestAnswers:
    def test_they_are_bounded_in_bytes(self, bench: QueueBench) -> None:
        bench.run(*(enqueue(bytes(PAGE_BYTES_MAX // 4)) for _ in range(5)))
        assert bench.take(5) == [1, 2, 3]
        assert len(bench.messages(bench.one(dequeue(5, max_bytes=1 << 18)))) == 0
        assert len(bench.messages(bench.one(dequeue(5, max_bytes=(1 << 18) + 29)))) == 1

    def test_a_message_that_fits_no_answer_stays_and_is_told(self, bench: QueueBench) -> None:
        bench.run(enqueue(bytes(300)), enqueue())
        result = bench.one(dequeue(5, max_bytes=200))
        assert result[0] == Reason.FIELD_TOO_LONG
        assert isinstance(result[1], bytes)
        assert b"message 1 has 300 bytes" in result[1]
        assert bench.counts() == Counts(ready=2)

    @pytest.mark.parametrize("delivery", [DELIVERY_LEASE, DELIVERY_CONSUME])
    def test_it_does_not_stay_before_the_others_for_ever(
        self, bench: QueueBench, delivery: int
    ) -> None:
        bench.run(configure(delivery, max_attempts=3), enqueue(bytes(300)), enqueue())
        for _ in range(3):
            assert bench.one(dequeue(5, max_bytes=200))[0] == Reason.FIELD_TOO_LONG
        assert bench.counts() == Counts(ready=1, dead=1)
        assert len(bench.messages(bench.one(dequeue(5, max_bytes=200)))) == 1

    def test_what_was_acknowledged_since_is_left_out(self, bench: QueueBench) -> None:
        bench.run(enqueue(b"a"), enqueue(b"b"))
        result = bench.one(dequeue(2))
        bench.one(ack(1))
        assert [message[1] for message in bench.messages(result)] == [b"b"]

    @pytest.mark.parametrize(
        "kept", [(0,), (0, 7), (0, 7, 9), (0, (1, 2)), (0, 1, 2, ((3, 4, 5),))]
    )
    def test_a_result_of_another_command_stays_as_it_is(
        self, bench: QueueBench, kept: tuple[int, ...]
    ) -> None:
        with bench.read() as txn:
            assert expand(txn, kept) == kept


class TestSettings:
    def test_they_hold_from_now_on(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue())
        bench.take()
        bench.one(configure(visibility_ms=10))
        bench.take()
        bench.run(at_ms=10)
        assert bench.peeked() == [2]
        bench.one(configure(max_attempts=1))
        bench.run(at_ms=LEASE_MS)
        assert bench.counts() == Counts(ready=1, dead=1)

    def test_they_stay_after_a_restart_and_one_by_one(self, bench: QueueBench) -> None:
        bench.one(configure(DELIVERY_CONSUME, 10, 2))
        bench.restart()
        bench.run(configure(DELIVERY_LEASE), enqueue())
        for delivery in range(2):
            assert bench.take(at_ms=10 * delivery) == [1]
        bench.run(at_ms=20)
        assert bench.counts() == Counts(dead=1)

    def test_a_queue_may_be_configured_before_its_first_message(self, bench: QueueBench) -> None:
        bench.one(configure(DELIVERY_CONSUME))
        assert bench.names() == [QUEUE]
        assert bench.one(enqueue()) == (0, 1)


class TestListing:
    def test_names_come_in_byte_order_a_page_at_a_time(self, bench: QueueBench) -> None:
        names = [b"a", b"a" * 2000, b"ab", b"b"]
        bench.run(*(enqueue(queue=name) for name in reversed(names)))
        assert bench.names() == names
        assert bench.names(b"a") == names[:3]
        assert bench.names(after=b"a", limit=2) == names[1:3]
        assert bench.names(b"a", after=b"aa") == names[1:3]


class TestTouchedTopics:
    """About as many waiting calls are woken as can be served."""

    def woken(self, bench: QueueBench) -> int:
        return bench.replica.take_touched().get(TOPIC, 0)

    def test_each_message_that_becomes_ready_wakes_one(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(delay_ms=10), batch(*[(b"", 0, 0, None)] * 3))
        assert self.woken(bench) == 4
        bench.run(at_ms=10)
        assert self.woken(bench) == 1
        bench.take(5, at_ms=10)
        assert self.woken(bench) == 0
        bench.run(nack(1), at_ms=10)
        assert self.woken(bench) == 1
        bench.run(at_ms=10 + LEASE_MS)
        assert self.woken(bench) == 4

    def test_a_dequeue_that_leaves_some_wakes_the_next(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(), enqueue())
        self.woken(bench)
        bench.take()
        assert self.woken(bench) == 1
        bench.take(2)
        assert self.woken(bench) == 0

    def test_nobody_is_woken_for_what_is_gone_again(self, bench: QueueBench) -> None:
        bench.run(enqueue(), enqueue(), dequeue(), dequeue(), dequeue())
        assert self.woken(bench) == 0


@pytest.mark.parametrize("table", [Table.QUEUE_READY, Table.QUEUE_STATE, Table.QUEUE_BODY])
def test_damage_is_noticed(table: Table) -> None:
    bench = QueueBench()
    bench.run(configure(DELIVERY_CONSUME), enqueue(b"a"), enqueue(b"b", delay_ms=10))
    with bench.damage() as txn:
        key, row = next(iter(txn.scan(table, b"")))
        txn.put(table, key, row[:-1] + bytes((row[-1] ^ 1,)))
    bench.restart()
    with pytest.raises(CorruptState, match=table.name):
        bench.run(dequeue(2), at_ms=10)
