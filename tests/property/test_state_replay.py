"""The same log leaves the same bytes, whatever it is applied to and however it is cut."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    """Applies a log `group` entries at a time; the digest and all results."""
    replica = Replica(store, StateMachine())
    results: list[list[Result]] = []
    for start in range(0, len(log), group):
        results += replica.apply(log[start : start + group], log[-1].index)
    return replica.digest(), results


@given(logs, st.integers(2, 40))
def test_grouping_into_transactions_does_not_matter(steps: Steps, group: int) -> None:
    log = build_log(steps)
    assert replay(MemoryStore(), log, group) == replay(MemoryStore(), log, 1)


@given(logs, st.data())
def test_restarts_do_not_matter(steps: Steps, data: st.DataObject) -> None:
    log = build_log(steps)
    cuts = data.draw(st.sets(st.integers(1, len(log))))
    store = MemoryStore()
    results: list[list[Result]] = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(log)], strict=True):
        results += replay(store, log[start:end], 3)[1]
    assert (Replica(store, StateMachine()).digest(), results) == replay(MemoryStore(), log, 1)


@given(logs, st.integers(1, 5))
def test_full_disks_do_not_matter(steps: Steps, group: int) -> None:
    log = build_log(steps)
    store = MemoryStore()
    replica = Replica(store, StateMachine())
    results: list[list[Result]] = []
    for start in range(0, len(log), group):
        store.full = True
        with pytest.raises(StoreFull):
            replica.apply(log[start : start + group + 1], len(log))
        store.full = False
        results += replica.apply(log[start : start + group], log[-1].index)
    assert (replica.digest(), results) == replay(MemoryStore(), log, 1)


@settings(max_examples=15)
@given(logs, st.integers(1, 10))
def test_lmdb_and_memory_hold_the_same(steps: Steps, group: int) -> None:
    log = build_log(steps)
    with TemporaryDirectory() as path:
        store = LmdbStore(path, boot_id="boot")
        assert replay(store, log, group) == replay(MemoryStore(), log, 1)
        store.close()
        reopened = LmdbStore(path, boot_id=None)
        assert Replica(reopened, StateMachine()).digest() == replay(MemoryStore(), log, 1)[0]
        reopened.close()
