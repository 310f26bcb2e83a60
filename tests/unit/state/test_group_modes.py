"""Groups that give records to one holder, or those of a key to one consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cluster.state import group_counts, group_rows, group_take, group_work
from cluster.state.commands import EMPTY, GROUP_LOCKED
from cluster.state.group_commands import WAIT_FOR_KEYS, WAIT_FOR_LEASE, WAIT_FOR_RECORDS
from cluster.state.group_counts import EVERYBODY, own_topic
from cluster.state.group_lease import GIVEN_BACK_MAX, LEASE_MS, RENEW_MS, STANDBY_MS, standby_topic
from cluster.state.store import Table
from flo.wire.status import Reason
from tests.unit.state import stream_kit as kit
from tests.unit.state.helpers import NAMESPACE
from tests.unit.state.stream_kit import Bounds, Settings, StreamBench

if TYPE_CHECKING:
    from cluster.state.commands import Result

EXCLUSIVE, KEY_SHARED = 1, 2
TOPIC = b"g" + NAMESPACE + b"\x00s\x00g"


@pytest.fixture
def exclusive() -> StreamBench:
    bench = StreamBench()
    bench.one(kit.group_create(mode=EXCLUSIVE))
    return bench


@pytest.fixture
def key_shared() -> StreamBench:
    bench = StreamBench()
    bench.one(kit.group_create(mode=KEY_SHARED))
    return bench


def touched(bench: StreamBench) -> dict[bytes, int]:
    """What was touched since it was last asked."""
    return bench.replica.take_touched()


def append(bench: StreamBench, key: bytes | None, *payloads: bytes) -> None:
    bench.one(kit.append(*payloads, key=key))


def take(bench: StreamBench, consumer: bytes, limit: int = 100, *, at_ms: int = 0) -> list[bytes]:
    """The payloads of what a consumer gets."""
    ids = bench.take(consumer, limit, at_ms=at_ms)
    payloads = {record.id: record.payload for record in bench.records()}
    return [payloads[of] for of in ids]


def active(bench: StreamBench) -> dict[bytes, bool]:
    consumers = cast("tuple[tuple[bytes, int, bool], ...]", bench.group_info()[6])
    return {name: is_active for name, _, is_active in consumers}


def waits_for(told: Result) -> object:
    """What a read that found nothing is told to wait for."""
    return cast("tuple[object, ...]", told[1])[5]


class TestExclusive:
    def test_only_the_holder_gets_records(self, exclusive: StreamBench) -> None:
        append(exclusive, None, b"a", b"b")
        assert take(exclusive, b"one", 1) == [b"a"]
        assert take(exclusive, b"two") == []
        assert take(exclusive, b"one") == [b"b"]
        assert active(exclusive) == {b"one": True, b"two": False}

    def test_a_silent_holder_loses_it_to_who_asks(self, exclusive: StreamBench) -> None:
        append(exclusive, None, b"a", b"b")
        take(exclusive, b"one", 1)
        assert take(exclusive, b"two", at_ms=LEASE_MS - 1) == []
        assert take(exclusive, b"two", at_ms=LEASE_MS) == [b"a", b"b"]
        assert take(exclusive, b"one", at_ms=LEASE_MS) == []
        assert active(exclusive) == {b"one": False, b"two": True}

    @pytest.mark.parametrize("what", ["read", "ack", "nack", "touch", "claim"])
    def test_whatever_the_holder_says_renews_it(self, exclusive: StreamBench, what: str) -> None:
        append(exclusive, None, b"a")
        ids = exclusive.take(b"one")
        command = {
            "read": kit.read(b"one"),
            "ack": kit.ack(*ids, consumer=b"one"),
            "nack": kit.nack(*ids, consumer=b"one"),
            "touch": kit.touch(*ids, consumer=b"one"),
            "claim": kit.claim(b"one"),
        }[what]
        exclusive.one(command, at_ms=20_000)
        append(exclusive, None, b"b")
        assert take(exclusive, b"two", at_ms=20_000 + LEASE_MS - 1) == []
        assert take(exclusive, b"two", at_ms=20_000 + LEASE_MS) != []

    def test_an_ack_of_somebody_else_does_not(self, exclusive: StreamBench) -> None:
        append(exclusive, None, b"a")
        ids = exclusive.take(b"one")
        exclusive.one(kit.ack(*ids, consumer=b"two"), at_ms=20_000)
        exclusive.one(kit.ack(*ids), at_ms=20_000)
        append(exclusive, None, b"b")
        assert take(exclusive, b"two", at_ms=LEASE_MS) == [b"b"]

    def test_one_that_leaves_gives_it_up(self, exclusive: StreamBench) -> None:
        take(exclusive, b"one")
        exclusive.one(kit.leave(b"one"))
        append(exclusive, None, b"a")
        assert take(exclusive, b"two") == [b"a"]

    def test_only_so_many_stand_by(self) -> None:
        bench = StreamBench()
        bench.one(kit.group_create(mode=EXCLUSIVE, settings=Settings(max_standbys=1)))
        take(bench, b"one")
        take(bench, b"two")
        for command in (kit.read(b"three"), kit.join(b"three"), kit.claim(b"three")):
            assert bench.one(command) == (GROUP_LOCKED,)
        assert bench.one(kit.read(b"two"))[0] == EMPTY
        # A holder that fell silent keeps no place.
        bench.run(at_ms=LEASE_MS)
        assert bench.one(kit.join(b"three"), at_ms=LEASE_MS) == (0,)

    def test_who_takes_over_begins_with_what_the_other_had(self, exclusive: StreamBench) -> None:
        # A timer gives back some at the begin of an entry, and the read some more.
        count = 3 * GIVEN_BACK_MAX + 10
        ids = exclusive.append(*[b"x"] * count)
        assert exclusive.take(b"one", count - 1) == ids[:-1]
        exclusive.one(kit.ack(*ids[:5], consumer=b"one"))
        assert exclusive.take(b"two") == []
        touched(exclusive)
        assert exclusive.take(b"two", 1000, at_ms=LEASE_MS) == []
        assert standby_topic(TOPIC) not in touched(exclusive)
        exclusive.run(at_ms=LEASE_MS)
        exclusive.run(at_ms=LEASE_MS)
        assert touched(exclusive)[standby_topic(TOPIC)] == 1
        assert exclusive.take(b"two", 1000, at_ms=LEASE_MS) == ids[5:]
        assert {each[1] for each in exclusive.pending()} == {1, 2}

    def test_so_does_the_next_when_the_holder_leaves(self, exclusive: StreamBench) -> None:
        append(exclusive, None, b"a", b"b")
        take(exclusive, b"one", 1)
        exclusive.one(kit.leave(b"one"))
        assert take(exclusive, b"two") == [b"a", b"b"]

    def test_a_holder_that_comes_back_meanwhile_goes_on(self, exclusive: StreamBench) -> None:
        given = 2 * GIVEN_BACK_MAX
        ids = exclusive.append(*[b"x"] * (given + 10))
        exclusive.take(b"one", 1000)
        exclusive.run(at_ms=LEASE_MS)
        assert exclusive.take(b"one", 1000, at_ms=LEASE_MS) == ids[:given]
        assert active(exclusive) == {b"one": True}
        exclusive.run(at_ms=LEASE_MS)
        assert len(exclusive.pending(b"one")) == len(ids)
        for _ in range(3):
            exclusive.run(at_ms=2 * LEASE_MS)
        assert exclusive.take(b"two", 1000, at_ms=2 * LEASE_MS) == ids

    def test_a_read_of_the_holder_that_waits_is_woken_in_time(self, exclusive: StreamBench) -> None:
        take(exclusive, b"one")
        take(exclusive, b"one", at_ms=5_000)
        touched(exclusive)
        for at_ms in (LEASE_MS - RENEW_MS, 5_000 + LEASE_MS - RENEW_MS - 1):
            exclusive.run(at_ms=at_ms)
            assert touched(exclusive) == {}
        exclusive.run(at_ms=5_000 + LEASE_MS - RENEW_MS)
        assert touched(exclusive) == {TOPIC: 1}
        exclusive.run(at_ms=5_000 + LEASE_MS)
        assert active(exclusive) == {}

    def test_one_that_is_refused_wakes_another(self, exclusive: StreamBench) -> None:
        exclusive.one(kit.configure(Settings(max_standbys=0)))
        take(exclusive, b"one")
        append(exclusive, None, b"a")
        touched(exclusive)
        assert exclusive.one(kit.read(b"two")) == (GROUP_LOCKED,)
        assert touched(exclusive) == {TOPIC: 1}
        take(exclusive, b"one")
        touched(exclusive)
        assert exclusive.one(kit.read(b"two")) == (GROUP_LOCKED,)
        assert touched(exclusive) == {}

    def test_one_that_stands_by_no_more_gives_its_place_up(self) -> None:
        bench = StreamBench()
        bench.one(kit.group_create(mode=EXCLUSIVE, settings=Settings(max_standbys=1)))
        take(bench, b"one")
        take(bench, b"two", at_ms=5)
        for at_ms in range(0, STANDBY_MS, 20_000):
            take(bench, b"one", at_ms=at_ms)
        assert bench.one(kit.join(b"three"), at_ms=STANDBY_MS + 4) == (GROUP_LOCKED,)
        take(bench, b"one", at_ms=STANDBY_MS + 5)
        assert bench.one(kit.join(b"three"), at_ms=STANDBY_MS + 5) == (0,)
        assert list(active(bench)) == [b"one", b"three"]
        assert bench.one(kit.read(b"two"), at_ms=STANDBY_MS + 5) == (GROUP_LOCKED,)

    def test_who_finds_nothing_waits_for_what_concerns_it(self, exclusive: StreamBench) -> None:
        assert exclusive.one(kit.read(b"one")) == (EMPTY,)
        told = exclusive.one(kit.read(b"two", 7, max_bytes=99))
        assert told == (EMPTY, (NAMESPACE, b"s", b"g", b"two", 7, WAIT_FOR_LEASE, 99))
        assert exclusive.one(kit.read(b"two", waits=WAIT_FOR_LEASE)) == (EMPTY,)
        told = exclusive.one(kit.read(b"two", waits=WAIT_FOR_LEASE), at_ms=LEASE_MS)
        assert told[0] == EMPTY
        assert waits_for(told) == WAIT_FOR_RECORDS

    def test_a_holder_that_leaves_with_much_in_hand_does_not_block_the_group(
        self, exclusive: StreamBench
    ) -> None:
        count = 2 * GIVEN_BACK_MAX + 1
        exclusive.append(*(b"%d" % number for number in range(count)))
        assert len(take(exclusive, b"one", count)) == count
        assert exclusive.one(kit.read(b"two"))[0] in (EMPTY, GROUP_LOCKED)
        exclusive.one(kit.leave(b"one"), at_ms=1)
        for _ in range(2):
            exclusive.run(at_ms=1)
        assert len(take(exclusive, b"two", count, at_ms=1)) == count

    def test_only_the_holder_claims(self, exclusive: StreamBench) -> None:
        append(exclusive, None, b"a")
        take(exclusive, b"one")
        assert exclusive.one(kit.claim(b"two", 1), at_ms=100)[3] == b""
        result = exclusive.one(kit.claim(b"two", 1), at_ms=LEASE_MS)
        assert len(kit.recorded(exclusive.expand(result)[2])) == 1

    def test_one_timer_stands_however_often_it_is_renewed(self, exclusive: StreamBench) -> None:
        for at_ms in range(0, 100_000, 10_000):
            take(exclusive, b"one", at_ms=at_ms)
            assert exclusive.rows(Table.TIMERS) == 1
        exclusive.run(at_ms=90_000 + LEASE_MS)
        exclusive.run(at_ms=90_000 + LEASE_MS)
        assert exclusive.rows(Table.TIMERS) == 0
        assert active(exclusive) == {}


class TestKeyShared:
    def test_a_key_is_with_one_consumer_while_it_has_any(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k1", b"a1")
        append(key_shared, b"k2", b"b1")
        append(key_shared, b"k1", b"a2")
        append(key_shared, b"k3", b"c1")
        assert take(key_shared, b"one", 1) == [b"a1"]
        assert take(key_shared, b"two") == [b"b1", b"c1"]
        assert take(key_shared, b"one") == [b"a2"]

    def test_when_it_is_done_the_key_is_free(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1", b"2", b"3")
        first = key_shared.take(b"one", 1)
        assert take(key_shared, b"two") == []
        key_shared.one(kit.ack(*first))
        assert take(key_shared, b"two", 1) == [b"2"]
        assert take(key_shared, b"one") == []
        assert take(key_shared, b"two") == [b"3"]

    def test_records_without_a_key_go_to_whoever_asks(self, key_shared: StreamBench) -> None:
        append(key_shared, None, b"a", b"b")
        assert take(key_shared, b"one", 1) == [b"a"]
        assert take(key_shared, b"two") == [b"b"]

    def test_each_key_keeps_its_order(self, key_shared: StreamBench) -> None:
        for number in range(60):
            append(key_shared, b"k%d" % (number % 3), b"%d" % number)
        got: dict[int, list[int]] = {0: [], 1: [], 2: []}
        holders: dict[int, bytes] = {}
        for turn in range(60):
            consumer = (b"one", b"two")[turn % 2]
            ids = key_shared.take(consumer, 1)
            payloads = {record.id: int(record.payload) for record in key_shared.records()}
            for of in ids:
                key = payloads[of] % 3
                assert holders.get(key, consumer) == consumer
                got[key].append(payloads[of])
                key_shared.one(kit.ack(of))
        assert all(numbers == sorted(numbers) for numbers in got.values())
        assert sum(map(len, got.values())) == 60

    def test_a_timeout_and_a_nack_free_the_key(self, key_shared: StreamBench) -> None:
        key_shared.one(kit.configure(Settings(ack_timeout_ms=100)))
        append(key_shared, b"k", b"1", b"2")
        take(key_shared, b"one", 1)
        assert take(key_shared, b"two", at_ms=99) == []
        assert take(key_shared, b"two", at_ms=100) == [b"1", b"2"]
        ids = [entry[0] for entry in key_shared.pending()]
        key_shared.one(kit.nack(*ids), at_ms=100)
        assert take(key_shared, b"one", at_ms=100) == [b"1", b"2"]

    def test_a_claim_takes_the_key_along(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1", b"2")
        take(key_shared, b"one", 1)
        key_shared.one(kit.claim(b"two", 1), at_ms=5)
        assert take(key_shared, b"one", at_ms=5) == []
        assert take(key_shared, b"two", at_ms=5) == [b"2"]

    def test_a_claim_takes_nothing_of_a_key_that_is_at_work(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1", b"2", b"3")
        first = key_shared.take(b"one", 1)
        key_shared.one(kit.nack(*first, delay_ms=100))
        assert take(key_shared, b"two", 1) == [b"2"]
        key_shared.run(at_ms=100)
        assert key_shared.one(kit.claim(b"one"), at_ms=110)[3] == b"", "the key is with two"
        assert take(key_shared, b"two", 1, at_ms=110) == [b"1"]
        assert key_shared.one(kit.claim(b"one", 50), at_ms=110)[3] == b"", "one of it is not idle"
        assert take(key_shared, b"one", at_ms=110) == []

    def test_a_claim_takes_all_of_a_key_along(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1", b"2", b"3", b"4")
        ids = key_shared.take(b"one", 3)
        result = key_shared.one(kit.claim(b"two", 1, limit=2), at_ms=5)
        assert [each.id for each in kit.recorded(key_shared.expand(result)[2])] == ids[:2]
        assert take(key_shared, b"one", at_ms=5) == []
        assert take(key_shared, b"two", at_ms=5) == [b"3", b"4"]
        assert [each[1:] for each in key_shared.pending()] == [
            (2, b"two"),
            (2, b"two"),
            (2, b"two"),
            (1, b"two"),
        ]

    def test_what_is_passed_over_is_bounded(
        self, key_shared: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(group_take, "PARKED_MAX", 3)
        append(key_shared, b"k", *(b"%d" % number for number in range(5)))
        append(key_shared, b"other", b"x")
        first = key_shared.take(b"one", 1)
        assert take(key_shared, b"two") == []
        assert key_shared.rows(Table.GROUP_DUE) == 3
        assert key_shared.group_info()[5] == 5
        assert take(key_shared, b"one") == [b"1", b"2", b"3", b"4", b"x"]
        key_shared.one(kit.ack(*first))
        assert key_shared.group_info()[4:6] == (5, 0)

    def test_who_sweeps_trimmed_ones_only_in_part_has_the_next_go_on(
        self, key_shared: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(key_shared, b"k", *(b"%d" % number for number in range(12)))
        take(key_shared, b"one", 1)
        take(key_shared, b"two")
        key_shared.one(kit.trim(key_shared.records()[10].id))
        monkeypatch.setattr(group_work, "TRIMMED_MAX", 3)
        looks = 0
        while key_shared.rows(Table.GROUP_DUE) > 1:
            touched(key_shared)
            key_shared.one(kit.claim(b"two"))
            looks += 1
            assert touched(key_shared) or key_shared.rows(Table.GROUP_DUE) == 1
        assert looks > 1

    def test_newer_records_wait_when_older_ones_of_the_key_may_be_out_of_sight(
        self, key_shared: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (group_take, group_counts):
            monkeypatch.setattr(module, "LOOKED_MAX", 2)
        append(key_shared, b"k", *(b"%d" % number for number in range(5)))
        take(key_shared, b"one", 1)
        take(key_shared, b"two")
        append(key_shared, b"other", b"x1", b"x2")
        key_shared.one(kit.nack(*key_shared.take(b"two", 1)))
        assert take(key_shared, b"three") == []
        touched(key_shared)
        assert take(key_shared, b"one", 2) == [b"1", b"2"]
        assert touched(key_shared)[TOPIC] >= EVERYBODY, "any may see more now"
        assert take(key_shared, b"three") == [b"x1", b"x2"]

    def test_what_others_have_is_not_looked_at(
        self, key_shared: StreamBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(key_shared, b"k", b"1", b"2", b"3")
        take(key_shared, b"one", 1)
        assert take(key_shared, b"two") == []
        append(key_shared, None, b"x")
        monkeypatch.setattr(group_rows, "scan_due", None)
        assert take(key_shared, b"two") == [b"x"]
        assert take(key_shared, b"three") == []

    def test_only_who_may_have_it_is_woken(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1")
        first = key_shared.take(b"one", 1)
        append(key_shared, b"k", b"2", b"3")
        touched(key_shared)
        assert take(key_shared, b"two") == []
        assert touched(key_shared) == {own_topic(TOPIC, b"one"): 1}
        key_shared.one(kit.touch(*first))
        assert touched(key_shared) == {}
        key_shared.one(kit.ack(*first))
        assert touched(key_shared) == {TOPIC: 2}
        assert take(key_shared, b"two") == [b"2", b"3"]
        assert touched(key_shared) == {}
        (second, _) = [each[0] for each in key_shared.pending()]
        key_shared.one(kit.nack(second))
        assert touched(key_shared) == {own_topic(TOPIC, b"two"): 1}

    def test_what_was_passed_over_and_trimmed_is_gone(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1", b"2", b"3")
        take(key_shared, b"one", 1)
        take(key_shared, b"two")
        key_shared.one(kit.trim(bounds=Bounds(max_len=1)))
        assert key_shared.group_info()[4:6] == (0, 1)
        assert take(key_shared, b"two") == [b"3"]
        assert key_shared.rows(Table.GROUP_DUE) == 0
        assert key_shared.group_info()[4:6] == (1, 0)

    def test_the_slots_change_only_while_nothing_is_pending(self, key_shared: StreamBench) -> None:
        append(key_shared, b"k", b"1")
        ids = key_shared.take(b"one")
        changed = kit.configure(Settings(slots=1))
        assert key_shared.one(changed)[0] == Reason.CONDITION_FAILED
        key_shared.one(kit.ack(*ids))
        assert key_shared.one(changed) == (0,)
        append(key_shared, b"k1", b"a")
        append(key_shared, b"k2", b"b")
        take(key_shared, b"one", 1)
        assert take(key_shared, b"two") == []

    def test_who_finds_nothing_waits_for_its_keys(self, key_shared: StreamBench) -> None:
        told = key_shared.one(kit.read(b"one"))
        assert told[0] == EMPTY
        assert waits_for(told) == WAIT_FOR_KEYS
        assert key_shared.one(kit.read(b"one", waits=WAIT_FOR_KEYS)) == (EMPTY,)

    def test_nothing_is_held_when_all_is_done(self, key_shared: StreamBench) -> None:
        for number in range(10):
            append(key_shared, b"k%d" % number, b"x", b"y")
        one = key_shared.take(b"one", 7)
        two = key_shared.take(b"two")
        one += key_shared.take(b"one")
        assert len(one + two) == 20
        key_shared.one(kit.ack(*one, *two))
        # The name of the group, and two members.
        assert key_shared.rows(Table.GROUP_MEMBERS) == 3
        assert key_shared.rows(Table.GROUP_DUE, Table.GROUP_PENDING, Table.TIMERS) == 0
