"""One group's view of the log: entries from memory and disk, truncation, what is durable."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from cluster.storage.group_entries import ENTRY_OVERHEAD_BYTES
from cluster.storage.memory_files import Crash, MemoryStorage
from cluster.storage.records import Entry
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storage.wal_errors import WalDamaged
from tests.unit.storage.wal_kit import ONE, SMALL, append, image, in_memory, layout, sync

if TYPE_CHECKING:
    from cluster.storage.group_log import GroupLog

NO_TAIL = replace(SMALL, tail_bytes=0)
HALF_TAIL = replace(SMALL, tail_bytes=40 * (ENTRY_OVERHEAD_BYTES + 20))


def _mixed_history(wal: Wal, seed: int) -> list[Entry]:
    """Append, truncate and sync at random in group 1, beside group 2; return what is in the log."""
    random = Random(seed)
    group, other = wal.group(1), wal.group(2)
    kept: list[Entry] = []
    term = 1
    for _ in range(400):
        action = random.random()
        if action < 0.05 and kept:
            cut = random.randint(max(1, len(kept) - 12), len(kept))
            group.truncate_from(cut)
            del kept[cut - 1 :]
            term += 1
        elif action < 0.3:
            append(other, 1, nbytes=random.randrange(100))
        elif action < 0.5:
            sync(wal)
        else:
            term += random.random() < 0.1
            data = random.randbytes(random.randrange(60))
            group.append(group.last_index + 1, term, data)
            kept.append(Entry(len(kept) + 1, term, data))
    sync(wal)
    assert len(kept) > 20
    return kept


def _all(group: GroupLog) -> list[Entry]:
    return group.entries(1, group.last_index + 1)


@pytest.mark.parametrize("config", [SMALL, HALF_TAIL, NO_TAIL])
@pytest.mark.parametrize("seed", range(6))
def test_entries_are_the_same_from_memory_from_disk_and_after_a_restart(
    config: WalConfig, seed: int
) -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, config)
    kept = _mixed_history(wal, seed)
    random = Random(seed)
    for found in (wal.group(1), Wal.open(storage, config).group(1)):
        assert _all(found) == kept
        for _ in range(40):
            lo = random.randint(1, len(kept))
            hi = random.randint(lo, len(kept) + 1)
            assert found.entries(lo, hi) == kept[lo - 1 : hi - 1]
            limit = random.randrange(300)
            some = found.entries(lo, hi, limit)
            assert some == kept[lo - 1 : lo - 1 + len(some)]
            assert len(some) <= 1 or sum(len(entry.data) for entry in some) <= limit
            following = kept[lo - 1 + len(some)].data if lo + len(some) < hi else None
            if following is not None:
                assert sum(len(entry.data) for entry in some) + len(following) > limit
            assert found.term_at(lo) == kept[lo - 1].term


def test_an_entry_larger_than_the_limit_comes_alone() -> None:
    for config in (SMALL, NO_TAIL):
        wal = Wal.open(MemoryStorage(), config)
        append(wal.group(1), 5, nbytes=100)
        sync(wal)
        assert [entry.index for entry in wal.group(1).entries(2, 5, 10)] == [2]
        assert [entry.index for entry in wal.group(1).entries(2, 5, 250)] == [2, 3]
        assert wal.group(1).entries(3, 3) == []


@pytest.mark.parametrize(("lo", "hi"), [(0, 2), (2, 7), (5, 4), (7, 9)])
def test_entries_outside_the_log_are_an_error(lo: int, hi: int) -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    append(wal.group(1), 5)
    with pytest.raises(IndexError, match="which has 1 to 5"):
        wal.group(1).entries(lo, hi)


def test_memory_holds_the_newest_entries_alone() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, HALF_TAIL)
    for _ in range(40):
        append(wal.group(1), 5)
        sync(wal)
    assert 30 <= in_memory(wal.group(1), storage) <= 40


def test_memory_holds_the_newest_entries_alone_right_after_a_start() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    for _ in range(40):
        append(wal.group(1), 5)
        sync(wal)
    wal.close()
    assert 30 <= in_memory(Wal.open(storage, HALF_TAIL).group(1), storage) <= 40


def test_what_is_not_durable_staysin_memory() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, NO_TAIL)
    append(wal.group(1), 5)
    sync(wal)
    append(wal.group(1), 100)
    ticket = wal.seal()
    assert ticket is not None
    append(wal.group(1), 7)
    wal.write_and_sync(ticket)
    assert [entry.index for entry in wal.group(1).entries(6, 113)] == list(range(6, 113))
    wal.complete(ticket)
    assert in_memory(wal.group(1), storage) == 7


@pytest.mark.parametrize("cut", [1, 20])
def test_truncated_entries_no_longer_count_as_memory(cut: int) -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, HALF_TAIL)
    group = wal.group(1)
    for term in range(1, 20):
        append(group, 30 - group.last_index, term=term)
        sync(wal)
        group.truncate_from(cut)
    append(group, 30 - group.last_index, term=20)
    sync(wal)
    assert in_memory(group, storage) == 30


def test_large_entries_are_found_after_truncations() -> None:
    """Points of the sparse index go by bytes here; a truncation must take its points along."""
    config = WalConfig(segment_bytes=1 << 20, batch_bytes_max=1 << 18, tail_bytes=0, groups_max=2)
    storage = MemoryStorage()
    wal = Wal.open(storage, config)
    group = wal.group(1)
    for term in (1, 2, 3):
        for _ in range(10):
            append(group, 4, term=term, nbytes=20_000)
            sync(wal)
        group.truncate_from(group.last_index - 25)
    sync(wal)
    for found in (group, Wal.open(storage, config).group(1)):
        for index in range(1, found.last_index + 1):
            (entry,) = found.entries(index, index + 1)
            assert entry.data.startswith(f"{index}.{found.term_at(index)}x".encode())


def test_a_truncation_into_the_part_on_disk_keeps_what_is_before_it() -> None:
    wal = Wal.open(MemoryStorage(), NO_TAIL)
    group = wal.group(1)
    append(group, 20)
    sync(wal)
    group.truncate_from(8)
    append(group, 5, term=2)
    expected = [(index, 1 if index < 8 else 2) for index in range(1, 13)]
    assert [entry[:2] for entry in _all(group)] == expected
    sync(wal)
    assert [entry[:2] for entry in _all(group)] == expected


def test_stale_versions_of_an_entry_are_passed_over() -> None:
    wal = Wal.open(MemoryStorage(), NO_TAIL)
    group = wal.group(1)
    for term in range(1, 6):
        if term > 1:
            group.truncate_from(3)
        append(group, 4, term=term)
        sync(wal)
    assert [entry.data[:3] for entry in group.entries(1, 5)] == [b"1.1", b"2.1", b"3.5", b"4.5"]


def test_a_changed_byte_is_found_when_an_old_entry_is_read() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, NO_TAIL)
    for _ in range(3):
        append(wal.group(1), 1)
        sync(wal)
    place = layout(image(storage)[ONE])[1]
    file = storage.open(ONE)
    for offset in (place.end - 1, place.start + 9):
        old = file.read_at(offset, 1)
        file.write_at(offset, bytes([old[0] ^ 4]))
        with pytest.raises(WalDamaged) as caught:
            _all(wal.group(1))
        assert (caught.value.file, caught.value.offset) == (ONE, place.start)
        file.write_at(offset, old)
    assert len(_all(wal.group(1))) == 3


# Terms.


def test_terms_are_known_without_reading() -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, NO_TAIL)
    group = wal.group(1)
    for term, count in ((1, 3), (4, 1), (6, 5)):
        append(group, count, term=term)
    sync(wal)
    for found in (group, Wal.open(storage, NO_TAIL).group(1)):
        terms = [found.term_at(index) for index in range(11)]
        assert terms == [None, 1, 1, 1, 4, 6, 6, 6, 6, 6, None]
        starts = [found.first_index_of_term_run(index) for index in range(1, 10)]
        assert starts == [1, 1, 1, 4, 5, 5, 5, 5, 5]
        assert found.last_term == 6
    with pytest.raises(IndexError):
        group.first_index_of_term_run(10)


def test_terms_follow_a_truncation() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 3, term=1)
    append(group, 3, term=5)
    group.truncate_from(4)
    assert (group.last_index, group.last_term, group.term_at(4)) == (3, 1, None)
    append(group, 1, term=3)
    assert (group.term_at(4), group.first_index_of_term_run(4)) == (3, 4)
    group.truncate_from(1)
    assert (group.last_index, group.last_term, group.term_at(1)) == (0, 0, None)


def test_the_log_has_no_gaps_and_its_terms_never_fall() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 2, term=5)
    for index, term in ((2, 5), (4, 5), (3, 4)):
        with pytest.raises(AssertionError):
            group.append(index, term, b"")
    for index in (0, 3):
        with pytest.raises(AssertionError, match="truncation"):
            group.truncate_from(index)
    assert wal.lsn == 2


# What is durable.


def test_a_truncation_lowers_what_is_durable_at_once() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 10)
    sync(wal)
    group.truncate_from(6)
    assert group.durable_index == 5
    append(group, 3, term=2)
    assert group.durable_index == 5
    sync(wal)
    assert group.durable_index == 8


@pytest.mark.parametrize("written_first", [False, True])
def test_a_ticket_under_way_does_not_make_its_successors_durable(written_first: bool) -> None:
    """Entries 1 to 10 are being synced; 6 to 10 are replaced meanwhile."""
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    group = wal.group(1)
    append(group, 10)
    ticket = wal.seal()
    assert ticket is not None
    if written_first:
        wal.write_and_sync(ticket)
    group.truncate_from(6)
    append(group, 9, term=2)
    assert group.durable_index == 0
    if not written_first:
        wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert group.durable_index == 5
    sync(wal)
    assert group.durable_index == 14
    storage.crash(Random(0), Crash.SYNCED)
    assert [entry.term for entry in _all(Wal.open(storage, SMALL).group(1))] == [1] * 5 + [2] * 9


def test_a_truncation_that_is_itself_under_way() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    group = wal.group(1)
    append(group, 10)
    sync(wal)
    group.truncate_from(6)
    append(group, 1, term=2)
    ticket = wal.seal()
    assert ticket is not None
    append(group, 5, term=2)
    group.truncate_from(9)
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert (group.durable_index, group.last_index) == (6, 8)


def test_a_ticket_of_other_groups_moves_nothing() -> None:
    wal = Wal.open(MemoryStorage(), SMALL)
    append(wal.group(2), 1)
    ticket = wal.seal()
    assert ticket is not None
    append(wal.group(1), 1)
    wal.write_and_sync(ticket)
    wal.complete(ticket)
    assert (wal.group(1).durable_index, wal.group(2).durable_index) == (0, 1)
