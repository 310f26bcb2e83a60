"""State machine and store move together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster import replica as module
from cluster.replica import UNSTORED_BYTES_MAX, Replica
from cluster.state.errors import CorruptState, StoreFull, UnknownCommand
from cluster.state.keyspace import PIECE_BYTES
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.state.packing import pack
from cluster.state.store import Table
from cluster.storage.records import Entry
from tests.unit.state.helpers import (
    START_MS,
    Bench,
    Triple,
    commands_entry,
    delete,
    expire,
    incr,
    noop_entry,
    open_session,
    put,
    within,
)

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

LONG_KEY = b"k" * (PIECE_BYTES + 5)


def story() -> list[Entry]:
    """A log that touches every table."""
    return [
        noop_entry(1),
        commands_entry(2, START_MS, open_session(7)),
        commands_entry(3, START_MS + 1, within(Triple(1, 1, 1), put(b"a", b"1", ttl_ms=50))),
        commands_entry(
            4, START_MS + 2, put(LONG_KEY, b"long"), within(Triple(1, 2, 1), incr(b"n"))
        ),
        noop_entry(5),
        commands_entry(6, START_MS, within(Triple(1, 3, 2), delete(b"missing")), expire(b"n", 900)),
        commands_entry(7, START_MS + 60),
    ]


class TestApply:
    def test_answers_stand_in_the_order_of_entries_and_commands(self) -> None:
        replica = Replica(MemoryStore(), StateMachine())
        assert replica.apply(story(), 7) == [
            [],
            [(0, 1)],
            [(0, 1)],
            [(0, 2), (0, 3, 1)],
            [],
            [(0, False), (0,)],
            [],
        ]
        assert replica.applied_index == 7

    def test_a_new_replica_has_applied_nothing(self) -> None:
        assert Replica(MemoryStore(), StateMachine()).applied_index == 0

    def test_it_stops_when_there_is_no_time(self) -> None:
        replica, whole = (Replica(MemoryStore(), StateMachine()) for _ in range(2))
        results: list[list[Result]] = []
        while len(results) < 7:
            results += replica.apply(story()[len(results) :], 7, lambda: False)
            assert replica.applied_index == len(results)
        assert results == whole.apply(story(), 7)
        assert replica.digest() == whole.digest()

    def test_it_goes_on_where_its_store_is(self) -> None:
        store = MemoryStore()
        stopped = Replica(store, StateMachine())
        stopped.apply(story()[:4], 4)
        stopped.close()
        replica = Replica(store, StateMachine())
        assert replica.applied_index == 4
        replica.apply(story()[4:], 7)
        whole = Replica(MemoryStore(), StateMachine())
        whole.apply(story(), 7)
        assert replica.digest() == whole.digest()

    def test_only_what_the_own_log_has_synced(self) -> None:
        replica = Replica(MemoryStore(), StateMachine())
        with pytest.raises(AssertionError, match="synced"):
            replica.apply(story()[:3], 2)
        replica.apply(story()[:3], 3)

    def test_no_entry_is_left_out_or_repeated(self) -> None:
        for index in (1, 3):
            replica = Replica(MemoryStore(), StateMachine())
            replica.apply(story()[:1], 1)
            with pytest.raises(AssertionError, match=f"entry {index} after 1"):
                replica.apply([noop_entry(index)], 9)

    def test_a_view_shows_state_and_stamp(self) -> None:
        replica = Replica(MemoryStore(), StateMachine())
        replica.apply(story(), 7)
        with replica.view() as (txn, stamp_ms):
            assert stamp_ms == START_MS + 60
            assert txn.get(Table.META, b"state") is not None


class TestStore:
    def test_what_is_applied_is_seen_before_it_is_stored(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        assert bench.value(b"a") == b"1"
        assert (bench.replica.applied_index, bench.replica.stored_index) == (1, 0)
        assert bench.replica.unstored_bytes > 0
        bench.replica.store()
        assert bench.value(b"a") == b"1"
        assert (bench.replica.stored_index, bench.replica.unstored_bytes) == (1, 0)

    def test_a_store_has_all_of_an_entry_or_nothing(self) -> None:
        bench = Bench()
        bench.run(*(put(b"%d" % number, b"1") for number in range(10)))
        for count in (0, 10):
            with bench.store.read() as txn:
                assert len(list(txn.scan(Table.KV, b""))) == count
                assert (txn.get(Table.META, b"state") is not None) == bool(count)
            bench.replica.store()

    def test_nothing_new_is_not_written(self) -> None:
        store = MemoryStore()
        bench = Bench(store)
        bench.run(put(b"a", b"1"))
        bench.replica.store()
        store.full = True
        bench.replica.store()

    def test_entries_without_effect_are_stored_as_well(self) -> None:
        """They are applied once only, after whatever kind of stop."""
        bench = Bench()
        bench.replica.apply([noop_entry(1)], 1)
        bench.restart()
        assert (bench.replica.applied_index, bench.replica.stored_index) == (1, 1)

    @pytest.mark.parametrize("stored", range(8))
    def test_after_a_crash_the_rest_is_applied_again(self, stored: int) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        results = replica.apply(story()[:stored], 7) if stored else []
        replica.store()
        results += replica.apply(story()[stored:], 7) if stored < 7 else []
        digest = replica.digest()
        replica.abandon()
        again = Replica(store, StateMachine())
        assert again.applied_index == again.stored_index == stored
        if stored < 7:
            assert again.apply(story()[stored:], 7) == results[stored:]
        assert again.digest() == digest

    def test_closing_stores_and_lets_go(self) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story(), 7)
        digest = replica.digest()
        replica.close()
        replica.close()
        store.close()
        again = Replica(store, StateMachine())
        assert (again.applied_index, again.digest()) == (7, digest)

    def test_closing_on_a_full_disk_lets_go_as_well(self) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story(), 7)
        store.full = True
        replica.close()
        store.close()
        assert Replica(store, StateMachine()).applied_index == 0

    def test_what_was_let_go_is_used_no_more(self) -> None:
        replica = Replica(MemoryStore(), StateMachine())
        replica.apply(story()[:1], 1)
        replica.abandon()
        with pytest.raises(AssertionError, match="stopped"):
            replica.apply(story()[1:], 7)
        with pytest.raises(AssertionError, match="stopped"):
            replica.store()


class TestMuchThatIsNotStored:
    def test_it_is_stored_before_more_is_applied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        monkeypatch.setattr(module, "UNSTORED_BYTES_MAX", bench.replica.unstored_bytes + 1)
        bench.run(put(b"b", b"1"))
        assert bench.replica.stored_index == 0
        bench.run(put(b"c", b"1"))
        assert (bench.replica.applied_index, bench.replica.stored_index) == (3, 2)

    def test_it_is_bounded(self) -> None:
        bench = Bench()
        value = bytes(UNSTORED_BYTES_MAX // 10)
        most = 0
        for number in range(40):
            bench.run(put(b"%d" % number, value))
            most = max(most, bench.replica.unstored_bytes)
        assert 0.9 * UNSTORED_BYTES_MAX < most < 1.2 * UNSTORED_BYTES_MAX
        assert bench.replica.stored_index > 20

    def test_no_more_entries_are_applied_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "UNSTORED_BYTES_MAX", 1)
        log = [commands_entry(index, START_MS, put(b"a", b"%d" % index)) for index in range(1, 8)]
        replica, whole = (Replica(MemoryStore(), StateMachine()) for _ in range(2))
        results: list[list[Result]] = []
        for count in range(1, 8):
            results += replica.apply(log[count - 1 :], 7)
            assert (replica.applied_index, replica.stored_index) == (count, count - 1)
        monkeypatch.undo()
        assert results == whole.apply(log, 7)
        assert replica.digest() == whole.digest()


class TestFullDisk:
    def test_what_was_applied_is_kept_and_stored_later(self) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story()[:2], 2)
        store.full = True
        digest = replica.digest()
        for index in range(3, 8):
            with pytest.raises(StoreFull):
                replica.store()
            assert (replica.applied_index, replica.stored_index) == (index - 1, 0)
            assert replica.digest() == digest
            replica.apply(story()[index - 1 : index], 7)
            digest = replica.digest()
        store.full = False
        replica.store()
        assert (replica.stored_index, replica.digest()) == (7, digest)
        replica.abandon()
        whole = Replica(MemoryStore(), StateMachine())
        whole.apply(story(), 7)
        assert Replica(store, StateMachine()).digest() == digest == whole.digest()

    def test_nothing_is_applied_when_there_is_much_to_be_stored(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "UNSTORED_BYTES_MAX", 1)
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story()[:1], 2)
        replica.apply(story()[1:2], 2)
        store.full = True
        digest = replica.digest()
        for _ in range(2):
            with pytest.raises(StoreFull):
                replica.apply(story()[2:], 7)
            assert (replica.applied_index, replica.digest()) == (2, digest)
            with replica.view() as (_, stamp_ms):
                assert stamp_ms == START_MS
        store.full = False
        monkeypatch.undo()
        replica.apply(story()[2:], 7)
        whole = Replica(MemoryStore(), StateMachine())
        whole.apply(story(), 7)
        assert replica.digest() == whole.digest()


class TestUnknown:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"\x02", id="kind of entry"),
            pytest.param(b"\x00" + pack((9, 0, ())), id="version of entry"),
            pytest.param(b"\x00" + pack((1, 0, ((0x777, 0, 0, 0),))), id="command"),
        ],
    )
    def test_the_replica_stops_and_keeps_what_it_had(self, data: bytes) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story(), 7)
        replica.store()
        before = replica.digest()
        with pytest.raises(UnknownCommand):
            replica.apply([commands_entry(8, START_MS, put(b"a", b"1")), Entry(9, 1, data)], 9)
        with pytest.raises(AssertionError, match="stopped"):
            replica.apply([noop_entry(8)], 8)
        with pytest.raises(AssertionError, match="stopped"), replica.view():
            pass
        with pytest.raises(AssertionError, match="stopped"):
            replica.store()
        replica.close()
        again = Replica(store, StateMachine())
        assert (again.applied_index, again.digest()) == (7, before)


class TestDamage:
    """One changed byte anywhere in a stored value is found by whoever reads it."""

    @pytest.mark.parametrize("table", [Table.KV, Table.LONG])
    def test_in_a_record_or_inner_node(self, table: Table) -> None:
        bench = Bench()
        bench.run(put(LONG_KEY, b"long"))
        for position in range(self.length(bench, table)):
            self.flip(bench, table, position)
            bench.restart()
            with pytest.raises(CorruptState, match=table.name):
                bench.get(LONG_KEY)
            self.flip(bench, table, position)
        bench.restart()
        assert bench.value(LONG_KEY) == b"long"

    def test_in_a_short_record(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        for position in range(self.length(bench, Table.KV)):
            self.flip(bench, Table.KV, position)
            bench.restart()
            with pytest.raises(CorruptState, match=r"KV.*default.x00a"):
                bench.get(b"a")
            self.flip(bench, Table.KV, position)
        bench.restart()
        assert bench.value(b"a") == b"1"

    @pytest.mark.parametrize("table", [Table.META, Table.SESSIONS, Table.RESULTS])
    def test_in_what_is_loaded_at_start(self, table: Table) -> None:
        bench = Bench()
        bench.run(open_session(1))
        bench.run(within(Triple(1, 1, 1), incr(b"a")))
        for position in range(self.length(bench, table)):
            self.flip(bench, table, position)
            with pytest.raises(CorruptState, match=table.name):
                bench.restart()
            self.flip(bench, table, position)
        bench.restart()

    def test_in_the_expiry_index(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1", ttl_ms=5))
        self.flip(bench, Table.EXPIRY, -1)
        bench.restart()
        with pytest.raises(CorruptState, match="EXPIRY"):
            bench.run(at_ms=5)

    def test_a_value_under_another_key(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        with bench.damage() as txn:
            key, row = next(txn.scan(Table.KV, b""))
            txn.put(Table.KV, key + b"b", row)
        bench.restart()
        with pytest.raises(CorruptState):
            bench.get(b"ab")

    def test_a_value_cut_short(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        with bench.damage() as txn:
            key, row = next(txn.scan(Table.KV, b""))
        for length in range(21):
            with bench.damage() as txn:
                txn.put(Table.KV, key, row[:length])
            bench.restart()
            with pytest.raises(CorruptState):
                bench.get(b"a")

    def length(self, bench: Bench, table: Table) -> int:
        with bench.read() as txn:
            return len(next(txn.scan(table, b""))[1])

    def flip(self, bench: Bench, table: Table, position: int) -> None:
        with bench.damage() as txn:
            key, row = next(txn.scan(table, b""))
            damaged = bytearray(row)
            damaged[position] ^= 0x10
            txn.put(table, key, bytes(damaged))


class TestDigest:
    def test_the_stored_form_does_not_change(self) -> None:
        """Replicas of two versions must agree: a new digest here is a change of what is on disk."""
        replica = Replica(MemoryStore(), StateMachine())
        replica.apply(story(), 7)
        assert replica.digest() == (
            "3ddaa11be3bef2e1815e4bd6564aa03b97848d962095d5f4869626aac4de196a"
        )

    def test_it_covers_every_table_key_and_value(self) -> None:
        class Unloaded(StateMachine):
            def load(self, txn: ReadTransaction) -> None:
                """What is written here means nothing."""

        store = MemoryStore()
        seen = {Replica(store, Unloaded()).digest()}
        for table in Table:
            for key, value in ((b"k", b""), (b"k", b"v"), (b"kv", b"")):
                with store.write() as txn:
                    txn.delete(table, b"k")
                    txn.put(table, key, value)
                seen.add(Replica(store, Unloaded()).digest())
        assert len(seen) == 1 + 3 * len(Table)
