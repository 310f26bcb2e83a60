"""The versions of a key, in both revisions.

            v1                                        v2
request     option limit                              ?limit:u32 ?routing_key:b16
answer      count:u32                                 count:u8
            (version:u64 at_ms:i64 value:b32)*        the same
"""

from __future__ import annotations

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.fields import Reader, b32, i64, optional_b16, optional_u32, u8, u32, u64
from flo.wire.kv_messages import History, HistoryEntry, KvHistory
from flo.wire.limits import HISTORY_ENTRIES_MAX, check_key, check_range, check_routing_key
from flo.wire.payload import Payload


def _decode_v1(payload: Payload, _value_bytes_max: int) -> KvHistory:
    namespace, key, _, options, _ = payload
    check_key(namespace, key)
    tlv.refuse_transaction(options)
    limit = tlv.integer_option(options, tlv.LIMIT, 4)
    # v1 clients check no bound; there are never more versions than this.
    limit = min(limit, HISTORY_ENTRIES_MAX) if limit else None
    return KvHistory(namespace, key, limit, options.get(tlv.ROUTING_KEY))


def _encode_v1(history: KvHistory) -> Payload:
    options: dict[int, bytes] = {}
    if history.routing_key is not None:
        options[tlv.ROUTING_KEY] = history.routing_key
    if history.limit is not None:
        options[tlv.LIMIT] = u32(history.limit)
    return Payload(history.namespace, history.key, b"", options)


def _encode_entries(history: History) -> bytes:
    return b"".join(
        u64(version) + i64(at_ms) + b32(value) for version, at_ms, value in history.entries
    )


def _read_entries(reader: Reader, count: int) -> History:
    return History(
        tuple(HistoryEntry(reader.u64(), reader.i64(), reader.b32()) for _ in range(count))
    )


def _encode_history_v1(history: History) -> bytes:
    return u32(len(history.entries)) + _encode_entries(history)


def _decode_history_v1(data: bytes, _history: KvHistory) -> History:
    reader = Reader(data)
    return _read_entries(reader, reader.u32())


def _decode_v2(payload: Payload, _value_bytes_max: int) -> KvHistory:
    namespace, key, body, _, _ = payload
    reader = Reader(body)
    limit, routing_key = reader.optional_u32(), reader.optional_b16()
    reader.finish()
    check_key(namespace, key)
    if limit is not None:
        check_range("history limit", limit, least=1, most=HISTORY_ENTRIES_MAX)
    return KvHistory(namespace, key, limit, check_routing_key(routing_key))


def _encode_v2(history: KvHistory) -> Payload:
    body = optional_u32(history.limit) + optional_b16(history.routing_key)
    return Payload(history.namespace, history.key, body)


def _encode_history_v2(history: History) -> bytes:
    return u8(len(history.entries)) + _encode_entries(history)


def _decode_history_v2(data: bytes, _history: KvHistory) -> History:
    reader = Reader(data)
    result = _read_entries(reader, reader.u8())
    reader.finish()
    return result


V1 = Codec(_decode_v1, _encode_v1, _encode_history_v1, _decode_history_v1)
V2 = Codec(_decode_v2, _encode_v2, _encode_history_v2, _decode_history_v2)
