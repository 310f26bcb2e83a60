"""One group during one command or timer: entries on their way, and the counts kept right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import group_rows as rows
from cluster.state.checksum import corrupt
from cluster.state.group_counts import GroupCounts
from cluster.state.group_rows import DELAYED, DUE, ENTRY_TIMER, LEASED, NO_SLOT, Entry, Group
from cluster.state.objects import name_of_id, object_key
from cluster.state.store import Table
from cluster.state.stream import GROUP_KIND, add_records, open_stream
from cluster.state.stream_rows import (
    STREAM_KIND,
    Id,
    Row,
    Stream,
    encode_headers,
    get_record,
    records_prefix,
    stream_name,
)
from cluster.state.timers import NEVER_MS
from flo.wire.group_messages import GroupMode
from flo.wire.limits import KEY_WITH_NAMESPACE_BYTES_MAX

if TYPE_CHECKING:
    from cluster.state.context import Context

DEAD_LETTERS_MAX = 64
"""Records that one command copies to the stream of dead letters; timers bring further ones."""
TRIMMED_MAX = 256
"""Entries of trimmed records that one command removes."""

_DEAD_LETTER_SUFFIX = b".dlq"


class GroupWork(GroupCounts):
    """A group that is worked on. `finish` comes last, also when nothing was done."""

    __slots__ = ("_can_bury", "_letters", "full", "name", "stream", "stream_full")

    def __init__(
        self, context: Context, stream_full: bytes, stream: Stream, full: bytes, group: Group
    ) -> None:
        super().__init__(context, group, rows.group_prefix(stream.stream_id, group.group_id))
        self.stream = stream
        self.full = full
        self.name = full[len(object_key(GROUP_KIND, records_prefix(stream.stream_id), b"")) :]
        self.stream_full = stream_full
        self._letters = DEAD_LETTERS_MAX
        letters_bytes = len(stream_full) + len(_DEAD_LETTER_SUFFIX)
        names_bytes = letters_bytes - len(object_key(STREAM_KIND, b"", b""))
        self._can_bury = names_bytes <= KEY_WITH_NAMESPACE_BYTES_MAX
        """Otherwise nobody could name the stream of dead letters, and there are none."""

    @property
    def topic(self) -> bytes:
        """What those wait for who read as this group."""
        return GROUP_KIND + self.stream_full[2:] + b"\x00" + self.name

    # --- entries ---

    def find(self, of: Id) -> Entry | None:
        return rows.find_entry(self.context.txn, rows.entry_key(self.prefix, of))

    def lease(self, of: Id, consumer: bytes, slot: int, entry: Entry | None) -> None:
        """Delivers a record: for the first time, or an entry once more."""
        deliveries = 0
        if entry is None:
            self.group.pending += 1
        else:
            self._free(of, entry)
            self.count_entry(entry.consumer, -1)
            deliveries = entry.deliveries
        self.count_entry(consumer, 1)
        timeout_ms = self.group.ack_timeout_ms or NEVER_MS
        self.hold(of, Entry(LEASED, timeout_ms, deliveries + 1, 0, slot, consumer), timeout_ms)

    def hold(self, of: Id, entry: Entry, ms: int) -> None:
        """Keeps an entry that has no place for so long, leased or delayed."""
        context, key = self.context, rows.entry_key(self.prefix, of)
        due_ms, delivered_ms = NEVER_MS, entry.delivered_ms
        if ms != NEVER_MS:
            due_ms = context.stamp_ms + ms
            context.timers.add(context.txn, due_ms, ENTRY_TIMER, key)
        if entry.state == LEASED:
            delivered_ms = context.stamp_ms
            self.take_slot(entry.slot, entry.consumer)
        entry = entry._replace(due_ms=due_ms, delivered_ms=delivered_ms)
        rows.put_entry(context.txn, key, entry)

    def extend(self, of: Id, entry: Entry, ms: int) -> None:
        """A lease ends at another time."""
        self._free(of, entry)
        self.hold(of, entry, ms)

    def drop(self, of: Id, entry: Entry) -> None:
        """The record is done."""
        self._free(of, entry)
        rows.delete_entry(self.context.txn, rows.entry_key(self.prefix, of))
        self.group.pending -= 1
        self.count_entry(entry.consumer, -1)

    def give_back(self, of: Id, entry: Entry, delay_ms: int = 0) -> None:
        """The record is to be delivered again, unless it was delivered as often as it may be."""
        is_spent = self.is_spent(entry)
        if is_spent:
            if self.may_bury():
                self.bury(of, entry)
                return
            delay_ms = 0
        self._free(of, entry)
        if delay_ms or is_spent:
            self.hold(of, entry._replace(state=DELAYED), delay_ms)
            return
        key = rows.entry_key(self.prefix, of)
        rows.put_entry(self.context.txn, key, entry._replace(state=DUE, due_ms=NEVER_MS))
        self.add_due(key, entry.slot)

    def is_spent(self, entry: Entry) -> bool:
        """Whether a record was delivered as often as the group allows."""
        return self._can_bury and 0 < self.group.max_deliver <= entry.deliveries

    def may_bury(self) -> bool:
        """Whether this command and this entry of the log may copy one more dead letter."""
        return self._letters > 0 and self.context.letters_room > 0

    def bury(self, of: Id, entry: Entry) -> None:
        """The record goes to the stream of dead letters, with headers that say where it was."""
        self._letters -= 1
        self.drop(of, entry)
        full, context = self.stream_full + _DEAD_LETTER_SUFFIX, self.context
        row = get_record(context.txn, self.stream.stream_id, of)
        context.letters_room -= len(row.headers) + len(row.payload)
        origin = (
            (b"flo-dlq-stream", _readable(stream_name(self.stream_full))),
            (b"flo-dlq-group", self.name),
            (b"flo-dlq-id", b"%d-%d" % of),
            (b"flo-dlq-deliveries", b"%d" % entry.deliveries),
        )
        letters = context.streams.get(context.txn, full) or open_stream(context, full)
        record = (row.headers + encode_headers(origin), row.payload)
        partition = row.partition if row.partition < letters.partition_count else 0
        add_records(context, full, letters, (record,), partition=partition, key_hash=row.key_hash)

    def pass_trimmed(self) -> None:
        """Entries of records that were trimmed go, a bounded number at a time."""
        group, txn, first = self.group, self.context.txn, self.stream.first
        if group.swept >= first:
            return
        trimmed: list[tuple[Id, Entry]] = []
        for key, entry in rows.scan_entries(txn, self.prefix, group.swept):
            of = rows.id_of_key(key)
            if of >= first or len(trimmed) == TRIMMED_MAX:
                break
            trimmed.append((of, entry))
        for of, entry in trimmed:
            self.drop(of, entry)
        if len(trimmed) == TRIMMED_MAX:
            self.context.touch(self.topic, 1)
            return
        # What is still due had no entry: it was parked.
        parked: list[tuple[bytes, int]] = []
        for key, slot in rows.scan_due(txn, self.prefix, group.swept):
            if rows.id_of_key(key) >= first or len(parked) == TRIMMED_MAX:
                break
            parked.append((key, slot))
        for key, slot in parked:
            self.unpark(key, slot)
        if len(parked) < TRIMMED_MAX:
            group.swept_ms, group.swept_sequence = first
        else:
            self.context.touch(self.topic, 1)

    # --- records left for another consumer ---

    def park(self, of: Id, slot: int) -> None:
        """The record is passed over: its key is with another consumer."""
        self.add_due(rows.entry_key(self.prefix, of), slot)
        self.group.parked += 1

    def unpark(self, key: bytes, slot: int) -> None:
        """It is passed over no longer."""
        self.remove_due(key, slot)
        self.group.parked -= 1

    def slot_of(self, row: Row) -> int:
        """Where the key of a record falls, in a group that looks at keys."""
        if self.group.mode != GroupMode.KEY_SHARED or not row.key_hash:
            return NO_SLOT
        return row.key_hash % self.group.slots

    def finish(self) -> None:
        """Writes what has changed, and wakes who waits for it."""
        self.write(self.topic)
        self.context.groups.changed(self.full, self.group)

    def _free(self, of: Id, entry: Entry) -> None:
        """Takes an entry from where it is; its row stays to be written or removed."""
        context, key = self.context, rows.entry_key(self.prefix, of)
        if entry.state == DUE:
            self.remove_due(key, entry.slot)
        elif rows.has_timer(entry):
            context.timers.remove(context.txn, entry.due_ms, ENTRY_TIMER, key)
        if entry.state == LEASED:
            self.free_slot(entry.slot)


def find_group(context: Context, namespace: bytes, stream: bytes, name: bytes) -> GroupWork | None:
    """A group to be worked on; None when there is no such group or stream."""
    full = object_key(STREAM_KIND, namespace, stream)
    found = context.streams.get(context.txn, full)
    return None if found is None else _find(context, full, found, name)


def open_group(context: Context, namespace: bytes, stream: bytes, name: bytes) -> GroupWork:
    """A group to be worked on; it and its stream are made as needed."""
    full = object_key(STREAM_KIND, namespace, stream)
    found = context.streams.get(context.txn, full) or open_stream(context, full)
    work = _find(context, full, found, name)
    if work is not None:
        return work
    group = Group(context.new_id(), found.stream_id)
    group_full = object_key(GROUP_KIND, records_prefix(found.stream_id), name)
    context.groups.create(context.txn, group_full, group)
    work = GroupWork(context, full, found, group_full, group)
    rows.put_group_name(context.txn, work.prefix, name)
    found.groups += 1
    context.streams.changed(full, found)
    return work


def group_of_prefix(context: Context, prefix: bytes) -> GroupWork | None:
    """The group that a timer is about; None when it or its stream was deleted."""
    stream_id, _ = rows.split_prefix(prefix)
    full = name_of_id(context.txn, stream_id)
    name = None if full is None else rows.find_group_name(context.txn, prefix)
    if full is None or name is None:
        return None
    stream = context.streams.get(context.txn, full)
    work = None if stream is None else _find(context, full, stream, name)
    if work is None:
        raise corrupt(Table.GROUP_MEMBERS, prefix, f"the group {name!r} is missing")
    return work


def entry_due(context: Context, what: bytes) -> None:
    """A lease or a delay is over."""
    work = group_of_prefix(context, what[: rows.PREFIX_BYTES])
    if work is None:
        return  # The entry is yet to be removed.
    entry = rows.find_entry(context.txn, what)
    if entry is None:
        raise corrupt(Table.GROUP_PENDING, what, "a timer without its entry")
    of = rows.id_of_key(what)
    entry = entry._replace(due_ms=NEVER_MS)  # Its timer is gone.
    if of < work.stream.first:
        work.drop(of, entry)
    else:
        work.give_back(of, entry)
    work.finish()


def _find(context: Context, full: bytes, stream: Stream, name: bytes) -> GroupWork | None:
    group_full = object_key(GROUP_KIND, records_prefix(stream.stream_id), name)
    group = context.groups.get(context.txn, group_full)
    return None if group is None else GroupWork(context, full, stream, group_full, group)


def _readable(name: bytes) -> bytes:
    """Headers are UTF-8, names need not be."""
    return name.decode("utf-8", "backslashreplace").encode()
