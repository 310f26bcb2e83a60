"""Streams: what each command does to them.

A stream is made by its first record, by its settings, or by its first group. Ids are made from the
applied stamp and never go back: while the stamp stands still the sequence counts on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.checksum import seal, unseal
from cluster.state.objects import forget_id, name_id, object_key
from cluster.state.store import Table
from cluster.state.stream_commands import (
    STREAM_ALTER,
    STREAM_APPEND,
    STREAM_CREATE,
    STREAM_DELETE,
    STREAM_TRIM,
)
from cluster.state.stream_rows import (
    FIRST_ID,
    STREAM_KIND,
    Id,
    Row,
    Stream,
    encode_headers,
    key_hash_of,
    next_id,
    pack_id,
    put_record,
    records_prefix,
    topic_of,
    unpack_ids,
)
from cluster.state.stream_trim import (
    AGE_TIMER,
    SWEPT_MIN,
    Bounds,
    age_due,
    drop_age_timer,
    find_first_kept,
    remove_before,
    retain,
    set_age_timer,
    too_old_ms,
    wake_groups,
)
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.state.commands import Result
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction, WriteTransaction
    from cluster.state.stream_commands import (
        AlterCommand,
        AppendCommand,
        CreateCommand,
        DeleteStreamCommand,
        TrimCommand,
    )

GROUP_KIND = b"g"
GROUP_TABLES = (Table.GROUP_PENDING, Table.GROUP_DUE, Table.GROUP_MEMBERS)
"""Their keys begin with the id of the stream, then that of the group."""

_LAST_OF_DELETED = b"deleted stream"
"""META key: the last id of any stream that was deleted at the stamp of that id."""

_DONE: Result = (0,)
_NOT_FOUND: Result = (int(Reason.NOT_FOUND), b"no such stream")


def append(context: Context, command: AppendCommand) -> Result:
    """Adds records at the end, all with one time and consecutive sequences."""
    _, _, _, _, namespace, name, items, partition, key = command
    full = object_key(STREAM_KIND, namespace, name)
    stream = context.streams.get(context.txn, full)
    partitions = 1 if stream is None else stream.partition_count
    if partition is not None and partition >= partitions:
        text = f"partition {partition} of a stream with {partitions}: they count from 0"
        return int(Reason.OUT_OF_RANGE), text.encode()
    if not items:
        return int(Reason.OUT_OF_RANGE), b"an append without records"
    if stream is None:
        stream = open_stream(context, full)
    key_hash = 0 if key is None else key_hash_of(key)
    if partition is None:
        partition = key_hash % partitions
    packed = ((encode_headers(headers), payload) for payload, headers in items)
    return 0, *add_records(context, full, stream, packed, partition=partition, key_hash=key_hash)


def add_records(
    context: Context,
    full: bytes,
    stream: Stream,
    items: Iterable[tuple[bytes, bytes]],
    *,
    partition: int,
    key_hash: int,
) -> Id:
    """Adds records, at least one, each of packed headers and a payload; the id of the first."""
    before = stream.appended
    stream.partitions = stream.partition_count
    last = stream.last if before else _last_of_deleted(context.txn)
    ms, sequence = max((context.stamp_ms, 0), next_id(last))
    first = (ms, sequence)
    ordinal, bytes_before = stream.appended, stream.appended_bytes
    for headers, payload in items:
        row = Row((ms, sequence), ordinal, bytes_before, partition, key_hash, headers, payload)
        put_record(context.txn, stream, row)
        sequence += 1
        ordinal += 1
        bytes_before += len(payload)
    stream.last_ms, stream.last_sequence = ms, sequence - 1
    stream.appended, stream.appended_bytes = ordinal, bytes_before
    context.streams.changed(full, stream)
    retain(context, stream, appended=ordinal - before)
    if stream.max_age_ms and not stream.age_timer_ms:
        set_age_timer(context, stream)
    context.touch(topic_of(full), ordinal - before)
    return first


def trim(context: Context, command: TrimCommand) -> Result:
    """Removes the oldest records, as far as the farthest bound says; or only counts them."""
    namespace, name, before_ms, before_sequence, max_len, max_age_s, max_bytes, dry_run = command[
        4:
    ]
    full = object_key(STREAM_KIND, namespace, name)
    stream = context.streams.get(context.txn, full)
    if stream is None:
        return 0, 0, 0
    bounds = Bounds(
        None if before_ms is None else (before_ms, before_sequence or 0),
        None if max_age_s is None else too_old_ms(context, max_age_s * 1000) + 1,
        max_len,
        max_bytes,
    )
    kept = find_first_kept(context.txn, stream, bounds)
    removed = (stream.appended if kept is None else kept.ordinal) - stream.removed
    if removed and not dry_run:
        remove_before(context, stream, kept, rows=SWEPT_MIN)
        context.streams.changed(full, stream)
        wake_groups(context, full, stream)
    return 0, removed, 0 if kept is None else kept.id[1]


def create(context: Context, command: CreateCommand) -> Result:
    """Makes a stream. One with as many partitions is there already: its bounds are set."""
    _, _, _, _, namespace, name, partitions, *bounds = command
    full = object_key(STREAM_KIND, namespace, name)
    stream = context.streams.get(context.txn, full) or open_stream(context, full)
    if stream.partitions not in (0, partitions):
        text = f"the stream exists with another number of partitions: {stream.partitions}"
        return int(Reason.CONDITION_FAILED), text.encode()
    stream.partitions = partitions
    _set_retention(context, full, stream, bounds)
    return _DONE


def alter(context: Context, command: AlterCommand) -> Result:
    """Changes what a stream keeps."""
    _, _, _, _, namespace, name, *bounds = command
    full = object_key(STREAM_KIND, namespace, name)
    stream = context.streams.get(context.txn, full)
    if stream is None:
        return _NOT_FOUND
    _set_retention(context, full, stream, bounds)
    return _DONE


def delete(context: Context, command: DeleteStreamCommand) -> Result:
    """Removes a stream and its groups; without force only one that has neither records nor
    groups."""
    _, _, _, _, namespace, name, force = command
    txn, full = context.txn, object_key(STREAM_KIND, namespace, name)
    stream = context.streams.get(txn, full)
    if stream is None:
        return 0, False
    if not force and (stream.count or stream.groups):
        text = f"the stream has {stream.count} records and {stream.groups} groups: use force"
        return int(Reason.CONDITION_FAILED), text.encode()
    if stream.last_ms == context.stamp_ms:
        _note_deleted(txn, stream.last)
    context.streams.delete(txn, full)
    forget_id(txn, stream.stream_id)
    drop_age_timer(context, stream)
    prefix = records_prefix(stream.stream_id)
    context.garbage.add(txn, Table.STREAM_RECORDS, prefix)
    if stream.groups:
        groups = object_key(GROUP_KIND, prefix, b"")
        context.groups.forget(groups)
        context.garbage.add(txn, Table.KV, groups)
        for table in GROUP_TABLES:
            context.garbage.add(txn, table, prefix)
    return 0, True


HANDLERS: dict[int, Callable[..., Result]] = {
    STREAM_APPEND: append,
    STREAM_TRIM: trim,
    STREAM_CREATE: create,
    STREAM_ALTER: alter,
    STREAM_DELETE: delete,
}

TIMER_HANDLERS: dict[int, Callable[[Context, bytes], None]] = {AGE_TIMER: age_due}


def open_stream(context: Context, full: bytes) -> Stream:
    """A new stream. The caller marks it as changed."""
    stream = Stream(context.new_id(), context.stamp_ms)
    context.streams.create(context.txn, full, stream)
    name_id(context.txn, stream.stream_id, full)
    return stream


def _note_deleted(txn: WriteTransaction, last: Id) -> None:
    """A name that gets another stream at the same stamp must not give ids a second time."""
    last = max(last, _last_of_deleted(txn))
    txn.put(Table.META, _LAST_OF_DELETED, seal(_LAST_OF_DELETED, pack_id(last)))


def _last_of_deleted(txn: ReadTransaction) -> Id:
    row = txn.get(Table.META, _LAST_OF_DELETED)
    if row is None:
        return FIRST_ID
    return unpack_ids(unseal(Table.META, _LAST_OF_DELETED, row))[0]


def _set_retention(context: Context, full: bytes, stream: Stream, bounds: list[int | None]) -> None:
    max_len, max_age_s, max_bytes = bounds
    if max_len is not None:
        stream.max_len = max_len
    if max_age_s is not None:
        stream.max_age_ms = 1000 * max_age_s
    if max_bytes is not None:
        stream.max_bytes = max_bytes
    context.streams.changed(full, stream)
    retain(context, stream, appended=0)
    set_age_timer(context, stream)
    wake_groups(context, full, stream)
