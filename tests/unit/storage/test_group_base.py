"""The base of a group's log: forgetting what a snapshot holds, and starting over from one."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster.storage.group_entries import ENTRY_OVERHEAD_BYTES
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from tests.unit.storage.wal_kit import SMALL, append, in_memory, indexes, sync

if TYPE_CHECKING:
    from cluster.storage.wal_config import WalConfig

NO_TAIL = replace(SMALL, tail_bytes=0)
HALF_TAIL = replace(SMALL, tail_bytes=40 * (ENTRY_OVERHEAD_BYTES + 20))


def _log(config: WalConfig = SMALL) -> tuple[MemoryStorage, Wal]:
    """Return a log with entries 1 to 4 of term 1 and 5 to 10 of term 3, all durable."""
    storage = MemoryStorage()
    wal = Wal.open(storage, config)
    append(wal.group(1), 4, term=1)
    append(wal.group(1), 6, term=3)
    sync(wal)
    return storage, wal


# Compaction.


@pytest.mark.parametrize("config", [SMALL, NO_TAIL])
@pytest.mark.parametrize("base_index", [1, 4, 5, 9])
def test_a_compaction_forgets_up_to_its_index(config: WalConfig, base_index: int) -> None:
    storage, wal = _log(config)
    group = wal.group(1)
    kept = group.entries(base_index + 1, 11)
    group.compact(base_index)
    sync(wal)
    for found in (group, Wal.open(storage, config).group(1)):
        assert (found.base_index, found.first_index, found.last_index) == (
            base_index,
            base_index + 1,
            10,
        )
        assert found.entries(base_index + 1, 11) == kept
        terms = [found.term_at(index) for index in range(12)]
        known = [1] * 4 + [3] * 6
        assert terms == [None] * base_index + known[base_index - 1 :] + [None]
        assert found.base_term == known[base_index - 1]
        assert found.first_index_of_term_run(10) == max(5, base_index + 1)
        assert (found.durable_index, found.last_term) == (10, 3)
        assert found.hard_state.commit == base_index
        with pytest.raises(IndexError, match=f"which has {base_index + 1} to 10"):
            found.entries(base_index, 11)


def test_a_compaction_of_everything_leaves_the_base() -> None:
    storage, wal = _log()
    wal.group(1).compact(10)
    sync(wal)
    group = Wal.open(storage, SMALL).group(1)
    assert (group.base_index, group.base_term) == (10, 3)
    assert (group.last_index, group.last_term, group.durable_index) == (10, 3, 10)
    assert (group.term_at(10), group.term_at(9), group.term_at(11)) == (3, None, None)
    assert group.entries(11, 11) == []
    with pytest.raises(AssertionError, match="term 2 after one of 3"):
        group.append(11, 2, b"")
    append(group, 1, term=3)
    assert group.first_index_of_term_run(11) == 11


def test_a_compaction_to_the_present_base_writes_nothing() -> None:
    _, wal = _log()
    wal.group(2).compact(0)
    wal.group(1).compact(6)
    lsn = wal.lsn
    wal.group(1).compact(6)
    assert wal.lsn == lsn


def test_a_compaction_stays_within_what_is_durable() -> None:
    _, wal = _log()
    group = wal.group(1)
    append(group, 2, term=3)
    group.compact(5)
    for index in (4, 11, 13):
        with pytest.raises(AssertionError, match="compaction at"):
            group.compact(index)


def test_a_compaction_that_is_lost_leaves_the_entries() -> None:
    storage, wal = _log()
    wal.group(1).compact(6)
    storage.crash(Random(0), Crash.SYNCED)
    group = Wal.open(storage, SMALL).group(1)
    assert (group.base_index, indexes(group)) == (0, list(range(1, 11)))


def test_a_truncation_back_to_the_base_has_the_term_of_the_base() -> None:
    storage, wal = _log(NO_TAIL)
    group = wal.group(1)
    group.compact(4)
    group.truncate_from(5)
    assert (group.last_index, group.last_term, group.durable_index) == (4, 1, 4)
    with pytest.raises(AssertionError, match="truncation at 4"):
        group.truncate_from(4)
    append(group, 2, term=2)
    sync(wal)
    for found in (group, Wal.open(storage, NO_TAIL).group(1)):
        assert [entry[:2] for entry in found.entries(5, 7)] == [(5, 2), (6, 2)]


def test_a_compaction_while_a_ticket_is_under_way() -> None:
    storage, wal = _log()
    group = wal.group(1)
    append(group, 3, term=3)
    ticket = wal.seal()
    assert ticket is not None
    group.compact(8)
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert (group.durable_index, indexes(group)) == (13, [9, 10, 11, 12, 13])
    sync(wal)
    assert indexes(Wal.open(storage, SMALL).group(1)) == [9, 10, 11, 12, 13]


def test_what_is_forgotten_leaves_memory_and_is_no_longer_counted() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, HALF_TAIL)
    group = wal.group(1)
    for _ in range(20):
        append(group, 30)
        sync(wal)
        group.compact(group.last_index - 5)
    append(group, 30)
    sync(wal)
    assert in_memory(group, storage) == 35


def test_what_a_reset_drops_is_no_longer_counted() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, HALF_TAIL)
    group = wal.group(1)
    for turn in range(1, 20):
        append(group, 30)
        sync(wal)
        group.reset(turn * 100, 1)
    append(group, 30)
    sync(wal)
    assert in_memory(group, storage) == 30


# Reset.


def test_a_reset_leaves_an_empty_log_after_its_base() -> None:
    storage, wal = _log()
    group = wal.group(1)
    group.set_hard_state(HardState(7, 2, 3))
    group.reset(50, 6)
    assert (group.base_index, group.base_term, group.first_index) == (50, 6, 51)
    assert (group.last_index, group.last_term, group.term_at(50)) == (50, 6, 6)
    assert group.durable_index == 0, "a restart would still find the old log"
    assert group.hard_state == HardState(7, 2, 50)
    sync(wal)
    assert group.durable_index == 50
    append(group, 2, term=7)
    sync(wal)
    for found in (group, Wal.open(storage, SMALL).group(1)):
        assert (found.base_index, indexes(found), found.durable_index) == (50, [51, 52], 52)
        assert found.hard_state == found.durable_hard_state == HardState(7, 2, 50)
        assert found.first_index_of_term_run(52) == 51


def test_a_reset_of_a_group_that_had_nothing() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    wal.group(1).reset(9, 2)
    sync(wal)
    group = Wal.open(storage, SMALL).group(1)
    assert (group.base_index, group.base_term, group.last_index, group.last_term) == (9, 2, 9, 2)
    assert (group.durable_index, group.hard_state) == (9, HardState(0, 0, 9))


def test_a_reset_into_the_log_drops_what_follows_its_base() -> None:
    storage, wal = _log(NO_TAIL)
    group = wal.group(1)
    group.reset(7, 5)
    assert (group.last_index, group.last_term, group.durable_index) == (7, 5, 0)
    append(group, 1, term=6)
    sync(wal)
    for found in (group, Wal.open(storage, NO_TAIL).group(1)):
        assert [entry[:2] for entry in found.entries(8, 9)] == [(8, 6)]


@pytest.mark.parametrize("written_first", [False, True])
def test_a_ticket_under_way_does_not_make_a_reset_durable(written_first: bool) -> None:
    storage, wal = _log()
    group = wal.group(1)
    append(group, 5, term=3)
    ticket = wal.seal()
    assert ticket is not None
    if written_first:
        wal.write_and_sync(ticket)
    group.reset(12, 4)
    append(group, 2, term=4)
    if not written_first:
        wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert group.durable_index == 0
    storage.crash(Random(0), Crash.SYNCED)
    found = Wal.open(storage, SMALL).group(1)
    assert (found.base_index, found.last_index, found.last_term) == (0, 15, 3)


def test_a_second_reset_claims_no_more_than_what_is_durable_of_the_first() -> None:
    storage, wal = _log()
    group = wal.group(1)
    group.reset(20, 4)
    ticket = wal.seal()
    assert ticket is not None
    group.reset(30, 4)
    assert group.durable_index == 0
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert group.durable_index == 20
    storage.crash(Random(0), Crash.SYNCED)
    assert Wal.open(storage, SMALL).group(1).base_index == 20


def test_a_reset_keeps_what_is_committed_and_durable() -> None:
    _, wal = _log()
    group = wal.group(1)
    group.compact(3)
    group.note_commit(6)
    sync(wal)
    for index in (2, 5):
        with pytest.raises(AssertionError, match="must keep 6"):
            group.reset(index, 1)
    append(group, 2, term=3)
    group.note_commit(12)
    group.reset(11, 3)
    # Entry 12 was never promised by this replica, and the others have it.
    assert (group.last_index, group.hard_state.commit) == (11, 12)


def test_a_vote_that_carries_an_older_commit_index_does_not_lead_behind_the_base() -> None:
    storage, wal = _log()
    group = wal.group(1)
    group.compact(8)
    group.set_hard_state(HardState(9, 1, 2))
    sync(wal)
    assert Wal.open(storage, SMALL).group(1).hard_state == HardState(9, 1, 8)
