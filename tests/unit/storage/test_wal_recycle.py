"""How old segments go or come back as later ones, a crash at each step of it, and a full disk."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster.storage.files import DiskStorage
from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged, WalFailed
from cluster.storage.wal_format import BATCH_MAGIC, SEGMENT_HEADER, segment_name
from tests.unit.storage.wal_kit import (
    SMALL,
    append,
    extend,
    flipped,
    forget,
    image,
    indexes,
    layout,
    log_of,
    reopened,
    sequences,
    state,
    stored,
    sync,
)

if TYPE_CHECKING:
    from pathlib import Path


NO_TAIL = replace(SMALL, tail_bytes=0)


def test_two_come_back_as_the_next_ones_and_the_others_are_removed() -> None:
    storage, wal = log_of(7)
    files = image(storage)
    forget(wal, 6)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage) == [7, 8, 9]
    assert image(storage)[segment_name(8)] == files[segment_name(1)]
    assert image(storage)[segment_name(9)] == files[segment_name(2)]
    storage.space_bytes = 0
    extend(wal, 3)
    assert sequences(storage) == [7, 8, 9], "no space was needed"
    storage.crash(Random(0), Crash.SYNCED)
    assert indexes(Wal.open(storage, SMALL).group(1)) == indexes(wal.group(1))


def test_a_segment_of_another_size_is_removed() -> None:
    storage, wal = log_of(4)
    wal.close()
    larger = replace(SMALL, segment_bytes=4096)
    wal = Wal.open(storage, larger)
    forget(wal, 3)
    assert wal.plan_release()
    wal.release()
    assert sequences(storage) == [4]


def test_what_a_recycled_segment_held_is_never_taken_for_the_log() -> None:
    storage, wal = log_of(5)
    old = image(storage)[segment_name(1)]
    forget(wal, 4)
    wal.plan_release()
    wal.release()
    before = state(wal)
    while wal.bytes_in_use == SMALL.segment_bytes:
        before = state(wal)
        append(wal.group(1), 1, nbytes=300)
        sync(wal)
    files = image(storage)
    name = segment_name(6)
    (first,) = layout(files[name])
    assert files[name][first.end :] == old[first.end :]
    assert files[name].count(BATCH_MAGIC) > 2
    assert reopened(stored(files)) == state(wal)
    for cut in range(first.end):
        # The write over the old batches was torn, either end of it.
        for torn in (files[name][:cut] + old[cut:], old[: cut + 1] + files[name][cut + 1 :]):
            if torn != files[name]:
                assert reopened(stored(files | {name: torn})) == before


def test_old_entries_are_read_while_others_go(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    wal = Wal.open(storage, NO_TAIL)
    extend(wal, 4)
    group = wal.group(1)
    assert group.entries(1, 2)
    open_files = len(os.listdir("/proc/self/fd"))
    forget(wal, 2)
    assert wal.plan_release()
    assert len(os.listdir("/proc/self/fd")) == open_files - 1, "what goes is not held open"
    first = group.first_index
    wal.release()
    expected = [f"{index}.1".encode().ljust(300, b"x") for index in indexes(group)]
    extend(wal, 4)
    found = group.entries(first, first + len(expected))
    assert [entry.data for entry in found] == expected
    wal.close()
    storage.close()


@pytest.mark.parametrize("mode", list(Crash))
@pytest.mark.parametrize("failing", [Operation.ANY, Operation.SYNC])
def test_a_crash_at_each_step_of_a_release(mode: Crash, failing: Operation) -> None:
    """Two renames and two removals, with a sync of the directory after each."""
    steps = 0
    for after in range(20):
        storage, wal = log_of(5)
        wal.group(2).set_hard_state(HardState(4, 2, 0))
        forget(wal, 4)
        expected = state(wal)
        assert wal.plan_release()
        storage.fail(failing, after=after)
        try:
            wal.release()
        except OSError:
            steps += 1
            with pytest.raises(WalFailed):
                wal.seal()
        storage.crash(Random(after), mode)
        found = sequences(storage)
        assert found == list(range(found[0], found[0] + len(found)))
        wal = Wal.open(storage, SMALL)
        assert state(wal) == expected
        wal.plan_release()
        wal.release()
        assert sequences(storage)[0] == 5
        extend(wal, 3)
        expected = state(wal)
        storage.crash(Random(after), Crash.SYNCED)
        assert reopened(storage) == expected
    assert steps == (8 if failing is Operation.ANY else 4)


def test_releasing_beside_writing_and_preparing(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    wal = Wal.open(storage, NO_TAIL)
    group = wal.group(1)
    with ThreadPoolExecutor(3) as threads:
        preparing = releasing = threads.submit(wal.release)
        for _ in range(400):
            append(group, 1, nbytes=300)
            append(wal.group(2), 1)
            ticket = wal.seal()
            assert ticket is not None
            writing = threads.submit(wal.write_and_sync, ticket)
            if preparing.done() and wal.needs_segment():
                preparing = threads.submit(wal.prepare_next_segment)
            if releasing.done() and wal.plan_release():
                releasing = threads.submit(wal.release)
            writing.result()
            wal.complete(ticket)
            for group_id in (1, 2):
                last = wal.last_sequence_before(keep_bytes=3 * SMALL.segment_bytes)
                index = wal.group(group_id).compaction_index(last)
                if index is not None:
                    wal.group(group_id).compact(index)
        preparing.result()
        releasing.result()
    sync(wal)
    wal.plan_release()
    wal.release()
    assert len(sequences(storage)) <= 6
    expected = state(wal)
    assert [entry.index for entry in expected[1][0]][-1] == 400
    wal.close()
    assert reopened(storage) == expected
    storage.close()


# A full disk.


def _full_log() -> tuple[MemoryStorage, Wal]:
    """Return a log of three segments, the last one more than half full, and no space for more."""
    storage, wal = log_of(3)
    while not wal.needs_segment():
        append(wal.group(1), 1, nbytes=50)
        sync(wal)
    storage.space_bytes = 0
    wal.prepare_next_segment()
    assert not wal.has_room(SMALL.entry_bytes_max)
    return storage, wal


def test_a_release_gives_a_full_disk_its_next_segment() -> None:
    storage, wal = _full_log()
    forget(wal, 2)
    assert wal.plan_release()
    wal.release()
    assert wal.has_room(SMALL.entry_bytes_max)
    assert storage.space_bytes == 0
    append(wal.group(1), 3, nbytes=900)
    sync(wal)
    assert sequences(storage) == [3, 4, 5]


def test_space_that_a_removal_made_is_noticed() -> None:
    storage, wal = log_of(3)
    wal.close()
    smaller = replace(SMALL, segment_bytes=1600)
    wal = Wal.open(storage, smaller)
    append(wal.group(1), 3, nbytes=300)
    sync(wal)
    storage.space_bytes = 0
    wal.prepare_next_segment()
    assert not wal.has_room(smaller.entry_bytes_max)
    forget(wal, 1)
    wal.plan_release()
    wal.release()
    assert wal.has_room(smaller.entry_bytes_max)
    assert sequences(storage) == [2, 3, 4]


def test_a_file_system_too_full_to_remove_anything_leaves_the_rest_for_later() -> None:
    storage, wal = log_of(4)
    forget(wal, 3)
    assert wal.plan_release()
    storage.fail(Operation.ANY, after=2, code=errno.ENOSPC)
    wal.release()
    assert sequences(storage) == [2, 3, 4, 5]
    assert wal.plan_release()
    wal.release()
    assert sequences(storage) == [4, 5, 6]
    append(wal.group(1), 1)
    sync(wal)


# Damage.


def test_a_needed_segment_that_is_missing_after_a_release_is_refused() -> None:
    storage, wal = log_of(6)
    forget(wal, 2)
    wal.plan_release()
    wal.release()
    files = image(storage)
    assert min(files) == segment_name(3)
    for missing, named in ((3, 4), (4, 4), (5, 5)):
        damaged = {name: data for name, data in files.items() if name != segment_name(missing)}
        with pytest.raises(WalDamaged) as caught:
            Wal.open(stored(damaged), SMALL)
        assert (caught.value.file, caught.value.offset) == (segment_name(named), 0)


def test_a_bit_flip_anywhere_in_the_oldest_segment_is_refused() -> None:
    storage, wal = log_of(4)
    forget(wal, 2)
    wal.plan_release()
    wal.release()
    files = image(storage)
    oldest = segment_name(3)
    places = layout(files[oldest])
    for offset in range(0, places[-1].end, 3):
        with pytest.raises(WalDamaged) as caught:
            Wal.open(stored(flipped(files, oldest, offset)), SMALL)
        assert caught.value.file == oldest
    for place in places[1:]:
        with pytest.raises(WalDamaged) as caught:
            Wal.open(stored(flipped(files, oldest, place.end - 1)), SMALL)
        assert caught.value.offset == place.start
    assert SEGMENT_HEADER.size == places[0].start
