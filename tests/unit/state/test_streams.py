"""Streams: ids, ranges, partitions, and what is kept."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cluster.state import stream_trim
from cluster.state.commands import is_command
from cluster.state.errors import CorruptState
from cluster.state.store import Table
from cluster.state.stream_rows import key_hash_of, next_id, previous_id
from flo.wire.status import Reason
from tests.unit.state import stream_kit as kit
from tests.unit.state.helpers import NAMESPACE, START_MS
from tests.unit.state.stream_kit import STREAM_TABLES, Bounds, StreamBench

LONG = b"long" * 300


@pytest.fixture
def bench() -> StreamBench:
    return StreamBench()


TOPIC = b"s" + NAMESPACE + b"\x00s"


def topics(bench: StreamBench) -> set[bytes]:
    """What was touched since it was last asked."""
    return set(bench.replica.take_touched())


class TestIds:
    def test_the_first_of_a_millisecond_has_sequence_0(self, bench: StreamBench) -> None:
        assert bench.append(b"a", at_ms=5) == [(START_MS + 5, 0)]
        assert bench.append(b"b", at_ms=5) == [(START_MS + 5, 1)]
        assert bench.append(b"c", at_ms=6) == [(START_MS + 6, 0)]

    def test_a_batch_has_consecutive_sequences(self, bench: StreamBench) -> None:
        bench.append(b"a")
        ids = bench.append(b"b", b"c", b"d")
        assert ids == [(START_MS, 1), (START_MS, 2), (START_MS, 3)]
        assert [record.id for record in bench.records()] == [(START_MS, 0), *ids]

    def test_they_never_go_back_with_the_clock(self, bench: StreamBench) -> None:
        bench.append(b"a", at_ms=100)
        assert bench.append(b"b", at_ms=-100) == [(START_MS + 100, 1)]

    def test_they_never_go_back_after_a_trim(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b")
        bench.one(kit.trim(bounds=Bounds(max_bytes=0)))
        bench.restart()
        assert bench.append(b"c") == [(START_MS, 2)]

    def test_0_0_is_no_record_even_at_the_beginning_of_time(self, bench: StreamBench) -> None:
        assert bench.append(b"a", at_ms=-START_MS) == [(0, 1)]

    def test_neighbours(self) -> None:
        assert next_id((5, 2**64 - 1)) == (6, 0)
        assert previous_id((6, 0)) == (5, 2**64 - 1)


class TestReading:
    def test_both_ends_are_included(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c", b"d")
        assert [record.id for record in bench.records(ids[1], ids[2])] == ids[1:3]
        assert [record.id for record in bench.records(ids[2])] == ids[2:]
        assert bench.records(ids[2], ids[1]) == []

    def test_a_record_comes_back_as_it_was(self, bench: StreamBench) -> None:
        headers = ((b"n", b"v"), (b"n", b""), (b"", b"x"))
        bench.one(kit.append(b"payload", headers=headers))
        bench.one(kit.append(b""))
        first, second = bench.records()
        assert (first.payload, first.headers, first.partition) == (b"payload", headers, 0)
        assert (second.payload, second.headers) == (b"", ())

    def test_it_ends_at_the_limit(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        assert [record.id for record in bench.records(limit=2)] == ids[:2]

    def test_it_ends_where_the_answer_is_full(self, bench: StreamBench) -> None:
        ids = bench.append(bytes(1000), bytes(1000), bytes(1000))
        assert [record.id for record in bench.records(max_bytes=2500)] == ids[:2]

    def test_one_record_is_always_given_up_to_what_the_client_can_take(
        self, bench: StreamBench
    ) -> None:
        bench.append(bytes(2 << 20), bytes(10))
        assert len(bench.records(max_bytes=3 << 20)) == 1

    def test_an_unknown_stream_is_empty(self, bench: StreamBench) -> None:
        assert bench.records() == []
        assert bench.info() == (0, 0, 0, 0, 0, 0, 0, 1)

    def test_names_of_any_length(self, bench: StreamBench) -> None:
        bench.append(b"a", stream=LONG)
        bench.append(b"b", stream=LONG + b"x")
        assert bench.payloads(LONG) == [b"a"]
        assert bench.streams() == [LONG, LONG + b"x"]

    def test_damage_is_noticed(self, bench: StreamBench) -> None:
        bench.append(b"a")
        with bench.damage() as txn:
            key, row = next(iter(txn.scan(Table.STREAM_RECORDS, b"")))
            txn.put(Table.STREAM_RECORDS, key, row[:-1] + b"b")
        bench.restart()
        with pytest.raises(CorruptState):
            bench.records()


class TestPartitions:
    def test_the_index_given_then_that_of_the_key_then_0(self, bench: StreamBench) -> None:
        bench.one(kit.create(5))
        bench.one(kit.append(b"explicit", partition=3, key=b"k"))
        bench.one(kit.append(b"by key", key=b"k"))
        bench.one(kit.append(b"neither"))
        of_key = key_hash_of(b"k") % 5
        assert of_key not in (0, 3)
        assert [record.partition for record in bench.records()] == [3, of_key, 0]

    def test_a_key_always_finds_its_partition(self, bench: StreamBench) -> None:
        bench.one(kit.create(4))
        for number in range(20):
            bench.one(kit.append(b"%d" % number, key=b"k%d" % (number % 5)))
        for number in range(5):
            hash_ = key_hash_of(b"k%d" % number)
            found = {record.payload for record in bench.records(key_hash=hash_)}
            assert {b"%d" % each for each in range(number, 20, 5)} <= found

    def test_ids_are_unique_across_them_and_a_read_merges(self, bench: StreamBench) -> None:
        bench.one(kit.create(3))
        for number in range(9):
            bench.one(kit.append(b"%d" % number, partition=number % 3))
        assert bench.payloads() == [b"%d" % number for number in range(9)]
        of_one = bench.records(partition=1)
        assert [record.payload for record in of_one] == [b"1", b"4", b"7"]
        assert bench.records(of_one[1].id, partition=1, limit=1) == of_one[1:2]

    def test_an_index_too_high_is_refused_by_append_and_empty_to_a_read(
        self, bench: StreamBench
    ) -> None:
        refused = bench.one(kit.append(b"a", partition=1))
        assert refused[0] == Reason.OUT_OF_RANGE
        assert bench.streams() == []
        bench.one(kit.create(2))
        assert bench.one(kit.append(b"a", partition=2))[0] == Reason.OUT_OF_RANGE
        bench.one(kit.append(b"a", partition=1))
        assert bench.records(partition=2) == []
        bench.append(b"a", stream=b"of one")
        assert bench.records(partition=1, stream=b"of one") == []

    def test_their_number_never_changes(self, bench: StreamBench) -> None:
        assert bench.one(kit.create(2)) == (0,)
        assert bench.one(kit.create(2, Bounds(max_len=1))) == (0,)
        assert bench.one(kit.create(3))[0] == Reason.CONDITION_FAILED
        bench.append(b"a", stream=b"made by append")
        made = kit.create(2, stream=b"made by append")
        assert bench.one(made)[0] == Reason.CONDITION_FAILED

    def test_a_group_that_was_there_first_does_not_say_it(self, bench: StreamBench) -> None:
        bench.one(kit.join(b"c"))
        assert bench.one(kit.create(3)) == (0,)
        assert bench.info()[-1] == 3


class TestTrim:
    def test_up_to_an_id(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c")
        assert bench.one(kit.trim(ids[1])) == (0, 2, 2)
        assert bench.payloads() == [b"c"]
        assert bench.info() == (0, *ids[2], *ids[2], 1, 1, 1)

    def test_up_to_an_id_between_records(self, bench: StreamBench) -> None:
        bench.append(b"a")
        bench.append(b"b", at_ms=10)
        assert bench.one(kit.trim((START_MS + 5, 7)), at_ms=10) == (0, 1, 0)

    def test_the_newest_are_kept(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b", b"c")
        assert bench.one(kit.trim(bounds=Bounds(max_len=2))) == (0, 1, 1)
        assert bench.one(kit.trim(bounds=Bounds(max_len=2))) == (0, 0, 1)

    def test_the_young_are_kept(self, bench: StreamBench) -> None:
        bench.append(b"a")
        bench.append(b"b", at_ms=1)
        command = kit.trim(bounds=Bounds(max_age_s=1))
        assert bench.one(command, at_ms=999) == (0, 0, 0)
        assert bench.one(command, at_ms=1000) == (0, 1, 0)
        assert bench.payloads() == [b"b"]

    def test_the_newest_of_a_size_are_kept(self, bench: StreamBench) -> None:
        bench.append(bytes(10), bytes(20), bytes(30))
        assert bench.one(kit.trim(bounds=Bounds(max_bytes=50))) == (0, 1, 1)
        assert bench.one(kit.trim(bounds=Bounds(max_bytes=49))) == (0, 1, 2)
        assert bench.one(kit.trim(bounds=Bounds(max_bytes=29))) == (0, 1, 0)
        assert bench.info() == (0, 0, 0, 0, 0, 0, 0, 1)

    def test_all_bounds_hold(self, bench: StreamBench) -> None:
        ids = bench.append(b"a", b"b", b"c", b"d")
        assert bench.one(kit.trim(ids[0], Bounds(3, 100, 2))) == (0, 2, 2)

    def test_a_dry_run_only_counts(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b", b"c")
        assert bench.one(kit.trim(bounds=Bounds(max_len=1), dry_run=True)) == (0, 2, 2)
        assert len(bench.records()) == 3

    def test_an_unknown_stream(self, bench: StreamBench) -> None:
        assert bench.one(kit.trim((1, 1))) == (0, 0, 0)
        assert bench.streams() == []

    @pytest.mark.parametrize("keep", [0, 1, 63, 64, 65, 3000, 4999, 5000])
    def test_a_long_stream_is_searched_by_halving(self, bench: StreamBench, keep: int) -> None:
        for number in range(50):
            bench.append(*([b"x"] * 100), at_ms=7 * (number // 3))
        ids = [record.id for record in bench.records(limit=5000)]
        bounds = Bounds(max_len=keep) if keep else Bounds(max_bytes=0)
        first = ids[-keep][1] if keep else 0
        expected = (0, 5000 - keep, first)
        assert bench.one(kit.trim(bounds=bounds, dry_run=True), at_ms=200) == expected
        assert bench.one(kit.trim(bounds=bounds), at_ms=200) == expected
        assert [record.id for record in bench.records(limit=5000)] == ids[5000 - keep :]

    def test_the_rows_go_a_few_per_entry(self, bench: StreamBench) -> None:
        bench.one(kit.create(2))
        for _ in range(2):
            bench.one(kit.append(*([b"x"] * 1000), partition=1))
        bench.one(kit.trim(bounds=Bounds(max_len=1)))
        left = [bench.rows(Table.STREAM_RECORDS)]
        assert 1500 < left[0] < 2000
        while bench.rows(Table.GARBAGE):
            bench.run()
            left.append(bench.rows(Table.STREAM_RECORDS))
        assert max(a - b for a, b in pairwise(left)) <= 256
        assert bench.rows(Table.STREAM_RECORDS) == bench.rows(Table.STREAM_PARTS) == 1


class TestRetention:
    def test_of_length_holds_with_each_append(self, bench: StreamBench) -> None:
        bench.one(kit.create(1, Bounds(max_len=3)))
        for number in range(10):
            bench.append(b"%d" % number, at_ms=number)
        assert bench.payloads() == [b"7", b"8", b"9"]
        assert bench.rows(Table.STREAM_RECORDS) == 3
        bench.append(*(b"%d" % number for number in range(10, 20)), at_ms=20)
        assert bench.payloads() == [b"17", b"18", b"19"]

    def test_of_size_holds_with_each_append(self, bench: StreamBench) -> None:
        bench.one(kit.create(1, Bounds(max_bytes=100)))
        bench.append(bytes(60), bytes(40))
        assert len(bench.records()) == 2
        bench.append(bytes(1))
        assert [len(payload) for payload in bench.payloads()] == [40, 1]

    def test_of_age_needs_no_append(self, bench: StreamBench) -> None:
        bench.one(kit.create(1, Bounds(max_age_s=1)))
        bench.append(b"a")
        bench.append(b"b", at_ms=300)
        bench.run(at_ms=999)
        assert len(bench.records()) == 2
        bench.run(at_ms=1000)
        assert bench.payloads() == [b"b"]
        bench.restart()
        bench.run(at_ms=1300)
        assert bench.payloads() == []
        assert bench.rows(Table.TIMERS) == 0
        bench.append(b"c", at_ms=2000)
        bench.run(at_ms=3000)
        assert bench.payloads() == []

    def test_alter_changes_one_bound_and_lifts_another(self, bench: StreamBench) -> None:
        bench.one(kit.create(1, Bounds(max_len=5, max_age_s=1)))
        bench.append(b"a", b"b", b"c")
        bench.one(kit.alter(Bounds(max_age_s=0)))
        assert bench.rows(Table.TIMERS) == 0
        bench.one(kit.alter(Bounds(max_bytes=2)), at_ms=5000)
        assert bench.payloads() == [b"b", b"c"]
        bench.append(*[b""] * 4, at_ms=5000)
        assert len(bench.records()) == 5

    def test_alter_of_an_unknown_stream(self, bench: StreamBench) -> None:
        assert bench.one(kit.alter(Bounds(max_len=1)))[0] == Reason.NOT_FOUND

    def test_bounds_that_are_set_later_count_for_what_is_there(self, bench: StreamBench) -> None:
        bench.append(b"a", b"b", b"c")
        bench.one(kit.create(1, Bounds(max_len=1, max_age_s=2)), at_ms=1000)
        assert bench.payloads() == [b"c"]
        bench.run(at_ms=2000)
        assert bench.payloads() == []

    def test_full_batches_do_not_outrun_the_removal(
        self, bench: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream_trim, "SWEPT_MIN", 0)
        bench.append(*[b""] * 1000)
        bench.one(kit.alter(Bounds(max_len=10)))
        for _ in range(5):
            bench.append(*[b""] * 1000)
        assert bench.rows(Table.STREAM_RECORDS) <= 1010

    def test_the_newest_stays_however_large_it_is(self, bench: StreamBench) -> None:
        bench.one(kit.create(1, Bounds(max_bytes=10)))
        bench.append(b"a")
        bench.append(bytes(11))
        assert bench.payloads() == [bytes(11)]
        bench.append(b"b", bytes(12))
        assert bench.payloads() == [bytes(12)]
        bench.append(b"c")
        assert bench.payloads() == [b"c"]

    def test_groups_are_woken_by_what_removes_records(self, bench: StreamBench) -> None:
        """A key may be free now."""
        (first, *_) = bench.append(b"a", b"b", b"c", b"d", b"e")
        bench.one(kit.trim(first))
        assert topics(bench) == {TOPIC}
        bench.one(kit.trim(bounds=Bounds(max_len=3)))
        assert topics(bench) == set(), "there is none"
        bench.one(kit.group_create())
        bench.one(kit.trim(bounds=Bounds(max_len=2)))
        assert topics(bench) == {TOPIC}
        bench.one(kit.alter(Bounds(max_len=1, max_age_s=1)))
        assert topics(bench) == {TOPIC}
        bench.run(at_ms=1000)
        assert topics(bench) == {TOPIC}


class TestDelete:
    def test_a_new_one_gives_no_id_a_second_time(self, bench: StreamBench) -> None:
        first = bench.append(b"a", b"b", b"c")
        bench.one(kit.delete(force=True))
        second = bench.append(b"x")
        assert second > first[-1:]
        bench.one(kit.delete(force=True))
        bench.restart()
        assert bench.append(b"y") > second
        bench.one(kit.delete(force=True), at_ms=5)
        assert bench.append(b"z", at_ms=5)[0] == (first[0][0] + 5, 0)

    def test_nothing_is_left(self, bench: StreamBench) -> None:
        bench.one(kit.create(2, Bounds(max_age_s=100), stream=LONG))
        bench.one(kit.append(*[b"x"] * 600, stream=LONG, partition=1))
        bench.one(kit.read(b"c", stream=LONG))
        bench.one(kit.group_create(b"h", mode=1, stream=LONG))
        bench.one(kit.read(b"c", group=b"h", stream=LONG))
        assert bench.one(kit.delete(stream=LONG, force=True)) == (0, True)
        assert bench.streams() == []
        bench.tidy(40_000)
        assert [bench.rows(table) for table in STREAM_TABLES] == [0] * len(STREAM_TABLES)
        assert bench.rows(Table.KV, Table.LONG) == 0

    def test_without_force_only_an_empty_one(self, bench: StreamBench) -> None:
        bench.append(b"a")
        assert bench.one(kit.delete())[0] == Reason.CONDITION_FAILED
        bench.one(kit.trim(bounds=Bounds(max_bytes=0)))
        bench.one(kit.join(b"c"))
        assert bench.one(kit.delete())[0] == Reason.CONDITION_FAILED
        bench.one(kit.group_delete())
        assert bench.one(kit.delete()) == (0, True)
        assert bench.one(kit.delete()) == (0, False)

    def test_a_new_one_of_the_name_has_nothing_of_the_old(self, bench: StreamBench) -> None:
        bench.run(
            kit.create(2, Bounds(max_len=1)),
            kit.append(b"old", partition=1),
            kit.read(b"c"),
            kit.delete(force=True),
            kit.append(b"new"),
        )
        assert bench.payloads() == [b"new"]
        assert bench.info()[-1] == 1
        assert bench.pending() == []
        assert bench.take(b"c") == [bench.records()[0].id]
        bench.append(b"newer")
        assert len(bench.records()) == 2

    def test_a_group_changed_before_in_the_same_transaction_is_gone(
        self, bench: StreamBench
    ) -> None:
        bench.append(b"a")
        bench.run(kit.read(b"c"), kit.delete(force=True))
        bench.tidy(400_000)
        assert bench.rows(Table.KV) == 0


class TestListing:
    def test_by_prefix_after_a_name_in_byte_order(self, bench: StreamBench) -> None:
        for name in (b"b", b"a2", b"a1", b"\xff", b"a"):
            bench.append(b"x", stream=name)
        assert bench.streams() == [b"a", b"a1", b"a2", b"b", b"\xff"]
        assert bench.streams(b"a", after=b"a1") == [b"a2"]
        assert bench.streams(b"a", limit=2) == [b"a", b"a1"]

    def test_groups_are_not_in_it(self, bench: StreamBench) -> None:
        bench.one(kit.join(b"c"))
        assert bench.streams() == [b"s"]


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        (kit.append(b"a"), True),
        (kit.append(*[b"a"] * 1001), False),
        (kit.create(0), False),
        (kit.create(1025), False),
        (kit.alter(Bounds(max_age_s=2**64)), False),
        (kit.ack(*[(1, 1)] * 10_001), False),
        (kit.read(b"c", 1001), False),
        (kit.read(b"c" * 256), False),
        (kit.claim(b"c", 2**32), False),
        (kit.nack((1, 1), delay_ms=2**32 - 1), True),
    ],
)
def test_what_may_stand_in_the_log(command: tuple[object, ...], allowed: bool) -> None:
    assert is_command(command) == allowed
