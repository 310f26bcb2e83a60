"""Consumer groups: who gets which record, and how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cluster.state import group_reads
from cluster.state.commands import EMPTY
from cluster.state.context import LETTERS_BYTES_MAX
from cluster.state.group_rows import ACK_TIMEOUT_MS_DEFAULT, SLOTS_DEFAULT
from cluster.state.group_work import DEAD_LETTERS_MAX
from cluster.state.store import Table
from cluster.state.timers import TIMERS_PER_ENTRY
from flo.wire.status import Reason
from tests.unit.state import stream_kit as kit
from tests.unit.state.helpers import NAMESPACE, START_MS, Triple, open_session, within
from tests.unit.state.stream_kit import STREAM_TABLES, Bounds, Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.commands import Command

DLQ = b"s.dlq"
MISSING = (START_MS - 1, 0)


@pytest.fixture
def bench() -> StreamBench:
    return StreamBench()


class TestReading:
    def test_a_new_group_starts_at_the_beginning(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        assert bench.take(b"one", 2) == ids[:2]
        assert bench.take(b"two") == ids[2:]
        assert bench.take(b"one") == []

    def test_groups_do_not_see_each_other(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        assert bench.take(b"c", group=b"g") == ids
        assert bench.take(b"c", group=b"h") == ids

    def test_groups_of_one_name_on_two_streams_are_two(self, bench: StreamBench) -> None:
        bench.append(b"a")
        ids = bench.append(b"b", stream=b"t")
        bench.take(b"c")
        assert bench.take(b"c", stream=b"t") == ids

    def test_it_begins_where_it_was_created_to(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        bench.one(kit.group_create(b"id", start=ids[1]))
        bench.one(kit.group_create(b"tail", tail=True))
        assert bench.take(b"c", group=b"id") == ids[1:]
        assert bench.take(b"c", group=b"tail") == []
        later = bench.append(b"d")
        assert bench.take(b"c", group=b"tail") == later

    def test_an_unknown_stream_has_nothing_to_take(self, bench: StreamBench) -> None:
        assert bench.one(kit.read(b"c")) == (EMPTY,)
        assert bench.pending() == []
        assert bench.take(b"c") == []
        ids = bench.append(b"a")
        assert bench.take(b"c") == ids

    def test_what_is_trimmed_is_not_delivered(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        bench.one(kit.trim(ids[1]))
        assert bench.take(b"c") == ids[2:]

    def test_an_answer_holds_so_many_bytes_but_one_record(self, bench: StreamBench) -> None:
        bench.append(bytes(1000), bytes(1000), bytes(1000))
        result = bench.one(kit.read(b"c", max_bytes=2500))
        assert len(kit.recorded(bench.expand(result)[2])) == 2
        bench.append(bytes(3 << 20))
        assert len(bench.take(b"c")) == 1
        assert len(bench.take(b"c")) == 1

    def test_one_that_the_client_cannot_take_stays(self, bench: StreamBench) -> None:
        ids = bench.append(bytes(1000))
        refused = bench.one(kit.read(b"c", max_bytes=900))
        assert refused[0] == Reason.FIELD_TOO_LONG
        assert bench.take(b"c") == ids
        assert bench.pending() == [(ids[0], 2, b"c")]

    def test_it_does_not_stay_before_the_others_for_ever(self, bench: StreamBench) -> None:
        ids = bench.append(bytes(1000), b"a")
        bench.one(kit.group_create(settings=Settings(max_deliver=3)))
        for _ in range(3):
            assert bench.one(kit.read(b"c", max_bytes=900))[0] == Reason.FIELD_TOO_LONG
        result = bench.one(kit.read(b"c", max_bytes=900))
        assert [record.id for record in kit.recorded(bench.expand(result)[2])] == ids[1:]
        assert bench.payloads(DLQ) == [bytes(1000)]

    def test_when_it_is_buried_others_hear_of_what_comes_after_it(self, bench: StreamBench) -> None:
        bench.one(kit.group_create(settings=Settings(max_deliver=1)))
        bench.append(bytes(1000), b"a")
        bench.replica.take_touched()
        assert bench.one(kit.read(b"c", max_bytes=900))[0] == Reason.FIELD_TOO_LONG
        assert bench.replica.take_touched()[b"g" + NAMESPACE + b"\x00s\x00g"] == 1

    def test_a_claim_of_it_counts_too(self, bench: StreamBench) -> None:
        ids = bench.append(bytes(1000))
        bench.take(b"c")
        refused = kit.claim(b"d", 1, max_bytes=900)
        assert bench.one(refused, at_ms=5)[0] == Reason.FIELD_TOO_LONG
        assert bench.pending() == [(ids[0], 1, b"c")], "it is in hand"
        bench.one(kit.nack(*ids), at_ms=5)
        assert bench.one(refused, at_ms=5)[0] == Reason.FIELD_TOO_LONG
        assert bench.pending() == [(ids[0], 2, b"d")]
        assert bench.take(b"c", at_ms=5) == ids

    def test_the_same_command_again_gives_the_same(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        session = cast(int, bench.one(open_session(1))[1])
        command = within(Triple(session, 1, 1), kit.read(b"c", 2))
        first = bench.one(command)
        bench.restart()
        assert bench.one(command) == first
        assert [record.id for record in kit.recorded(bench.expand(first)[2])] == ids[:2]
        assert len(bench.pending()) == 2
        bench.one(kit.trim(ids[0]))
        bench.tidy()
        records = kit.recorded(bench.expand(bench.one(command))[2])
        assert [record.id for record in records] == ids[1:2]

    def test_one_that_found_nothing_may_find_something_later(self, bench: StreamBench) -> None:
        session = cast(int, bench.one(open_session(1))[1])
        command = within(Triple(session, 1, 1), kit.read(b"c"))
        assert bench.one(command) == (EMPTY,)
        bench.append(b"a")
        assert bench.one(command)[0] == 0

    def test_a_result_of_another_command_is_left_alone(self, bench: StreamBench) -> None:
        assert bench.expand((0, 5)) == (0, 5)
        assert bench.expand((0,)) == (0,)


class TestWaking:
    """What the leader's waiting calls are told; see `Context.touch`."""

    def test_an_append_says_how_many(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b")
        assert bench.replica.take_touched() == {b"sdefault\x00s": 2}

    def test_a_read_wakes_the_next_as_long_as_there_are_some(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b", b"c")
        bench.take(b"c", 1)
        bench.replica.take_touched()
        bench.take(b"c", 1)
        assert bench.replica.take_touched() == {b"gdefault\x00s\x00g": 1}
        bench.take(b"c", 1)
        assert bench.replica.take_touched() == {}

    def test_what_is_given_back_says_how_many(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.take(b"c")
        bench.replica.take_touched()
        bench.one(kit.nack(*ids))
        assert bench.replica.take_touched() == {b"gdefault\x00s\x00g": 2}


class TestAck:
    def test_whoever_says_it(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        bench.take(b"one")
        bench.one(kit.ack(ids[0], ids[2], consumer=b"two"))
        assert bench.pending() == [(ids[1], 1, b"one")]
        assert bench.one(kit.ack(*ids, MISSING)) == (0,)
        assert bench.one(kit.ack(*ids)) == (0,)
        assert bench.one(kit.ack()) == (0,)
        assert bench.pending() == []
        assert bench.rows(Table.TIMERS) == 0

    def test_of_an_unknown_group_or_stream(self, bench: StreamBench) -> None:
        for command in (kit.ack, kit.nack, kit.touch):
            assert bench.one(command((1, 1)))[0] == Reason.NOT_FOUND
        bench.append(b"a")
        assert bench.one(kit.ack((1, 1)))[0] == Reason.NOT_FOUND
        assert bench.one(kit.ack((1, 1), stream=b"t"))[0] == Reason.NOT_FOUND

    def test_one_that_comes_late_counts(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(100)))
        bench.take(b"c")
        bench.run(at_ms=100)
        bench.one(kit.ack(*ids), at_ms=100)
        assert bench.take(b"c", at_ms=100) == []
        assert bench.rows(Table.GROUP_DUE) == 0


class TestRedelivery:
    def test_nacked_ones_come_first_the_oldest_first(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c", b"d")
        bench.take(b"one", 3)
        bench.one(kit.nack(ids[2]))
        bench.one(kit.nack(ids[0]))
        assert bench.take(b"two", 3) == [ids[0], ids[2], ids[3]]
        assert bench.pending() == [
            (ids[0], 2, b"two"),
            (ids[1], 1, b"one"),
            (ids[2], 2, b"two"),
            (ids[3], 1, b"two"),
        ]

    def test_a_nack_may_have_a_delay(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.take(b"c")
        bench.one(kit.nack(*ids, delay_ms=500))
        assert bench.take(b"c", at_ms=499) == []
        bench.restart()
        assert bench.take(b"c", at_ms=500) == ids

    def test_what_is_not_leased_is_not_nacked(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.take(b"c", 1)
        bench.one(kit.nack(ids[0], delay_ms=500))
        bench.one(kit.nack(*ids, MISSING))
        assert bench.take(b"c") == ids[1:]

    def test_the_ack_timeout_gives_back(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.take(b"one")
        assert bench.take(b"two", at_ms=ACK_TIMEOUT_MS_DEFAULT - 1) == []
        assert bench.pending() == [(ids[0], 1, b"one")]
        assert bench.take(b"two", at_ms=ACK_TIMEOUT_MS_DEFAULT) == ids
        assert bench.pending() == [(ids[0], 2, b"two")]
        assert bench.pending(b"one") == []

    def test_without_one_nothing_comes_back_by_itself(self, bench: StreamBench) -> None:
        bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(ack_timeout_ms=0)))
        bench.take(b"one")
        assert bench.rows(Table.TIMERS) == 0
        assert bench.take(b"two", at_ms=10**12) == []

    def test_a_touch_takes_longer(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(100)))
        bench.take(b"one")
        bench.one(kit.touch(*ids, extend_ms=1000), at_ms=50)
        assert bench.take(b"two", at_ms=1049) == []
        bench.one(kit.touch(*ids, MISSING), at_ms=1049)
        assert bench.take(b"two", at_ms=1148) == []
        assert bench.take(b"two", at_ms=1149) == ids

    def test_what_is_due_is_not_touched(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.take(b"one")
        bench.one(kit.nack(*ids))
        bench.one(kit.touch(*ids, extend_ms=10**6))
        assert bench.take(b"two") == ids

    def test_many_come_back_some_per_entry(self, bench: StreamBench) -> None:
        count = TIMERS_PER_ENTRY + 20
        ids = bench.append(*[b""] * count)
        bench.one(kit.group_create(settings=Settings(100)))
        bench.take(b"one", 1000)
        assert bench.take(b"two", 1000, at_ms=100) == ids[:TIMERS_PER_ENTRY]
        assert bench.take(b"two", 1000, at_ms=100) == ids[TIMERS_PER_ENTRY:]


class TestWhose:
    """A consumer speaks for what it has; who names none speaks for whoever has it."""

    def test_a_nack_of_a_lease_that_is_anothers_now_is_ignored(self, bench: StreamBench) -> None:
        bench.one(kit.group_create(settings=Settings(1000)))
        ids = bench.append(b"a")
        bench.take(b"one")
        assert bench.take(b"two", at_ms=1500) == ids
        bench.one(kit.nack(*ids, consumer=b"one"), at_ms=1600)
        assert bench.take(b"three", at_ms=1600) == []
        bench.one(kit.nack(*ids), at_ms=1600)
        assert bench.take(b"three", at_ms=1600) == ids

    def test_so_is_a_touch(self, bench: StreamBench) -> None:
        bench.one(kit.group_create(settings=Settings(1000)))
        ids = bench.append(b"a")
        bench.take(b"one")
        bench.one(kit.touch(*ids, consumer=b"two", extend_ms=5000))
        assert bench.take(b"two", at_ms=1000) == ids
        bench.one(kit.touch(*ids, extend_ms=5000), at_ms=1000)
        assert bench.take(b"one", at_ms=5999) == []

    def test_an_ack_ends_it_whoever_says_so(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.take(b"one")
        bench.one(kit.ack(*ids, consumer=b"two"))
        assert bench.pending() == []


class TestDeadLetters:
    def test_past_its_last_delivery_a_record_goes_there(self, bench: StreamBench) -> None:
        ids = bench.append(b"other")
        ids = bench.append(b"poison", at_ms=3)
        bench.one(kit.group_create(start=ids[0], settings=Settings(100, 2)))
        assert bench.take(b"c", at_ms=10) == ids
        bench.one(kit.nack(*ids), at_ms=20)
        assert bench.take(b"c", at_ms=20) == ids
        assert bench.payloads(DLQ) == []
        bench.run(at_ms=120)
        assert bench.take(b"c", at_ms=120) == []
        assert bench.pending() == []
        (letter,) = bench.records(stream=DLQ)
        assert letter.payload == b"poison"
        assert letter.headers == (
            (b"flo-dlq-stream", b"s"),
            (b"flo-dlq-group", b"g"),
            (b"flo-dlq-id", b"%d-0" % (START_MS + 3)),
            (b"flo-dlq-deliveries", b"2"),
        )
        assert bench.payloads() == [b"other", b"poison"]

    def test_headers_of_its_own_stay_in_front(self, bench: StreamBench) -> None:
        bench.one(kit.append(b"a", headers=((b"x", b"y"),)))
        bench.one(kit.group_create(settings=Settings(max_deliver=1)))
        bench.one(kit.nack(*bench.take(b"c"), delay_ms=1000))
        (letter,) = bench.records(stream=DLQ)
        assert letter.headers[0] == (b"x", b"y")
        assert len(letter.headers) == 5

    def test_0_is_without_end(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(max_deliver=0)))
        for _ in range(30):
            assert bench.take(b"c") == ids
            bench.one(kit.nack(*ids))
        assert bench.payloads(DLQ) == []

    def test_ten_deliveries_when_nobody_says_another(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        for _ in range(10):
            assert bench.take(b"c") == ids
            bench.one(kit.nack(*ids))
        assert bench.take(b"c") == []
        assert bench.payloads(DLQ) == [b"a"]

    def test_fewer_deliveries_count_for_what_is_due(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        for _ in range(2):
            bench.take(b"c")
            bench.one(kit.nack(*ids))
        bench.one(kit.configure(Settings(max_deliver=2)))
        assert bench.take(b"c") == []
        assert bench.payloads(DLQ) == [b"a"]

    def test_a_claim_is_no_way_around(self, bench: StreamBench) -> None:
        bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(max_deliver=1)))
        bench.take(b"c")
        assert bench.one(kit.claim(b"d", 1), at_ms=5)[3] == b""
        assert bench.payloads(DLQ) == [b"a"]

    def test_what_is_in_hand_is_not_buried_by_a_claim_of_its_own_consumer(
        self, bench: StreamBench
    ) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(100, max_deliver=2)))
        bench.take(b"c")
        for at_ms in range(10, 90, 10):
            assert bench.one(kit.claim(b"c"), at_ms=at_ms)[3] != b""
        assert bench.pending() == [(ids[0], 9, b"c")]
        assert bench.take(b"c", at_ms=180) == []
        assert bench.payloads(DLQ) == [b"a"]

    def test_one_command_copies_a_bounded_number(self, bench: StreamBench) -> None:
        count = DEAD_LETTERS_MAX + 30
        bench.append(*[b"x"] * count)
        bench.one(kit.group_create(settings=Settings(max_deliver=1)))
        ids = bench.take(b"c")
        bench.one(kit.nack(*ids))
        assert len(bench.records(stream=DLQ)) == DEAD_LETTERS_MAX
        assert bench.take(b"c") == []
        assert len(bench.records(stream=DLQ)) == count
        assert bench.pending() == []

    def test_one_entry_copies_a_bounded_number_of_bytes(self, bench: StreamBench) -> None:
        size = LETTERS_BYTES_MAX // 4
        bench.append(*[bytes(size)] * 10)
        bench.one(kit.group_create(settings=Settings(100, max_deliver=1)))
        bench.one(kit.read(b"c"))
        while len(bench.pending()) < 10:
            bench.one(kit.read(b"c"))
        copied: list[object] = []
        while bench.pending():
            bench.run(at_ms=100)
            copied.append(bench.info(DLQ)[5])
        assert copied == [4, 8, 10]

    def test_newer_records_wait_while_more_are_to_be_buried(self, bench: StreamBench) -> None:
        ids = bench.append(*[b"x"] * (DEAD_LETTERS_MAX + 1))
        bench.take(b"c")
        bench.one(kit.nack(*ids))
        bench.one(kit.configure(Settings(max_deliver=1)))
        new = bench.append(b"new")
        assert bench.take(b"c") == []
        bench.one(kit.configure(Settings(max_deliver=2)))
        assert bench.take(b"c") == [ids[-1], *new]

    def test_a_dead_letter_of_a_dead_letter(self, bench: StreamBench) -> None:
        bench.append(b"a", stream=DLQ)
        bench.one(kit.group_create(settings=Settings(max_deliver=1), stream=DLQ))
        bench.one(kit.nack(*bench.take(b"c", stream=DLQ), stream=DLQ))
        assert bench.payloads(DLQ + b".dlq") == [b"a"]

    def test_a_name_with_no_room_for_the_suffix_has_none(self, bench: StreamBench) -> None:
        """Its records come again instead: nothing is lost."""
        name = b"n" * (4095 - len(b"default") - 3)
        ids = bench.append(b"a", stream=name)
        bench.one(kit.group_create(settings=Settings(max_deliver=1), stream=name))
        for _ in range(3):
            assert bench.take(b"c", stream=name) == ids
            bench.one(kit.nack(*ids, stream=name))
        assert bench.streams() == [name]

    def test_headers_are_text_whatever_the_name(self, bench: StreamBench) -> None:
        bench.append(b"a", stream=b"\xff")
        bench.one(kit.group_create(settings=Settings(max_deliver=1), stream=b"\xff"))
        bench.one(kit.nack(*bench.take(b"c", stream=b"\xff"), stream=b"\xff"))
        (letter,) = bench.records(stream=b"\xff.dlq")
        assert letter.headers[0] == (b"flo-dlq-stream", b"\\xff")


class TestTrimmed:
    def test_they_leave_the_pending_list_at_once(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        bench.take(b"one", 2)
        bench.take(b"two")
        bench.one(kit.trim(ids[0]))
        assert bench.pending() == [(ids[1], 1, b"one"), (ids[2], 1, b"two")]
        assert bench.group_info()[4:] == (2, 0, ((b"one", 1, True), (b"two", 1, True)))
        bench.one(kit.trim(bounds=Bounds(max_bytes=0)))
        assert bench.pending() == []
        assert bench.group_info()[4:] == (0, 0, ((b"one", 0, True), (b"two", 0, True)))

    def test_they_are_neither_given_back_nor_dead_letters(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.one(kit.group_create(settings=Settings(100, 1)))
        bench.take(b"c")
        bench.one(kit.trim(bounds=Bounds(max_bytes=0)))
        bench.one(kit.nack(ids[0]))
        bench.run(at_ms=100)
        assert bench.take(b"c", at_ms=100) == []
        assert bench.payloads(DLQ) == []

    def test_their_rows_go_with_the_next_reads(self, bench: StreamBench) -> None:
        bench.append(*[b""] * 1000)
        bench.one(kit.group_create(settings=Settings(0)))
        ids = bench.take(b"c", 1000)
        bench.one(kit.nack(*ids[::2]))
        bench.one(kit.trim(ids[-1]))
        rows: list[int] = []
        for _ in range(4):
            bench.take(b"c")
            rows.append(bench.rows(Table.GROUP_PENDING))
        assert rows == [744, 488, 232, 0]
        assert bench.rows(Table.GROUP_DUE) == 0


class TestClaim:
    def claimed(
        self, bench: StreamBench, result: tuple[object, ...]
    ) -> tuple[list[tuple[int, int]], object]:
        expanded = bench.expand(cast("tuple[int, ...]", result))
        return [record.id for record in kit.recorded(expanded[2])], expanded[3]

    def test_with_no_idle_time_only_the_callers_own(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        bench.take(b"one", 1)
        bench.take(b"two", 1)
        bench.take(b"one", 1)
        result = bench.one(kit.claim(b"one"))
        assert self.claimed(bench, result) == ([ids[0], ids[2]], None)
        assert [entry[1] for entry in bench.pending()] == [2, 1, 2]

    def test_with_one_also_of_others_that_are_idle(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.take(b"one", 1)
        bench.take(b"one", 1, at_ms=50)
        result = bench.one(kit.claim(b"two", 100), at_ms=100)
        assert self.claimed(bench, result) == (ids[:1], None)
        assert bench.pending() == [(ids[0], 2, b"two"), (ids[1], 1, b"one")]
        result = bench.one(kit.claim(b"one", 100), at_ms=199)
        assert self.claimed(bench, result) == (ids[1:], None)

    def test_what_is_touched_is_not_idle(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.take(b"one")
        bench.one(kit.touch(*ids), at_ms=50)
        assert self.claimed(bench, bench.one(kit.claim(b"two", 100), at_ms=149)) == ([], None)

    def test_page_after_page(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c", b"d")
        bench.take(b"other", 1)
        bench.take(b"c")
        first, cursor = self.claimed(bench, bench.one(kit.claim(b"c", limit=2)))
        assert (first, cursor) == (ids[1:3], ids[3])
        result = bench.one(kit.claim(b"c", limit=2, start=ids[3]))
        assert self.claimed(bench, result) == (ids[3:], None)

    def test_as_many_as_the_answer_holds(self, bench: StreamBench) -> None:
        ids = bench.append(bytes(1000), bytes(1000))
        bench.take(b"c")
        result = bench.one(kit.claim(b"c", max_bytes=1500))
        assert self.claimed(bench, result) == (ids[:1], ids[1])
        assert bench.one(kit.claim(b"c", max_bytes=900))[0] == Reason.FIELD_TOO_LONG

    def test_what_is_due_can_be_claimed_but_not_what_is_delayed(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.take(b"c")
        bench.one(kit.nack(ids[0]))
        bench.one(kit.nack(ids[1], delay_ms=100))
        assert self.claimed(bench, bench.one(kit.claim(b"c"))) == (ids[:1], None)
        assert bench.rows(Table.GROUP_DUE) == 0

    def test_it_starts_the_timeout_anew(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(100)))
        bench.take(b"c")
        bench.one(kit.claim(b"d", 50), at_ms=60)
        assert bench.take(b"e", at_ms=159) == []
        assert bench.take(b"e", at_ms=160) == ids

    def test_of_an_unknown_group(self, bench: StreamBench) -> None:
        assert bench.expand(bench.one(kit.claim(b"c"))) == (0, b"", (), None)
        assert bench.streams() == []


class TestMembers:
    def test_join_and_leave_may_be_said_twice(self, bench: StreamBench) -> None:
        for _ in range(2):
            assert bench.one(kit.join(b"c")) == (0,)
        assert bench.group_info()[6] == ((b"c", 0, True),)
        for _ in range(2):
            assert bench.one(kit.leave(b"c")) == (0,)
        assert bench.group_info()[6] == ()
        assert bench.one(kit.leave(b"c", group=b"unknown")) == (0,)
        assert bench.one(kit.leave(b"c", stream=b"unknown")) == (0,)

    def test_what_is_pending_stays_with_one_that_left(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.take(b"c")
        bench.one(kit.leave(b"c"))
        assert bench.pending(b"c") == [(ids[0], 1, b"c"), (ids[1], 1, b"c")]
        bench.one(kit.ack(ids[0]))
        bench.one(kit.join(b"c"))
        assert bench.group_info()[6] == ((b"c", 1, True),)
        bench.one(kit.leave(b"c"))
        bench.one(kit.ack(ids[1]))
        assert bench.rows(Table.GROUP_MEMBERS) == 1  # the name of the group


class TestInfo:
    def test_an_unknown_group_looks_like_a_new_one(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b")
        settings = (ACK_TIMEOUT_MS_DEFAULT, 10, 2**16 - 1, SLOTS_DEFAULT)
        assert bench.group_info() == (0, 0, settings, (0, 0), 0, 2, ())
        assert bench.group_info(stream=b"unknown") == (0, 0, settings, (0, 0), 0, 0, ())

    def test_lag_counts_what_is_live_after_the_cursor(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c", b"d")
        bench.one(kit.group_create(b"id", start=ids[2]))
        bench.take(b"c", 1)
        assert bench.group_info()[3:6] == (ids[0], 1, 3)
        assert bench.group_info(b"id")[5] == 2
        bench.one(kit.trim(ids[2]))
        assert bench.group_info()[3:6] == (ids[0], 0, 1)
        assert bench.group_info(b"id")[5] == 1

    def test_a_start_beyond_the_end_has_no_lag(self, bench: StreamBench) -> None:
        bench.append(b"a")
        bench.one(kit.group_create(start=(START_MS + 100, 0)))
        bench.append(b"b", at_ms=50)
        assert bench.group_info()[5] == 0
        ids = bench.append(b"c", at_ms=100)
        assert bench.group_info()[5] != 0
        assert bench.take(b"c", at_ms=100) == ids
        assert bench.group_info()[5] == 0

    def test_one_look_goes_through_a_bounded_number(
        self, bench: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_reads, "LOOKED_MAX", 3)
        ids = bench.append(*[b"x"] * 6)
        bench.take(b"dead", 3)
        bench.take(b"me", 1)
        assert bench.pending(b"me") == []
        bench.one(kit.ack(ids[0]))
        assert bench.pending(b"me") == [(ids[3], 1, b"me")]
        bench.take(b"dead")
        bench.one(kit.trim(ids[5]))
        assert bench.group_info()[4] == 2, "of five that are gone three were looked at"


class TestSettings:
    def test_create_again_sets_them_but_not_the_mode(self, bench: StreamBench) -> None:
        assert bench.one(kit.group_create(settings=Settings(5, 6, 7, 8))) == (0,)
        assert bench.one(kit.group_create(settings=Settings(max_deliver=9))) == (0,)
        assert bench.group_info()[2] == (5, 9, 7, 8)
        assert bench.one(kit.group_create(mode=1))[0] == Reason.CONDITION_FAILED

    def test_configure_changes_those_that_are_given(self, bench: StreamBench) -> None:
        assert bench.one(kit.configure(Settings(1)))[0] == Reason.NOT_FOUND
        bench.one(kit.join(b"c"))
        bench.one(kit.configure(Settings(ack_timeout_ms=1)))
        assert bench.group_info()[2] == (1, 10, 2**16 - 1, SLOTS_DEFAULT)

    def test_leases_there_are_keep_their_time(self, bench: StreamBench) -> None:
        ids = bench.append(b"a")
        bench.one(kit.group_create(settings=Settings(100)))
        bench.take(b"c")
        bench.one(kit.configure(Settings(10_000)))
        assert bench.take(b"d", at_ms=100) == ids


class TestDelete:
    def test_nothing_is_left(self, bench: StreamBench) -> None:
        bench.append(*[b""] * 400)
        bench.one(kit.group_create(mode=1))
        ids = bench.take(b"c", 400)
        bench.one(kit.nack(*ids[:100]))
        bench.one(kit.nack(*ids[100:200], delay_ms=10**6))
        assert bench.one(kit.group_delete()) == (0, True)
        assert bench.one(kit.group_delete()) == (0, False)
        assert bench.one(kit.group_delete(stream=b"unknown")) == (0, False)
        bench.tidy()
        assert [bench.rows(table) for table in STREAM_TABLES] == [400, 0, 0, 0, 0, 0, 0]
        assert bench.pending() == []

    @pytest.mark.parametrize("command", [kit.group_delete(), kit.delete(force=True)])
    def test_timers_of_what_was_deleted_do_nothing(
        self, bench: StreamBench, command: Command
    ) -> None:
        bench.append(*[b"x"] * 800)
        bench.one(kit.group_create(mode=1, settings=Settings(100, 1)))
        bench.take(b"c", 800)
        bench.one(command)
        bench.tidy(40_000)
        assert bench.rows(Table.TIMERS, Table.GROUP_PENDING, Table.GROUP_MEMBERS) == 0
        assert bench.payloads(DLQ) == []

    def test_a_new_one_of_the_name_starts_anew(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b")
        bench.run(kit.read(b"c"), kit.nack(ids[0]), kit.group_delete(), kit.read(b"d", 1))
        assert bench.pending() == [(ids[0], 1, b"d")]
        assert bench.take(b"d", at_ms=ACK_TIMEOUT_MS_DEFAULT) == ids
        assert bench.group_info()[6] == ((b"d", 2, True),)
