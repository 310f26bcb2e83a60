"""What queues, streams and transactions stand on: timers, garbage and named records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.state.context import Context
from cluster.state.errors import CorruptState
from cluster.state.garbage import ROWS_PER_ENTRY, Garbage
from cluster.state.memory_store import MemoryStore
from cluster.state.objects import (
    CACHED_MAX,
    Objects,
    forget_id,
    name_id,
    name_of_id,
    object_key,
    scan_objects,
)
from cluster.state.store import Table
from cluster.state.timers import NEVER_MS, TIMERS_PER_ENTRY, Timers

if TYPE_CHECKING:
    from collections.abc import Callable


class Machine:
    """Timers over a store, and what they have called."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.timers = Timers()
        self.called: list[tuple[int, bytes]] = []

    def run(self, stamp_ms: int, then: Callable[[Context], None] | None = None) -> None:
        context = Context()
        context.timers = self.timers
        context.stamp_ms = stamp_ms

        def note(kind: int) -> Callable[[Context, bytes], None]:
            def handler(_context: Context, what: bytes) -> None:
                self.called.append((kind, what))
                if then is not None:
                    then(context)

            return handler

        with self.store.write() as txn:
            context.txn = txn
            self.timers.run(context, {1: note(1), 2: note(2)})

    def add(self, at_ms: int, kind: int, what: bytes) -> None:
        with self.store.write() as txn:
            self.timers.add(txn, at_ms, kind, what)

    def remove(self, at_ms: int, kind: int, what: bytes) -> None:
        with self.store.write() as txn:
            self.timers.remove(txn, at_ms, kind, what)

    def reload(self) -> None:
        self.timers = Timers()
        with self.store.read() as txn:
            self.timers.load(txn)


class TestTimers:
    def test_each_runs_once_when_its_time_has_come(self) -> None:
        machine = Machine()
        machine.add(200, 1, b"later")
        machine.add(100, 2, b"soon")
        machine.run(99)
        assert machine.called == []
        machine.run(100)
        assert machine.called == [(2, b"soon")]
        machine.run(1000)
        machine.run(1000)
        assert machine.called == [(2, b"soon"), (1, b"later")]
        assert machine.timers.earliest_ms == NEVER_MS

    def test_one_taken_back_does_not_run(self) -> None:
        machine = Machine()
        machine.add(100, 1, b"a")
        machine.add(100, 1, b"b")
        machine.remove(100, 1, b"a")
        machine.run(100)
        assert machine.called == [(1, b"b")]

    def test_taking_back_what_is_not_there_is_damage(self) -> None:
        with pytest.raises(CorruptState, match="missing"):
            Machine().remove(100, 1, b"a")

    def test_an_entry_runs_a_bounded_number_the_earliest_first(self) -> None:
        machine = Machine()
        for number in range(TIMERS_PER_ENTRY + 10):
            machine.add(1000 - number, 1, b"%d" % (1000 - number))
        machine.run(1000)
        assert len(machine.called) == TIMERS_PER_ENTRY
        assert machine.timers.earliest_ms == 991
        machine.run(1000)
        times = [int(what) for _, what in machine.called]
        assert times == sorted(times)
        assert len(times) == TIMERS_PER_ENTRY + 10

    def test_what_a_handler_adds_runs_with_a_later_entry(self) -> None:
        machine = Machine()
        machine.add(100, 1, b"a")
        machine.run(100, lambda context: context.timers.add(context.txn, 50, 2, b"b"))
        assert machine.called == [(1, b"a")]
        machine.run(100)
        assert machine.called == [(1, b"a"), (2, b"b")]

    def test_a_loaded_machine_knows_when_the_next_is_due(self) -> None:
        machine = Machine()
        machine.add(300, 1, b"a")
        machine.add(200, 1, b"b")
        machine.reload()
        assert machine.timers.earliest_ms == 200
        machine.run(200)
        assert machine.called == [(1, b"b")]

    def test_damage_is_noticed(self) -> None:
        machine = Machine()
        machine.add(100, 1, b"a")
        with machine.store.write() as txn:
            key, row = next(iter(txn.scan(Table.TIMERS, b"")))
            txn.put(Table.TIMERS, key, bytes((row[0] ^ 1,)) + row[1:])
        with pytest.raises(CorruptState):
            machine.run(100)


class TestGarbage:
    def test_rows_go_a_bounded_number_per_entry_and_nothing_else_goes(self) -> None:
        store, garbage = MemoryStore(), Garbage()
        count = ROWS_PER_ENTRY + 10
        with store.write() as txn:
            for number in range(count):
                txn.put(Table.QUEUE_BODY, b"old-%05d" % number, b"")
            txn.put(Table.QUEUE_BODY, b"older", b"")
            txn.put(Table.QUEUE_READY, b"old-1", b"")
            garbage.add(txn, Table.QUEUE_BODY, b"old-")
        left: list[int] = []
        while garbage.pending:
            with store.write() as txn:
                garbage.collect(txn)
            with store.read() as read:
                left.append(sum(1 for _ in read.scan(Table.QUEUE_BODY, b"")))
        assert left == [11, 1]
        with store.read() as read:
            assert read.get(Table.QUEUE_READY, b"old-1") is not None
            assert not list(read.scan(Table.GARBAGE, b""))

    def test_a_loaded_machine_goes_on(self) -> None:
        store, garbage = MemoryStore(), Garbage()
        with store.write() as txn:
            txn.put(Table.QUEUE_BODY, b"a1", b"")
            garbage.add(txn, Table.QUEUE_BODY, b"a")
        garbage = Garbage()
        with store.read() as read:
            garbage.load(read)
        assert garbage.pending
        with store.write() as txn:
            garbage.collect(txn)
            assert not list(txn.scan(Table.QUEUE_BODY, b""))

    def test_a_range_goes_with_both_ends(self) -> None:
        store, garbage = MemoryStore(), Garbage()
        with store.write() as txn:
            for key in (b"a", b"b", b"bb", b"c", b"cc", b"d"):
                txn.put(Table.QUEUE_BODY, key, b"")
            garbage.add(txn, Table.QUEUE_BODY, b"b", b"c")
            garbage.collect(txn)
            left = [key for key, _ in txn.scan(Table.QUEUE_BODY, b"")]
        assert left == [b"a", b"cc", b"d"]

    def test_what_belongs_to_a_row_goes_with_it(self) -> None:
        store = MemoryStore()
        gone: list[tuple[bytes, bytes]] = []
        garbage = Garbage({Table.QUEUE_STATE: lambda _, key, row: gone.append((key, row))})
        with store.write() as txn:
            txn.put(Table.QUEUE_STATE, b"a1", b"row")
            txn.put(Table.QUEUE_BODY, b"a1", b"row")
            garbage.add(txn, Table.QUEUE_STATE, b"a")
            garbage.add(txn, Table.QUEUE_BODY, b"a")
            garbage.collect(txn)
        assert gone == [(b"a1", b"row")]

    def test_empty_heaps_are_bounded_too(self) -> None:
        store, garbage = MemoryStore(), Garbage()
        with store.write() as txn:
            for number in range(ROWS_PER_ENTRY + 1):
                garbage.add(txn, Table.QUEUE_BODY, b"%04d" % number)
            garbage.collect(txn)
            assert len(list(txn.scan(Table.GARBAGE, b""))) == 1


class Number:
    """A record with one number in it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def encode(self) -> bytes:
        return b"%d" % self.number


def decode(body: bytes) -> Number:
    return Number(int(body))


class TestObjects:
    def test_what_was_changed_is_written_at_the_end(self) -> None:
        store, objects = MemoryStore(), Objects(decode)
        full = object_key(b"q", b"default", b"n" * 3000)
        with store.write() as txn:
            assert objects.get(txn, full) is None
            objects.create(txn, full, Number(1))
            found = objects.get(txn, full)
            assert found is not None
            found.number = 2
            objects.changed(full, found)
            objects.flush(txn)
        again = Objects(decode)
        with store.read() as read:
            loaded = again.get(read, full)
            assert loaded is not None
            assert loaded.number == 2

    def test_a_load_forgets_what_was_not_committed(self) -> None:
        store, objects = MemoryStore(), Objects(decode)
        objects.changed(b"\x00qa", Number(1))
        objects.load()
        with store.read() as read:
            assert objects.get(read, b"\x00qa") is None

    def test_a_deleted_one_is_gone(self) -> None:
        store, objects = MemoryStore(), Objects(decode)
        with store.write() as txn:
            objects.create(txn, b"\x00qa", Number(1))
            objects.changed(b"\x00qa", Number(2))
            objects.delete(txn, b"\x00qa")
            objects.flush(txn)
            assert objects.get(txn, b"\x00qa") is None

    def test_names_come_in_byte_order(self) -> None:
        store, objects = MemoryStore(), Objects(decode)
        names = [b"a", b"a" * 700, b"ab", b"b"]
        with store.write() as txn:
            for number, name in enumerate(names):
                objects.create(txn, object_key(b"q", b"default", name), Number(number))
            objects.create(txn, object_key(b"q", b"other", b"a"), Number(9))
            objects.flush(txn)
            prefix = object_key(b"q", b"default", b"")
            numbers = [each.number for _, each in scan_objects(txn, prefix, b"", decode)]
        assert numbers == [0, 1, 2, 3]

    def test_a_long_name_takes_its_place_when_it_is_made(self) -> None:
        """Where a transaction ends must not show in the ids of the keyspace."""
        rows: list[list[tuple[bytes, bytes]]] = []
        for in_order in (True, False):
            store, queues, streams = MemoryStore(), Objects(decode), Objects(decode)
            with store.write() as txn:
                queues.create(txn, object_key(b"q", b"default", b"n" * 600), Number(1))
                streams.create(txn, object_key(b"s", b"default", b"n" * 600), Number(1))
                for each in (queues, streams) if in_order else (streams, queues):
                    each.flush(txn)
                rows.append(list(txn.scan(Table.LONG, b"")))
        assert rows[0] == rows[1]

    def test_an_id_has_a_name_until_it_is_given_up(self) -> None:
        store = MemoryStore()
        with store.write() as txn:
            name_id(txn, 7, b"n" * 3000)
            assert name_of_id(txn, 7) == b"n" * 3000
            assert name_of_id(txn, 8) is None
            forget_id(txn, 7)
            assert name_of_id(txn, 7) is None

    def test_memory_does_not_grow_with_the_names(self) -> None:
        """What was changed and not yet written is kept whatever happens."""
        store, objects = MemoryStore(), Objects(decode)
        with store.write() as txn:
            for number in range(CACHED_MAX + 10):
                objects.changed(object_key(b"q", b"default", b"%d" % number), Number(number))
            objects.flush(txn)
        with store.read() as read:
            for number in range(CACHED_MAX + 10):
                found = objects.get(read, object_key(b"q", b"default", b"%d" % number))
                assert found is not None
                assert found.number == number
