"""Keys and values: what each command does to them, and the reads.

A key whose time has come is absent for everything here, removed or not. An absent key has version
0. Conditions are tested where the change is made, so two clients cannot both pass the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.state import history, keyspace
from cluster.state.commands import DELETE, EXPIRE, IF_ABSENT, IF_PRESENT, INCR, PUT
from cluster.state.keyspace import Record
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import (
        DeleteCommand,
        ExpireCommand,
        IncrCommand,
        PutCommand,
        Result,
    )
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction

EXPIRES_AT_MS_MAX = (2**64 - 1) // 1_000_000
"""The last time that fits in 64 bits of nanoseconds: what the protocol can say."""

EXPIRED_ROWS_MAX = 4096
"""Keys that have expired, but are not removed yet, which one page of a scan passes over."""

_COUNTER_BYTES = 8
_COUNTER_MIN = -(2**63)
_COUNTER_MAX = 2**63 - 1

_CAS_MISMATCH = int(Reason.CAS_MISMATCH)
_CONDITION_FAILED = int(Reason.CONDITION_FAILED)
_NOT_FOUND: Result = (int(Reason.NOT_FOUND),)
_OUT_OF_RANGE: Result = (int(Reason.OUT_OF_RANGE),)
TTL_TOO_LONG: Result = (
    int(Reason.OUT_OF_RANGE),
    b"the time to live is too long: the key would expire after the year 2554",
)
_WRONG_TYPE: Result = (int(Reason.WRONG_TYPE),)


def put(context: Context, command: PutCommand) -> Result:
    """Sets a key if CAS, then IF_ABSENT, then IF_PRESENT hold. Without a TTL the key loses its
    own."""
    _, _, _, _, namespace, key, value, ttl_ms, flags, cas = command
    full = namespace + b"\x00" + key
    stored = keyspace.get(context.txn, full)
    if cas is not None or flags:
        refusal = _check_conditions(_version_at(stored, context.stamp_ms), flags, cas)
        if refusal is not None:
            return refusal
    expires_at_ms = context.stamp_ms + ttl_ms if ttl_ms else 0
    if expires_at_ms > EXPIRES_AT_MS_MAX:
        return TTL_TOO_LONG
    return 0, store(context, full, stored, expires_at_ms, value)


def delete(context: Context, command: DeleteCommand) -> Result:
    """Removes a key. Missing is no error, unless a version was expected: it has none."""
    _, _, _, _, namespace, key, cas = command
    full = namespace + b"\x00" + key
    record = live(keyspace.get(context.txn, full), context.stamp_ms)
    if cas is not None and (record is None or record.version != cas):
        return _CAS_MISMATCH, 0 if record is None else record.version
    if record is None:
        return 0, False
    remove(context, full, record)
    return 0, True


def incr(context: Context, command: IncrCommand) -> Result:
    """Adds to a counter, a signed 64-bit little endian value. A missing key counts from 0."""
    _, _, _, _, namespace, key, delta = command
    full = namespace + b"\x00" + key
    stored = keyspace.get(context.txn, full)
    record = live(stored, context.stamp_ms)
    if record is None:
        total, expires_at_ms = delta, 0
    elif len(record.value) != _COUNTER_BYTES:
        return _WRONG_TYPE
    else:
        total = int.from_bytes(record.value, "little", signed=True) + delta
        expires_at_ms = record.expires_at_ms
    if not _COUNTER_MIN <= total <= _COUNTER_MAX:
        return _OUT_OF_RANGE
    value = total.to_bytes(_COUNTER_BYTES, "little", signed=True)
    return 0, store(context, full, stored, expires_at_ms, value), total


def expire(context: Context, command: ExpireCommand) -> Result:
    """Gives a key a new time to live, or with 0 none. Its version stays: a lease renews with it."""
    _, _, _, _, namespace, key, ttl_ms, cas = command
    full = namespace + b"\x00" + key
    record = live(keyspace.get(context.txn, full), context.stamp_ms)
    if cas is not None and (record is None or record.version != cas):
        return _CAS_MISMATCH, 0 if record is None else record.version
    if record is None:
        return _NOT_FOUND
    expires_at_ms = context.stamp_ms + ttl_ms if ttl_ms else 0
    if expires_at_ms > EXPIRES_AT_MS_MAX:
        return TTL_TOO_LONG
    context.expiry.move(context.txn, full, old_ms=record.expires_at_ms, new_ms=expires_at_ms)
    keyspace.put(context.txn, full, record._replace(expires_at_ms=expires_at_ms))
    return (0,)


HANDLERS: dict[int, Callable[..., Result]] = {
    PUT: put,
    DELETE: delete,
    INCR: incr,
    EXPIRE: expire,
}


def kv_history(
    txn: ReadTransaction, namespace: bytes, key: bytes, *, limit: int, max_bytes: int
) -> list[history.Version]:
    """The versions of a key that are remembered, newest first; also of one that is gone.

    At most `limit`, and as many as fit in `max_bytes`, but one at least. Raises `CorruptState`.
    """
    full = namespace + b"\x00" + key
    return history.read_versions(txn, full, keyspace.get(txn, full), limit, max_bytes)


def kv_get(txn: ReadTransaction, stamp_ms: int, namespace: bytes, key: bytes) -> Record | None:
    """The record of a key that is alive at the applied stamp.

    A caller whose clock is past the record's `expires_at_ms` has a clock entry committed, then asks
    again. Raises `CorruptState`.
    """
    return live(keyspace.get(txn, namespace + b"\x00" + key), stamp_ms)


class ScanPage(NamedTuple):
    """Keys in byte order with their records.

    With `more` there may be others behind `end`, and there are none between the last entry and it.
    """

    entries: list[tuple[bytes, Record]]
    more: bool
    end: bytes = b""


def kv_scan(
    txn: ReadTransaction,
    stamp_ms: int,
    namespace: bytes,
    prefix: bytes,
    after: bytes,
    *,
    limit: int,
    max_bytes: int,
    keys_only: bool = False,
) -> ScanPage:
    """The live keys of a namespace that start with `prefix` and sort after `after` (`b""`: all).

    At most `limit` of them, and as many as fit in `max_bytes` of keys and values, but one at least:
    unless more than `EXPIRED_ROWS_MAX` keys in between have expired and are yet to be removed. With
    `keys_only` the records have empty values. Raises `CorruptState`.
    """
    assert limit > 0, f"a page of {limit} keys"
    skip = len(namespace) + 1
    head = namespace + b"\x00"
    entries: list[tuple[bytes, Record]] = []
    room = max_bytes
    expired = 0
    end = b""
    for full, stored in keyspace.scan(txn, head + prefix, head + after if after else b""):
        key = full[skip:]
        record = live(stored, stamp_ms)
        if record is None:
            end = key
            expired += 1
            if expired == EXPIRED_ROWS_MAX:
                return ScanPage(entries, more=True, end=end)
            continue
        if keys_only:
            record = Record(record.version, record.expires_at_ms, b"")
        room -= len(key) + len(record.value)
        if entries and (room < 0 or len(entries) == limit):
            return ScanPage(entries, more=True, end=end)
        entries.append((key, record))
        end = key
    return ScanPage(entries, more=False)


def live(record: Record | None, stamp_ms: int) -> Record | None:
    """The same record, unless its time has come."""
    if record is None or 0 < record.expires_at_ms <= stamp_ms:
        return None
    return record


def _version_at(record: Record | None, stamp_ms: int) -> int:
    alive = live(record, stamp_ms)
    return 0 if alive is None else alive.version


def _check_conditions(version: int, flags: int, cas: int | None) -> Result | None:
    if cas is not None and cas != version:
        return _CAS_MISMATCH, version
    if (flags & IF_ABSENT and version) or (flags & IF_PRESENT and not version):
        return _CONDITION_FAILED, version
    return None


def store(
    context: Context, full: bytes, stored: Record | None, expires_at_ms: int, value: bytes
) -> int:
    """Writes a key under the next revision, which it returns. `stored` is what the key holds, even
    if its time has come."""
    old_ms = 0 if stored is None else stored.expires_at_ms
    if old_ms or expires_at_ms:
        context.expiry.move(context.txn, full, old_ms=old_ms, new_ms=expires_at_ms)
    if context.one_revision:
        context.changed[full] = None
        writes = 1 if stored is None else stored.writes + 1
    elif stored is None:
        writes = history.revive(context, full) + 1 if context.graves.count else 1
    else:
        history.keep(context.txn, full, stored)
        writes = stored.writes + 1
    revision = context.next_revision()
    if context.listening:
        context.touch(b"k" + full, 1)
    record = Record(revision, expires_at_ms, value, context.stamp_ms, writes)
    keyspace.put(context.txn, full, record)
    return revision


def remove(context: Context, full: bytes, record: Record) -> None:
    """Removes a key that is there; that is a change with a revision of its own."""
    keyspace.delete(context.txn, full)
    context.expiry.move(context.txn, full, old_ms=record.expires_at_ms, new_ms=0)
    if context.one_revision:
        context.changed[full] = None
    else:
        history.bury(context, full, record)
    context.next_revision()
