"""JSON documents, in both revisions.

              v1 value                      v2 body
    get       path, to the end              ?path:b16 ?routing_key:b16
    set       path:b16 document to the end  ?path:b16 document:b32 ?routing_key:b16
    delete    path, to the end              ?path:b16 ?routing_key:b16

The answers are those of the plain get and put. A delete that leaves nothing has no version: v1
answers an empty body, v2 an absent field. Paths are not looked into here.
"""

from __future__ import annotations

from typing import TypeVar

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import LocalProtocolError
from flo.wire.fields import Reader, b16, b32, optional_b16, optional_u64, u64
from flo.wire.kv_messages import KvJsonDelete, KvJsonGet, KvJsonSet
from flo.wire.limits import (
    JSON_PATH_BYTES_MAX,
    V2_DOCUMENT_BYTES_MAX,
    check_key,
    check_length,
    check_routing_key,
)
from flo.wire.messages import Stored, Value
from flo.wire.payload import Payload

_P = TypeVar("_P", KvJsonGet, KvJsonDelete)


def _routing_options(routing_key: bytes | None) -> tlv.Options:
    return tlv.NO_OPTIONS if routing_key is None else {tlv.ROUTING_KEY: routing_key}


def _check(payload: Payload, path: bytes) -> None:
    check_key(payload.namespace, payload.key)
    check_length("JSON path", path, JSON_PATH_BYTES_MAX)
    tlv.refuse_transaction(payload.options)


# --- v1 ---


def _decode_path_v1(kind: type[_P], payload: Payload) -> _P:
    namespace, key, path, options, _ = payload
    _check(payload, path)
    return kind(namespace, key, path, options.get(tlv.ROUTING_KEY))


def _decode_get_v1(payload: Payload, _value_bytes_max: int) -> KvJsonGet:
    return _decode_path_v1(KvJsonGet, payload)


def _decode_delete_v1(payload: Payload, _value_bytes_max: int) -> KvJsonDelete:
    return _decode_path_v1(KvJsonDelete, payload)


def _encode_path_v1(request: KvJsonGet | KvJsonDelete) -> Payload:
    options = _routing_options(request.routing_key)
    return Payload(request.namespace, request.key, request.path, options)


def _decode_set_v1(payload: Payload, value_bytes_max: int) -> KvJsonSet:
    namespace, key, value, options, _ = payload
    reader = Reader(value)
    path, document = reader.b16(), reader.rest()
    _check(payload, path)
    check_length("JSON document", document, value_bytes_max)
    return KvJsonSet(namespace, key, path, document, options.get(tlv.ROUTING_KEY))


def _encode_set_v1(request: KvJsonSet) -> Payload:
    value = b16(request.path) + request.document
    options = _routing_options(request.routing_key)
    return Payload(request.namespace, request.key, value, options)


def _encode_value_v1(value: Value) -> bytes:
    return u64(value.version) + value.value


def _decode_value_v1(data: bytes, _get: KvJsonGet) -> Value:
    reader = Reader(data)
    return Value(reader.u64(), reader.rest())


def _encode_stored_v1(stored: Stored) -> bytes:
    return b"" if stored.version is None else u64(stored.version)


def _decode_stored_v1(data: bytes, _request: KvJsonSet | KvJsonDelete) -> Stored:
    return Stored(Reader(data).u64() if data else None)


# --- v2 ---


def _decode_path_v2(kind: type[_P], payload: Payload) -> _P:
    reader = Reader(payload.value)
    path, routing_key = reader.optional_b16() or b"", reader.optional_b16()
    reader.finish()
    _check(payload, path)
    return kind(payload.namespace, payload.key, path, check_routing_key(routing_key))


def _decode_get_v2(payload: Payload, _value_bytes_max: int) -> KvJsonGet:
    return _decode_path_v2(KvJsonGet, payload)


def _decode_delete_v2(payload: Payload, _value_bytes_max: int) -> KvJsonDelete:
    return _decode_path_v2(KvJsonDelete, payload)


def _encode_path_v2(request: KvJsonGet | KvJsonDelete) -> Payload:
    body = optional_b16(request.path or None) + optional_b16(request.routing_key)
    return Payload(request.namespace, request.key, body)


def _decode_set_v2(payload: Payload, value_bytes_max: int) -> KvJsonSet:
    reader = Reader(payload.value)
    path, document = reader.optional_b16() or b"", reader.b32()
    routing_key = reader.optional_b16()
    reader.finish()
    _check(payload, path)
    check_length("JSON document", document, min(value_bytes_max, V2_DOCUMENT_BYTES_MAX))
    check_routing_key(routing_key)
    return KvJsonSet(payload.namespace, payload.key, path, document, routing_key)


def _encode_set_v2(request: KvJsonSet) -> Payload:
    body = (
        optional_b16(request.path or None),
        b32(request.document),
        optional_b16(request.routing_key),
    )
    return Payload(request.namespace, request.key, b"".join(body))


def _encode_value_v2(value: Value) -> bytes:
    return u64(value.version) + b32(value.value)


def _decode_value_v2(data: bytes, _get: KvJsonGet) -> Value:
    reader = Reader(data)
    value = Value(reader.u64(), reader.b32())
    reader.finish()
    return value


def _encode_set_version(stored: Stored) -> bytes:
    if stored.version is None:
        raise LocalProtocolError("v2 answers a JSON set with its version: there is always one")
    return u64(stored.version)


def _decode_set_version(data: bytes, _set: KvJsonSet) -> Stored:
    reader = Reader(data)
    stored = Stored(reader.u64())
    reader.finish()
    return stored


def _encode_left_version(stored: Stored) -> bytes:
    return optional_u64(stored.version)


def _decode_left_version(data: bytes, _delete: KvJsonDelete) -> Stored:
    reader = Reader(data)
    stored = Stored(reader.optional_u64())
    reader.finish()
    return stored


GET_V1 = Codec(_decode_get_v1, _encode_path_v1, _encode_value_v1, _decode_value_v1)
SET_V1 = Codec(_decode_set_v1, _encode_set_v1, _encode_stored_v1, _decode_stored_v1)
DELETE_V1 = Codec(_decode_delete_v1, _encode_path_v1, _encode_stored_v1, _decode_stored_v1)
GET_V2 = Codec(_decode_get_v2, _encode_path_v2, _encode_value_v2, _decode_value_v2)
SET_V2 = Codec(_decode_set_v2, _encode_set_v2, _encode_set_version, _decode_set_version)
DELETE_V2 = Codec(_decode_delete_v2, _encode_path_v2, _encode_left_version, _decode_left_version)
