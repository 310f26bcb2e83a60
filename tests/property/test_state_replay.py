"""The same log leaves the same bytes, whatever it is applied to and however it is cut."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import replica as module
from cluster.replica import Replica
from cluster.state.errors import StoreFull
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.lmdb_store import LmdbStore
from tests.unit.state.helpers import START_MS, commands_entry, noop_entry
from tests.unit.state.queue_strategies import queue_batches, queue_steps_ms
from tests.unit.state.strategies import batches, steps_ms
from tests.unit.state.stream_strategies import stream_batches, stream_steps_ms

if TYPE_CHECKING:
    from cluster.state.commands import Command, Result
    from cluster.state.store import Store
    from cluster.storage.records import Entry

Steps = list[tuple[list["Command"] | None, int]]

everything = st.tuples(batches, queue_batches, stream_batches).map(
    lambda parts: parts[0] + parts[1] + parts[2]
)
mixed_logs = st.lists(
    st.tuples(st.none() | everything, steps_ms | queue_steps_ms), min_size=1, max_size=30
)
stream_logs = st.lists(
    st.tuples(st.none() | stream_batches, stream_steps_ms), min_size=1, max_size=40
)
logs = mixed_logs | stream_logs


def build_log(steps: Steps) -> list[Entry]:
    """Entries of the batches; None becomes a no-op."""
    log: list[Entry] = []
    at_ms = START_MS
    for index, (batch, step_ms) in enumerate(steps, 1):
        at_ms += step_ms
        entry = noop_entry(index) if batch is None else commands_entry(index, at_ms, *batch)
        log.append(entry)
    return log


def replay(store: Store, log: list[Entry], group: int) -> tuple[str, list[list[Result]]]:
    """Applies a log `group` entries at a time, and stores it; the digest and all results."""
    replica = Replica(store, StateMachine())
    results = apply(replica, log, group)
    digest = replica.digest()
    replica.close()
    return digest, results


def apply(replica: Replica, log: list[Entry], group: int) -> list[list[Result]]:
    results: list[list[Result]] = []
    while len(results) < len(log):
        start = len(results)
        results += replica.apply(log[start : start + group], log[-1].index)
    return results


@given(logs, st.integers(2, 40))
def test_grouping_into_transactions_does_not_matter(steps: Steps, group: int) -> None:
    log = build_log(steps)
    assert replay(MemoryStore(), log, group) == replay(MemoryStore(), log, 1)


@given(logs, st.integers(1, 5), st.integers(0, 4000))
def test_what_is_kept_in_memory_does_not_matter(steps: Steps, group: int, most: int) -> None:
    """It stores by itself when that is much."""
    log = build_log(steps)
    whole = replay(MemoryStore(), log, 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "UNSTORED_BYTES_MAX", most)
        assert replay(MemoryStore(), log, group) == whole


@given(logs, st.integers(1, 5), st.data())
def test_when_it_is_stored_does_not_matter(steps: Steps, group: int, data: st.DataObject) -> None:
    log = build_log(steps)
    stored = data.draw(st.sets(st.integers(1, len(log))))
    store = MemoryStore()
    replica = Replica(store, StateMachine())
    results: list[list[Result]] = []
    for start, end in pieces(stored, len(log)):
        results += apply(replica, log[start:end], group)
        replica.store()
        assert replica.stored_index == end
    assert (replica.digest(), results) == replay(MemoryStore(), log, 1)
    replica.abandon()
    assert Replica(store, StateMachine()).digest() == replica.digest()


@given(logs, st.data())
def test_restarts_do_not_matter(steps: Steps, data: st.DataObject) -> None:
    log = build_log(steps)
    cuts = data.draw(st.sets(st.integers(1, len(log))))
    store = MemoryStore()
    results: list[list[Result]] = []
    for start, end in pieces(cuts, len(log)):
        results += replay(store, log[start:end], 3)[1]
    assert (Replica(store, StateMachine()).digest(), results) == replay(MemoryStore(), log, 1)


@given(logs, st.integers(1, 5), st.data())
def test_crashes_do_not_matter(steps: Steps, group: int, data: st.DataObject) -> None:
    """What was not stored is applied again, with the same results."""
    log = build_log(steps)
    digest, results = replay(MemoryStore(), log, 1)
    store = MemoryStore()
    replica = Replica(store, StateMachine())
    last = ""
    crashes = data.draw(st.lists(st.tuples(st.integers(0, len(log)), st.booleans()), max_size=6))
    for until, is_stored in [*crashes, (len(log), False)]:
        start = replica.applied_index
        assert start == replica.stored_index
        assert apply(replica, log[start:until], group) == results[start:until]
        if is_stored:
            replica.store()
        last = replica.digest()
        replica.abandon()
        store.close()
        replica = Replica(store, StateMachine())
    assert last == digest


@given(logs, st.integers(1, 5), st.integers(0, 4000), st.data())
def test_full_disks_do_not_matter(steps: Steps, group: int, most: int, data: st.DataObject) -> None:
    """Whether it is found full at a time of its own or because much is to be stored."""
    log = build_log(steps)
    whole = replay(MemoryStore(), log, 1)
    full = data.draw(st.sets(st.integers(0, len(log) - 1)))
    store = MemoryStore()
    replica = Replica(store, StateMachine())
    results: list[list[Result]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "UNSTORED_BYTES_MAX", most)
        while len(results) < len(log):
            start = len(results)
            store.full = start in full
            if store.full and replica.stored_index < start:
                with pytest.raises(StoreFull):
                    replica.store()
            try:
                results += replica.apply(log[start : start + group], log[-1].index)
            except StoreFull:
                assert store.full
                assert replica.unstored_bytes >= most
                store.full = False
                results += replica.apply(log[start : start + group], log[-1].index)
    assert (replica.digest(), results) == whole
    store.full = False
    replica.close()
    assert Replica(store, StateMachine()).digest() == whole[0]


@settings(max_examples=15)
@given(logs, st.integers(1, 10))
def test_lmdb_and_memory_hold_the_same(steps: Steps, group: int) -> None:
    log = build_log(steps)
    with TemporaryDirectory() as path:
        store = LmdbStore(path, boot_id="boot")
        assert replay(store, log, group) == replay(MemoryStore(), log, 1)
        store.close()
        reopened = LmdbStore(path, boot_id=None)
        replica = Replica(reopened, StateMachine())
        assert replica.digest() == replay(MemoryStore(), log, 1)[0]
        replica.close()
        reopened.close()


def pieces(cuts: set[int], length: int) -> list[tuple[int, int]]:
    """The parts of a log, from where to where."""
    ends = [*sorted(cuts), length]
    return list(zip([0, *ends[:-1]], ends, strict=True))
