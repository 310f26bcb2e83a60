"""What a stream does not keep: where bounds are met, and how records go.

Trimming moves the first id of a stream, whatever is before it, and needs no look at the records in
between. Their rows go later, a few with each append and the rest as garbage.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.checksum import corrupt
from cluster.state.objects import name_of_id
from cluster.state.store import Table
from cluster.state.stream_rows import (
    Id,
    Row,
    Stream,
    delete_record,
    get_record,
    next_id,
    previous_id,
    record_key,
    records_prefix,
    scan_records,
    topic_of,
)

if TYPE_CHECKING:
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction

AGE_TIMER = 4
"""The kind of timer that a stream has whose records get too old, by its id."""

_WALKED = 64
"""Records that are looked at one by one before the search goes on by halving."""
SWEPT_MIN = 16
"""Rows that a command removes at once, beside two for each record that it appends."""
_WORD = 64


class Bounds(NamedTuple):
    """What is kept: records after `after`, at or after `since_ms`, the newest `max_len`, and the
    newest of `max_bytes` together. None is no such bound."""

    after: Id | None = None
    since_ms: int | None = None
    max_len: int | None = None
    max_bytes: int | None = None

    def keep(self, stream: Stream, row: Row) -> bool:
        """Whether a record is kept; then all that come after it are."""
        return (
            (self.after is None or row.id > self.after)
            and (self.since_ms is None or row.id[0] >= self.since_ms)
            and (self.max_len is None or stream.appended - row.ordinal <= self.max_len)
            and (
                self.max_bytes is None or stream.appended_bytes - row.bytes_before <= self.max_bytes
            )
        )


def find_first_kept(txn: ReadTransaction, stream: Stream, bounds: Bounds) -> Row | None:
    """The first live record that is kept; None when none is."""
    if not stream.count:
        return None
    start = stream.first
    for row in islice(scan_records(txn, stream, start), _WALKED):
        if bounds.keep(stream, row):
            return row
        start = next_id(row.id)
    low, high = _number(start), _number(stream.last)
    found: Row | None = None
    while low <= high:
        middle = (low + high) // 2
        row = next(scan_records(txn, stream, _id(middle)))
        if bounds.keep(stream, row):
            found, high = row, middle - 1
        else:
            low = _number(row.id) + 1
    return found


def retain(context: Context, stream: Stream, *, appended: int) -> None:
    """Removes what is beyond the stream's own bounds of length and size."""
    too_long = stream.max_len and stream.count > stream.max_len
    if too_long or (stream.max_bytes and stream.payload_bytes > stream.max_bytes):
        bounds = Bounds(max_len=stream.max_len or None, max_bytes=stream.max_bytes or None)
        kept = find_first_kept(context.txn, stream, bounds)
        if kept is None:
            # The newest stays, also when it alone is larger: an append that was answered is there.
            kept = get_record(context.txn, stream.stream_id, stream.last)
        # Two for each new one, so that what was left by others is caught up with.
        remove_before(context, stream, kept, rows=2 * appended + SWEPT_MIN)


def remove_before(context: Context, stream: Stream, kept: Row | None, *, rows: int) -> None:
    """Removes the records before one, or all; of their rows at first the oldest.

    The caller marks the stream as changed, and wakes its groups.
    """
    if kept is None:
        stream.first_ms, stream.first_sequence = next_id(stream.last)
        stream.removed, stream.removed_bytes = stream.appended, stream.appended_bytes
    else:
        stream.first_ms, stream.first_sequence = kept.id
        stream.removed, stream.removed_bytes = kept.ordinal, kept.bytes_before
    _sweep(context, stream, rows)


def set_age_timer(context: Context, stream: Stream) -> None:
    """Has the oldest record removed when it is too old."""
    at_ms = 0
    if stream.max_age_ms and stream.count:
        oldest = next(scan_records(context.txn, stream, stream.first))
        at_ms = oldest.id[0] + stream.max_age_ms
    if at_ms == stream.age_timer_ms:
        return
    drop_age_timer(context, stream)
    if at_ms:
        context.timers.add(context.txn, at_ms, AGE_TIMER, records_prefix(stream.stream_id))
    stream.age_timer_ms = at_ms


def drop_age_timer(context: Context, stream: Stream) -> None:
    if stream.age_timer_ms:
        what = records_prefix(stream.stream_id)
        context.timers.remove(context.txn, stream.age_timer_ms, AGE_TIMER, what)
        stream.age_timer_ms = 0


def age_due(context: Context, what: bytes) -> None:
    """The oldest record of a stream is too old, if nothing else has removed it."""
    full = name_of_id(context.txn, int.from_bytes(what, "big"))
    stream = None if full is None else context.streams.get(context.txn, full)
    if full is None or stream is None:
        raise corrupt(Table.TIMERS, what, "a timer without its stream")
    stream.age_timer_ms = 0
    bounds = Bounds(since_ms=too_old_ms(context, stream.max_age_ms) + 1)
    kept = find_first_kept(context.txn, stream, bounds)
    remove_before(context, stream, kept, rows=SWEPT_MIN)
    set_age_timer(context, stream)
    context.streams.changed(full, stream)
    wake_groups(context, full, stream)


def wake_groups(context: Context, full: bytes, stream: Stream) -> None:
    """Records were removed: what was leased of them may have kept others from being delivered."""
    if stream.groups:
        context.touch(topic_of(full), 1)


def too_old_ms(context: Context, age_ms: int) -> int:
    """The time of the newest records that have an age."""
    return context.stamp_ms - age_ms


def _sweep(context: Context, stream: Stream, most: int) -> None:
    """Removes rows of records that are gone; what is more than `most` becomes garbage."""
    txn, prefix = context.txn, records_prefix(stream.stream_id)
    end = record_key(stream.stream_id, stream.first)
    rows: list[tuple[bytes, bytes]] = []
    for key, row in txn.scan(Table.STREAM_RECORDS, prefix):
        if key >= end:
            break
        if len(rows) == most:
            last = record_key(stream.stream_id, previous_id(stream.first))
            context.garbage.add(txn, Table.STREAM_RECORDS, prefix, last)
            break
        rows.append((key, row))
    for key, row in rows:
        delete_record(txn, key, row)


def _number(of: Id) -> int:
    return of[0] << _WORD | of[1]


def _id(number: int) -> Id:
    return number >> _WORD, number & (1 << _WORD) - 1
