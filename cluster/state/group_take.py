"""Which records a consumer gets, and in which mode of the group.

*shared*: whoever asks. *exclusive*: one holder, as long as it reads, acknowledges or touches every
30 seconds; the others stand by. *key_shared*: keys fall into slots, and a slot belongs to one
consumer while it has leased records of it. A record whose slot is another's is passed over, and due
for whoever has the slot next; only so many are, then the group waits. Leases that end, however
they do, leave the slot, and a claim takes it along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.state import group_rows as rows
from cluster.state.group_rows import DELAYED, LEASE_TIMER, Entry
from cluster.state.group_work import DEAD_LETTERS_MAX, GroupWork, group_of_prefix
from cluster.state.stream_reads import PAGE_BYTES_MAX
from cluster.state.stream_rows import Id, Page, Row, get_record, next_id, scan_records, stream_name
from flo.wire.group_messages import GroupMode

if TYPE_CHECKING:
    from cluster.state.context import Context

LEASE_MS = 30_000
"""How long the holder of an exclusive group may be silent."""
PARKED_MAX = 1_000
"""Records that a key_shared group passes over before it waits for those who have the keys."""
LOOKED_MAX = 1_000
"""Records with other keys that one read looks at, beside those it takes."""
CLAIM_LOOKED_MAX = 10_000
"""Entries that one claim looks at."""


class Taken(NamedTuple):
    """A record that is about to be delivered, and its entry when it was before."""

    row: Row
    slot: int
    entry: Entry | None


class Choice:
    """What one read or claim gives to a consumer. Nothing is changed before `deliver`."""

    __slots__ = ("_cursor", "_limit", "_parked", "_spent", "_work", "consumer", "page", "taken")

    def __init__(self, work: GroupWork, consumer: bytes, limit: int, max_bytes: int) -> None:
        self.consumer = consumer
        self.page = Page(stream_name(work.stream_full), max_bytes, PAGE_BYTES_MAX)
        self.taken: list[Taken] = []
        self._work = work
        self._limit = limit
        self._spent: list[tuple[Id, Entry]] = []
        self._parked: list[Id] = []
        self._cursor: Row | None = None

    def choose_due(self) -> bool:
        """What is to be delivered again, or was passed over; false when newer records must wait:
        others with their keys may be further back."""
        work = self._work
        looked = 0
        for key in rows.scan_due(work.context.txn, work.prefix, work.stream.first):
            of = rows.id_of_key(key)
            entry = rows.find_entry(work.context.txn, key)
            if entry is not None and work.is_spent(entry):
                if not self._bury(of, entry):
                    break
                continue
            row = get_record(work.context.txn, work.stream.stream_id, of)
            slot = work.slot_of(row)
            if work.may_have(slot, self.consumer):
                if not self._take(row, slot, entry):
                    break
            elif looked == LOOKED_MAX:
                return False
            else:
                looked += 1
        return len(self.taken) < self._limit

    def choose_new(self) -> None:
        """What comes after the group's cursor."""
        work = self._work
        for row in scan_records(work.context.txn, work.stream, next_id(work.group.cursor)):
            slot = work.slot_of(row)
            if work.may_have(slot, self.consumer):
                if not self._take(row, slot, None):
                    return
            elif work.group.due + len(self._parked) >= PARKED_MAX or len(self.taken) == self._limit:
                return
            else:
                self._parked.append(row.id)
            self._cursor = row

    def choose_claimed(self, start: Id, min_idle_ms: int) -> Id | None:
        """Entries from a record on that may be claimed; where to go on, None at the end."""
        work, stamp_ms = self._work, self._work.context.stamp_ms
        looked = 0
        for key, entry in rows.scan_entries(
            work.context.txn, work.prefix, max(start, work.stream.first)
        ):
            of = rows.id_of_key(key)
            if looked == CLAIM_LOOKED_MAX:
                return of
            looked += 1
            idle_ms = stamp_ms - entry.delivered_ms
            owned = min_idle_ms > 0 or entry.consumer == self.consumer
            if entry.state == DELAYED or not owned or idle_ms < min_idle_ms:
                continue
            if work.is_spent(entry):
                if not self._bury(of, entry):
                    return of
                continue
            row = get_record(work.context.txn, work.stream.stream_id, of)
            if not self._take(row, entry.slot, entry):
                return of
        return None

    def deliver(self) -> bytes:
        """Leases what was chosen; the ids, packed."""
        work, group = self._work, self._work.group
        for of, entry in self._spent:
            work.bury(of, entry)
        cursor = group.cursor
        for row, slot, before in self.taken:
            if before is None and row.id <= cursor:
                work.unpark(rows.entry_key(work.prefix, row.id))
            work.lease(row.id, self.consumer, slot, before)
        for of in self._parked:
            work.park(of)
        if self._cursor is not None:
            group.cursor_ms, group.cursor_sequence = self._cursor.id
            group.cursor_ordinal = self._cursor.ordinal + 1
        return b"".join(rows.pack_id(row.id) for row, _, _ in self.taken)

    def _take(self, row: Row, slot: int, entry: Entry | None) -> bool:
        if len(self.taken) == self._limit or not self.page.add(row):
            return False
        self.taken.append(Taken(row, slot, entry))
        return True

    def _bury(self, of: Id, entry: Entry) -> bool:
        self._spent.append((of, entry))
        return len(self._spent) < DEAD_LETTERS_MAX


# --- exclusive groups ---


def hold_lease(work: GroupWork, consumer: bytes) -> bool:
    """Whether a consumer gets records now: it is the holder, or becomes it."""
    group, context = work.group, work.context
    if group.mode != GroupMode.EXCLUSIVE:
        return True
    is_free = group.lease_until_ms <= context.stamp_ms
    if group.holder != consumer and not is_free:
        return False
    group.holder = consumer
    group.lease_until_ms = context.stamp_ms + LEASE_MS
    if not group.lease_timer_ms:
        set_lease_timer(work)
    return True


def renew_lease(work: GroupWork, consumer: bytes) -> None:
    """The holder has said something."""
    if consumer and work.group.holds(consumer, work.context.stamp_ms):
        hold_lease(work, consumer)


def end_lease(work: GroupWork) -> None:
    """There is no holder any more, and it is no member: the next who stands by takes over."""
    work.set_joined(work.group.holder, joined=False)
    work.group.holder = b""
    work.group.lease_until_ms = 0
    work.context.touch(standby_topic(work.topic), 1)


def set_lease_timer(work: GroupWork) -> None:
    """The timer is not moved with each renewal: it looks when it comes."""
    group, context = work.group, work.context
    group.lease_timer_ms = group.lease_until_ms
    context.timers.add(context.txn, group.lease_timer_ms, LEASE_TIMER, work.prefix)


def lease_due(context: Context, what: bytes) -> None:
    """The lease of a holder may be over."""
    work = group_of_prefix(context, what)
    if work is None:
        return
    work.group.lease_timer_ms = 0
    if work.group.lease_until_ms > context.stamp_ms:
        set_lease_timer(work)
    elif work.group.holder:
        end_lease(work)
    work.finish()


def standby_topic(topic: bytes) -> bytes:
    """What those wait for who stand by, in the group of a topic."""
    return b"h" + topic[1:]
