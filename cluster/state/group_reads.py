"""Looking at groups, and the records of an answer."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from cluster.state import group_rows as rows
from cluster.state.group_rows import Group, decode_group
from cluster.state.objects import name_of_id, object_key, read_object
from cluster.state.stream import GROUP_KIND
from cluster.state.stream_reads import find_stream, recorded
from cluster.state.stream_rows import Stream, find_record, records_prefix, stream_name, unpack_ids
from flo.wire.group_messages import GroupMode

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

PENDING_MAX = 1_000
"""Entries that one look at what is pending gives."""
CONSUMERS_MAX = 1_000
LOOKED_MAX = 10_000
"""Entries that one look goes through: those of other consumers, or of trimmed records."""
_ENTRY_BYTES = 22

Listed: TypeAlias = tuple[int, int, int, bytes]
"""ms, sequence, deliveries, consumer"""


class _Found(NamedTuple):
    stream: Stream
    group: Group
    prefix: bytes


def expand(txn: ReadTransaction, result: Result) -> Result:
    """The answer to a read or claim: `(0, stream name, records)`, after a claim with the id to go
    on with, None at the end.

    What was trimmed since is left out. The result kept for this sequence may be that of another
    command: then it stays as it is.
    """
    if result[1:2] not in ((b"read",), (b"claimed",)):
        return result
    stream_id, ids = cast("tuple[int, bytes]", result[2:4])
    full = name_of_id(txn, stream_id)
    name = b"" if full is None else stream_name(full)
    found = (find_record(txn, stream_id, of) for of in unpack_ids(ids))
    records = tuple(recorded(row) for row in found if row is not None)
    return 0, name, records, *result[4:]


def pending(
    txn: ReadTransaction,
    names: tuple[bytes, bytes, bytes],
    consumer: bytes | None,
    *,
    max_bytes: int,
) -> Result:
    """`(0, entries)` in the order of the records; of one consumer, among the oldest 10,000 of the
    group, or of all."""
    found = _find(txn, names)
    if found is None:
        return 0, ()
    most = found.group.pending
    if consumer is not None:
        member = rows.find_member(txn, found.prefix, consumer)
        most = 0 if member is None else member.entries
    most = min(most, PENDING_MAX)
    listed: list[Listed] = []
    room = max_bytes
    if most:
        entries = rows.scan_entries(txn, found.prefix, found.stream.first)
        for key, entry in islice(entries, LOOKED_MAX):
            if consumer is not None and entry.consumer != consumer:
                continue
            room -= _ENTRY_BYTES + len(entry.consumer)
            if listed and room < 0:
                break
            listed.append((*rows.id_of_key(key), entry.deliveries, entry.consumer))
            if len(listed) == most:
                break
    return 0, tuple(listed)


def group_info(txn: ReadTransaction, names: tuple[bytes, bytes, bytes], *, now_ms: int) -> Result:
    """`(0, mode, settings, cursor, pending, lag, consumers)`, each consumer `(name, pending,
    active)`. A group that is not there looks like one that was just made."""
    found = _find(txn, names)
    if found is None:
        stream = find_stream(txn, *names[:2])
        return _describe(Group(0, 0), (), 0 if stream is None else stream.count, 0)
    stream, group, prefix = found
    gone, parked_gone = _trimmed(txn, found)
    consumers: list[tuple[bytes, int, bool]] = []
    for name, member in rows.scan_members(txn, prefix):
        if len(consumers) == CONSUMERS_MAX:
            break
        active = group.mode != GroupMode.EXCLUSIVE or group.holds(name, now_ms)
        if member.joined:
            consumers.append((name, member.entries - gone.get(name, 0), active))
    lag = group.parked - parked_gone
    if group.cursor < stream.last:
        lag += stream.appended - max(group.cursor_ordinal, stream.removed)
    return _describe(group, tuple(consumers), lag, sum(gone.values()))


def _describe(
    group: Group, consumers: tuple[tuple[bytes, int, bool], ...], lag: int, gone: int
) -> Result:
    settings = (group.ack_timeout_ms, group.max_deliver, group.max_standbys, group.slots)
    return 0, group.mode, settings, group.cursor, group.pending - gone, lag, consumers


def _trimmed(txn: ReadTransaction, found: _Found) -> tuple[dict[bytes, int], int]:
    """What is counted but gone: entries of trimmed records by consumer, and parked records.

    Very many are said to be there for a while: they go with the next commands of the group.
    """
    stream, group, prefix = found
    gone: dict[bytes, int] = {}
    parked = 0
    if group.swept < stream.first:
        for key, entry in islice(rows.scan_entries(txn, prefix, group.swept), LOOKED_MAX):
            if rows.id_of_key(key) >= stream.first:
                break
            gone[entry.consumer] = gone.get(entry.consumer, 0) + 1
        for key, _ in islice(rows.scan_due(txn, prefix, group.swept), LOOKED_MAX):
            if rows.id_of_key(key) >= stream.first:
                break
            parked += rows.find_entry(txn, key) is None
    return gone, parked


def _find(txn: ReadTransaction, names: tuple[bytes, bytes, bytes]) -> _Found | None:
    namespace, stream_name_, name = names
    stream = find_stream(txn, namespace, stream_name_)
    if stream is None:
        return None
    full = object_key(GROUP_KIND, records_prefix(stream.stream_id), name)
    group = read_object(txn, full, decode_group)
    if group is None:
        return None
    return _Found(stream, group, rows.group_prefix(stream.stream_id, group.group_id))
