"""The key-value operations as v1 carries them: conditions, waits and transactions in options."""

from __future__ import annotations

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import LocalProtocolError, refused
from flo.wire.fields import Reader, b16, b32, flag, i64, u8, u16, u32, u64
from flo.wire.limits import (
    MGET_KEYS_MAX,
    V1_CURSOR_BYTES_MAX,
    V1_SCAN_LIMIT_MAX,
    check_key,
    check_length,
    check_prefix,
    check_range,
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
from flo.wire.status import Reason

_FOUND = 0
_MISSING = 2


def _transaction_options(routing_key: bytes | None, txn: int | None) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    if routing_key is not None:
        options[tlv.ROUTING_KEY] = routing_key
    if txn is not None:
        options[tlv.TRANSACTION] = u64(txn)
    return options


def _add_ttl(options: dict[int, bytes], ttl_ms: int) -> None:
    if ttl_ms % 1000:
        options[tlv.TTL_MS] = u64(ttl_ms)


def _seconds(ttl_ms: int) -> int:
    return -(-ttl_ms // 1000)


def _ttl_ms(options: tlv.Options, seconds: int) -> int:
    ttl_ms = tlv.exact_option(options, tlv.TTL_MS, 8)
    return check_ttl_ms(seconds * 1000 if ttl_ms is None else ttl_ms)


def _ttl_option(options: tlv.Options) -> int | None:
    seconds = options.get(tlv.TTL_SECONDS)
    if seconds is None:
        return _ttl_ms(options, 0) or None
    if len(seconds) != 8:
        # The only integer of another width that is not ignored: the value would live forever.
        raise refused(Reason.MALFORMED, f"TTL of {len(seconds)} bytes: 8 expected")
    return _ttl_ms(options, int.from_bytes(seconds, "little")) or None


def _decode_put(payload: Payload, value_bytes_max: int) -> KvPut:
    namespace, key, value, options, _ = payload
    check_key(namespace, key)
    check_length("value", value, value_bytes_max)
    if not options:
        return KvPut(namespace, key, value)
    return KvPut(
        namespace,
        key,
        value,
        _ttl_option(options),
        tlv.ONLY_IF_ABSENT in options,
        tlv.ONLY_IF_PRESENT in options,
        tlv.integer_option(options, tlv.EXPECTED_VERSION, 8),
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _encode_put(put: KvPut) -> Payload:
    options = _transaction_options(put.routing_key, put.txn)
    if put.ttl_ms is not None:
        options[tlv.TTL_SECONDS] = u64(_seconds(put.ttl_ms))
    if put.cas is not None:
        options[tlv.EXPECTED_VERSION] = u64(put.cas)
    if put.if_absent:
        options[tlv.ONLY_IF_ABSENT] = b""
    if put.if_present:
        options[tlv.ONLY_IF_PRESENT] = b""
    if put.ttl_ms is not None:
        _add_ttl(options, put.ttl_ms)
    return Payload(put.namespace, put.key, put.value, options)


def _encode_stored(stored: Stored) -> bytes:
    return u64(stored.version or 0)


def _decode_stored(data: bytes, _put: KvPut) -> Stored:
    if not data:
        return Stored(None)
    return Stored(Reader(data).u64() or None)


def _decode_get(payload: Payload, _value_bytes_max: int) -> KvGet:
    namespace, key, _, options, _ = payload
    check_key(namespace, key)
    if not options:
        return KvGet(namespace, key)
    change_ms = tlv.integer_option(options, tlv.WAIT_FOR_CHANGE_MS, 4)
    block_ms = tlv.integer_option(options, tlv.BLOCK_MS, 4) or 0
    return KvGet(
        namespace,
        key,
        check_wait_ms(block_ms if change_ms is None else change_ms),
        change_ms is not None,
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _encode_get(get: KvGet) -> Payload:
    options = _transaction_options(get.routing_key, get.txn)
    if get.wait_for_change:
        options[tlv.WAIT_FOR_CHANGE_MS] = u32(get.wait_ms)
    elif get.wait_ms:
        options[tlv.BLOCK_MS] = u32(get.wait_ms)
    return Payload(get.namespace, get.key, b"", options)


def _encode_value(value: Value) -> bytes:
    return u64(value.version) + value.value


def _decode_value(data: bytes, _get: KvGet) -> Value:
    reader = Reader(data)
    return Value(reader.u64(), reader.rest())


def _decode_mget(payload: Payload, _value_bytes_max: int) -> KvMget:
    reader = Reader(payload.value)
    count = reader.u16()
    check_range("number of keys", count, least=1, most=MGET_KEYS_MAX)
    keys = tuple(reader.b16() for _ in range(count))
    reader.finish()
    tlv.refuse_transaction(payload.options)
    for key in keys:
        check_key(payload.namespace, key)
    return KvMget(payload.namespace, keys, payload.options.get(tlv.ROUTING_KEY))


def _encode_mget(mget: KvMget) -> Payload:
    value = u16(len(mget.keys)) + b"".join(b16(key) for key in mget.keys)
    return Payload(mget.namespace, b"", value, _transaction_options(mget.routing_key, None))


def _encode_values(values: Values) -> bytes:
    if values.next_index is not None:
        raise LocalProtocolError("v1 cannot continue an mget: answer all of its keys, or refuse it")
    parts = [u32(len(values.entries))]
    for key, found, version, value in values.entries:
        parts += (u8(_FOUND if found else _MISSING), b16(key), u64(version), b32(value))
    return b"".join(parts)


def _decode_values(data: bytes, mget: KvMget) -> Values:
    reader = Reader(data)
    count = reader.u32()
    check_range("number of answered keys", count, least=len(mget.keys), most=len(mget.keys))
    return Values(tuple(_read_entry(reader) for _ in range(count)))


def _read_entry(reader: Reader) -> ValueEntry:
    found = reader.u8() == _FOUND
    return ValueEntry(reader.b16(), found, reader.u64(), reader.b32())


def _decode_delete(payload: Payload, _value_bytes_max: int) -> KvDelete:
    namespace, key, _, options, _ = payload
    check_key(namespace, key)
    return KvDelete(
        namespace,
        key,
        tlv.integer_option(options, tlv.EXPECTED_VERSION, 8),
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _encode_delete(delete: KvDelete) -> Payload:
    options = _transaction_options(delete.routing_key, delete.txn)
    if delete.cas is not None:
        options[tlv.EXPECTED_VERSION] = u64(delete.cas)
    return Payload(delete.namespace, delete.key, b"", options)


def _encode_nothing(_result: Deleted | Done) -> bytes:
    return b""


def _decode_deleted(_data: bytes, delete: KvDelete) -> Deleted:
    return Deleted(True if delete.txn is None else None)


def _decode_scan(payload: Payload, _value_bytes_max: int) -> KvScan:
    namespace, prefix, value, options, _ = payload
    check_prefix(namespace, prefix)
    limit, cursor = 0, b""
    if value:
        reader = Reader(value)
        limit, cursor = reader.u32(), reader.rest()
    check_range("scan limit", limit, least=0, most=V1_SCAN_LIMIT_MAX)
    check_length("cursor", cursor, V1_CURSOR_BYTES_MAX)
    tlv.refuse_transaction(options)
    keys_only = tlv.integer_option(options, tlv.KEYS_ONLY, 1) or 0
    return KvScan(namespace, prefix, limit or None, cursor, keys_only > 0)


def _encode_scan(scan: KvScan) -> Payload:
    options = {tlv.KEYS_ONLY: b"\x01"} if scan.keys_only else tlv.NO_OPTIONS
    return Payload(scan.namespace, scan.prefix, u32(scan.limit or 0) + scan.cursor, options)


def _encode_page(page: Page) -> bytes:
    parts = [flag(page.cursor is not None), b32(page.cursor or b""), u32(len(page.entries))]
    for key, value in page.entries:
        parts += (b16(key), b32(value))
    return b"".join(parts)


def _decode_page(data: bytes, _scan: KvScan) -> Page:
    reader = Reader(data)
    has_more, cursor, count = reader.flag(), reader.b32(), reader.u32()
    entries = tuple(PageEntry(reader.b16(), reader.b32()) for _ in range(count))
    return Page(entries, cursor if has_more else None)


def _decode_incr(payload: Payload, _value_bytes_max: int) -> KvIncr:
    namespace, key, value, options, _ = payload
    check_key(namespace, key)
    if len(value) not in (0, 8):
        raise refused(Reason.MALFORMED, f"delta of {len(value)} bytes: 0 or 8 expected")
    return KvIncr(
        namespace,
        key,
        int.from_bytes(value, "little", signed=True) if value else 1,
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _encode_incr(incr: KvIncr) -> Payload:
    options = _transaction_options(incr.routing_key, incr.txn)
    value = b"" if incr.delta == 1 else i64(incr.delta)
    return Payload(incr.namespace, incr.key, value, options)


def _encode_counter(counter: Counter) -> bytes:
    value = counter.value or 0
    if counter.version is None:
        # Inside a transaction the official v1 SDKs read the first word as the value, outside the
        # second.
        return i64(value) + i64(value)
    return u64(counter.version) + i64(value)


def _decode_counter(data: bytes, incr: KvIncr) -> Counter:
    reader = Reader(data)
    if incr.txn is not None:
        return Counter(None, reader.i64())
    return Counter(reader.u64(), reader.i64())


def _expire(payload: Payload, ttl_ms: int) -> KvExpire:
    namespace, key, _, options, _ = payload
    check_key(namespace, key)
    return KvExpire(
        namespace,
        key,
        ttl_ms,
        tlv.integer_option(options, tlv.EXPECTED_VERSION, 8),
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _decode_touch(payload: Payload, _value_bytes_max: int) -> KvExpire:
    value = payload.value
    if len(value) != 8:
        raise refused(Reason.MALFORMED, f"TTL of {len(value)} bytes: 8 expected")
    return _expire(payload, _ttl_ms(payload.options, int.from_bytes(value, "little")))


def _expire_options(expire: KvExpire) -> dict[int, bytes]:
    options = _transaction_options(expire.routing_key, expire.txn)
    if expire.cas is not None:
        options[tlv.EXPECTED_VERSION] = u64(expire.cas)
    return options


def _encode_touch(expire: KvExpire) -> Payload:
    options = _expire_options(expire)
    _add_ttl(options, expire.ttl_ms)
    return Payload(expire.namespace, expire.key, u64(_seconds(expire.ttl_ms)), options)


def _decode_persist(payload: Payload, _value_bytes_max: int) -> KvExpire:
    return _expire(payload, 0)


def _encode_persist(expire: KvExpire) -> Payload:
    if expire.ttl_ms:
        raise LocalProtocolError(f"persist clears a TTL, it cannot set one of {expire.ttl_ms} ms")
    return Payload(expire.namespace, expire.key, b"", _expire_options(expire))


def _decode_done(_data: bytes, _expire: KvExpire) -> Done:
    return Done()


def _decode_exists(payload: Payload, _value_bytes_max: int) -> KvExists:
    namespace, key, _, options, _ = payload
    check_key(namespace, key)
    return KvExists(
        namespace,
        key,
        options.get(tlv.ROUTING_KEY),
        tlv.integer_option(options, tlv.TRANSACTION, 8),
    )


def _encode_exists(exists: KvExists) -> Payload:
    options = _transaction_options(exists.routing_key, exists.txn)
    return Payload(exists.namespace, exists.key, b"", options)


def _encode_existence(result: Exists) -> bytes:
    return u64(result.version) + flag(result.exists)


def _decode_existence(data: bytes, _exists: KvExists) -> Exists:
    reader = Reader(data)
    version = reader.u64()
    return Exists(reader.flag(), version)


PUT = Codec(_decode_put, _encode_put, _encode_stored, _decode_stored)
GET = Codec(_decode_get, _encode_get, _encode_value, _decode_value)
MGET = Codec(_decode_mget, _encode_mget, _encode_values, _decode_values)
DELETE = Codec(_decode_delete, _encode_delete, _encode_nothing, _decode_deleted, Deleted(False))
SCAN = Codec(_decode_scan, _encode_scan, _encode_page, _decode_page)
INCR = Codec(_decode_incr, _encode_incr, _encode_counter, _decode_counter)
TOUCH = Codec(_decode_touch, _encode_touch, _encode_nothing, _decode_done)
PERSIST = Codec(_decode_persist, _encode_persist, _encode_nothing, _decode_done)
EXISTS = Codec(_decode_exists, _encode_exists, _encode_existence, _decode_existence)
