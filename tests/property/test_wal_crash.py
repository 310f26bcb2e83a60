"""Random histories of the log with crashes: what was durable stays, the rest goes from the end.

The log is one sequence of records over all groups. After any crash it must hold a prefix of it: at
least up to the last complete ticket, at most up to the last sealed one, and whole batches only.
Segments that no group needs any more may leave it or come back as later ones at any time.
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
from cluster.storage.wal_format import segment_name

if TYPE_CHECKING:
    from cluster.storage.wal_buffer import SyncTicket

GROUPS = (1, 2, 3)

# One batch per ticket, several segments per history; and tickets of many batches.
ROOMY = WalConfig(segment_bytes=6000, tail_bytes=600, batch_bytes_max=4500, groups_max=3)
CRAMPED = WalConfig(segment_bytes=700, tail_bytes=0, batch_bytes_max=160, groups_max=3)


class GroupState(NamedTuple):
    """What a group must look like after a prefix of the records; commit indexes are kept apart."""

    entries: tuple[Entry, ...] = ()
    base: tuple[int, int] = (0, 0)
    term: int = 0
    voted_for: int = 0

    @property
    def last(self) -> tuple[int, int]:
        return self.entries[-1][:2] if self.entries else self.base

    def until(self, index: int) -> tuple[Entry, ...]:
        return self.entries[: max(0, index - self.base[0])]

    def after(self, index: int) -> tuple[Entry, ...]:
        return self.entries[max(0, index - self.base[0]) :]

    def position(self, index: int) -> tuple[int, int] | None:
        """Return index and term of the base or an entry; what was forgotten is not known."""
        known = {self.base[0]: self.base[1]} | {entry.index: entry.term for entry in self.entries}
        return (index, known[index]) if index in known else None


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
        last_index, last_term = state.last
        term = max(last_term, state.term)
        entry = Entry(last_index + 1, term, self.random.randbytes(amount % 120))
        self.wal.group(group_id).append(*entry)
        self._record(group_id, state._replace(entries=(*state.entries, entry)))

    def truncate(self, group_id: int, amount: int) -> None:
        state = self.states[-1][group_id]
        lowest = max(state.base[0], self.wal.group(group_id).hard_state.commit) + 1
        if lowest > state.last[0]:
            return
        # What comes in its place is of a new term, as Raft guarantees.
        self.hard_state(group_id, amount)
        state = self.states[-1][group_id]
        index = max(lowest, state.last[0] - amount % 5)
        self.wal.group(group_id).truncate_from(index)
        self._record(group_id, state._replace(entries=state.until(index - 1)))

    def compact(self, group_id: int, amount: int) -> None:
        group = self.wal.group(group_id)
        amount %= max(1, group.durable_index - group.base_index + 1)
        self._compact(group_id, group.base_index + amount)

    def _compact(self, group_id: int, base_index: int) -> None:
        group, state = self.wal.group(group_id), self.states[-1][group_id]
        if base_index == state.base[0]:
            return
        group.compact(base_index)
        base = state.position(base_index)
        assert base is not None
        self._record(group_id, state._replace(entries=state.after(base_index), base=base))
        self._check_base(group_id)

    def reset(self, group_id: int, amount: int) -> None:
        """Take a snapshot of somebody whose log went another way, or further."""
        group, state = self.wal.group(group_id), self.states[-1][group_id]
        lowest = max(group.base_index, min(group.hard_state.commit, group.durable_index))
        base_index = lowest + amount % 12
        if base_index == group.base_index:
            return
        self.hard_state(group_id, amount)
        state = self.states[-1][group_id]
        base = base_index, state.base[1] + amount % (state.term - state.base[1] + 1)
        group.reset(*base)
        self._record(group_id, state._replace(entries=(), base=base))
        self._check_base(group_id)

    def _check_base(self, group_id: int) -> None:
        group, state = self.wal.group(group_id), self.states[-1][group_id]
        assert (group.base_index, group.base_term) == state.base
        assert (group.last_index, group.last_term) == state.last
        assert group.hard_state.commit >= group.base_index
        self.commits[group_id].append(group.hard_state.commit)

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

    def plan(self) -> None:
        self.wal.plan_release()

    def release(self) -> None:
        self.wal.release()

    def bound(self) -> None:
        """What a node does to keep its log small; here down to two segments."""
        segment_bytes = self.config.segment_bytes
        last = self.wal.last_sequence_before(keep_bytes=2 * segment_bytes)
        for group_id in GROUPS:
            group = self.wal.group(group_id)
            index = group.compaction_index(last)
            if index is not None:
                assert group.base_index < index <= group.durable_index
                self._compact(group_id, index)
                assert group.compaction_index(last) is None
        self.sync()
        if not last or self.wal.durable_lsn < self.wal.lsn:
            return
        self.plan()
        self.release()
        assert self.storage.list()[0] > segment_name(last)
        assert self.wal.bytes_in_use <= len(self.storage.list()) * segment_bytes

    def hasten(self) -> None:
        """Let go of all that is durable, while nothing of this is."""
        for group_id in GROUPS:
            group = self.wal.group(group_id)
            self._compact(group_id, max(group.base_index, group.durable_index))
        self.plan()
        self.release()

    def read(self) -> None:
        for group_id in GROUPS:
            assert self._found(group_id) == self.states[-1][group_id]

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
            assert group.durable_hard_state == group.hard_state
            commit = group.hard_state.commit
            assert group.base_index <= commit <= group.last_index
            noted = self.commits[group_id]
            assert commit in (*noted, group.base_index, group.last_index)
            # One that is past the end counts again when entries have followed.
            is_cut = commit == group.last_index
            self.commits[group_id] = [
                commit,
                *(other for other in noted if other > commit and is_cut),
            ]
        self.states = [found]
        self.boundaries = {0}
        self.sealed_lsn = 0
        self.ticket = None

    def _found(self, group_id: int) -> GroupState:
        group = self.wal.group(group_id)
        entries = group.entries(group.first_index, group.last_index + 1)
        base = group.base_index, group.base_term
        term, voted_for, _ = group.hard_state
        return GroupState(tuple(entries), base, term, voted_for)

    def _check_durable(self) -> None:
        """A durable index names only entries that the synced records hold unchanged."""
        synced, latest = self.states[self.wal.durable_lsn], self.states[-1]
        for group_id in GROUPS:
            group, now, then = self.wal.group(group_id), latest[group_id], synced[group_id]
            durable_index = group.durable_index
            assert durable_index <= now.last[0]
            # Of these two the present base is never the older one.
            for entry in now.until(durable_index):
                assert entry in then.entries
            if durable_index >= now.base[0]:
                assert then.position(now.base[0]) == now.base
            if now == then:
                assert durable_index == now.last[0]
            assert group.hard_state_durable == (then[2:] == now[2:])


_ACTIONS = (
    "append",
    "append",
    "append",
    "truncate",
    "hard_state",
    "note_commit",
    "compact",
    "reset",
)
_WHOLE_LOG = (
    *("seal", "write", "complete", "sync", "sync", "prepare"),
    *("plan", "release", "bound", "hasten", "read"),
)
_steps = st.one_of(
    st.tuples(st.sampled_from(_ACTIONS), st.sampled_from(GROUPS), st.integers(0, 200)),
    st.tuples(
        st.sampled_from(_WHOLE_LOG),
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


@settings(max_examples=150)
@given(st.lists(_steps, max_size=60), st.integers(0, 1 << 32))
def test_any_history_with_one_batch_per_ticket(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    _run(ROOMY, steps, seed)


@settings(max_examples=150)
@given(st.lists(_steps, max_size=60), st.integers(0, 1 << 32))
def test_any_history_with_many_small_batches_and_segments(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    _run(CRAMPED, steps, seed)


@pytest.mark.parametrize("config", [ROOMY, CRAMPED])
@pytest.mark.parametrize("seed", range(12))
def test_a_long_history_in_which_segments_come_and_go(config: WalConfig, seed: int) -> None:
    random = Random(seed)
    steps: list[tuple[str, int, int]] = []
    for _ in range(400):
        action = random.choice((*_ACTIONS, *_ACTIONS, *_WHOLE_LOG))
        steps.append((action, random.choice(GROUPS), random.randrange(200)))
        if random.random() < 0.04:
            steps.append(("crash", random.randrange(2), random.randrange(3)))
        elif random.random() < 0.04:
            steps.append(("fail", random.randrange(10), random.randrange(2)))
    _run(config, steps, seed)


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
        if turn % 2:
            history.compact(1 + turn % 3, 3)
            history.plan()
            history.reset(3, 5 + turn)
            history.bound()


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
