"""Which records a consumer gets, and in which mode of the group.

*shared*: whoever asks. *exclusive*: the holder, see `cluster.state.group_lease`. *key_shared*: keys
fall into slots, and a slot belongs to one consumer while it has leased records of it. A record
whose slot is another's is passed over, and due for whoever has the slot next; only so many are,
then the group waits. Leases that end, however they do, leave the slot. A claim takes it along when
all that is leased of it may be claimed: what it does not take is due again, for who claimed.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from cluster.state import group_rows as rows
from cluster.state.group_counts import LOOKED_MAX
from cluster.state.group_rows import DELAYED, LEASED, Entry
from cluster.state.group_work import DEAD_LETTERS_MAX, GroupWork
from cluster.state.stream_reads import PAGE_BYTES_MAX
from cluster.state.stream_rows import (
    Id,
    Page,
    Row,
    get_record,
    next_id,
    pack_id,
    scan_records,
    stream_name,
)

PARKED_MAX = 1_000
"""Records that a key_shared group passes over before it waits for those who have the keys."""
CLAIM_LOOKED_MAX = 10_000
"""Entries that one claim looks at."""


class Taken(NamedTuple):
    """A record that is about to be delivered, and its entry when it was before."""

    row: Row
    slot: int
    entry: Entry | None


class Choice:
    """What one read or claim gives to a consumer. Nothing is changed before `deliver`."""

    __slots__ = (
        "_cursor",
        "_idle",
        "_limit",
        "_moved",
        "_parked",
        "_spent",
        "_work",
        "consumer",
        "page",
        "taken",
    )

    def __init__(self, work: GroupWork, consumer: bytes, limit: int, max_bytes: int) -> None:
        self.consumer = consumer
        self.page = Page(stream_name(work.stream_full), max_bytes, PAGE_BYTES_MAX)
        self.taken: list[Taken] = []
        self._work = work
        self._limit = limit
        self._spent: list[tuple[Id, Entry]] = []
        self._parked: list[tuple[Id, int]] = []
        self._cursor: Row | None = None
        self._moved: set[int] = set()
        """Slots that a claim takes from another consumer."""
        self._idle: dict[int, list[Id]] | None = None
        """By slot, leased entries that may be claimed; once somebody has asked."""

    def choose_due(self) -> bool:
        """What is to be delivered again, or was passed over; false when newer records must wait:
        others with their keys may be further back."""
        work = self._work
        left = work.group.free + work.member(self.consumer).due
        looked = 0
        if not left:
            return True
        for key, slot in rows.scan_due(work.context.txn, work.prefix, work.stream.first):
            if not work.may_have(slot, self.consumer):
                if looked == LOOKED_MAX:
                    return False
                looked += 1
                continue
            of, entry = rows.id_of_key(key), rows.find_entry(work.context.txn, key)
            if entry is not None and work.is_spent(entry):
                if not self._bury(of, entry):
                    return False
            elif not self._take(
                get_record(work.context.txn, work.stream.stream_id, of), slot, entry
            ):
                return False
            left -= 1
            if not left:
                break
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
                self._parked.append((row.id, slot))
            self._cursor = row

    def choose_claimed(self, start: Id, min_idle_ms: int) -> Id | None:
        """Entries from a record on that may be claimed; where to go on, None at the end."""
        work = self._work
        looked = 0
        for key, entry in rows.scan_entries(
            work.context.txn, work.prefix, max(start, work.stream.first)
        ):
            of = rows.id_of_key(key)
            if looked == CLAIM_LOOKED_MAX:
                return of
            looked += 1
            if not self._is_idle(entry, min_idle_ms):
                continue
            # What it has in hand is never buried under it, however often it asked again.
            has_it = self._has(entry)
            if not has_it and not self._may_claim(entry, min_idle_ms):
                continue
            if not has_it and work.is_spent(entry):
                if not self._bury(of, entry):
                    return of
                continue
            row = get_record(work.context.txn, work.stream.stream_id, of)
            if not self._take(row, entry.slot, entry):
                return of
            if not work.may_have(entry.slot, self.consumer):
                self._moved.add(entry.slot)
        return None

    def deliver(self) -> bytes:
        """Leases what was chosen; the ids, packed."""
        work, group = self._work, self._work.group
        for of, entry in self._spent:
            if not work.may_bury():
                # The others are due still: a further read goes on with them.
                work.context.touch(work.topic, 1)
                break
            work.bury(of, entry)
        self._release_moved()
        cursor = group.cursor
        for row, slot, before in self.taken:
            if before is None and row.id <= cursor:
                work.unpark(rows.entry_key(work.prefix, row.id), slot)
            is_moved = slot in self._moved
            work.lease(row.id, self.consumer, slot, work.find(row.id) if is_moved else before)
        for of, slot in self._parked:
            work.park(of, slot)
        if self._cursor is not None:
            group.cursor_ms, group.cursor_sequence = self._cursor.id
            group.cursor_ordinal = self._cursor.ordinal + 1
        return b"".join(pack_id(row.id) for row, _, _ in self.taken)

    def refuse(self) -> None:
        """The first one is too large for who asks: that counts as a delivery that failed, so that
        it does not stay before all others for ever."""
        work, (row, _, before) = self._work, self.taken[0]
        if before is not None and before.state == LEASED:
            return  # Somebody has it.
        self.deliver()
        entry = work.find(row.id)
        assert entry is not None, "it was leased"
        work.give_back(row.id, entry)

    def _take(self, row: Row, slot: int, entry: Entry | None) -> bool:
        if len(self.taken) == self._limit or not self.page.add(row):
            return False
        self.taken.append(Taken(row, slot, entry))
        return True

    def _bury(self, of: Id, entry: Entry) -> bool:
        self._spent.append((of, entry))
        return len(self._spent) < DEAD_LETTERS_MAX

    # --- claims ---

    def _has(self, entry: Entry) -> bool:
        return entry.state == LEASED and entry.consumer == self.consumer

    def _is_idle(self, entry: Entry, min_idle_ms: int) -> bool:
        owned = min_idle_ms > 0 or entry.consumer == self.consumer
        idle_ms = self._work.context.stamp_ms - entry.delivered_ms
        return entry.state != DELAYED and owned and idle_ms >= min_idle_ms

    def _may_claim(self, entry: Entry, min_idle_ms: int) -> bool:
        """Whether its slot is free, the consumer's, or can be taken along."""
        work, slot = self._work, entry.slot
        if work.may_have(slot, self.consumer):
            return True
        if entry.state != LEASED:
            return False
        if self._idle is None:
            self._idle = self._find_idle(min_idle_ms)
        return len(self._idle.get(slot, ())) == work.slot(slot).entries

    def _find_idle(self, min_idle_ms: int) -> dict[int, list[Id]]:
        work = self._work
        idle: dict[int, list[Id]] = {}
        entries = rows.scan_entries(work.context.txn, work.prefix, work.stream.first)
        for key, entry in islice(entries, CLAIM_LOOKED_MAX):
            if entry.state == LEASED and self._is_idle(entry, min_idle_ms):
                idle.setdefault(entry.slot, []).append(rows.id_of_key(key))
        return idle

    def _release_moved(self) -> None:
        work = self._work
        for slot in sorted(self._moved):
            for of in (self._idle or {})[slot]:
                entry = work.find(of)
                if entry is not None:
                    work.give_back(of, entry)
