"""What a start makes of compactions, resets and heads when the segments before are gone."""

from __future__ import annotations

import struct

import pytest

from cluster.storage.records import (
    BASE,
    COMPACT_KIND,
    ENTRY,
    ENTRY_KIND,
    HARD_STATE,
    HARD_STATE_KIND,
    HEAD,
    HEAD_KIND,
    OLD_HEAD_KIND,
    RESET_KIND,
    TRUNCATE,
    TRUNCATE_KIND,
    HardState,
)
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalDamaged
from cluster.storage.wal_format import (
    BATCH_HEADER,
    SEGMENT_HEADER,
    BatchHeader,
    fill_batch_header,
    pack_segment_header,
    segment_name,
)
from tests.unit.storage.wal_kit import SMALL, Image, stored

OLD_HEAD = struct.Struct("<BHQHQQQQ")


def _entry(index: int, term: int) -> bytes:
    return ENTRY.pack(ENTRY_KIND, 1, index, term, 1) + b"x"


def _truncate(index: int) -> bytes:
    return TRUNCATE.pack(TRUNCATE_KIND, 1, index)


def _compact(index: int, term: int) -> bytes:
    return BASE.pack(COMPACT_KIND, 1, index, term)


def _reset(index: int, term: int) -> bytes:
    return BASE.pack(RESET_KIND, 1, index, term)


def _head(base: tuple[int, int], last: tuple[int, int]) -> bytes:
    return HEAD.pack(HEAD_KIND, 1, 9, 2, 0, *base, *last)


def _log(*segments: list[bytes]) -> Image:
    """Return a log that begins with segment 7; each payload is one batch."""
    files: Image = {}
    number, crc, end = 20, 0, 0
    for sequence, payloads in enumerate(segments, 7):
        data = bytearray(pack_segment_header(sequence, number))
        for payload in payloads:
            batch = bytearray(BATCH_HEADER.size) + payload
            header = BatchHeader(0, number, sequence, end, 0, 0, crc)
            crc = fill_batch_header(batch, 0, header)
            data += batch
            end = len(data)
            number += 1
        files[segment_name(sequence)] = bytes(data).ljust(SMALL.segment_bytes, b"\0")
    return files


def _terms(*segments: list[bytes]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the base, and index and term of each entry, of what a start finds."""
    group = Wal.open(stored(_log(*segments)), SMALL).group(1)
    base = group.base_index, group.base_term
    entries = group.entries(group.first_index, group.last_index + 1)
    assert [group.term_at(entry.index) for entry in entries] == [entry.term for entry in entries]
    assert (group.last_index, group.last_term) == (entries[-1][:2] if entries else base)
    assert group.durable_index == group.last_index
    assert group.hard_state.term == 9
    return base, [entry[:2] for entry in entries]


def _refused(*segments: list[bytes]) -> WalDamaged:
    with pytest.raises(WalDamaged) as caught:
        Wal.open(stored(_log(*segments)), SMALL)
    return caught.value


MISSING = _head((2, 1), (10, 5))  # entries 3 to 10 were in segments that are gone


def test_a_head_without_missing_entries_is_where_the_log_begins() -> None:
    assert _terms([_head((10, 5), (10, 5)) + _entry(11, 5)]) == ((10, 5), [(11, 5)])


def test_missing_entries_that_were_forgotten_since() -> None:
    for base in ((10, 5), (11, 5), (12, 6)):
        entries = [entry for entry in ((11, 5), (12, 6)) if entry[0] > base[0]]
        found = _terms([MISSING + _entry(11, 5), _entry(12, 6), _compact(*base)])
        assert found == (base, entries)


def test_missing_entries_that_were_forgotten_bit_by_bit() -> None:
    records = [MISSING + _compact(4, 2), _compact(7, 4), _entry(11, 6), _compact(10, 5)]
    assert _terms(records) == ((10, 5), [(11, 6)])


def test_missing_entries_that_a_reset_replaced() -> None:
    assert _terms([MISSING, _reset(7, 3), _entry(8, 3)]) == ((7, 3), [(8, 3)])


def test_missing_entries_that_were_truncated() -> None:
    assert _terms([MISSING, _truncate(3), _entry(3, 1)]) == ((2, 1), [(3, 1)])


def test_after_a_truncation_among_missing_entries_the_next_term_may_be_lower() -> None:
    """Entry 6 had some term from 1 to 5: only the last one's is in the head."""
    for term in (1, 3, 5, 7):
        found = _terms([MISSING, _truncate(7), _entry(7, term), _compact(6, 1)])
        assert found == ((6, 1), [(7, term)])


def test_the_next_head_tells_the_term_of_a_missing_entry() -> None:
    first = [MISSING, _truncate(7)]
    for term in (1, 4):
        second = [_head((2, 1), (6, term)) + _entry(7, 4), _compact(6, term)]
        assert _terms(first, second) == ((6, term), [(7, 4)])
    second = [_head((2, 1), (6, 4)) + _entry(7, 3)]
    assert "entry 7 of term 3" in _refused(first, second).reason
    second = [_head((2, 1), (6, 4)), _compact(6, 3)]
    assert "no entry 6 of term 3 to forget" in _refused(first, second).reason
    assert "the records before it give" in _refused(first, [_head((2, 1), (6, 0))]).reason
    twice = [_head((2, 1), (6, 4)), _truncate(5)]
    assert _terms(first, twice, [_head((2, 1), (4, 2)), _compact(4, 2)]) == ((4, 2), [])


def test_a_compaction_tells_the_term_of_a_missing_entry() -> None:
    first = [MISSING, _truncate(7), _compact(6, 4)]
    assert _terms(first, [_head((6, 4), (6, 4))]) == ((6, 4), [])
    assert "the records before it give" in _refused(first, [_head((6, 4), (6, 5))]).reason


@pytest.mark.parametrize(
    "records",
    [
        [MISSING],
        [MISSING, _compact(9, 4)],
        [MISSING, _truncate(6), _entry(6, 6)],
        [MISSING, _truncate(6), _compact(4, 1)],
    ],
)
def test_missing_entries_that_are_still_in_the_log_are_damage(records: list[bytes]) -> None:
    damage = _refused(records)
    assert (damage.file, damage.offset) == (segment_name(7), 0)
    assert "were in earlier segments, which are missing" in damage.reason


@pytest.mark.parametrize(
    "bad",
    [
        _compact(10, 4),  # it has term 5
        _compact(11, 5),  # it has term 6
        _compact(12, 6),  # not durable before the batch of the compaction
        _compact(13, 6),
        _compact(2, 1),
        _compact(1, 1),
        _compact(5, 0),
    ],
)
def test_a_compaction_that_does_not_fit_is_refused(bad: bytes) -> None:
    damage = _refused([MISSING, _entry(11, 6), _entry(12, 6) + bad])
    start = SEGMENT_HEADER.size + 2 * BATCH_HEADER.size + HEAD.size + ENTRY.size + 1
    assert (damage.file, damage.offset) == (segment_name(7), start)
    assert "to forget" in damage.reason


def test_a_reset_to_before_the_base_is_refused() -> None:
    assert "behind its base 2" in _refused([MISSING, _reset(1, 1)]).reason


@pytest.mark.parametrize(("base", "last"), [((3, 1), (10, 5)), ((2, 2), (10, 5))])
def test_a_head_with_another_base_is_refused(base: tuple[int, int], last: tuple[int, int]) -> None:
    damage = _refused([MISSING], [_head(base, last)])
    assert (damage.file, damage.offset) == (segment_name(8), SEGMENT_HEADER.size)
    assert "the records before it give" in damage.reason


def test_a_commit_index_is_never_behind_the_base() -> None:
    storage = stored(_log([MISSING, _compact(10, 5), HARD_STATE.pack(HARD_STATE_KIND, 1, 9, 2, 4)]))
    assert Wal.open(storage, SMALL).group(1).hard_state == HardState(9, 2, 10)


def test_heads_of_the_former_layout_are_read() -> None:
    """They knew no base, and no log had one."""
    assert _terms([OLD_HEAD.pack(OLD_HEAD_KIND, 1, 9, 2, 0, 1, 0, 0) + _entry(1, 3)]) == (
        (0, 0),
        [(1, 3)],
    )
    assert _terms(
        [_head((0, 0), (0, 0)) + _entry(1, 1), _entry(2, 3)],
        [OLD_HEAD.pack(OLD_HEAD_KIND, 1, 9, 2, 0, 1, 2, 3) + _entry(3, 3)],
    ) == ((0, 0), [(1, 1), (2, 3), (3, 3)])
    odd = OLD_HEAD.pack(OLD_HEAD_KIND, 1, 9, 2, 0, 5, 8, 3)
    assert "begins with entry 5" in _refused([odd]).reason


def test_records_cut_short_are_refused() -> None:
    for record in (_compact(10, 5), _reset(10, 5), MISSING):
        assert "cut short" in _refused([MISSING, record[:-1]]).reason
