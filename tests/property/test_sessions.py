"""What a session answers does not depend on when it was read back from the store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.state import sessions as module
from cluster.state.commands import BELOW_FLOOR, Result
from cluster.state.memory_store import MemoryStore
from cluster.state.queue_commands import CONSUMED
from cluster.state.sessions import Sessions
from cluster.state.store import Table
from flo.wire.status import Reason

RESULTS_MAX, BYTES_MAX = 3, 8
small = st.tuples(st.just(0), st.integers(0, 9))
consumed = st.integers(0, 6).map(lambda count: (0, CONSUMED, ((1, b"x" * count),)))
floors = st.sampled_from([1, 1, 1, 1, 2, 3, 4, 6, 9])
commands = st.tuples(st.integers(1, 10), floors, small | consumed)
"""Sequence, floor, and the result if it runs."""
entries = st.lists(st.lists(commands, max_size=5), max_size=10)


def run(
    sessions: Sessions, store: MemoryStore, index: int, entry: list[tuple[int, int, Result]]
) -> list[Result | None]:
    """The answers; None for what has run."""
    with store.write() as txn:
        sessions.begin(txn, index, 1)
        if index == 1:
            assert sessions.open(7) == (0, 1)
        answers: list[Result | None] = []
        for sequence, floor, result in entry:
            answers.append(sessions.admit(1, sequence, floor))
            if answers[-1] is None:
                sessions.keep(1, sequence, result)
        sessions.end()
        sessions.finish(txn)
    return answers


def loaded(store: MemoryStore) -> Sessions:
    sessions = Sessions(results_max=RESULTS_MAX)
    with store.read() as txn:
        sessions.load(txn, 1)
    return sessions


@settings(max_examples=300)
@given(entries)
def test_a_restart_changes_no_answer_and_no_limit(
    log: list[list[tuple[int, int, Result]]],
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "RESULTS_BYTES_MAX", BYTES_MAX)
        going_on, restarted = MemoryStore(), MemoryStore()
        first, second = (Sessions(results_max=RESULTS_MAX) for _ in range(2))
        for index, entry in enumerate(log, 1):
            assert run(first, going_on, index, entry) == run(second, restarted, index, entry)
            second = loaded(restarted)
            assert going_on.dump() == restarted.dump()


@settings(max_examples=300)
@given(entries)
def test_what_is_kept_is_what_may_be_asked_for(
    log: list[list[tuple[int, int, Result]]],
) -> None:
    """Of a row that has one of these, all of it; of the others nothing."""
    store, sessions = MemoryStore(), Sessions(results_max=RESULTS_MAX)
    kept: dict[int, Result] = {}
    rows: list[list[int]] = []
    floor = 0
    for index, entry in enumerate(log, 1):
        ran: list[int] = []
        for (sequence, asked_floor, result), answer in zip(
            entry, run(sessions, store, index, entry), strict=True
        ):
            floor = max(floor, asked_floor)
            if sequence < floor:
                assert answer == (BELOW_FLOOR,)
            elif sequence in kept:
                assert answer == kept[sequence]
            elif answer is None:
                kept[sequence] = result
                ran.append(sequence)
            else:
                assert answer == (Reason.TOO_MANY_PROPOSALS,)
        rows = [row for row in [*rows, ran] if row and max(row) >= floor]
        with store.read() as txn:
            assert len(list(txn.scan(Table.RESULTS, b""))) == len(rows)
