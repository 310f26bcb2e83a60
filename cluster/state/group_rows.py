"""The rows of consumer groups: a record for each, its members, and where its entries are.

An *entry* is a record that was delivered and not acknowledged. All keys begin with the ids of
stream and group, so that both can be thrown away whole.

    GROUP_PENDING   ids, record -> state, due_ms, deliveries, delivered_ms, slot, consumer;
                    leased and delayed ones have a timer for due_ms
    GROUP_DUE       ids, record -> slot: to be delivered again, or, without a pending row, for the
                    first time: it was left for another consumer
    GROUP_MEMBERS   ids -> name of the group, for timers
                    ids, consumer -> joined, entries, due ones that only it may have, seen_ms
                    ids, NUL, slot -> entries that are leased, due ones, consumer
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table
from cluster.state.timers import NEVER_MS, discard_timer
from flo.wire.group_messages import GroupMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction
    from cluster.state.stream_rows import Id

ACK_TIMEOUT_MS_DEFAULT = 330_000
MAX_DELIVER_DEFAULT = 10
MAX_STANDBYS_DEFAULT = 2**16 - 1
SLOTS_DEFAULT = 1024

LEASED, DELAYED, DUE = 1, 2, 3
"""States of an entry: delivered; to be delivered again, after a delay or at once."""

NO_SLOT = 2**32 - 1

ENTRY_TIMER = 3
"""The kind of timer that a leased or delayed entry has, by its key."""
LEASE_TIMER = 6
"""That of an exclusive group that has a holder, by the prefix of its keys."""

_GROUP = Struct("<QQBIBHHQQQQQQQQQQQQQQ")
_ENTRY = Struct("<BQIQI")
_MEMBER = Struct("<BQQQ")
_SLOT = Struct("<QQ")
_DUE = Struct("<I")
_PREFIX = Struct(">QQ")
_ENTRY_KEY = Struct(">QQQQ")
_SLOT_KEY = Struct(">BI")
PREFIX_BYTES = _PREFIX.size


@dataclass(slots=True)
class Group:
    """The record of a group.

    It has passed the records up to `cursor`, which are `cursor_ordinal` counted from the first
    ever. Of its entries those before `swept` are gone; later ones may be of records that were
    trimmed. `due` counts rows of GROUP_DUE, `parked` those among them that have no entry, `free`
    those that whoever asks may have. Of a holder whose lease is over, the entries before `given`
    were given back.
    """

    group_id: int
    stream_id: int
    mode: int = GroupMode.SHARED
    ack_timeout_ms: int = ACK_TIMEOUT_MS_DEFAULT
    max_deliver: int = MAX_DELIVER_DEFAULT
    max_standbys: int = MAX_STANDBYS_DEFAULT
    slots: int = SLOTS_DEFAULT
    cursor_ms: int = 0
    cursor_sequence: int = 0
    cursor_ordinal: int = 0
    pending: int = 0
    due: int = 0
    parked: int = 0
    members: int = 0
    swept_ms: int = 0
    swept_sequence: int = 0
    lease_until_ms: int = 0
    lease_timer_ms: int = 0
    free: int = 0
    given_ms: int = 0
    given_sequence: int = 0
    holder: bytes = b""

    @property
    def cursor(self) -> Id:
        return self.cursor_ms, self.cursor_sequence

    @property
    def swept(self) -> Id:
        return self.swept_ms, self.swept_sequence

    @property
    def given(self) -> Id:
        return self.given_ms, self.given_sequence

    def holds(self, consumer: bytes, now_ms: int) -> bool:
        """Whether a consumer gets the records of an exclusive group."""
        return self.holder == consumer and self.lease_until_ms > now_ms

    def encode(self) -> bytes:
        head = _GROUP.pack(
            *(self.group_id, self.stream_id),
            *(self.mode, self.ack_timeout_ms, self.max_deliver, self.max_standbys, self.slots),
            *(self.cursor_ms, self.cursor_sequence, self.cursor_ordinal),
            *(self.pending, self.due, self.parked, self.members),
            *(self.swept_ms, self.swept_sequence, self.lease_until_ms, self.lease_timer_ms),
            *(self.free, self.given_ms, self.given_sequence),
        )
        return head + self.holder


def decode_group(body: bytes) -> Group:
    group = Group(*_GROUP.unpack_from(body))
    group.holder = body[_GROUP.size :]
    return group


class Entry(NamedTuple):
    """A record that was delivered and not acknowledged."""

    state: int
    due_ms: int
    """When its timer stands; NEVER_MS for none."""
    deliveries: int
    delivered_ms: int
    slot: int
    consumer: bytes


class Member(NamedTuple):
    """A consumer: whether it is a member, and its entries. One that left keeps those it has."""

    joined: bool
    entries: int
    due: int
    """Rows of GROUP_DUE whose slots it has."""
    seen_ms: int
    """When it last joined, read or claimed; kept in an exclusive group only."""


class Slot(NamedTuple):
    """Entries whose keys fall together."""

    entries: int
    """Those that are leased: all to one consumer, who gets further ones."""
    due: int
    """Rows of GROUP_DUE."""
    consumer: bytes
    """Empty while nothing is leased: whoever asks may have it."""


NO_MEMBER = Member(joined=False, entries=0, due=0, seen_ms=0)
FREE_SLOT = Slot(0, 0, b"")


def group_prefix(stream_id: int, group_id: int) -> bytes:
    """What all keys of a group begin with."""
    return _PREFIX.pack(stream_id, group_id)


def split_prefix(prefix: bytes) -> tuple[int, int]:
    """The ids of stream and group."""
    stream_id, group_id = _PREFIX.unpack_from(prefix)
    return stream_id, group_id


def entry_key(prefix: bytes, of: Id) -> bytes:
    return prefix + _PREFIX.pack(*of)


def id_of_key(key: bytes) -> Id:
    """The record that an entry's key is about."""
    _, _, ms, sequence = _ENTRY_KEY.unpack(key)
    return ms, sequence


# --- entries ---


def put_entry(txn: WriteTransaction, key: bytes, entry: Entry) -> None:
    txn.put(Table.GROUP_PENDING, key, seal(key, _ENTRY.pack(*entry[:5]) + entry.consumer))


def find_entry(txn: ReadTransaction, key: bytes) -> Entry | None:
    row = txn.get(Table.GROUP_PENDING, key)
    return None if row is None else _decode_entry(key, row)


def delete_entry(txn: WriteTransaction, key: bytes) -> None:
    _delete(txn, Table.GROUP_PENDING, key)


def scan_entries(txn: ReadTransaction, prefix: bytes, start: Id) -> Iterator[tuple[bytes, Entry]]:
    """Keys and entries from a record on, in order."""
    for key, row in txn.scan(Table.GROUP_PENDING, entry_key(prefix, start)):
        if not key.startswith(prefix):
            return
        yield key, _decode_entry(key, row)


def drop_entry_timer(txn: WriteTransaction, key: bytes, row: bytes) -> None:
    """An entry goes with its group, and with it its timer, unless that has run since."""
    discard_timer(txn, _decode_entry(key, row).due_ms, ENTRY_TIMER, key)


def _decode_entry(key: bytes, row: bytes) -> Entry:
    body = unseal(Table.GROUP_PENDING, key, row)
    return Entry._make((*_ENTRY.unpack_from(body), body[_ENTRY.size :]))


# --- what is due ---


def put_due(txn: WriteTransaction, key: bytes, slot: int) -> None:
    txn.put(Table.GROUP_DUE, key, seal(key, _DUE.pack(slot)))


def delete_due(txn: WriteTransaction, key: bytes) -> None:
    _delete(txn, Table.GROUP_DUE, key)


def scan_due(txn: ReadTransaction, prefix: bytes, start: Id) -> Iterator[tuple[bytes, int]]:
    """Keys and slots of what is due, from a record on, in order."""
    for key, row in txn.scan(Table.GROUP_DUE, entry_key(prefix, start)):
        if not key.startswith(prefix):
            return
        yield key, _DUE.unpack(unseal(Table.GROUP_DUE, key, row))[0]


# --- members and slots ---


def put_group_name(txn: WriteTransaction, prefix: bytes, name: bytes) -> None:
    txn.put(Table.GROUP_MEMBERS, prefix, seal(prefix, name))


def find_group_name(txn: ReadTransaction, prefix: bytes) -> bytes | None:
    """The name of a group by its ids; None when it was deleted."""
    row = txn.get(Table.GROUP_MEMBERS, prefix)
    return None if row is None else unseal(Table.GROUP_MEMBERS, prefix, row)


def delete_group_name(txn: WriteTransaction, prefix: bytes) -> None:
    _delete(txn, Table.GROUP_MEMBERS, prefix)


def find_member(txn: ReadTransaction, prefix: bytes, consumer: bytes) -> Member | None:
    key = prefix + consumer
    row = txn.get(Table.GROUP_MEMBERS, key)
    return None if row is None else _decode_member(key, row)


def put_member(txn: WriteTransaction, prefix: bytes, consumer: bytes, member: Member) -> None:
    key = prefix + consumer
    txn.put(Table.GROUP_MEMBERS, key, seal(key, _MEMBER.pack(*member)))


def delete_member(txn: WriteTransaction, prefix: bytes, consumer: bytes) -> None:
    _delete(txn, Table.GROUP_MEMBERS, prefix + consumer)


def scan_members(txn: ReadTransaction, prefix: bytes) -> Iterator[tuple[bytes, Member]]:
    """Consumers in the order of their names, also those that have left entries behind."""
    # Names hold no NUL: they come after the name of the group and after the slots.
    for key, row in txn.scan(Table.GROUP_MEMBERS, prefix + b"\x01"):
        if not key.startswith(prefix):
            return
        yield key[PREFIX_BYTES:], _decode_member(key, row)


def _decode_member(key: bytes, row: bytes) -> Member:
    joined, *numbers = _MEMBER.unpack(unseal(Table.GROUP_MEMBERS, key, row))
    return Member(bool(joined), *numbers)


def find_slot(txn: ReadTransaction, prefix: bytes, slot: int) -> Slot | None:
    key = prefix + _SLOT_KEY.pack(0, slot)
    row = txn.get(Table.GROUP_MEMBERS, key)
    if row is None:
        return None
    body = unseal(Table.GROUP_MEMBERS, key, row)
    entries, due = _SLOT.unpack_from(body)
    return Slot(entries, due, body[_SLOT.size :])


def put_slot(txn: WriteTransaction, prefix: bytes, slot: int, held: Slot) -> None:
    key = prefix + _SLOT_KEY.pack(0, slot)
    body = _SLOT.pack(held.entries, held.due) + held.consumer
    txn.put(Table.GROUP_MEMBERS, key, seal(key, body))


def delete_slot(txn: WriteTransaction, prefix: bytes, slot: int) -> None:
    _delete(txn, Table.GROUP_MEMBERS, prefix + _SLOT_KEY.pack(0, slot))


def has_timer(entry: Entry) -> bool:
    """Whether a timer stands for an entry."""
    return entry.state != DUE and entry.due_ms != NEVER_MS


def _delete(txn: WriteTransaction, table: Table, key: bytes) -> None:
    if not txn.delete(table, key):
        raise corrupt(table, key, "a row that should be there is missing")
