"""Changes above a state are what a dictionary would be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.state.memory_store import MemoryStore
from cluster.state.overlay import Overlay
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.store import ReadTransaction

keys = st.sampled_from([b"%02d" % number for number in range(12)])
starts = st.just(b"") | keys | keys.map(lambda key: key + b"!")
values = st.sampled_from([b"", b"x", b"y"])
contents = st.dictionaries(keys, values, max_size=12)
steps = st.one_of(
    st.tuples(st.just("put"), keys, values),
    st.tuples(st.just("insert"), keys, values),
    st.tuples(st.just("put all"), st.lists(st.tuples(keys, values), max_size=4), st.none()),
    st.tuples(st.just("delete"), keys, st.none()),
    st.tuples(st.just("get"), keys, st.none()),
    st.tuples(st.just("scan"), starts, st.integers(0, 12)),
    st.tuples(st.just("take the first"), st.integers(1, 4), st.none()),
    st.tuples(st.just("put back"), st.integers(1, 4), st.none()),
)


class Pair:
    """An overlay and the dictionary that says what it should show."""

    def __init__(self, below: ReadTransaction, model: dict[bytes, bytes]) -> None:
        self.overlay = Overlay(below)
        self.model = model
        self.taken: list[bytes] = []

    def step(self, what: str, first: object, second: object) -> None:
        overlay, model = self.overlay, self.model
        if what == "put":
            assert isinstance(first, bytes)
            assert isinstance(second, bytes)
            self.put(first, second)
        elif what == "insert":
            assert isinstance(first, bytes)
            assert isinstance(second, bytes)
            if first not in model:
                overlay.insert(Table.KV, first, second)
                model[first] = second
        elif what == "put all":
            rows = cast("list[tuple[bytes, bytes]]", first)
            overlay.put_all(Table.KV, rows)
            model.update(rows)
        elif what == "delete":
            assert isinstance(first, bytes)
            assert overlay.delete(Table.KV, first) == (model.pop(first, None) is not None)
        elif what == "get":
            assert isinstance(first, bytes)
            assert overlay.get(Table.KV, first) == model.get(first)
        elif what == "scan":
            assert isinstance(first, bytes)
            assert isinstance(second, int)
            self.check(first, second)
        else:
            assert isinstance(first, int)
            for _ in range(first):
                self.take() if what == "take the first" else self.put_back()

    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(Table.KV, key, value)
        self.model[key] = value

    def take(self) -> None:
        """As from a queue."""
        row = next(self.overlay.scan(Table.KV, b""), None)
        assert row == min(self.model.items(), default=None)
        if row is not None:
            assert self.overlay.delete(Table.KV, row[0])
            del self.model[row[0]]
            self.taken.append(row[0])

    def put_back(self) -> None:
        if self.taken:
            self.put(self.taken.pop(0), b"back")

    def check(self, start: bytes = b"", count: int | None = None) -> None:
        expected = sorted(row for row in self.model.items() if row[0] >= start)
        assert list(islice(self.overlay.scan(Table.KV, start), count)) == expected[:count]


def filled(content: dict[bytes, bytes]) -> MemoryStore:
    store = MemoryStore()
    with store.write() as txn:
        txn.put_all(Table.KV, content.items())
        txn.put(Table.META, b"other", b"table")
    return store


def content_of(store: MemoryStore) -> dict[bytes, bytes]:
    with store.read() as txn:
        assert list(txn.scan(Table.META, b"")) == [(b"other", b"table")]
        return dict(txn.scan(Table.KV, b""))


@settings(max_examples=400)
@given(contents, st.lists(steps, max_size=40))
def test_above_a_store(content: dict[bytes, bytes], what: list[tuple[str, object, object]]) -> None:
    store = filled(content)
    with store.read() as below:
        pair = Pair(below, dict(content))
        for step in what:
            pair.step(*step)
        for start in (b"", *(b"%02d" % number for number in range(12))):
            pair.check(start)
    with store.read() as elsewhere:
        pair.overlay.move_to(elsewhere)
        pair.check()
    with store.write() as txn:
        pair.overlay.write_to(txn)
    assert content_of(store) == pair.model


@settings(max_examples=200)
@given(contents, st.lists(st.tuples(st.lists(steps, max_size=12), st.booleans()), max_size=8))
def test_above_another(
    content: dict[bytes, bytes], transactions: list[tuple[list[tuple[str, object, object]], bool]]
) -> None:
    """Transactions, each of which is made or thrown away."""
    store = filled(content)
    with store.read() as below:
        pair = Pair(below, dict(content))
        for what, made in transactions:
            inner = Pair(pair.overlay, dict(pair.model))
            for step in what:
                inner.step(*step)
            inner.check()
            if made:
                inner.overlay.write_to(pair.overlay)
                pair.model = inner.model
            pair.check()
    with store.write() as txn:
        pair.overlay.write_to(txn)
    assert content_of(store) == pair.model


@given(contents, st.lists(st.tuples(keys, values, st.booleans()), max_size=12))
def test_what_came_and_went_leaves_nothing(
    content: dict[bytes, bytes], changes: list[tuple[bytes, bytes, bool]]
) -> None:
    store = filled(content)
    with store.read() as below:
        overlay = Overlay(below)
        for key, value, scanned in changes:
            if key not in content:
                overlay.insert(Table.KV, key, value)
                overlay.put(Table.KV, key, value + b"more")
                if scanned:
                    assert (key, value + b"more") in overlay.scan(Table.KV, b"")
                assert overlay.nbytes > 0
                assert overlay.delete(Table.KV, key)
        assert overlay.nbytes == 0
        untouched = MemoryStore()
        with untouched.write() as txn:
            overlay.write_to(txn)
            assert not any(txn.changes)


@given(contents, keys, values)
def test_a_key_that_comes_and_goes_takes_no_more_with_time(
    content: dict[bytes, bytes], key: bytes, value: bytes
) -> None:
    with filled(content).read() as below:
        overlay = Overlay(below)
        sizes: set[int] = set()
        for _ in range(5):
            overlay.put(Table.KV, key, value)
            assert overlay.delete(Table.KV, key)
            sizes.add(overlay.nbytes)
    assert len(sizes) == 1
