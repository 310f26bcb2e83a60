"""Earlier versions of a key: which are kept, for how long, and those of a key that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from cluster.state import history
from cluster.state.context import Context
from cluster.state.errors import CorruptState, StoreFull
from cluster.state.history import (
    DEAD_KEYS_MAX,
    DEAD_MS,
    RING,
    ROWS_PER_ENTRY,
    Version,
)
from cluster.state.kv import HANDLERS
from cluster.state.memory_store import MemoryStore
from cluster.state.overlay import Overlay
from cluster.state.store import Table
from cluster.state.txn_commands import TXN_COMMIT
from tests.unit.state.helpers import (
    NAMESPACE,
    START_MS,
    Bench,
    delete,
    expire,
    incr,
    json_delete,
    json_set,
    put,
)

if TYPE_CHECKING:
    from cluster.state.commands import Command


@pytest.fixture
def bench() -> Bench:
    return Bench()


def values(bench: Bench, key: bytes = b"a") -> list[bytes]:
    return [version.value for version in bench.history(key)]


def rows(bench: Bench, table: Table) -> int:
    with bench.read() as txn:
        return sum(1 for _ in txn.scan(table, b""))


class TestVersions:
    def test_newest_first_with_the_current_one_in_front(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), at_ms=5)
        bench.run(put(b"b", b"x"), put(b"a", b"2"), at_ms=7)
        bench.run(put(b"a", b"3"), at_ms=9)
        assert bench.history(b"a") == [
            Version(4, START_MS + 9, b"3"),
            Version(3, START_MS + 7, b"2"),
            Version(1, START_MS + 5, b"1"),
        ]
        assert bench.history(b"b") == [Version(2, START_MS + 7, b"x")]

    def test_a_key_never_written_has_none(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"b"))
        assert bench.history(b"b") == []

    def test_every_change_of_the_value_makes_one(self, bench: Bench) -> None:
        bench.run(
            json_set(b"a", b"$", b'{"n":1}'),
            json_set(b"a", b"$.n", b"2"),
            json_delete(b"a", b"$.n"),
            put(b"a", bytes(8)),
            incr(b"a"),
        )
        assert values(bench) == [b"\x01" + bytes(7), bytes(8), b"{}", b'{"n":2}', b'{"n":1}']
        assert [each.version for each in bench.history(b"a")] == [5, 4, 3, 2, 1]

    def test_a_new_time_to_live_makes_none(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        bench.run(expire(b"a", 500), expire(b"a", 0), at_ms=10)
        assert bench.history(b"a") == [Version(1, START_MS, b"1")]

    def test_a_refusal_makes_none(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2", cas=7), incr(b"a"), json_set(b"a", b".b", b"1"))
        assert values(bench) == [b"1"]

    def test_sixty_four_before_the_current_one_are_kept(self, bench: Bench) -> None:
        for number in range(200):
            bench.run(put(b"a", b"%d" % number))
            kept = range(number, max(-1, number - RING - 1), -1)
            assert values(bench) == [b"%d" % each for each in kept]
        assert len(bench.history(b"a")) == 65
        assert rows(bench, Table.HISTORY) == RING

    def test_long_keys_have_one_too(self, bench: Bench) -> None:
        key = b"k" * 4000
        bench.run(put(key, b"1"), put(key, b"2"), delete(key))
        assert values(bench, key) == [b"2", b"1"]

    def test_a_page_is_bounded_in_number_and_bytes(self, bench: Bench) -> None:
        bench.run(*(put(b"a", bytes(100)) for _ in range(10)))
        assert len(bench.history(b"a", 3)) == 3
        assert len(bench.history(b"a", max_bytes=4 + 3 * 120)) == 3
        assert len(bench.history(b"a", max_bytes=4 + 3 * 120 - 1)) == 2
        assert len(bench.history(b"a", max_bytes=1)) == 1

    def test_a_fresh_key_costs_one_row_and_an_overwrite_one_more(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_at: list[Table] = []
        written: list[Table] = []
        get, put_row = Overlay.get, Overlay.put

        def watched_get(txn: Overlay, table: Table, key: bytes) -> bytes | None:
            looked_at.append(table)
            return get(txn, table, key)

        def watched_put(txn: Overlay, table: Table, key: bytes, value: bytes) -> None:
            written.append(table)
            put_row(txn, table, key, value)

        monkeypatch.setattr(Overlay, "get", watched_get)
        monkeypatch.setattr(Overlay, "put", watched_put)
        bench.run(put(b"a", b"1"))
        assert (looked_at, written) == ([Table.KV], [Table.KV, Table.META])
        bench.run(put(b"a", b"2"))
        assert looked_at == [Table.KV] * 2
        assert written[2:] == [Table.HISTORY, Table.KV, Table.META]


class TestDeadKeys:
    def test_a_deleted_key_shows_its_history(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"), delete(b"a"))
        assert values(bench) == [b"2", b"1"]
        assert bench.get(b"a") is None

    def test_so_does_an_expired_one_removed_or_not(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2", ttl_ms=10))
        expected = bench.history(b"a")
        with bench.replica.view() as (txn, _):  # before the entry that removes it
            full = NAMESPACE + b"\x00a"
            assert txn.get(Table.KV, full) is not None
        bench.run(at_ms=10)
        assert rows(bench, Table.KV) == 0
        assert bench.history(b"a") == expected

    def test_one_that_comes_back_goes_on_with_it(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"), delete(b"a"), put(b"a", b"3"))
        assert values(bench) == [b"3", b"2", b"1"]
        assert rows(bench, Table.GRAVES) == 0
        bench.run(put(b"a", b"4"), delete(b"a"), delete(b"a"), incr(b"a"), delete(b"a"))
        assert values(bench)[1:] == [b"4", b"3", b"2", b"1"]
        assert rows(bench, Table.GRAVES) == 1

    def test_one_overwritten_before_it_was_removed_too(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1", ttl_ms=10))
        bench.run(put(b"a", b"2"), at_ms=10)
        assert values(bench) == [b"2", b"1"]

    def test_the_ring_turns_while_a_key_comes_and_goes(self, bench: Bench) -> None:
        for number in range(150):
            bench.run(put(b"a", b"%d" % number), delete(b"a"))
        assert values(bench) == [b"%d" % each for each in range(149, 84, -1)]
        bench.run(put(b"a", b"new"))
        assert values(bench) == [b"new", *(b"%d" % each for each in range(149, 85, -1))]

    def test_it_is_forgotten_after_an_hour(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"), put(b"b", b"1"), put(b"b", b"2"))
        bench.run(delete(b"a"), at_ms=1000)
        bench.run(delete(b"b"), at_ms=2000)
        bench.run(at_ms=999 + DEAD_MS)
        assert values(bench) == [b"2", b"1"]
        bench.run(at_ms=1000 + DEAD_MS)
        assert (values(bench, b"a"), values(bench, b"b")) == ([], [b"2", b"1"])
        bench.run(put(b"a", b"3"), at_ms=2000 + DEAD_MS)
        assert values(bench) == [b"3"]
        assert (rows(bench, Table.HISTORY), rows(bench, Table.GRAVES)) == (0, 0)

    def test_one_that_lives_again_is_not(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"a"), put(b"a", b"2"))
        bench.run(at_ms=10 * DEAD_MS)
        assert values(bench) == [b"2", b"1"]

    def test_an_hour_begins_anew_with_each_death(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"a"))
        bench.run(put(b"a", b"2"), delete(b"a"), at_ms=DEAD_MS - 1)
        bench.run(at_ms=DEAD_MS + 5)
        assert values(bench) == [b"2", b"1"]

    def test_the_oldest_go_when_there_are_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", 3)
        bench = Bench()
        for name in b"abcde":
            key = bytes((name,))
            bench.run(put(key, b"1"), put(key, b"2"), delete(key))
        kept = [name for name in b"abcde" if bench.history(bytes((name,)))]
        assert kept == list(b"cde")
        assert (rows(bench, Table.HISTORY), rows(bench, Table.GRAVES)) == (6, 3)

    def test_an_entry_forgets_a_bounded_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", 0)
        count = 3 * ROWS_PER_ENTRY
        bench = Bench()
        bench.run(*(put(b"%d" % n, b"1") for n in range(count)))
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", DEAD_KEYS_MAX)
        for start in range(0, count, 16):
            bench.run(*(delete(b"%d" % n) for n in range(start, start + 16)))
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", 0)
        assert rows(bench, Table.GRAVES) == count
        bench.run()
        assert rows(bench, Table.GRAVES) == count - ROWS_PER_ENTRY // 2
        bench.run(delete(b"?"))
        assert rows(bench, Table.GRAVES) == count - ROWS_PER_ENTRY
        while rows(bench, Table.GRAVES):
            bench.run()
        assert rows(bench, Table.HISTORY) == 0

    @pytest.mark.parametrize("way", ["deleted", "deleted in a transaction", "expired"])
    def test_those_with_much_history_do_not_become_more(
        self, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", 10)
        bench = Bench()
        names = [b"%d" % number for number in range(400)]
        for number in range(RING + 1):
            bench.run(*(put(name, b"%d" % number, ttl_ms=10_000) for name in names))
        for start in range(0, 400, 100):
            deletes = [delete(name) for name in names[start : start + 100]]
            if way == "deleted":
                bench.run(*deletes)
            elif way == "expired":
                bench.run(at_ms=10_000)
            else:
                operations = tuple((each[0], *each[4:]) for each in deletes)
                bench.run((TXN_COMMIT, 0, 0, 0, start + 1, operations))
            assert rows(bench, Table.GRAVES) <= 10

    def test_many_that_expire_at_once_leave_no_more_than_may_be_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(history, "DEAD_KEYS_MAX", 100)
        bench = Bench()
        for start in range(0, 1000, 100):
            bench.run(*(put(b"%d" % n, b"1", ttl_ms=10) for n in range(start, start + 100)))
        while rows(bench, Table.KV):
            bench.run(at_ms=10)
            assert rows(bench, Table.GRAVES) <= 100
        assert rows(bench, Table.HISTORY) == 100


class TestAfterARestart:
    def test_it_goes_on(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"), delete(b"a"))
        bench.restart()
        bench.run(put(b"a", b"3"))
        assert values(bench) == [b"3", b"2", b"1"]
        bench.run(delete(b"a"), at_ms=5)
        bench.restart()
        bench.run(at_ms=5 + DEAD_MS)
        assert (values(bench), rows(bench, Table.HISTORY)) == ([], 0)

    def test_a_full_disk_does_not_confuse_it(self) -> None:
        memory = MemoryStore()
        bench = Bench(memory)
        bench.run(put(b"a", b"1"), delete(b"a"))
        memory.full = True
        with pytest.raises(StoreFull):
            bench.replica.store()
        bench.run(put(b"a", b"2"))
        memory.full = False
        for _ in range(2):
            bench.run(delete(b"a"), put(b"a", b"3"))
            bench.replica.store()
            bench.restart()
        assert values(bench) == [b"3", b"3", b"2", b"1"]

    def test_when_something_is_due_is_known(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        bench.run(delete(b"a"), at_ms=70)
        for _ in range(2):
            assert bench.replica.due_ms == START_MS + 70 + DEAD_MS
            bench.restart()


class TestTransactions:
    def commit(self, bench: Bench, *commands: Command) -> object:
        operations = tuple((command[0], *command[4:]) for command in commands)
        return bench.one((TXN_COMMIT, 0, 0, 0, 7, operations))[0]

    def test_what_nobody_has_seen_is_no_version(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"))
        assert self.commit(bench, put(b"a", b"x"), put(b"a", b"y"), put(b"a", b"2")) == 0
        assert values(bench) == [b"2", b"1"]

    def test_nor_is_what_it_removes_again(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"dead", b"1"), delete(b"dead"), put(b"kept", b"1"))
        hidden = [put(key, b"hidden") for key in (b"a", b"new", b"never", b"dead", b"gone")]
        removed = [delete(key) for key in (b"a", b"new", b"never", b"dead", b"gone")]
        ends = [put(b"a", b"2"), put(b"new", b"1"), put(b"dead", b"2"), delete(b"kept")]
        assert self.commit(bench, *hidden, *removed, *ends) == 0
        assert [each.version for each in bench.history(b"a")] == [5, 1]
        assert values(bench) == [b"2", b"1"]
        assert values(bench, b"new") == [b"1"]
        assert values(bench, b"never") == values(bench, b"gone") == []
        assert values(bench, b"dead") == [b"2", b"1"]
        assert values(bench, b"kept") == [b"1"]
        assert rows(bench, Table.GRAVES) == 1

    def test_it_turns_the_ring_once(self, bench: Bench) -> None:
        for number in range(70):
            bench.run(put(b"a", b"%d" % number))
        before = values(bench)
        assert self.commit(bench, put(b"a", b"x"), delete(b"a"), put(b"a", b"y"), delete(b"a")) == 0
        assert values(bench) == before
        bench.run(put(b"a", b"z"))
        assert values(bench) == [b"z", *before[:-1]]

    def test_an_open_one_holds_no_copies_of_what_it_overwrites(self, bench: Bench) -> None:
        bench.run(put(b"a", bytes(1000)), put(b"b", bytes(1000)))
        context = Context()
        context.one_revision = True
        bench.replica.store()
        with bench.store.write() as txn:
            context.txn = overlay = Overlay(txn)
            for command in (put(b"a", b"1"), delete(b"b"), put(b"b", b"2")):
                assert HANDLERS[cast(int, command[0])](context, command)[0] == 0
            overlay.write_to(txn)
        bench.restart()
        assert rows(bench, Table.HISTORY) == 0

    def test_one_that_fails_leaves_graves_as_they_were(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"b", b"1"), delete(b"b"))
        failing = put(b"z", b"1", cas=99)
        assert self.commit(bench, delete(b"a"), failing) != 0
        assert self.commit(bench, put(b"b", b"2"), failing) != 0
        digest = bench.replica.digest()
        bench.restart()
        assert bench.replica.digest() == digest
        bench.run(put(b"b", b"2"), delete(b"a"))
        assert (values(bench, b"b"), rows(bench, Table.GRAVES)) == ([b"2", b"1"], 1)


class TestDamage:
    def broken(self, bench: Bench, table: Table) -> None:
        with bench.damage() as txn:
            key = next(iter(txn.scan(table, b"")))[0]
            txn.delete(table, key)
        bench.restart()

    def test_a_missing_version_is_noticed(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"))
        self.broken(bench, Table.HISTORY)
        with pytest.raises(CorruptState, match="earlier version is missing"):
            bench.history(b"a")

    def test_a_missing_grave_is_noticed(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"a"))
        self.broken(bench, Table.GRAVES)
        with pytest.raises(CorruptState, match="grave"):
            bench.run(put(b"a", b"2"))

    def test_a_missing_head_is_noticed(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), delete(b"a"))
        self.broken(bench, Table.HISTORY)
        with pytest.raises(CorruptState, match="head of a dead key"):
            bench.run(at_ms=DEAD_MS)

    def test_a_changed_value_is_noticed(self, bench: Bench) -> None:
        bench.run(put(b"a", b"1"), put(b"a", b"2"))
        with bench.damage() as txn:
            key, row = next(iter(txn.scan(Table.HISTORY, b"")))
            txn.put(Table.HISTORY, key, row[:-1] + b"?")
        bench.restart()
        with pytest.raises(CorruptState, match="checksum"):
            bench.history(b"a")
