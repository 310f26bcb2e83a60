"""Which segments may go, and what a group has to forget for it."""

from __future__ import annotations

from random import Random

from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.wal import Wal
from cluster.storage.wal_format import segment_name
from tests.unit.storage.wal_kit import (
    SMALL,
    append,
    extend,
    forget,
    image,
    indexes,
    layout,
    log_of,
    reopened,
    sequences,
    state,
    sync,
)


def _first_entries(storage: MemoryStorage) -> dict[int, int]:
    """Return for each segment the first entry of group 1 in it; one batch is one entry here."""
    files = image(storage)
    first: dict[int, int] = {}
    index = 1
    for sequence in sequences(storage):
        first[sequence] = index
        index += len(layout(files[segment_name(sequence)]))
    return first


def test_nothing_goes_while_it_is_needed() -> None:
    storage, wal = log_of(4)
    assert not wal.plan_release()
    wal.release()
    assert sequences(storage) == [1, 2, 3, 4]


def test_the_lowest_base_that_frees_a_segment() -> None:
    storage, wal = log_of(4)
    group = wal.group(1)
    first = _first_entries(storage)
    for sequence in (1, 2, 3):
        assert group.compaction_index(sequence) == first[sequence + 1] - 1
    assert group.compaction_index(4) == group.last_index
    assert group.compaction_index(0) is None
    assert wal.group(2).compaction_index(4) is None
    group.compact(first[2])
    assert group.compaction_index(1) is None
    assert group.compaction_index(2) == first[3] - 1
    again = Wal.open(storage, SMALL).group(1)
    assert again.compaction_index(1) == first[2] - 1, "the compaction was not synced"


def test_what_waits_for_its_batch_needs_no_old_segment() -> None:
    _, wal = log_of(2)
    group = wal.group(1)
    last_index = group.last_index
    append(group, 3)
    assert group.compaction_index(2) == last_index
    group.compact(last_index)
    assert group.compaction_index(2) is None
    sync(wal)
    assert group.compaction_index(1) is None
    assert group.compaction_index(2) == last_index + 3


def test_what_has_to_go_for_a_bound() -> None:
    _, wal = log_of(5)
    nbytes = SMALL.segment_bytes
    assert wal.bytes_in_use == 5 * nbytes
    found = [wal.last_sequence_before(keep_bytes=keep * nbytes) for keep in range(7)]
    assert found == [4, 4, 3, 2, 1, 0, 0]
    assert wal.last_sequence_before(keep_bytes=3 * nbytes - 1) == 3
    fresh = Wal.open(MemoryStorage(), SMALL)
    assert (fresh.bytes_in_use, fresh.last_sequence_before(keep_bytes=0)) == (0, 0)
    forget(wal, 4)
    assert wal.plan_release()
    assert wal.bytes_in_use == nbytes
    assert wal.last_sequence_before(keep_bytes=0) == 0


def test_segments_go_once_no_group_needs_them() -> None:
    storage, wal = log_of(6)
    before = state(wal)
    first = _first_entries(storage)
    forget(wal, 3)
    assert wal.plan_release()
    assert wal.bytes_in_use == 3 * SMALL.segment_bytes, "at once"
    assert sequences(storage) == [1, 2, 3, 4, 5, 6], "not yet"
    wal.release()
    assert sequences(storage) == [4, 5, 6, 7, 8]
    assert not wal.plan_release()
    assert indexes(wal.group(1)) == list(range(first[4], wal.group(1).last_index + 1))
    after = state(wal)
    assert after[1][0] == before[1][0][first[4] - 1 :]
    storage.crash(Random(0), Crash.SYNCED)
    assert reopened(storage) == after
    assert reopened(storage) == after


def test_one_group_that_is_behind_keeps_the_segments_of_all() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(2), 1)
    extend(wal, 3)
    append(wal.group(3), 1)
    extend(wal, 5)
    wal.group(1).compact(wal.group(1).durable_index)
    sync(wal)
    assert not wal.plan_release()
    pinning = [number for number in (1, 2, 3) if wal.group(number).compaction_index(2)]
    assert pinning == [2]
    forget(wal, 2)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 3
    assert indexes(wal.group(3)) == [1]


def test_a_segment_whose_entries_were_truncated_goes() -> None:
    storage, wal = log_of(3)
    group = wal.group(1)
    group.truncate_from(1)
    assert not wal.plan_release(), "a restart would find the entries without the truncation"
    append(group, 2, term=2)
    sync(wal)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 3
    assert [entry[:2] for entry in Wal.open(storage, SMALL).group(1).entries(1, 3)] == [
        (1, 2),
        (2, 2),
    ]


def test_a_group_that_is_cut_back_to_its_base_needs_no_old_segment() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    group = wal.group(2)
    append(group, 3)
    sync(wal)
    group.compact(2)
    group.truncate_from(3)
    extend(wal, 3)
    append(group, 1, term=2)
    sync(wal)
    for found in (group, Wal.open(storage, SMALL).group(2)):
        assert found.compaction_index(2) is None
        assert found.compaction_index(3) == 3


def test_a_reset_lets_everything_before_it_go() -> None:
    storage, wal = log_of(4)
    wal.group(1).reset(900, 5)
    assert not wal.plan_release()
    sync(wal)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 4
    group = Wal.open(storage, SMALL).group(1)
    assert (group.base_index, group.base_term, group.last_index) == (900, 5, 900)


def test_nothing_goes_before_the_record_that_freed_it_is_durable() -> None:
    storage, wal = log_of(4)
    group = wal.group(1)
    first = _first_entries(storage)
    group.compact(first[3] - 1)
    assert not wal.plan_release()
    ticket = wal.seal()
    assert ticket is not None
    group.compact(first[4] - 1)
    wal.write_and_sync(ticket)
    assert not wal.plan_release(), "written and synced, but nobody knows yet"
    wal.complete(ticket)
    assert not wal.plan_release(), "of the second one it is only known that it frees more"
    sync(wal)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 4


def test_a_record_under_way_in_one_group_does_not_hold_back_what_others_freed() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1, nbytes=300)
    extend(wal, 3)
    append(wal.group(2), 3)
    sync(wal)
    forget(wal, 2)
    wal.group(2).truncate_from(2)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 3


def test_the_segment_of_the_newest_synced_batch_stays() -> None:
    """The next one has been given its first batch, which is on no disk yet."""
    storage, wal = log_of(3)
    group = wal.group(1)
    group.compact(group.durable_index)
    sync(wal)
    while wal.bytes_in_use == 3 * SMALL.segment_bytes:
        append(wal.group(2), 1, nbytes=300)
        ticket = wal.seal()
        assert ticket is not None
        if wal.bytes_in_use == 3 * SMALL.segment_bytes:
            wal.write_and_sync(ticket)
            wal.complete(ticket)
            wal.group(2).compact(wal.group(2).durable_index)
            sync(wal)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 3
    storage.crash(Random(0), Crash.SYNCED)
    assert Wal.open(storage, SMALL).group(1).base_index == group.base_index


def test_an_empty_log_releases_nothing_and_goes_on() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    assert not wal.plan_release()
    wal.release()
    append(wal.group(1), 1)
    sync(wal)
    assert not wal.plan_release()
    assert reopened(storage)[1][0]


def test_a_restart_lets_go_what_the_run_before_did_not() -> None:
    storage, wal = log_of(4)
    forget(wal, 2)
    assert wal.plan_release()
    wal.close()
    wal = Wal.open(storage, SMALL)
    assert wal.bytes_in_use == 4 * SMALL.segment_bytes
    assert wal.plan_release()
    wal.release()
    assert sequences(storage)[0] == 3
