"""The key-value operations as the v2 table carries them: one body of fields, nothing left over.

A field with a default may be absent; like the official SDKs we always write it.
"""

from __future__ import annotations

from flo.wire.codec import Codec
from flo.wire.errors import LocalProtocolError, unreadable
from flo.wire.fields import (
    Reader,
    b8,
    b16,
    b32,
    flag,
    i64,
    optional_b8,
    optional_b16,
    optional_flag,
    optional_i64,
    optional_u16,
    optional_u64,
    u8,
    u16,
    u32,
    u64,
)
from flo.wire.limits import (
    MGET_KEYS_MAX,
    V2_CURSOR_BYTES_MAX,
    V2_SCAN_LIMIT_MAX,
    V2_VALUE_BYTES_MAX,
    check_key,
    check_length,
    check_prefix,
    check_range,
    check_routing_key,
    check_ttl_ms,
    check_wait_ms,
)
from flo.wire.messages import (
    Counter,
    Deleted,
    Done,
    Exists,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvIncr,
    KvMget,
    KvPut,
    KvScan,
    Page,
    PageEntry,
    Stored,
    Value,
    ValueEntry,
    Values,
)
from flo.wire.payload import Payload

_ALWAYS, _IF_ABSENT, _IF_PRESENT = 0, 1, 2
_V1_DEFAULT_SCAN_LIMIT = 100


def _transaction_fields(routing_key: bytes | None, txn: int | None) -> bytes:
    return optional_b16(routing_key) + optional_u64(txn)


def _decode_put(payload: Payload, value_bytes_max: int) -> KvPut:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    value = reader.b32()
    ttl_ms = reader.optional_u64() or None
    condition = reader.optional_u8() or _ALWAYS
    cas = reader.optional_u64()
    routing_key = reader.optional_b16()
    txn = reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    check_length("value", value, min(value_bytes_max, V2_VALUE_BYTES_MAX))
    check_range("condition", condition, least=_ALWAYS, most=_IF_PRESENT)
    if ttl_ms is not None:
        check_ttl_ms(ttl_ms)
    return KvPut(
        namespace,
        key,
        value,
        ttl_ms,
        condition == _IF_ABSENT,
        condition == _IF_PRESENT,
        cas,
        check_routing_key(routing_key),
        txn,
    )


def _encode_put(put: KvPut) -> Payload:
    if put.if_absent and put.if_present:
        raise LocalProtocolError("v2 cannot ask for if_absent and if_present at once: choose one")
    condition = _IF_ABSENT if put.if_absent else _IF_PRESENT if put.if_present else _ALWAYS
    body = (
        b32(put.value),
        optional_u64(put.ttl_ms or None),
        flag(True) + u8(condition),
        optional_u64(put.cas),
        _transaction_fields(put.routing_key, put.txn),
    )
    return Payload(put.namespace, put.key, b"".join(body))


def _encode_stored(stored: Stored) -> bytes:
    return optional_u64(stored.version)


def _decode_stored(data: bytes, _put: KvPut) -> Stored:
    reader = Reader(data)
    stored = Stored(reader.optional_u64())
    reader.finish()
    return stored


def _decode_get(payload: Payload, _value_bytes_max: int) -> KvGet:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    wait_ms = reader.optional_u64() or 0
    wait_for = reader.optional_u8() or 0
    routing_key = reader.optional_b16()
    txn = reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    check_range("wait_for", wait_for, least=0, most=1)
    return KvGet(
        namespace,
        key,
        check_wait_ms(wait_ms),
        wait_for == 1,
        check_routing_key(routing_key),
        txn,
    )


def _encode_get(get: KvGet) -> Payload:
    body = (
        optional_u64(get.wait_ms),
        optional_flag(get.wait_for_change),
        _transaction_fields(get.routing_key, get.txn),
    )
    return Payload(get.namespace, get.key, b"".join(body))


def _encode_value(value: Value) -> bytes:
    return u64(value.version) + b32(value.value)


def _decode_value(data: bytes, _get: KvGet) -> Value:
    reader = Reader(data)
    value = Value(reader.u64(), reader.b32())
    reader.finish()
    return value


def _decode_mget(payload: Payload, _value_bytes_max: int) -> KvMget:
    reader = Reader(payload.value)
    count = reader.u16()
    check_range("number of keys", count, least=1, most=MGET_KEYS_MAX)
    keys = tuple(reader.b16() for _ in range(count))
    routing_key = reader.optional_b16()
    reader.finish()
    for key in keys:
        check_key(payload.namespace, key)
    return KvMget(payload.namespace, keys, check_routing_key(routing_key))


def _encode_mget(mget: KvMget) -> Payload:
    keys = b"".join(b16(key) for key in mget.keys)
    return Payload(mget.namespace, b"", u16(len(mget.keys)) + keys + optional_b16(mget.routing_key))


def _encode_values(values: Values) -> bytes:
    parts = [u16(len(values.entries))]
    for _, found, version, value in values.entries:
        parts += (flag(found), u64(version), b32(value))
    parts.append(optional_u16(values.next_index))
    return b"".join(parts)


def _decode_values(data: bytes, mget: KvMget) -> Values:
    reader = Reader(data)
    count = reader.u16()
    asked = len(mget.keys)
    if count > asked:
        raise unreadable(f"{count} keys are answered, {asked} were asked for")
    entries = tuple(
        ValueEntry(key, reader.flag(), reader.u64(), reader.b32()) for key in mget.keys[:count]
    )
    next_index = reader.optional_u16()
    reader.finish()
    if next_index is None and count < asked:
        raise unreadable(f"{count} of {asked} keys are answered, and no index to go on from")
    if next_index is not None and not 1 <= next_index == count:
        raise unreadable(f"{count} keys are answered, but the next index is {next_index}")
    return Values(entries, None if next_index == asked else next_index)


def _decode_delete(payload: Payload, _value_bytes_max: int) -> KvDelete:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    cas, routing_key, txn = reader.optional_u64(), reader.optional_b16(), reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    return KvDelete(namespace, key, cas, check_routing_key(routing_key), txn)


def _encode_delete(delete: KvDelete) -> Payload:
    body = optional_u64(delete.cas) + _transaction_fields(delete.routing_key, delete.txn)
    return Payload(delete.namespace, delete.key, body)


def _encode_deleted(deleted: Deleted) -> bytes:
    return optional_flag(deleted.existed)


def _decode_deleted(data: bytes, _delete: KvDelete) -> Deleted:
    reader = Reader(data)
    deleted = Deleted(reader.optional_flag())
    reader.finish()
    return deleted


def _decode_scan(payload: Payload, _value_bytes_max: int) -> KvScan:
    namespace, prefix, body, _, _ = payload
    reader = Reader(body)
    limit = reader.optional_u32()
    cursor = reader.b8()
    reader.finish()
    check_prefix(namespace, prefix)
    limit = V2_SCAN_LIMIT_MAX if limit is None else limit
    check_range("scan limit", limit, least=1, most=V2_SCAN_LIMIT_MAX)
    check_length("cursor", cursor, V2_CURSOR_BYTES_MAX)
    return KvScan(namespace, prefix, limit, cursor, True)


def _encode_scan(scan: KvScan) -> Payload:
    # An absent limit would mean 1024 here, and None means the same as in v1.
    limit = _V1_DEFAULT_SCAN_LIMIT if scan.limit is None else scan.limit
    return Payload(scan.namespace, scan.prefix, flag(True) + u32(limit) + b8(scan.cursor))


def _encode_page(page: Page) -> bytes:
    parts = [u16(len(page.entries))]
    parts += [b16(key) for key, _ in page.entries]
    parts.append(optional_b8(page.cursor))
    return b"".join(parts)


def _decode_page(data: bytes, _scan: KvScan) -> Page:
    reader = Reader(data)
    entries = tuple(PageEntry(reader.b16(), b"") for _ in range(reader.u16()))
    cursor = reader.optional_b8()
    reader.finish()
    return Page(entries, cursor)


def _decode_incr(payload: Payload, _value_bytes_max: int) -> KvIncr:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    delta, routing_key, txn = reader.optional_i64(), reader.optional_b16(), reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    return KvIncr(
        namespace, key, 1 if delta is None else delta, check_routing_key(routing_key), txn
    )


def _encode_incr(incr: KvIncr) -> Payload:
    body = flag(True) + i64(incr.delta) + _transaction_fields(incr.routing_key, incr.txn)
    return Payload(incr.namespace, incr.key, body)


def _encode_counter(counter: Counter) -> bytes:
    if counter.version is None:
        # Inside a transaction both are absent, whatever v1 would be shown.
        return flag(False) + flag(False)
    return optional_u64(counter.version) + optional_i64(counter.value)


def _decode_counter(data: bytes, _incr: KvIncr) -> Counter:
    reader = Reader(data)
    counter = Counter(reader.optional_u64(), reader.optional_i64())
    reader.finish()
    return counter


def _decode_expire(payload: Payload, _value_bytes_max: int) -> KvExpire:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    ttl_ms = reader.u64()
    cas, routing_key, txn = reader.optional_u64(), reader.optional_b16(), reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    return KvExpire(namespace, key, check_ttl_ms(ttl_ms), cas, check_routing_key(routing_key), txn)


def _encode_expire(expire: KvExpire) -> Payload:
    body = (
        u64(expire.ttl_ms),
        optional_u64(expire.cas),
        _transaction_fields(expire.routing_key, expire.txn),
    )
    return Payload(expire.namespace, expire.key, b"".join(body))


def _encode_done(_done: Done) -> bytes:
    return b""


def _decode_done(data: bytes, _expire: KvExpire) -> Done:
    Reader(data).finish()
    return Done()


def _decode_exists(payload: Payload, _value_bytes_max: int) -> KvExists:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    routing_key, txn = reader.optional_b16(), reader.optional_u64()
    reader.finish()
    check_key(namespace, key)
    return KvExists(namespace, key, check_routing_key(routing_key), txn)


def _encode_exists(exists: KvExists) -> Payload:
    body = _transaction_fields(exists.routing_key, exists.txn)
    return Payload(exists.namespace, exists.key, body)


def _encode_existence(result: Exists) -> bytes:
    return flag(result.exists) + u64(result.version)


def _decode_existence(data: bytes, _exists: KvExists) -> Exists:
    reader = Reader(data)
    result = Exists(reader.flag(), reader.u64())
    reader.finish()
    return result


SET = Codec(_decode_put, _encode_put, _encode_stored, _decode_stored)
GET = Codec(_decode_get, _encode_get, _encode_value, _decode_value)
MGET = Codec(_decode_mget, _encode_mget, _encode_values, _decode_values)
DELETE = Codec(_decode_delete, _encode_delete, _encode_deleted, _decode_deleted)
SCAN = Codec(_decode_scan, _encode_scan, _encode_page, _decode_page)
INCR = Codec(_decode_incr, _encode_incr, _encode_counter, _decode_counter)
EXPIRE = Codec(_decode_expire, _encode_expire, _encode_done, _decode_done)
EXISTS = Codec(_decode_exists, _encode_exists, _encode_existence, _decode_existence)
