"""Every promise of the store seam, held by each implementation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.state.memory_store import MemoryStore
from cluster.state.store import KEY_BYTES_MAX, Table
from cluster.storage.lmdb_store import LmdbStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.state.store import Store


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "s", boot_id="boot")
    )
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


def test_a_reader_keeps_the_state_it_began_with(store: Store) -> None:
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


def test_reads_nest_and_follow_each_other(store: Store) -> None:
    fill(store, Table.KV, b"a")
    with store.read() as outer:
        with store.read() as inner:
            assert inner.get(Table.KV, b"a") == outer.get(Table.KV, b"a")
        assert outer.get(Table.KV, b"a") is not None
    with store.read() as again:
        assert again.get(Table.KV, b"a") is not None
