"""A torn end is cut, damage is refused: which is which, byte by byte."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from cluster.storage.files import DiskStorage
from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.records import ENTRY, HEAD
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged
from cluster.storage.wal_format import (
    BATCH_HEADER,
    BATCH_MAGIC,
    SEGMENT_HEADER,
    BatchHeader,
    fill_batch_header,
    pack_segment_header,
    unpack_batch_header,
)
from tests.unit.storage.wal_kit import (
    ONE,
    SMALL,
    THREE,
    TWO,
    Image,
    append,
    batches,
    changed,
    flipped,
    image,
    last_index,
    layout,
    stored,
    sync,
    write_image,
)

if TYPE_CHECKING:
    from pathlib import Path


def _log(count: int) -> Image:
    storage = MemoryStorage()
    batches(storage, count)
    return image(storage)


def _log_of_segments(count: int) -> Image:
    """Return a log that has just begun segment `count`, with several batches in each one before."""
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    while len(storage.list()) < count:
        append(wal.group(1), 1, nbytes=300)
        sync(wal)
    wal.close()
    return image(storage)


def _refused(files: Image) -> WalDamaged:
    storage = stored(files)
    with pytest.raises(WalDamaged) as caught:
        Wal.open(storage, SMALL)
    assert image(storage) == files, "a refused log is left as it is"
    assert caught.value.file in str(caught.value)
    return caught.value


def _place(files: Image) -> tuple[str, int]:
    damage = _refused(files)
    return damage.file, damage.offset


def _check_cut(files: Image, survivors: int) -> None:
    """The log opens with so many batches, takes another one, and that one lasts."""
    storage = stored(files)
    wal = Wal.open(storage, SMALL)
    assert wal.group(1).last_index == survivors
    append(wal.group(1), 2, term=9)
    sync(wal)
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == survivors + 2


def test_the_last_batch_torn_at_every_byte_is_cut() -> None:
    files = _log(3)
    torn = layout(files[ONE])[2]
    for cut in range(torn.start, torn.end):
        _check_cut(changed(files, ONE, cut, bytes(torn.end - cut)), 2)
        begun = changed(files, ONE, torn.start, bytes(cut + 1 - torn.start))
        _check_cut(begun, 2)


def test_the_last_batch_torn_on_a_real_disk_is_cut(tmp_path: Path) -> None:
    files = _log(3)
    torn = layout(files[ONE])[2]
    for cut in range(torn.start, torn.end, 9):
        storage = DiskStorage(str(tmp_path / str(cut)))
        write_image(storage, changed(files, ONE, cut, bytes(torn.end - cut)))
        assert last_index(storage) == 2
        storage.close()


def test_a_file_cut_short_in_the_last_batch_is_a_torn_end() -> None:
    files = _log(3)
    torn = layout(files[ONE])[2]
    for end in range(torn.start, torn.end):
        _check_cut(files | {ONE: files[ONE][:end]}, 2)


def test_the_first_batch_of_a_segment_torn_at_every_byte_is_cut() -> None:
    files = _log_of_segments(2)
    torn = layout(files[TWO])[0]
    survivors = len(layout(files[ONE]))
    for cut in range(torn.end):
        _check_cut(changed(files, TWO, cut, bytes(torn.end - cut)), survivors)
        _check_cut(changed(files, TWO, 0, bytes(cut + 1)), survivors)


def test_the_very_first_batch_torn_leaves_an_empty_log() -> None:
    files = _log(1)
    torn = layout(files[ONE])[0]
    for cut in range(torn.end):
        _check_cut(changed(files, ONE, cut, bytes(torn.end - cut)), 0)


def test_a_bit_flip_in_the_last_batch_looks_like_a_torn_end() -> None:
    # Nothing on one disk can tell the two apart; the other replicas can.
    files = _log(3)
    last = layout(files[ONE])[2]
    for offset in range(last.start, last.end):
        _check_cut(flipped(files, ONE, offset), 2)


def test_a_bit_flip_in_any_byte_of_an_earlier_batch_is_damage() -> None:
    files = _log(4)
    for place in layout(files[ONE])[:-1]:
        for offset in range(place.start, place.end):
            assert _place(flipped(files, ONE, offset)) == (ONE, place.start)


def test_a_bit_flip_in_any_byte_of_a_segment_header_is_damage() -> None:
    files = _log_of_segments(3)
    for name in (ONE, TWO):
        for offset in range(SEGMENT_HEADER.size):
            assert _place(flipped(files, name, offset)) == (name, 0)


def test_a_bit_flip_in_the_last_batch_of_an_earlier_segment_is_damage() -> None:
    files = _log_of_segments(2)
    last = layout(files[ONE])[-1]
    for offset in range(last.start, last.end):
        assert _place(flipped(files, ONE, offset)) == (ONE, last.start)


def test_a_bit_flip_in_the_first_batch_of_an_earlier_segment_is_damage() -> None:
    files = _log_of_segments(3)
    first = layout(files[TWO])[0]
    for offset in range(first.start, first.end):
        assert _place(flipped(files, TWO, offset)) == (TWO, first.start)


def test_zero_bytes_over_an_earlier_batch_are_damage() -> None:
    files = _log(4)
    _, second, third, _ = layout(files[ONE])
    erased = changed(files, ONE, second.start, bytes(third.end - second.start))
    assert _place(erased) == (ONE, second.start)


def test_a_torn_batch_whose_header_is_whole_proves_damage_before_it() -> None:
    # The last one was begun, so the one before it was synced.
    files = _log(3)
    _, second, third = layout(files[ONE])
    start = third.start + BATCH_HEADER.size
    torn = changed(files, ONE, start, bytes(third.end - start))
    assert last_index(stored(torn)) == 2
    assert _place(flipped(torn, ONE, second.end - 1)) == (ONE, second.start)


def test_a_segment_header_alone_proves_damage_before_it() -> None:
    files = _log_of_segments(2)
    torn = changed(files, TWO, SEGMENT_HEADER.size, bytes(2048 - SEGMENT_HEADER.size))
    last = layout(files[ONE])[-1]
    assert _place(flipped(torn, ONE, last.end - 1)) == (ONE, last.start)


def test_a_missing_segment_is_damage() -> None:
    files = _log_of_segments(3)
    del files[TWO]
    assert _place(files) == (TWO, 0)


def test_a_missing_first_segment_is_damage() -> None:
    files = _log_of_segments(3)
    del files[ONE]
    damage = _refused(files)
    assert (damage.file, damage.offset) == (TWO, 0)
    assert "entries 1 to" in damage.reason


def test_an_erased_segment_in_the_middle_is_damage() -> None:
    files = _log_of_segments(3)
    assert _place(files | {TWO: bytes(2048)}) == (TWO, 0)
    assert _place(files | {TWO: b""}) == (TWO, 0)


@pytest.mark.parametrize("names", [(ONE, TWO), (TWO, THREE), (ONE, THREE)])
def test_swapped_segments_are_damage(names: tuple[str, str]) -> None:
    files = _log_of_segments(3)
    one, other = names
    assert _place(files | {one: files[other], other: files[one]}) == (one, 0)


def test_an_old_copy_in_place_of_a_segment_is_damage() -> None:
    files = _log_of_segments(3)
    assert _place(files | {TWO: files[ONE]}) == (TWO, 0)


def test_a_segment_of_another_log_is_damage() -> None:
    files = _log_of_segments(2)
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    while len(storage.list()) < 2:
        append(wal.group(1), 1, term=2, nbytes=300)
        sync(wal)
    assert _place(files | {ONE: image(storage)[ONE]})[0] == TWO


def test_leftovers_in_a_recycled_segment_are_no_batches() -> None:
    """An old file under a new name is full of whole batches, with old numbers."""
    old = _log_of_segments(2)[ONE]
    unused = _log_of_segments(2) | {THREE: old}
    _check_cut(unused, sum(len(layout(unused[name])) for name in (ONE, TWO)))

    files = _log_of_segments(3)
    count = sum(len(layout(data)) for data in files.values())
    last = layout(files[THREE])[-1]
    recycled = files | {THREE: files[THREE][: last.end] + old[last.end :]}
    assert recycled[THREE].count(BATCH_MAGIC) > 2
    _check_cut(recycled, count)
    for cut in range(last.end):
        # The write over the leftovers was torn, either end of it.
        begun = recycled[THREE][:cut] + old[cut:]
        _check_cut(recycled | {THREE: begun}, count - 1)
        finished = old[: cut + 1] + recycled[THREE][cut + 1 :]
        if finished != recycled[THREE]:
            _check_cut(recycled | {THREE: finished}, count - 1)


def test_leftovers_that_begin_exactly_where_the_log_ends_are_no_batch() -> None:
    files = _log(2)
    end = layout(files[ONE])[-1].end
    for sequence, number in ((1, 1), (1, 2), (0, 3)):
        old = _batch(b"\x02" + bytes(10), sequence=sequence, number=number, previous_end=end)
        _check_cut(changed(files, ONE, end, old), 2)


def test_leftovers_past_the_end_of_the_log_prove_nothing() -> None:
    files = _log(2)
    end = layout(files[ONE])[-1].end
    for sequence, number, place in ((0, 9, end + 50), (1, 9, end + 51), (1, 2, end + 50)):
        old = _batch(b"", sequence=sequence, number=number, previous_end=place)
        _check_cut(changed(files, ONE, end + 50, old), 2)
    later = _batch(b"", sequence=1, number=9, previous_end=end + 50)
    assert _place(changed(files, ONE, end + 50, later)) == (ONE, end)


def test_a_segment_that_begins_with_the_wrong_batch_is_damage() -> None:
    files = _log(2)
    for number in (1, 2):
        wrong = pack_segment_header(2, number) + bytes(2000)
        assert _place(files | {TWO: wrong}) == (TWO, 0)
    assert _place(files | {TWO: pack_segment_header(2, 4) + bytes(2000)})[0] == ONE
    _check_cut(files | {TWO: pack_segment_header(2, 3) + bytes(2000)}, 2)


def test_a_segment_that_begins_right_but_after_an_unused_one_is_damage() -> None:
    files = _log(2)
    begun = pack_segment_header(3, 3) + bytes(2000)
    assert _place(files | {TWO: bytes(2048), THREE: begun}) == (TWO, 0)


def test_an_erased_header_lasts_although_the_first_try_failed() -> None:
    """Its sync fails: the next start reads zero bytes in the cache, the disk has the old ones."""
    files = _log_of_segments(2)
    storage = stored(changed(files, TWO, layout(files[TWO])[0].end - 1, b"\0"))
    storage.fail(Operation.SYNC, after=1)  # the first is that of the directory
    with pytest.raises(OSError, match="Input/output"):
        Wal.open(storage, SMALL)
    storage.crash(Random(0), Crash.PROCESS)
    assert not any(image(storage)[TWO][: SEGMENT_HEADER.size + BATCH_HEADER.size])
    wal = Wal.open(storage, SMALL)
    append(wal.group(1), 1)
    sync(wal)
    expected = wal.group(1).last_index
    storage.crash(Random(0), Crash.SYNCED)
    assert last_index(storage) == expected


def test_a_whole_batch_with_the_right_number_but_the_wrong_chain_is_damage() -> None:
    files = _log(2)
    end = layout(files[ONE])[-1].end
    forged = _batch(b"", sequence=1, number=3, previous_end=end)
    assert _place(changed(files, ONE, end, forged)) == (ONE, end)


def test_a_value_that_looks_like_a_later_batch_does_not_turn_a_torn_end_into_damage() -> None:
    storage = MemoryStorage()
    batches(storage, 2)
    end = layout(image(storage)[ONE])[-1].end
    wal = Wal.open(storage, SMALL)
    offset = end + BATCH_HEADER.size + ENTRY.size
    wal.group(1).append(3, 1, _batch(b"", sequence=1, number=9, previous_end=offset))
    wal.group(1).append(4, 1, _batch(b"", sequence=1, number=9, previous_end=7) + b"x")
    sync(wal)
    assert unpack_batch_header(image(storage)[ONE], offset) is not None
    files = image(storage)
    torn = layout(files[ONE])[2]
    _check_cut(flipped(files, ONE, torn.end - 1), 2)


def test_nothing_of_a_torn_batch_is_left() -> None:
    files = _log_of_segments(2)
    for name, start in ((TWO, 0), (ONE, layout(files[ONE])[-1].start)):
        shorter = files if name == TWO else {ONE: files[ONE]}
        torn = layout(shorter[name])[-1]
        storage = stored(flipped(shorter, name, torn.end - 1))
        Wal.open(storage, SMALL).close()
        storage.crash(Random(0), Crash.SYNCED)
        assert not any(image(storage)[name][start:])
        assert image(storage)[name][:start] == files[name][:start]


def test_a_record_of_a_newer_version_is_refused_with_a_reason() -> None:
    files = _log(1)
    place = layout(files[ONE])[0]
    batch = _batch(b"\xc8" + bytes(20), sequence=1, number=1, previous_end=0)
    damage = _refused(changed(files, ONE, place.start, batch))
    assert (damage.file, damage.offset) == (ONE, place.start)
    assert "kind 200" in damage.reason
    assert "newer version" in damage.reason


def test_a_segment_of_a_newer_format_is_refused_with_a_reason() -> None:
    newer = bytearray(pack_segment_header(1, 1))
    newer[8:10] = b"\x02\x00"
    newer[4:8] = crc32(newer[8:]).to_bytes(4, "little")
    files = {ONE: bytes(newer) + bytes(2000)}
    assert "newer version" in _refused(files).reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x01" + bytes(5), "cut short"),
        (b"\x02" + bytes(3), "cut short"),
        (b"\x01\x01\x00" + bytes(16) + b"\xff\x00\x00\x00", "longer than its batch"),
        (b"\x01\x01\x00\x05" + bytes(19), "entry 5 of term 0"),
        (b"\x02\x01\x00\x05" + bytes(7), "no entry 5 to truncate"),
    ],
)
def test_records_that_make_no_sense_are_refused(payload: bytes, reason: str) -> None:
    files = _log(1)
    start = layout(files[ONE])[0].start
    batch = _batch(payload, sequence=1, number=1, previous_end=0)
    assert reason in _refused(changed(files, ONE, start, batch)).reason


def test_heads_that_contradict_the_records_before_them_are_refused() -> None:
    files = _log_of_segments(2)
    first = layout(files[TWO])[0]
    last = layout(files[ONE])[-1]
    payload = bytearray(files[TWO][first.start + BATCH_HEADER.size : first.end])
    payload[3] ^= 1  # the term in the head of the first group, now under a good checksum
    without_head = files[TWO][first.start + BATCH_HEADER.size + HEAD.size : first.end]
    previous = BatchHeader(*BATCH_HEADER.unpack_from(files[ONE], last.start)[1:])
    for records, reason in (
        (bytes(payload), "begins with GroupHead"),
        (without_head, "begins with 0 hard states of 1 groups"),
    ):
        forged = _batch(
            records,
            sequence=2,
            number=first.number,
            previous_end=last.end,
            previous_crc=previous.crc,
        )
        damage = _refused(changed(files, TWO, first.start, forged))
        assert (damage.file, damage.offset) == (TWO, first.start)
        assert reason in damage.reason


def _batch(
    payload: bytes, *, sequence: int, number: int, previous_end: int, previous_crc: int = 0
) -> bytes:
    batch = bytearray(BATCH_HEADER.size) + payload
    fill_batch_header(
        batch,
        0,
        BatchHeader(
            crc=0,
            number=number,
            sequence=sequence,
            previous_end=previous_end,
            payload_bytes=0,
            payload_crc=0,
            previous_crc=previous_crc,
        ),
    )
    return bytes(batch)
