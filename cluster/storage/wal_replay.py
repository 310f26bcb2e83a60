"""Rebuilding the groups from the records of the log, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.records import (
    BadRecord,
    CommitRecord,
    CompactRecord,
    EntryRecord,
    GroupHead,
    HardState,
    HardStateRecord,
    ResetRecord,
    TruncateRecord,
    decode_records,
)
from cluster.storage.wal_format import SEGMENT_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.storage.group_log import GroupLog
    from cluster.storage.wal_index import Location


class Replay:
    """Called with each batch, oldest first; raises `BadRecord` for one that contradicts another."""

    def __init__(self, groups: dict[int, GroupLog], new_group: Callable[[int], GroupLog]) -> None:
        self._groups = groups
        self._new_group = new_group
        self._is_first = True

    def __call__(self, location: Location, payload: memoryview) -> None:
        touched: dict[int, GroupLog] = {}
        heads: list[GroupHead] = []
        known = len(self._groups)
        for record in decode_records(payload):
            group = self._groups.get(record.group_id) or self._new_group(record.group_id)
            touched[record.group_id] = group
            if isinstance(record, GroupHead):
                heads.append(record)
                self._take_head(group, record)
            else:
                _restore(group, record)
        if location.offset == SEGMENT_HEADER.size and not self._is_first and len(heads) != known:
            raise BadRecord(f"the segment begins with {len(heads)} hard states of {known} groups")
        self._is_first = False
        for group in touched.values():
            group.on_restored_batch(location)

    def finish(self) -> None:
        """Take the end of the log; raises `BadRecord` when entries are missing."""
        for group in self._groups.values():
            group.finish_restore()

    def _take_head(self, group: GroupLog, head: GroupHead) -> None:
        if self._is_first:
            group.restore_head(head)
        else:
            group.restore_next_head(head)


def _restore(
    group: GroupLog,
    record: EntryRecord
    | TruncateRecord
    | CompactRecord
    | ResetRecord
    | HardStateRecord
    | CommitRecord,
) -> None:
    match record:
        case EntryRecord():
            group.restore_entry(record.entry_index, record.term, bytes(record.data))
        case HardStateRecord():
            group.restore_hard_state(HardState(record.term, record.voted_for, record.commit))
        case CommitRecord():
            group.restore_commit(record.commit)
        case TruncateRecord():
            group.restore_truncation(record.from_index)
        case CompactRecord():
            group.restore_compaction(record.base_index, record.base_term)
        case ResetRecord():
            group.restore_reset(record.base_index, record.base_term)
