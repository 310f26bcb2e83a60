"""The counts of a group during one command or timer: its members, its slots, and what is due.

In a group that looks at keys, a slot belongs to the consumer that has leased entries of it. What is
due is for that consumer, or while the slot is nobody's for whoever asks; both are counted, so that
a read with nothing to find need not look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import group_rows as rows
from cluster.state.checksum import corrupt
from cluster.state.group_rows import FREE_SLOT, NO_MEMBER, NO_SLOT, Group, Member, Slot
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.context import Context

LOOKED_MAX = 1_000
"""Due rows for others that one read looks at, beside those it takes."""
EVERYBODY = 2**32
"""More than can wait."""


class GroupCounts:
    """Keeps them right. `write` comes last."""

    __slots__ = ("_comes_in_sight", "_free_due", "_members", "_slots", "context", "group", "prefix")

    def __init__(self, context: Context, group: Group, prefix: bytes) -> None:
        self.context = context
        self.group = group
        self.prefix = prefix
        self._members: dict[bytes, tuple[Member | None, Member]] = {}
        """Those that were looked at: as they are stored, and as they are now."""
        self._slots: dict[int, tuple[Slot | None, Slot]] = {}
        self._free_due = 0
        """New rows that belong to no slot."""
        self._comes_in_sight = False
        """What no read could see may be seen now."""

    # --- members ---

    def member(self, consumer: bytes) -> Member:
        known = self._members.get(consumer)
        if known is None:
            stored = rows.find_member(self.context.txn, self.prefix, consumer)
            known = self._members[consumer] = (stored, stored or NO_MEMBER)
        return known[1]

    def set_joined(self, consumer: bytes, *, joined: bool) -> None:
        member = self.member(consumer)
        if member.joined != joined:
            self._set_member(consumer, member._replace(joined=joined))
            self.group.members += 1 if joined else -1

    def saw(self, consumer: bytes) -> None:
        """The consumer asks for something now."""
        member = self.member(consumer)
        self._set_member(consumer, member._replace(seen_ms=self.context.stamp_ms))

    def count_entry(self, consumer: bytes, more: int) -> None:
        member = self.member(consumer)
        self._set_member(consumer, member._replace(entries=member.entries + more))

    def _count_due(self, consumer: bytes, more: int) -> None:
        if consumer:
            member = self.member(consumer)
            self._set_member(consumer, member._replace(due=member.due + more))
        else:
            self.group.free += more

    def _set_member(self, consumer: bytes, member: Member) -> None:
        self._members[consumer] = (self._members[consumer][0], member)

    # --- slots ---

    def slot(self, number: int) -> Slot:
        known = self._slots.get(number)
        if known is None:
            stored = rows.find_slot(self.context.txn, self.prefix, number)
            known = self._slots[number] = (stored, stored or FREE_SLOT)
        return known[1]

    def may_have(self, number: int, consumer: bytes) -> bool:
        """Whether nobody else has a leased record with such a key."""
        return number == NO_SLOT or self.slot(number).consumer in (b"", consumer)

    def take_slot(self, number: int, consumer: bytes) -> None:
        """One more of its entries is leased, to a consumer that may have it."""
        if number == NO_SLOT:
            return
        held = self.slot(number)
        if held.consumer not in (b"", consumer):
            raise corrupt(Table.GROUP_MEMBERS, self.prefix, f"slot {number} is another's")
        if not held.entries:
            self._count_due(b"", -held.due)
            self._count_due(consumer, held.due)
        self._set_slot(number, Slot(held.entries + 1, held.due, consumer))

    def free_slot(self, number: int) -> None:
        """One of its entries is leased no more."""
        if number == NO_SLOT:
            return
        held = self.slot(number)
        if not held.entries:
            raise corrupt(Table.GROUP_MEMBERS, self.prefix, f"slot {number} is held by nobody")
        consumer = held.consumer
        if held.entries == 1:
            self._count_due(consumer, -held.due)
            self._count_due(b"", held.due)
            consumer = b""
        self._set_slot(number, Slot(held.entries - 1, held.due, consumer))

    def _set_slot(self, number: int, held: Slot) -> None:
        self._slots[number] = (self._slots[number][0], held)

    # --- what is due ---

    def add_due(self, key: bytes, slot: int) -> None:
        """Something is to be delivered, to whoever may have it."""
        rows.put_due(self.context.txn, key, slot)
        self._change_due(slot, 1)
        self._free_due += slot == NO_SLOT

    def remove_due(self, key: bytes, slot: int) -> None:
        """It is due no longer."""
        rows.delete_due(self.context.txn, key)
        self._comes_in_sight |= self.group.due > LOOKED_MAX
        self._change_due(slot, -1)

    def _change_due(self, slot: int, more: int) -> None:
        self.group.due += more
        if slot == NO_SLOT:
            self.group.free += more
            return
        held = self.slot(slot)
        self._set_slot(slot, held._replace(due=held.due + more))
        self._count_due(held.consumer, more)

    # --- the end ---

    def write(self, topic: bytes) -> None:
        """Writes what has changed, and wakes those who may have what is due."""
        context, free = self.context, self._free_due
        for number, (stored, held) in self._slots.items():
            if held == (stored or FREE_SLOT):
                continue
            before = stored or FREE_SLOT
            if held.entries or held.due:
                rows.put_slot(context.txn, self.prefix, number, held)
            elif stored is not None:
                rows.delete_slot(context.txn, self.prefix, number)
            if not held.due or (held.due <= before.due and held.consumer == before.consumer):
                continue
            if held.consumer:
                context.touch(own_topic(topic, held.consumer), 1)
            else:
                free += held.due
        for consumer, (stored_, member) in self._members.items():
            if member.joined or member.entries:
                if member != stored_:
                    rows.put_member(context.txn, self.prefix, consumer, member)
            elif stored_ is not None:
                rows.delete_member(context.txn, self.prefix, consumer)
        if self._comes_in_sight:
            free = EVERYBODY
        if free:
            context.touch(topic, free)


def own_topic(topic: bytes, consumer: bytes) -> bytes:
    """What one consumer of a group waits for, in the group of a topic, where it looks at keys."""
    return topic + b"\x00" + consumer
