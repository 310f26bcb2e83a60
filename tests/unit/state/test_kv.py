"""What each key-value command does, one rule per test."""

from __future__ import annotations

import pytest

from cluster.state.commands import IF_ABSENT, IF_PRESENT
from cluster.state.keyspace import Record
from cluster.state.kv import EXPIRES_AT_MS_MAX, TTL_TOO_LONG, ScanPage, kv_scan
from flo.wire.status import Reason
from tests.unit.state.helpers import (
    NAMESPACE,
    START_MS,
    Bench,
    delete,
    expire,
    incr,
    put,
)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def counter(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


class TestPut:
    def test_each_change_gets_the_next_version(self, bench: Bench) -> None:
        assert bench.run(put(b"a", b"1"), put(b"b", b"2"), put(b"a", b"3")) == [
            (0, 1),
            (0, 2),
            (0, 3),
        ]
        assert bench.get(b"a") == Record(3, 0, b"3")
        assert bench.get(b"b") == Record(2, 0, b"2")

    def test_an_empty_value_is_a_value(self, bench: Bench) -> None:
        bench.run(put(b"a", b""))
        assert bench.value(b"a") == b""

    def test_namespaces_are_apart(self, bench: Bench) -> None:
        command = put(b"a", b"1")
        bench.run((*command[:4], b"other", *command[5:]))
        assert bench.get(b"a") is None

    def test_cas_wants_the_current_version(self, bench: Bench) -> None:
        assert bench.one(put(b"a", b"1")) == (0, 1)
        assert bench.one(put(b"a", b"2", cas=1)) == (0, 2)
        assert bench.one(put(b"a", b"3", cas=1)) == (Reason.CAS_MISMATCH, 2)
        assert bench.value(b"a") == b"2"

    def test_only_one_of_two_with_the_same_version_passes(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert bench.run(put(b"a", b"x", cas=1), put(b"a", b"y", cas=1)) == [
            (0, 2),
            (Reason.CAS_MISMATCH, 2),
        ]

    def test_cas_0_means_absent(self, bench: Bench) -> None:
        assert bench.one(put(b"a", b"1", cas=3)) == (Reason.CAS_MISMATCH, 0)
        assert bench.one(put(b"a", b"1", cas=0)) == (0, 1)
        assert bench.one(put(b"a", b"1", cas=0)) == (Reason.CAS_MISMATCH, 1)

    def test_if_absent(self, bench: Bench) -> None:
        assert bench.one(put(b"a", b"1", flags=IF_ABSENT)) == (0, 1)
        assert bench.one(put(b"a", b"2", flags=IF_ABSENT)) == (Reason.CONDITION_FAILED, 1)

    def test_if_present(self, bench: Bench) -> None:
        assert bench.one(put(b"a", b"1", flags=IF_PRESENT)) == (Reason.CONDITION_FAILED, 0)
        bench.run(put(b"a", b"1"))
        assert bench.one(put(b"a", b"2", flags=IF_PRESENT)) == (0, 2)

    def test_both_flags_can_never_hold(self, bench: Bench) -> None:
        both = IF_ABSENT | IF_PRESENT
        assert bench.one(put(b"a", b"1", flags=both))[0] == Reason.CONDITION_FAILED
        bench.run(put(b"a", b"1"))
        assert bench.one(put(b"a", b"1", flags=both))[0] == Reason.CONDITION_FAILED

    def test_cas_is_tested_before_the_flags(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert bench.one(put(b"a", b"2", flags=IF_ABSENT, cas=9)) == (Reason.CAS_MISMATCH, 1)
        assert bench.one(put(b"b", b"2", flags=IF_ABSENT, cas=0)) == (0, 2)

    def test_a_refusal_takes_no_version(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2", cas=9), put(b"a", b"2", flags=IF_ABSENT))
        assert bench.one(put(b"a", b"2")) == (0, 2)

    def test_ttl_counts_from_the_stamp_and_a_put_without_one_clears_it(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=50), at_ms=100)
        assert bench.get(b"a") == Record(1, START_MS + 150, b"1")
        bench.run(put(b"a", b"2"), at_ms=120)
        assert bench.get(b"a") == Record(2, 0, b"2")

    def test_a_ttl_beyond_the_calendar_is_refused(self, bench: Bench) -> None:
        longest = EXPIRES_AT_MS_MAX - START_MS
        assert bench.one(put(b"a", b"1", ttl_ms=longest + 1)) == TTL_TOO_LONG
        assert bench.get(b"a") is None
        assert bench.one(put(b"a", b"1", ttl_ms=longest)) == (0, 1)


class TestDelete:
    def test_says_whether_the_key_existed(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert bench.run(delete(b"a"), delete(b"a"), delete(b"b")) == [
            (0, True),
            (0, False),
            (0, False),
        ]
        assert bench.get(b"a") is None

    def test_takes_a_version_when_it_changed_something(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"a"), delete(b"a"))
        assert bench.one(put(b"a", b"2")) == (0, 3)

    def test_cas(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert bench.one(delete(b"a", cas=2)) == (Reason.CAS_MISMATCH, 1)
        assert bench.one(delete(b"a", cas=1)) == (0, True)

    @pytest.mark.parametrize("cas", [0, 1])
    def test_cas_never_holds_for_a_missing_key(self, bench: Bench, cas: int) -> None:
        assert bench.one(delete(b"a", cas=cas)) == (Reason.CAS_MISMATCH, 0)


class TestIncr:
    def test_counts_from_zero(self, bench: Bench) -> None:
        assert bench.run(incr(b"a"), incr(b"a", 5), incr(b"a", -10)) == [
            (0, 1, 1),
            (0, 2, 6),
            (0, 3, -4),
        ]
        assert bench.value(b"a") == counter(-4)

    def test_any_eight_bytes_are_a_counter(self, bench: Bench) -> None:
        assert bench.run(put(b"a", counter(41)), incr(b"a"))[1] == (0, 2, 42)

    @pytest.mark.parametrize("value", [b"", b"1234567", b"123456789"])
    def test_other_values_are_not(self, bench: Bench, value: bytes) -> None:
        assert bench.run(put(b"a", value), incr(b"a"))[1] == (Reason.WRONG_TYPE,)
        assert bench.get(b"a") == Record(1, 0, value)

    @pytest.mark.parametrize(("held", "delta"), [(2**63 - 1, 1), (-(2**63), -1)])
    def test_overflow_changes_nothing(self, bench: Bench, held: int, delta: int) -> None:
        assert bench.run(put(b"a", counter(held)), incr(b"a", delta))[1] == (Reason.OUT_OF_RANGE,)
        assert bench.get(b"a") == Record(1, 0, counter(held))

    def test_keeps_the_ttl(self, bench: Bench) -> None:
        bench.run(put(b"a", counter(1), ttl_ms=100), incr(b"a"))
        assert bench.get(b"a") == Record(2, START_MS + 100, counter(2))

    def test_an_expired_counter_starts_anew_without_ttl(self, bench: Bench) -> None:
        bench.run(put(b"a", counter(1), ttl_ms=100))
        assert bench.one(incr(b"a", 7), at_ms=100) == (0, 2, 7)
        assert bench.get(b"a") == Record(2, 0, counter(7))


class TestExpire:
    def test_keeps_version_and_value(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert bench.one(expire(b"a", 500), at_ms=10) == (0,)
        assert bench.get(b"a") == Record(1, START_MS + 510, b"1")
        assert bench.one(put(b"b", b"1")) == (0, 2)

    def test_0_clears(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=10), expire(b"a", 0))
        bench.run(at_ms=1000)
        assert bench.get(b"a") == Record(1, 0, b"1")

    def test_a_missing_key_is_not_found(self, bench: Bench) -> None:
        assert bench.one(expire(b"a", 5)) == (Reason.NOT_FOUND,)

    def test_a_holder_renews_with_the_version_it_got(self, bench: Bench) -> None:
        bench.run(put(b"lock", b"me", ttl_ms=100))
        for at_ms in (50, 100, 150):
            assert bench.one(expire(b"lock", 100, cas=1), at_ms=at_ms) == (0,)
        assert bench.one(expire(b"lock", 100, cas=2), at_ms=200) == (Reason.CAS_MISMATCH, 1)
        assert bench.one(expire(b"lock", 100, cas=1), at_ms=250) == (Reason.CAS_MISMATCH, 0)

    def test_a_ttl_beyond_the_calendar_is_refused(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=10))
        assert bench.one(expire(b"a", 2**63)) == TTL_TOO_LONG
        assert bench.get(b"a") == Record(1, START_MS + 10, b"1")


class TestExpiredKeys:
    def test_are_absent_from_their_time_on(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=100))
        bench.run(at_ms=99)
        assert bench.value(b"a") == b"1"
        bench.run(at_ms=100)
        assert bench.get(b"a") is None

    def test_are_absent_for_every_command_of_the_entry_that_reaches_their_time(
        self, bench: Bench
    ) -> None:
        keys = [b"a", b"b", b"c", b"d", b"e"]
        bench.run(*(put(key, b"1", ttl_ms=100) for key in keys))
        assert bench.run(
            put(b"a", b"2", cas=1),
            put(b"b", b"2", flags=IF_PRESENT),
            put(b"c", b"2", flags=IF_ABSENT),
            delete(b"d"),
            expire(b"e", 100),
            at_ms=100,
        ) == [
            (Reason.CAS_MISMATCH, 0),
            (Reason.CONDITION_FAILED, 0),
            (0, 6),
            (0, False),
            (Reason.NOT_FOUND,),
        ]

    def test_the_stamp_never_goes_back(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=100))
        bench.run(at_ms=100)
        assert bench.one(put(b"a", b"2", ttl_ms=100, flags=IF_ABSENT), at_ms=0) == (0, 2)
        assert bench.get(b"a") == Record(2, START_MS + 200, b"2")


class TestScan:
    def page(
        self,
        bench: Bench,
        prefix: bytes = b"",
        after: bytes = b"",
        *,
        limit: int = 100,
        max_bytes: int = 1 << 20,
        keys_only: bool = False,
    ) -> ScanPage:
        with bench.replica.view() as (txn, stamp_ms):
            entries, more, end = kv_scan(
                txn,
                stamp_ms,
                NAMESPACE,
                prefix,
                after,
                limit=limit,
                max_bytes=max_bytes,
                keys_only=keys_only,
            )
        return ScanPage([(key, Record(*record[:3])) for key, record in entries], more, end)

    def test_gives_live_keys_of_the_prefix_in_order(self, bench: Bench) -> None:
        bench.run(*(put(key, key) for key in (b"b", b"ab", b"aa", b"a", b"ac")))
        bench.run(put(b"ac", b"", ttl_ms=1), expire(b"aa", 9), delete(b"a"))
        bench.run(at_ms=1)
        assert self.page(bench, b"a") == ScanPage(
            [(b"aa", Record(3, START_MS + 9, b"aa")), (b"ab", Record(2, 0, b"ab"))], more=False
        )

    def test_pages_follow_each_other(self, bench: Bench) -> None:
        bench.run(*(put(b"%02d" % number, b"v") for number in range(10)))
        first = self.page(bench, limit=4)
        assert [key for key, _ in first.entries] == [b"00", b"01", b"02", b"03"]
        assert first.more
        rest = self.page(bench, after=b"03", limit=6)
        assert [key for key, _ in rest.entries] == [b"%02d" % number for number in range(4, 10)]
        assert not rest.more

    def test_the_last_page_says_so_even_before_dead_keys(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), *(put(b"b%03d" % n, b"", ttl_ms=1) for n in range(200)))
        bench.run(at_ms=1)  # removes 64 keys: dead ones stay behind
        page = self.page(bench, limit=1)
        assert [key for key, _ in page.entries] == [b"a"]
        assert not page.more

    def test_bytes_are_bounded_but_one_key_always_comes(self, bench: Bench) -> None:
        bench.run(put(b"a", b"x" * 100), put(b"b", b"x" * 100), put(b"c", b"x"))
        assert len(self.page(bench, max_bytes=1).entries) == 1
        page = self.page(bench, max_bytes=202)
        assert [key for key, _ in page.entries] == [b"a", b"b"]
        assert page.more
        assert len(self.page(bench, max_bytes=204).entries) == 3

    def test_keys_only(self, bench: Bench) -> None:
        bench.run(put(b"a", b"x" * 100), put(b"b", b"y"))
        page = self.page(bench, keys_only=True, max_bytes=2)
        assert page == ScanPage([(b"a", Record(1, 0, b"")), (b"b", Record(2, 0, b""))], more=False)

    def test_stays_in_its_namespace(self, bench: Bench) -> None:
        command = put(b"x", b"1")
        bench.run(put(b"a", b"1"), (*command[:4], b"defaults", *command[5:]))
        bench.run((*command[:4], b"defaul", *command[5:]))
        assert [key for key, _ in self.page(bench).entries] == [b"a"]
