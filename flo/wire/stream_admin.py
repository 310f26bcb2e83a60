"""The operations on whole streams that no official SDK sends (v1 frames). Key: the stream.

    create   value    partitions:u32, or empty for 1
             options  0x29 0x2A 0x2B: the bounds
    alter    options  the same; 0 lifts a bound
    delete   options  0x2C: force
             answer   empty, or status "not found"
    list     key      prefix
             value    limit:u32 (0: the default), then the cursor
             answer   count:u32 stream* has_more:u8 cursor:b16

A stream is `name:b16 count:u64 bytes:u64 partitions:u32 last_ts:u64 last_seq:u64`. The codes of all
four, and the value and options of create, are the protocol's; the other layouts are ours.
"""

from __future__ import annotations

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import refused
from flo.wire.fields import Reader, b16, flag, u32, u64
from flo.wire.limits import (
    STREAM_LIST_LIMIT_MAX,
    STREAM_PARTITIONS_MAX,
    V1_CURSOR_BYTES_MAX,
    check_length,
    check_prefix,
    check_range,
    check_stream,
)
from flo.wire.messages import Deleted, Done
from flo.wire.payload import Payload
from flo.wire.status import Reason
from flo.wire.stream_fields import ID, pack, put_retention, read_id, retention_of
from flo.wire.stream_messages import (
    StreamAlter,
    StreamCreate,
    StreamDelete,
    StreamList,
    StreamListing,
    StreamSummary,
)


def _decode_create(payload: Payload, _value_bytes_max: int) -> StreamCreate:
    namespace, stream, value, options, _ = payload
    check_stream(namespace, stream)
    if len(value) not in (0, 4):
        raise refused(
            Reason.MALFORMED, f"number of partitions of {len(value)} bytes: 0 or 4 expected"
        )
    partitions = int.from_bytes(value, "little") if value else 1
    check_range("number of partitions", partitions, least=1, most=STREAM_PARTITIONS_MAX)
    return StreamCreate(namespace, stream, partitions, retention_of(options))


def _encode_create(create: StreamCreate) -> Payload:
    options: dict[int, bytes] = {}
    put_retention(options, create.retention)
    return Payload(create.namespace, create.stream, u32(create.partitions), options)


def _decode_alter(payload: Payload, _value_bytes_max: int) -> StreamAlter:
    check_stream(payload.namespace, payload.key)
    return StreamAlter(payload.namespace, payload.key, retention_of(payload.options))


def _encode_alter(alter: StreamAlter) -> Payload:
    options: dict[int, bytes] = {}
    put_retention(options, alter.retention)
    return Payload(alter.namespace, alter.stream, b"", options)


def _encode_nothing(_result: Done | Deleted) -> bytes:
    return b""


def _decode_done(_data: bytes, _request: StreamCreate | StreamAlter) -> Done:
    return Done()


def _decode_delete(payload: Payload, _value_bytes_max: int) -> StreamDelete:
    check_stream(payload.namespace, payload.key)
    return StreamDelete(payload.namespace, payload.key, tlv.FORCE in payload.options)


def _encode_delete(delete: StreamDelete) -> Payload:
    options = {tlv.FORCE: b""} if delete.force else tlv.NO_OPTIONS
    return Payload(delete.namespace, delete.stream, b"", options)


def _decode_deleted(_data: bytes, _delete: StreamDelete) -> Deleted:
    return Deleted(True)


def _decode_list(payload: Payload, _value_bytes_max: int) -> StreamList:
    namespace, prefix, value, _, _ = payload
    check_prefix(namespace, prefix)
    limit, cursor = 0, b""
    if value:
        reader = Reader(value)
        limit, cursor = reader.u32(), reader.rest()
    check_range("limit", limit, least=0, most=STREAM_LIST_LIMIT_MAX)
    check_length("cursor", cursor, V1_CURSOR_BYTES_MAX)
    return StreamList(namespace, prefix, limit or None, cursor)


def _encode_list(request: StreamList) -> Payload:
    return Payload(request.namespace, request.prefix, u32(request.limit or 0) + request.cursor)


def _encode_listing(listing: StreamListing) -> bytes:
    parts = [u32(len(listing.streams))]
    for name, record_count, payload_bytes, partitions, last in listing.streams:
        parts += (
            b16(name),
            u64(record_count),
            u64(payload_bytes),
            u32(partitions),
            pack(ID, *last),
        )
    parts += (flag(listing.cursor is not None), b16(listing.cursor or b""))
    return b"".join(parts)


def _decode_listing(data: bytes, _request: StreamList) -> StreamListing:
    reader = Reader(data)
    streams = tuple(_read_summary(reader) for _ in range(reader.u32()))
    has_more, cursor = reader.flag(), reader.b16()
    return StreamListing(streams, cursor if has_more else None)


def _read_summary(reader: Reader) -> StreamSummary:
    name, record_count, payload_bytes = reader.b16(), reader.u64(), reader.u64()
    return StreamSummary(name, record_count, payload_bytes, reader.u32(), read_id(reader))


CREATE = Codec(_decode_create, _encode_create, _encode_nothing, _decode_done)
ALTER = Codec(_decode_alter, _encode_alter, _encode_nothing, _decode_done)
DELETE = Codec(_decode_delete, _encode_delete, _encode_nothing, _decode_deleted, Deleted(False))
LIST = Codec(_decode_list, _encode_list, _encode_listing, _decode_listing)
