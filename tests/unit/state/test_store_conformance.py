"""Every promise of the store seam, held by each implementation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.state.memory_store import MemoryStore
from cluster.state.overlay import Overlay
from cluster.state.store import KEY_BYTES_MAX, Table
from cluster.storage.lmdb_store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from cluster.state.store import ReadTransaction, Store, WriteTransaction


class Layered:
    """Changes above a store, as a replica has them, and above these what is yet to be one of them.

    Brought to the store after each write, or only at the end.
    """

    def __init__(self, store: Store, *, soon: bool) -> None:
        self._store = store
        self._soon = soon
        self._begin()

    def _begin(self) -> None:
        self._reading = self._store.read()
        self._changes = Overlay(self._reading.__enter__())

    def _bring(self) -> None:
        self._reading.__exit__(None, None, None)
        with self._store.write() as txn:
            self._changes.write_to(txn)

    @contextmanager
    def read(self) -> Generator[ReadTransaction]:
        yield self._changes

    @contextmanager
    def write(self) -> Generator[WriteTransaction]:
        txn = Overlay(self._changes)
        yield txn
        txn.write_to(self._changes)
        if self._soon:
            self._bring()
            self._begin()

    def close(self) -> None:
        """Everything that was seen is in the store."""
        seen = [list(self._changes.scan(table, b"")) for table in Table]
        self._bring()
        with self._store.read() as txn:
            assert [list(txn.scan(table, b"")) for table in Table] == seen
        self._store.close()


@pytest.fixture(params=["memory", "lmdb"])
def real_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return LmdbStore(tmp_path / "s", boot_id="boot")


@pytest.fixture(params=["alone", "below changes", "below changes that are stored soon"])
def store(request: pytest.FixtureRequest, real_store: Store) -> Iterator[Store]:
    made: Store = real_store
    if request.param != "alone":
        made = Layered(real_store, soon=request.param != "below changes")
    yield made
    made.close()


def fill(store: Store, table: Table, *keys: bytes) -> None:
    with store.write() as txn:
        for key in keys:
            txn.put(table, key, b"value of " + key)


def keys_from(store: Store, table: Table, start: bytes = b"") -> list[bytes]:
    with store.read() as txn:
        return [key for key, _ in txn.scan(table, start)]


def test_a_new_store_is_empty(store: Store) -> None:
    with store.read() as txn:
        for table in Table:
            assert txn.get(table, b"key") is None
            assert list(txn.scan(table, b"")) == []


def test_tables_are_apart(store: Store) -> None:
    for table in Table:
        fill(store, table, table.name.encode())
    for table in Table:
        assert keys_from(store, table) == [table.name.encode()]


def test_scan_is_in_byte_order_from_start_inclusive(store: Store) -> None:
    keys = [b"\x00", b"a", b"a\x00", b"aa", b"b", b"\xff", b"\xff\xff"]
    fill(store, Table.KV, *reversed(keys))
    assert keys_from(store, Table.KV) == keys
    assert keys_from(store, Table.KV, b"a\x00") == keys[2:]
    assert keys_from(store, Table.KV, b"a\x01") == keys[3:]
    assert keys_from(store, Table.KV, b"\xff\xff\xff") == []


def test_scan_gives_values(store: Store) -> None:
    fill(store, Table.KV, b"a", b"b")
    with store.read() as txn:
        assert list(txn.scan(Table.KV, b"b")) == [(b"b", b"value of b")]


def test_insert_sets_a_key_that_is_not_there(store: Store) -> None:
    fill(store, Table.KV, b"a", b"c")
    with store.write() as txn:
        txn.insert(Table.KV, b"b", b"one")
        assert txn.get(Table.KV, b"b") == b"one"
        assert [key for key, _ in txn.scan(Table.KV, b"")] == [b"a", b"b", b"c"]
        assert txn.delete(Table.KV, b"a")
        txn.insert(Table.KV, b"a", b"another")
        txn.insert(Table.KV, b"d", b"gone")
        assert txn.delete(Table.KV, b"d")
        assert not txn.delete(Table.KV, b"d")
    with store.read() as reading:
        rows = [(b"a", b"another"), (b"b", b"one"), (b"c", b"value of c")]
        assert list(reading.scan(Table.KV, b"")) == rows


def test_put_replaces_and_delete_says_what_it_did(store: Store) -> None:
    fill(store, Table.KV, b"a")
    with store.write() as txn:
        txn.put(Table.KV, b"a", b"")
        assert txn.get(Table.KV, b"a") == b""
        assert txn.delete(Table.KV, b"a")
        assert not txn.delete(Table.KV, b"a")
        assert not txn.delete(Table.KV, b"never")
        assert txn.get(Table.KV, b"a") is None
    assert keys_from(store, Table.KV) == []


def test_many_are_put_at_once_in_any_order(store: Store) -> None:
    fill(store, Table.KV, b"a", b"b")
    with store.write() as txn:
        txn.put_all(Table.KV, ((key, b"new") for key in (b"c", b"a", b"d")))
        txn.put_all(Table.KV, [])
        assert txn.get(Table.KV, b"d") == b"new"
    with store.read() as read:
        assert list(read.scan(Table.KV, b"")) == [
            *((b"a", b"new"), (b"b", b"value of b")),
            *((b"c", b"new"), (b"d", b"new")),
        ]


def test_a_queue_is_read_at_its_front_while_rows_go_and_come_back(store: Store) -> None:
    keys = [b"%03d" % number for number in range(40)]
    fill(store, Table.KV, *keys)
    with store.write() as txn:
        for key in keys[:20]:
            assert next(txn.scan(Table.KV, b""))[0] == key
            assert txn.delete(Table.KV, key)
        txn.put(Table.KV, keys[7], b"back")
        assert next(txn.scan(Table.KV, b"")) == (keys[7], b"back")
        assert next(txn.scan(Table.KV, keys[8]))[0] == keys[20]
    with store.write() as txn:
        for key in (keys[7], *keys[20:]):
            assert next(txn.scan(Table.KV, b""))[0] == key
            assert txn.delete(Table.KV, key)
        assert list(txn.scan(Table.KV, b"")) == []
    assert keys_from(store, Table.KV) == []


def test_the_longest_key_fits(store: Store) -> None:
    fill(store, Table.LONG, b"k" * KEY_BYTES_MAX)
    assert keys_from(store, Table.LONG) == [b"k" * KEY_BYTES_MAX]


def test_a_writer_sees_its_own_changes_in_gets_and_scans(store: Store) -> None:
    fill(store, Table.KV, b"a", b"c", b"e")
    with store.write() as txn:
        txn.put(Table.KV, b"b", b"new")
        txn.put(Table.KV, b"c", b"newer")
        txn.delete(Table.KV, b"e")
        assert list(txn.scan(Table.KV, b"b")) == [(b"b", b"new"), (b"c", b"newer")]
        txn.put(Table.KV, b"e", b"again")
        assert [key for key, _ in txn.scan(Table.KV, b"")] == [b"a", b"b", b"c", b"e"]


def test_an_exception_drops_the_whole_transaction(store: Store) -> None:
    fill(store, Table.KV, b"a")

    def fail() -> None:
        with store.write() as txn:
            txn.put(Table.KV, b"b", b"lost")
            txn.delete(Table.KV, b"a")
            raise LookupError("no")

    with pytest.raises(LookupError):
        fail()
    assert keys_from(store, Table.KV) == [b"a"]
    fill(store, Table.KV, b"c")
    assert keys_from(store, Table.KV) == [b"a", b"c"]


def test_a_reader_keeps_the_state_it_began_with(real_store: Store) -> None:
    store = real_store
    fill(store, Table.KV, b"a")
    with store.read() as before:
        with store.write() as txn:
            txn.put(Table.KV, b"b", b"new")
            with store.read() as during:
                assert during.get(Table.KV, b"b") is None
        assert before.get(Table.KV, b"b") is None
        assert [key for key, _ in before.scan(Table.KV, b"")] == [b"a"]
        with store.read() as after:
            assert after.get(Table.KV, b"b") == b"new"
        assert before.get(Table.KV, b"b") is None
    store.close()


def test_reads_nest_and_follow_each_other(store: Store) -> None:
    fill(store, Table.KV, b"a")
    with store.read() as outer:
        with store.read() as inner:
            assert inner.get(Table.KV, b"a") == outer.get(Table.KV, b"a")
        assert outer.get(Table.KV, b"a") is not None
    with store.read() as again:
        assert again.get(Table.KV, b"a") is not None
