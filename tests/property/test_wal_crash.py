"""Random histories of the log with crashes: what was durable stays, the rest goes from the end.

The log is one sequence of records over all groups. After any crash it must hold a prefix of it: at
least up to the last complete ticket, at most up to the last sealed one, and whole batches only.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.records import Entry, HardState
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig

if TYPE_CHECKING:
    from cluster.storage.wal_buffer import SyncTicket

GROUPS = (1, 2, 3)

# One batch per ticket, several segments per history; and tickets of many batches.
ROOMY = WalConfig(segment_bytes=6000, tail_bytes=600, batch_bytes_max=4500, groups_max=3)
CRAMPED = WalConfig(segment_bytes=700, tail_bytes=0, batch_bytes_max=160, groups_max=3)


class GroupState(NamedTuple):
    """What a group must look like after a prefix of the records; commit indexes are kept apart."""

    entries: tuple[Entry, ...] = ()
    term: int = 0
    voted_for: int = 0


State = dict[int, GroupState]


class History:
    """Drives a log and knows each state that it went through."""

    def __init__(self, config: WalConfig, seed: int) -> None:
        self.config = config
        self.random = Random(seed)
        self.storage = MemoryStorage()
        self.commits: dict[int, list[int]] = {group_id: [0] for group_id in GROUPS}
        self.states: list[State] = [dict.fromkeys(GROUPS, GroupState())]
        self.ticket: SyncTicket | None = None
        self.sealed_lsn = 0
        self.boundaries = {0}
        self.wal = Wal.open(self.storage, config)

    # What a node does.

    def append(self, group_id: int, amount: int) -> None:
        state = self.states[-1][group_id]
        last = state.entries[-1] if state.entries else Entry(0, 0, b"")
        term = max(last.term, state.term)
        entry = Entry(last.index + 1, term, self.random.randbytes(amount % 120))
        self.wal.group(group_id).append(*entry)
        self._record(group_id, state._replace(entries=(*state.entries, entry)))

    def truncate(self, group_id: int, amount: int) -> None:
        state = self.states[-1][group_id]
        if not state.entries:
            return
        index = max(1, len(state.entries) - amount % 5)
        self.wal.group(group_id).truncate_from(index)
        # What comes in its place is of a new term, as Raft guarantees.
        self._record(group_id, state._replace(entries=state.entries[: index - 1]))
        self.hard_state(group_id, amount)

    def hard_state(self, group_id: int, amount: int) -> None:
        state = self.states[-1][group_id]
        term, voted_for = state.term + 1 + amount % 2, amount % 4
        commit = self.wal.group(group_id).hard_state.commit
        self.wal.group(group_id).set_hard_state(HardState(term, voted_for, commit))
        self._record(group_id, state._replace(term=term, voted_for=voted_for))

    def note_commit(self, group_id: int, amount: int) -> None:
        group = self.wal.group(group_id)
        group.note_commit(min(group.last_index, group.hard_state.commit + amount % 3))
        self.commits[group_id].append(group.hard_state.commit)

    def _record(self, group_id: int, state: GroupState) -> None:
        self.states.append(self.states[-1] | {group_id: state})
        assert self.wal.lsn == len(self.states) - 1

    def seal(self) -> None:
        if self.ticket is None:
            self.ticket = self.wal.seal()
            if self.ticket is not None:
                self.sealed_lsn = self.ticket.lsn
                self.boundaries.add(self.ticket.lsn)

    def write(self) -> None:
        if self.ticket is not None and not self.ticket.is_synced:
            self.wal.write_and_sync(self.ticket)

    def complete(self) -> None:
        if self.ticket is not None and self.ticket.is_synced:
            self.wal.complete(self.ticket)
            self.ticket = None
            self._check_durable()

    def sync(self) -> None:
        for _ in range(2):
            self.seal()
            self.write()
            self.complete()

    def prepare(self) -> None:
        if self.wal.needs_segment():
            self.wal.prepare_next_segment()

    # What happens to it.

    def crash(self, mode: Crash, failing_starts: int) -> None:
        self.storage.crash(self.random, mode)
        for _ in range(failing_starts):
            self.storage.fail(Operation.ANY, after=self.random.randrange(8))
            # A start may die at any point, too, and the next one must find the same.
            with suppress(OSError):
                Wal.open(self.storage, self.config)
            self.storage.crash(self.random, self.random.choice(list(Crash)))
        durable_lsn = self.wal.durable_lsn
        self.wal = Wal.open(self.storage, self.config)
        self._check_recovered(durable_lsn)

    def _check_recovered(self, durable_lsn: int) -> None:
        found = {group_id: self._found(group_id) for group_id in GROUPS}
        allowed = range(durable_lsn, self.sealed_lsn + 1)
        matches = [lsn for lsn in allowed if self.states[lsn] == found]
        assert matches, "the log is no prefix between what was durable and what was sealed"
        if self.config is ROOMY:
            assert self.boundaries.intersection(matches), "a batch is all or nothing"
        for group_id in GROUPS:
            group = self.wal.group(group_id)
            assert group.durable_index == group.last_index
            assert group.hard_state.commit <= group.last_index
            assert group.durable_hard_state == group.hard_state
            self.commits[group_id] = [group.hard_state.commit]
        self.states = [found]
        self.boundaries = {0}
        self.sealed_lsn = 0
        self.ticket = None

    def _found(self, group_id: int) -> GroupState:
        group = self.wal.group(group_id)
        entries = group.entries(1, group.last_index + 1) if group.last_index else []
        term, voted_for, commit = group.hard_state
        assert min(commit, group.last_index) in self.commits[group_id] or commit == group.last_index
        return GroupState(tuple(entries), term, voted_for)

    def _check_durable(self) -> None:
        """A durable index names only entries that the synced records hold unchanged."""
        synced, latest = self.states[self.wal.durable_lsn], self.states[-1]
        for group_id in GROUPS:
            durable_index = self.wal.group(group_id).durable_index
            now = latest[group_id].entries[:durable_index]
            assert len(now) == durable_index
            assert now == synced[group_id].entries[:durable_index]
            group = self.wal.group(group_id)
            assert group.hard_state_durable == (synced[group_id][1:] == latest[group_id][1:])


_ACTIONS = ("append", "append", "append", "truncate", "hard_state", "note_commit")
_steps = st.one_of(
    st.tuples(st.sampled_from(_ACTIONS), st.sampled_from(GROUPS), st.integers(0, 200)),
    st.tuples(
        st.sampled_from(("seal", "write", "complete", "sync", "sync", "prepare")),
        st.just(0),
        st.just(0),
    ),
    st.tuples(st.just("crash"), st.sampled_from((0, 0, 0, 1, 2)), st.integers(0, 2)),
    st.tuples(st.just("fail"), st.integers(0, 10), st.integers(0, 1)),
)


def _step(history: History, action: str, first: int, second: int) -> None:
    if action == "crash":
        history.crash(list(Crash)[second], first)
    elif action == "fail":
        history.storage.fail((Operation.ANY, Operation.SYNC)[second], after=first)
    elif action in _ACTIONS:
        getattr(history, action)(first, second)
    else:
        getattr(history, action)()


def _run(config: WalConfig, steps: list[tuple[str, int, int]], seed: int) -> None:
    history = History(config, seed)
    modes = list(Crash)
    for step in steps:
        try:
            _step(history, *step)
        except OSError:
            # Neither a failed write nor a failed sync is got over here but by a restart.
            history.crash(history.random.choice(modes), 0)
    history.crash(modes[seed % len(modes)], 0)


@settings(max_examples=150, deadline=None)
@given(st.lists(_steps, max_size=60), st.integers(0, 1 << 32))
def test_any_history_with_one_batch_per_ticket(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    _run(ROOMY, steps, seed)


@settings(max_examples=150, deadline=None)
@given(st.lists(_steps, max_size=60), st.integers(0, 1 << 32))
def test_any_history_with_many_small_batches_and_segments(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    _run(CRAMPED, steps, seed)


def _scripted(history: History) -> None:
    for turn in range(8):
        for group_id in GROUPS:
            history.append(group_id, 40 + turn)
        history.note_commit(1, 2)
        history.prepare()
        if turn % 3 == 2:
            history.truncate(1 + turn % 3, turn)
        history.seal()
        history.append(2, 7)
        history.write()
        history.complete()


@pytest.mark.parametrize("mode", list(Crash))
@pytest.mark.parametrize("config", [ROOMY, CRAMPED])
def test_a_crash_at_every_operation_on_the_disk(config: WalConfig, mode: Crash) -> None:
    crashes = 0
    for after in range(400):
        history = History(config, seed=after)
        history.storage.fail(Operation.ANY, after=after)
        try:
            _scripted(history)
        except OSError:
            crashes += 1
        else:
            break
        history.crash(mode, after % 2)
        history.sync()
        _scripted(history)
        # What a start took over from a killed process must be as durable as the rest.
        history.crash(Crash.SYNCED, 0)
    assert crashes > 15
    assert crashes < 400, "the script came to its end"
