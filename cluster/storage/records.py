"""What the log holds: entries, hard states, what is cut off either end; and how it looks in bytes.

A record begins with one byte for its kind. A new layout of a kind gets a new number, and numbers
are never used twice; a reader that meets a number it does not know refuses the log.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENTRY_KIND = 1
TRUNCATE_KIND = 2
HARD_STATE_KIND = 3
COMMIT_KIND = 4
OLD_HEAD_KIND = 5  # without the term of the base, from when every log began with entry 1
COMPACT_KIND = 6
RESET_KIND = 7
HEAD_KIND = 8

ENTRY = struct.Struct("<BHQQI")  # kind, group, index, term, length; the data follow
TRUNCATE = struct.Struct("<BHQ")  # kind, group, index
HARD_STATE = struct.Struct("<BHQHQ")  # kind, group, term, voted for, commit
COMMIT = struct.Struct("<BHQ")  # kind, group, commit
BASE = struct.Struct("<BHQQ")  # kind of compaction or reset, group, base index, base term
HEAD = struct.Struct("<BHQHQQQQQ")  # kind, then the fields of GroupHead
_OLD_HEAD = struct.Struct("<BHQHQQQQ")  # the same with the first index in place of the base

COMMANDS_KIND = 0
"""First byte of an entry's data: the payload of commands follows."""
NOOP_KIND = 1
"""First byte of an entry that changes nothing, with which a leader opens its term."""

GROUP_ID_MAX = 0xFFFF
NODE_ID_MAX = 0xFFFF


class Entry(NamedTuple):
    """One entry of a group's log."""

    # The field hides the method of `tuple`, which nobody wants of an entry.
    index: int  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]
    term: int
    data: bytes


class HardState(NamedTuple):
    """What a Raft group must know after a restart; `voted_for` 0 is nobody."""

    term: int
    voted_for: int
    commit: int


class GroupHead(NamedTuple):
    """All that is known of a group but its entries; stands at the head of each segment."""

    group_id: int
    term: int
    voted_for: int
    commit: int
    base_index: int
    base_term: int
    last_index: int
    last_term: int


class EntryRecord(NamedTuple):
    """`Entry` of a group, its data still part of the batch that was read."""

    group_id: int
    entry_index: int
    term: int
    data: memoryview


class TruncateRecord(NamedTuple):
    """The entries from `from_index` on are no longer part of the group's log."""

    group_id: int
    from_index: int


class CompactRecord(NamedTuple):
    """The group's log has forgotten its entries up to and including `base_index`."""

    group_id: int
    base_index: int
    base_term: int


class ResetRecord(NamedTuple):
    """The group's log is empty and goes on after `base_index`."""

    group_id: int
    base_index: int
    base_term: int


class HardStateRecord(NamedTuple):
    """The hard state of a group from here on."""

    group_id: int
    term: int
    voted_for: int
    commit: int


class CommitRecord(NamedTuple):
    """The commit index of a group from here on."""

    group_id: int
    commit: int


Record = (
    EntryRecord
    | TruncateRecord
    | CompactRecord
    | ResetRecord
    | HardStateRecord
    | CommitRecord
    | GroupHead
)


class BadRecord(Exception):
    """Bytes with a good checksum that make no sense: written by a newer version, or by a bug."""


def decode_records(payload: memoryview) -> Iterator[Record]:
    """Yield the records of one batch in order; raises `BadRecord`."""
    position = 0
    end = len(payload)
    while position < end:
        kind = payload[position]
        if kind == ENTRY_KIND:
            _check_fits(payload, position, ENTRY)
            _, group_id, index, term, nbytes = ENTRY.unpack_from(payload, position)
            start = position + ENTRY.size
            position = start + nbytes
            if position > end:
                raise BadRecord(f"entry {index} of group {group_id} is longer than its batch")
            yield EntryRecord(group_id, index, term, payload[start:position])
        else:
            record, layout = _decode_fixed(kind, payload, position)
            position += layout.size
            yield record


def _old_head(*fields: int) -> GroupHead:
    group_id, term, voted_for, commit, first_index, last_index, last_term = fields
    if first_index != 1:
        raise BadRecord(f"the log of group {group_id} begins with entry {first_index}, not 1")
    return GroupHead(group_id, term, voted_for, commit, 0, 0, last_index, last_term)


_FIXED: dict[int, tuple[struct.Struct, Callable[..., Record]]] = {
    TRUNCATE_KIND: (TRUNCATE, TruncateRecord),
    HARD_STATE_KIND: (HARD_STATE, HardStateRecord),
    COMMIT_KIND: (COMMIT, CommitRecord),
    OLD_HEAD_KIND: (_OLD_HEAD, _old_head),
    COMPACT_KIND: (BASE, CompactRecord),
    RESET_KIND: (BASE, ResetRecord),
    HEAD_KIND: (HEAD, GroupHead),
}


def _decode_fixed(kind: int, payload: memoryview, position: int) -> tuple[Record, struct.Struct]:
    known = _FIXED.get(kind)
    if known is None:
        raise BadRecord(f"unknown record kind {kind}, written by a newer version of this software")
    layout, record = known
    _check_fits(payload, position, layout)
    return record(*layout.unpack_from(payload, position)[1:]), layout


def _check_fits(payload: memoryview, position: int, layout: struct.Struct) -> None:
    if position + layout.size > len(payload):
        raise BadRecord("a record is cut short by the end of its batch")
