"""Keys and values: what each command does to them, and the reads.

A key whose time has come is absent for everything here, removed or not. An absent key has version
0. Conditions are tested where the change is made, so two clients cannot both pass the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.state import keyspace
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

_COUNTER_BYTES = 8
_COUNTER_MIN = -(2**63)
_COUNTER_MAX = 2**63 - 1

_CAS_MISMATCH = int(Reason.CAS_MISMATCH)
_CONDITION_FAILED = int(Reason.CONDITION_FAILED)
_NOT_FOUND: Result = (int(Reason.NOT_FOUND),)
_OUT_OF_RANGE: Result = (int(Reason.OUT_OF_RANGE),)
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
        return _OUT_OF_RANGE
    return 0, _store(context, full, stored, expires_at_ms, value)


def delete(context: Context, command: DeleteCommand) -> Result:
    """Removes a key. Missing is no error, unless a version was expected: it has none."""
    _, _, _, _, namespace, key, cas = command
    full = namespace + b"\x00" + key
    record = _live(keyspace.get(context.txn, full), context.stamp_ms)
    if cas is not None and (record is None or record.version != cas):
        return _CAS_MISMATCH, 0 if record is None else record.version
    if record is None:
        return 0, False
    keyspace.delete(context.txn, full)
    context.expiry.move(context.txn, full, old_ms=record.expires_at_ms, new_ms=0)
    context.next_revision()
    return 0, True


def incr(context: Context, command: IncrCommand) -> Result:
    """Adds to a counter, a signed 64-bit little endian value. A missing key counts from 0."""
    _, _, _, _, namespace, key, delta = command
    full = namespace + b"\x00" + key
    stored = keyspace.get(context.txn, full)
    record = _live(stored, context.stamp_ms)
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
    return 0, _store(context, full, stored, expires_at_ms, value), total


def expire(context: Context, command: ExpireCommand) -> Result:
    """Gives a key a new time to live, or with 0 none. Its version stays: a lease renews with it."""
    _, _, _, _, namespace, key, ttl_ms, cas = command
    full = namespace + b"\x00" + key
    record = _live(keyspace.get(context.txn, full), context.stamp_ms)
    if cas is not None and (record is None or record.version != cas):
        return _CAS_MISMATCH, 0 if record is None else record.version
    if record is None:
        return _NOT_FOUND
    expires_at_ms = context.stamp_ms + ttl_ms if ttl_ms else 0
    if expires_at_ms > EXPIRES_AT_MS_MAX:
        return _OUT_OF_RANGE
    context.expiry.move(context.txn, full, old_ms=record.expires_at_ms, new_ms=expires_at_ms)
    keyspace.put(context.txn, full, record.version, expires_at_ms, record.value)
    return (0,)


HANDLERS: dict[int, Callable[..., Result]] = {
    PUT: put,
    DELETE: delete,
    INCR: incr,
    EXPIRE: expire,
}


def kv_get(txn: ReadTransaction, stamp_ms: int, namespace: bytes, key: bytes) -> Record | None:
    """The record of a key that is alive at the applied stamp.

    A caller whose clock is past the record's `expires_at_ms` has a clock entry committed, then asks
    again. Raises `CorruptState`.
    """
    return _live(keyspace.get(txn, namespace + b"\x00" + key), stamp_ms)


class ScanPage(NamedTuple):
    """Keys in byte order with their records; `more` when at least one live key follows them."""

    entries: list[tuple[bytes, Record]]
    more: bool


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

    At most `limit` of them, and as many as fit in `max_bytes` of keys and values, but one at least.
    With `keys_only` the records have empty values. Raises `CorruptState`.
    """
    assert limit > 0, f"a page of {limit} keys"
    skip = len(namespace) + 1
    head = namespace + b"\x00"
    entries: list[tuple[bytes, Record]] = []
    room = max_bytes
    for full, stored in keyspace.scan(txn, head + prefix, head + after if after else b""):
        record = _live(stored, stamp_ms)
        if record is None:
            continue
        if keys_only:
            record = Record(record.version, record.expires_at_ms, b"")
        key = full[skip:]
        room -= len(key) + len(record.value)
        if entries and (room < 0 or len(entries) == limit):
            return ScanPage(entries, more=True)
        entries.append((key, record))
    return ScanPage(entries, more=False)


def _live(record: Record | None, stamp_ms: int) -> Record | None:
    if record is None or 0 < record.expires_at_ms <= stamp_ms:
        return None
    return record


def _version_at(record: Record | None, stamp_ms: int) -> int:
    live = _live(record, stamp_ms)
    return 0 if live is None else live.version


def _check_conditions(version: int, flags: int, cas: int | None) -> Result | None:
    if cas is not None and cas != version:
        return _CAS_MISMATCH, version
    if (flags & IF_ABSENT and version) or (flags & IF_PRESENT and not version):
        return _CONDITION_FAILED, version
    return None


def _store(
    context: Context, full: bytes, stored: Record | None, expires_at_ms: int, value: bytes
) -> int:
    """Writes a key under the next revision. `stored` is what it holds, even if its time has
    come."""
    old_ms = 0 if stored is None else stored.expires_at_ms
    if old_ms or expires_at_ms:
        context.expiry.move(context.txn, full, old_ms=old_ms, new_ms=expires_at_ms)
    revision = context.next_revision()
    if context.listening:
        context.touch(b"k" + full, 1)
    keyspace.put(context.txn, full, revision, expires_at_ms, value)
    return revision
