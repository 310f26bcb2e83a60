"""Keys of every length behave as in one sorted dictionary."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.state import keyspace
from cluster.state.keyspace import PIECE_BYTES, Record
from cluster.state.memory_store import MemoryStore
from cluster.state.store import Store, Table
from cluster.storage.lmdb_store import LmdbStore

# Lengths at which a piece ends, and keys that are alike up to there.
_LENGTHS = [0, 1, 2, 478, 479, 480, 481, 482, 959, 960, 961, 1440, 3998, 4000]
_BASES = [b"a" * 4000, b"ab" * 2000, b"\x00" * 4000, b"\xff" * 4000]


def _join(base: bytes, length: int, tail: bytes) -> bytes:
    return base[:length] + tail


anything = st.builds(
    _join, st.sampled_from(_BASES), st.sampled_from(_LENGTHS), st.binary(max_size=2)
)
full_keys = anything.filter(bool)
changes = st.lists(st.tuples(full_keys, st.none() | st.binary(max_size=3)), max_size=25)


def apply(store: Store, changes: list[tuple[bytes, bytes | None]]) -> dict[bytes, Record]:
    """Makes the changes (None removes) in store and model; each removal must agree."""
    model: dict[bytes, Record] = {}
    with store.write() as txn:
        for version, (full, value) in enumerate(changes):
            if value is None:
                assert keyspace.delete(txn, full) == (model.pop(full, None) is not None)
            else:
                model[full] = Record(version, version * 3, value, version * 5, version * 7)
                keyspace.put(txn, full, model[full])
    return model


def check(store: Store, model: dict[bytes, Record], probes: list[tuple[bytes, bytes]]) -> None:
    with store.read() as txn:
        for full in [*model, *(probe for probe, _ in probes if probe)]:
            assert keyspace.get(txn, full) == model.get(full)
        for prefix, after in [(b"", b""), *probes, *((b"", full) for full in model)]:
            assert list(keyspace.scan(txn, prefix, after)) == [
                (full, model[full])
                for full in sorted(model)
                if full.startswith(prefix) and (full > after or not after)
            ]


@given(changes, st.lists(st.tuples(anything, anything), max_size=8))
def test_it_is_a_sorted_dictionary(
    changes: list[tuple[bytes, bytes | None]], probes: list[tuple[bytes, bytes]]
) -> None:
    store = MemoryStore()
    check(store, apply(store, changes), probes)


@settings(max_examples=15)
@given(changes, st.lists(st.tuples(anything, anything), max_size=4))
def test_it_is_one_in_lmdb_too(
    changes: list[tuple[bytes, bytes | None]], probes: list[tuple[bytes, bytes]]
) -> None:
    with TemporaryDirectory() as path:
        store = LmdbStore(path, boot_id="boot")
        check(store, apply(store, changes), probes)
        store.close()


@given(st.lists(full_keys, unique=True, max_size=20), st.data())
def test_removing_every_key_leaves_nothing_but_the_id_counter(
    fulls: list[bytes], data: st.DataObject
) -> None:
    store = MemoryStore()
    removals: list[tuple[bytes, bytes | None]] = [
        (full, None) for full in data.draw(st.permutations(fulls))
    ]
    assert apply(store, [(full, b"v") for full in fulls] + removals) == {}
    with store.read() as txn:
        assert list(txn.scan(Table.KV, b"")) == []
        assert list(txn.scan(Table.LONG, b"")) == []


@pytest.mark.parametrize("length", [PIECE_BYTES, 2 * PIECE_BYTES, 4000])
def test_child_ids_are_never_used_again(length: int) -> None:
    store = MemoryStore()
    full = b"k" * length
    seen: set[bytes] = set()
    for _ in range(3):
        apply(store, [(full, b"v")])
        with store.read() as txn:
            heads = {key[:8] for key, _ in txn.scan(Table.LONG, b"")}
        assert len(heads) == length // PIECE_BYTES
        assert not heads & seen
        seen |= heads
        with store.write() as txn:
            assert keyspace.delete(txn, full)
