"""Expired keys leave the store, each in its time, and the index never disagrees with the keys."""

from __future__ import annotations

import pytest

from cluster.state.checksum import seal
from cluster.state.errors import CorruptState
from cluster.state.expiry import KEYS_PER_COMMAND, KEYS_PER_ENTRY
from cluster.state.store import Table
from tests.unit.state.helpers import START_MS, Bench, delete, expire, incr, put


@pytest.fixture
def bench() -> Bench:
    return Bench()


def rows(bench: Bench, table: Table) -> int:
    with bench.read() as txn:
        return sum(1 for _ in txn.scan(table, b""))


def times(bench: Bench) -> list[int]:
    """The times in the index, in milliseconds after the start."""
    with bench.read() as txn:
        scan = txn.scan(Table.EXPIRY, b"")
        return [int.from_bytes(key[:8], "big") - START_MS for key, _ in scan]


def test_an_entry_removes_what_has_expired(bench: Bench) -> None:
    bench.run(put(b"a", b"1", ttl_ms=100), put(b"b", b"1", ttl_ms=101), put(b"c", b"1"))
    bench.run(at_ms=99)
    assert rows(bench, Table.KV) == 3
    bench.run(at_ms=100)
    assert (rows(bench, Table.KV), times(bench)) == (2, [101])
    bench.run(at_ms=101)
    assert (rows(bench, Table.KV), times(bench)) == (1, [])


def test_an_entry_removes_a_bounded_number_the_oldest_first(bench: Bench) -> None:
    count = KEYS_PER_ENTRY + 10
    bench.run(*(put(b"%d" % n, b"", ttl_ms=1000 - n) for n in range(count)))
    bench.run(at_ms=1000)
    assert times(bench) == list(range(991, 1001))
    bench.run(at_ms=1000)
    assert (rows(bench, Table.KV), times(bench)) == (0, [])


def test_more_goes_than_commands_can_bring(bench: Bench) -> None:
    """Keys that live shorter than it takes to bring the next ones do not pile up."""
    each = 200
    most = 0
    for number in range(30):
        keys = (b"%d-%d" % (number, n) for n in range(each))
        bench.run(*(put(key, b"", ttl_ms=1) for key in keys), at_ms=10 * number)
        most = max(most, rows(bench, Table.KV))
    assert most <= 2 * each


def test_clock_entries_remove_what_commands_left(bench: Bench) -> None:
    count = 10 * KEYS_PER_ENTRY
    bench.run(*(put(b"%d" % n, b"", ttl_ms=10) for n in range(count)))
    bench.run(put(b"x", b""), at_ms=10)
    assert rows(bench, Table.EXPIRY) == count - KEYS_PER_ENTRY - KEYS_PER_COMMAND
    entries = 0
    while rows(bench, Table.EXPIRY):
        assert bench.replica.due_ms <= START_MS + 10, "somebody must bring the next entry"
        bench.run(at_ms=10)
        entries += 1
    assert entries == 9
    assert (rows(bench, Table.EXPIRY), rows(bench, Table.KV)) == (0, 1)
    assert bench.replica.due_ms > START_MS + 10


def test_long_keys_expire_whole(bench: Bench) -> None:
    bench.run(put(b"k" * 4000, b"1", ttl_ms=100))
    bench.run(at_ms=100)
    assert [rows(bench, table) for table in (Table.KV, Table.LONG, Table.EXPIRY)] == [0, 0, 0]


def test_the_index_follows_each_change_of_a_key(bench: Bench) -> None:
    bench.run(put(b"a", b"1", ttl_ms=100))
    bench.run(put(b"a", b"1", ttl_ms=200))
    assert times(bench) == [200]
    bench.run(expire(b"a", 300))
    assert times(bench) == [300]
    bench.run(expire(b"a", 0))
    assert times(bench) == []
    bench.run(expire(b"a", 400))
    assert times(bench) == [400]
    bench.run(put(b"a", b"1"))
    assert times(bench) == []
    bench.run(expire(b"a", 500), delete(b"a"))
    assert times(bench) == []


def test_the_index_follows_changes_of_expired_keys(bench: Bench) -> None:
    bench.run(put(b"a", b"1", ttl_ms=10), put(b"b", b"1", ttl_ms=10), put(b"c", b"1", ttl_ms=10))
    bench.run(put(b"a", b"2"), incr(b"b"), delete(b"c"), at_ms=10)
    assert (rows(bench, Table.KV), times(bench)) == (2, [])


def test_a_key_that_got_more_time_stays(bench: Bench) -> None:
    bench.run(put(b"a", b"1", ttl_ms=100))
    bench.run(expire(b"a", 1000), at_ms=50)
    bench.run(at_ms=1049)
    assert bench.value(b"a") == b"1"


def test_it_goes_on_after_a_restart(bench: Bench) -> None:
    bench.run(put(b"a", b"1", ttl_ms=100))
    bench.restart()
    bench.run(at_ms=100)
    assert (rows(bench, Table.KV), times(bench)) == (0, [])


def test_a_row_without_its_key_is_damage(bench: Bench) -> None:
    key = (START_MS + 5).to_bytes(8, "big") + bytes(16)
    with bench.damage() as txn:
        txn.put(Table.EXPIRY, key, seal(key, b"default\x00missing"))
    bench.restart()
    bench.run(at_ms=4)
    with pytest.raises(CorruptState, match="EXPIRY"):
        bench.run(at_ms=5)
