"""Going from segment to segment, what stands at the head of each, and a disk that is full."""

from __future__ import annotations

import logging
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.records import GroupHead, HardState, decode_records
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged, WalFailed, WalFull
from cluster.storage.wal_format import BATCH_HEADER, segment_name
from tests.unit.storage.wal_kit import (
    ONE,
    SMALL,
    TWO,
    append,
    image,
    last_index,
    layout,
    reopened,
    state,
    stored,
    sync,
)

if TYPE_CHECKING:
    from cluster.storage.wal_config import WalConfig


def _heads(segment: bytes) -> dict[int, GroupHead]:
    first = layout(segment)[0]
    payload = memoryview(segment)[first.start + BATCH_HEADER.size : first.end]
    records = decode_records(payload)
    return {record.group_id: record for record in records if isinstance(record, GroupHead)}


def _head(wal: Wal, group_id: int) -> GroupHead:
    group = wal.group(group_id)
    term, voted_for, commit = group.hard_state
    base = group.base_index, group.base_term
    return GroupHead(group_id, term, voted_for, commit, *base, group.last_index, group.last_term)


def _fill_segment(wal: Wal, storage: MemoryStorage, nbytes: int = 300) -> None:
    """Write batches until the next segment is in use."""
    used = max(1, _used(storage))
    while _used(storage) <= used:
        append(wal.group(1), 1, nbytes=nbytes)
        sync(wal)


def _used(storage: MemoryStorage) -> int:
    return sum(1 for data in image(storage).values() if any(data))


def test_a_segment_is_whole_zero_bytes_and_synced_before_it_is_used() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    storage.crash(Random(0), Crash.SYNCED)
    assert image(storage) == {ONE: bytes(SMALL.segment_bytes)}
    del wal


def test_a_batch_never_spans_two_segments() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    random = Random(5)
    for _ in range(60):
        append(wal.group(1), 1, nbytes=random.randrange(900))
        sync(wal)
    files = image(storage)
    assert len(files) > 10
    assert all(len(data) == SMALL.segment_bytes for data in files.values())
    numbers = [place.number for data in files.values() for place in layout(data)]
    assert numbers == list(range(1, 61))
    assert last_index(storage) == 60


def test_each_segment_begins_with_the_state_of_every_group() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    wal.group(1)
    wal.group(2).set_hard_state(HardState(7, 3, 0))
    append(wal.group(3), 5, term=2)
    wal.group(3).truncate_from(4)
    sync(wal)
    wal.group(3).note_commit(2)
    random = Random(1)
    expected: dict[str, dict[int, GroupHead]] = {}
    while len(expected) < 5:
        used = _used(storage)
        before = {group_id: _head(wal, group_id) for group_id in (1, 2, 3)}
        append(wal.group(1), 1, nbytes=200)
        if random.random() < 0.3:
            append(wal.group(3), 1, term=3)
            wal.group(3).note_commit(wal.group(3).last_index)
        sync(wal)
        if _used(storage) > used:
            expected[segment_name(used + 1)] = before
    files = image(storage)
    for name, heads in expected.items():
        assert _heads(files[name]) == heads
    assert expected[TWO][3].commit >= 2
    assert expected[TWO][2] == GroupHead(2, 7, 3, 0, 0, 0, 0, 0)


def test_hard_states_survive_without_the_older_segments() -> None:
    """A group whose older entries are all truncated needs only the head of the next segment."""
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    wal.group(1).set_hard_state(HardState(5, 2, 0))
    wal.group(2).set_hard_state(HardState(6, 0, 0))
    sync(wal)
    _fill_segment(wal, storage)
    wal.group(1).truncate_from(1)
    append(wal.group(1), 2, term=8)
    sync(wal)
    before = state(wal)
    wal.close()
    files = image(storage)
    del files[ONE]
    alone = stored(files)
    assert reopened(alone) == before
    assert before[1][1] == HardState(5, 2, 0)
    assert [entry.term for entry in before[1][0]] == [8, 8]
    assert reopened(alone) == before


def test_entries_missing_with_the_older_segments_are_damage() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    _fill_segment(wal, storage)
    lost = layout(image(storage)[ONE])
    wal.group(1).truncate_from(2)
    append(wal.group(1), 2, term=8)
    sync(wal)
    files = image(storage)
    del files[ONE]
    with pytest.raises(WalDamaged, match=r"entries 1 to 1 of group 1") as caught:
        Wal.open(stored(files), SMALL)
    assert caught.value.file == TWO
    assert len(lost) > 1


def test_the_oldest_segment_of_a_longer_log_must_have_a_batch() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    wal.group(2).set_hard_state(HardState(6, 0, 0))
    sync(wal)
    _fill_segment(wal, storage)
    files = image(storage)
    first = layout(files[TWO])[0]
    for bad in (bytes(2048), files[TWO][: first.end - 1] + bytes(2049 - first.end)):
        with pytest.raises(WalDamaged, match="oldest") as caught:
            Wal.open(stored({TWO: bad}), SMALL)
        assert caught.value.file == TWO


def test_the_next_segment_is_wanted_when_half_is_used_and_is_made_ahead() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    wanted: list[int] = []
    while not wanted:
        append(wal.group(1), 1, nbytes=100)
        sync(wal)
        if wal.needs_segment():
            wanted.append(layout(image(storage)[ONE])[-1].end)
    assert 1024 <= wanted[0] < 1024 + 300
    wal.prepare_next_segment()
    assert storage.list() == [ONE, TWO]
    assert not wal.needs_segment()
    files = image(storage)
    wal.prepare_next_segment()
    assert image(storage) == files, "one ahead is enough"
    storage.crash(Random(0), Crash.SYNCED)
    wal = Wal.open(storage, SMALL)
    assert not wal.needs_segment(), "the one that was ready is found again"
    _fill_segment(wal, storage)
    assert storage.list() == [ONE, TWO]


def test_a_segment_that_was_not_finished_is_removed_at_the_next_start() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    file = storage.create(TWO + ".new")
    file.write_at(0, b"half")
    assert last_index(storage) == 1
    assert storage.list() == [ONE]


def test_a_segment_whose_name_a_killed_process_did_not_sync_is_durable_before_its_use() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    storage.fail(Operation.SYNC, after=1)  # the first is that of its bytes
    with pytest.raises(OSError, match="Input/output"):
        wal.prepare_next_segment()
    storage.crash(Random(0), Crash.PROCESS)
    assert storage.list() == [ONE, TWO]
    wal = Wal.open(storage, SMALL)
    _fill_segment(wal, storage)
    expected = wal.group(1).last_index
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == expected


def test_an_unused_segment_of_a_smaller_configuration_is_made_larger() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    wal.prepare_next_segment()
    wal.close()
    larger = replace(SMALL, segment_bytes=8192, batch_bytes_max=4096)
    wal = Wal.open(storage, larger)
    append(wal.group(1), 1, nbytes=4000)
    sync(wal)
    assert [len(data) for data in image(storage).values()] == [2048, 8192]
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage, larger) == 2


# A full disk.


def _full_log(config: WalConfig = SMALL) -> tuple[MemoryStorage, Wal]:
    """Return a log more than half full whose next segment found no space."""
    storage = MemoryStorage()
    wal = Wal.open(storage, config)
    while not wal.needs_segment():
        append(wal.group(1), 1, nbytes=50)
        sync(wal)
    storage.space_bytes = config.segment_bytes - 1
    wal.prepare_next_segment()
    return storage, wal


def test_a_full_disk_refuses_entries_that_have_no_room_and_takes_those_that_have() -> None:
    storage, wal = _full_log()
    assert not wal.has_room(SMALL.entry_bytes_max)
    count = 0
    while wal.has_room(1):
        append(wal.group(1), 1, nbytes=1)
        sync(wal)
        count += 1
    assert count > 0
    # Votes still find room, in the part that is kept for them.
    for term in (4, 5):
        wal.group(1).set_hard_state(HardState(term, 1, 0))
        sync(wal)
    assert storage.list() == [ONE]
    storage.crash(Random(0), Crash.SYNCED)
    assert reopened(storage)[1][1] == HardState(5, 1, 0)


def test_buffered_records_count_as_used_room() -> None:
    _, wal = _full_log()
    count = 0
    while wal.has_room(50):
        append(wal.group(1), 1, nbytes=50)
        count += 1
        assert count < 100
    sync(wal)
    assert wal.group(1).durable_index == wal.group(1).last_index


def test_what_was_written_of_a_segment_is_given_back_when_the_disk_is_full() -> None:
    storage, _ = _full_log()
    assert storage.list() == [ONE]
    assert storage.space_bytes == SMALL.segment_bytes - 1


def test_room_returns_with_space() -> None:
    storage, wal = _full_log()
    storage.space_bytes = None
    assert not wal.has_room(SMALL.entry_bytes_max), "nobody looked yet"
    wal.prepare_next_segment()
    assert wal.has_room(SMALL.entry_bytes_max)
    append(wal.group(1), 3, nbytes=900)
    sync(wal)
    assert wal.group(1).durable_index == wal.group(1).last_index
    assert wal.has_room(SMALL.entry_bytes_max), "also when the segment that was ready is in use"


def test_while_the_disk_is_full_a_segment_is_asked_for_now_and_then() -> None:
    storage, wal = _full_log()
    asked = [wal.needs_segment() for _ in range(200)]
    assert 1 <= sum(asked) <= 5
    storage.space_bytes = None
    wal.prepare_next_segment()
    assert not any(wal.needs_segment() for _ in range(200))


def test_a_full_disk_is_logged_once_until_space_returns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flo.storage"):
        storage, wal = _full_log()
        wal.prepare_next_segment()
    assert len(caplog.records) == 1
    assert "no space" in caplog.text
    del storage


def test_a_ticket_without_room_is_kept_and_written_when_space_returns() -> None:
    storage, wal = _full_log()
    append(wal.group(1), 1, nbytes=900)
    append(wal.group(1), 1, nbytes=900)
    ticket = wal.seal()
    assert ticket is not None
    with pytest.raises(WalFull):
        wal.write_and_sync(ticket)
    assert not wal.has_room(1)
    storage.space_bytes = None
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    expected = wal.group(1).durable_index
    assert expected == wal.group(1).last_index
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == expected


def test_a_log_that_begins_on_a_full_disk_waits_for_space() -> None:
    storage = MemoryStorage()
    storage.space_bytes = 100
    wal = Wal.open(storage, SMALL)
    assert not wal.has_room(1)
    storage.space_bytes = None
    wal.prepare_next_segment()
    assert wal.has_room(1)


def test_another_failure_while_preparing_ends_the_log() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    storage.fail(Operation.SYNC)
    with pytest.raises(OSError, match="Input/output"):
        wal.prepare_next_segment()
    with pytest.raises(WalFailed):
        wal.seal()
    assert last_index(storage) == 1


def test_a_large_log_warns_once_each_time_it_grows_large(caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    config = replace(SMALL, warn_bytes=3 * SMALL.segment_bytes)
    wal = Wal.open(storage, config)
    with caplog.at_level(logging.WARNING, "flo.storage"):
        for _ in range(2):
            _fill_segment(wal, storage)
        assert not caplog.records
        for _ in range(4):
            _fill_segment(wal, storage)
        assert len(caplog.records) == 1
        wal.close()
        Wal.open(storage, config).close()
        assert len(caplog.records) == 2, "and again at a start"
        wal = Wal.open(storage, config)
        wal.group(1).compact(wal.group(1).durable_index)
        sync(wal)
        assert wal.plan_release()
        while wal.bytes_in_use <= config.warn_bytes:
            assert len(caplog.records) == 3
            append(wal.group(1), 1, nbytes=300)
            sync(wal)
    assert len(caplog.records) == 4, "and when it has been small in between"
    assert "warn_bytes" in caplog.text
