"""State machine and store move together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.replica import Replica
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
        Replica(store, StateMachine()).apply(story()[:4], 4)
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


class TestFullDisk:
    def test_nothing_is_applied_and_the_same_entries_apply_later(self) -> None:
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        replica.apply(story()[:2], 2)
        store.full = True
        for _ in range(2):
            with pytest.raises(StoreFull):
                replica.apply(story()[2:], 7)
            assert replica.applied_index == 2
            with replica.view() as (_, stamp_ms):
                assert stamp_ms == START_MS
        store.full = False
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
        before = replica.digest()
        with pytest.raises(UnknownCommand):
            replica.apply([commands_entry(8, START_MS, put(b"a", b"1")), Entry(9, 1, data)], 9)
        assert replica.digest() == before
        with pytest.raises(AssertionError, match="stopped"):
            replica.apply([noop_entry(8)], 8)
        with pytest.raises(AssertionError, match="stopped"), replica.view():
            pass
        assert Replica(store, StateMachine()).applied_index == 7


class TestDamage:
    """One changed byte anywhere in a stored value is found by whoever reads it."""

    @pytest.mark.parametrize("table", [Table.KV, Table.LONG])
    def test_in_a_record_or_inner_node(self, table: Table) -> None:
        bench = Bench()
        bench.run(put(LONG_KEY, b"long"))
        for position in range(self.length(bench, table)):
            self.flip(bench, table, position)
            with pytest.raises(CorruptState, match=table.name):
                bench.get(LONG_KEY)
            self.flip(bench, table, position)
        assert bench.value(LONG_KEY) == b"long"

    def test_in_a_short_record(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        for position in range(self.length(bench, Table.KV)):
            self.flip(bench, Table.KV, position)
            with pytest.raises(CorruptState, match=r"KV.*default.x00a"):
                bench.get(b"a")
            self.flip(bench, Table.KV, position)
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
        with pytest.raises(CorruptState, match="EXPIRY"):
            bench.run(at_ms=5)

    def test_a_value_under_another_key(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        with bench.store.write() as txn:
            key, row = next(txn.scan(Table.KV, b""))
            txn.put(Table.KV, key + b"b", row)
        with pytest.raises(CorruptState):
            bench.get(b"ab")

    def test_a_value_cut_short(self) -> None:
        bench = Bench()
        bench.run(put(b"a", b"1"))
        for length in range(21):
            with bench.store.write() as txn:
                key, row = next(txn.scan(Table.KV, b""))
                txn.put(Table.KV, key, row[:length])
            with pytest.raises(CorruptState):
                bench.get(b"a")
            with bench.store.write() as txn:
                txn.put(Table.KV, key, row)

    def length(self, bench: Bench, table: Table) -> int:
        with bench.store.read() as txn:
            return len(next(txn.scan(table, b""))[1])

    def flip(self, bench: Bench, table: Table, position: int) -> None:
        with bench.store.write() as txn:
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
        store = MemoryStore()
        replica = Replica(store, StateMachine())
        seen = {replica.digest()}
        for table in Table:
            for key, value in ((b"k", b""), (b"k", b"v"), (b"kv", b"")):
                with store.write() as txn:
                    txn.delete(table, b"k")
                    txn.put(table, key, value)
                seen.add(replica.digest())
        assert len(seen) == 1 + 3 * len(Table)
