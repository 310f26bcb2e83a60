"""Streams as the official SDKs use them: append, read, info, trim.

The two revisions differ in the value of an append, in how a trim names its bounds, and in which
tiers a record may have. In v1 the value of an append is one payload without headers, as the Go SDK
sends it; our client sends anything more as a batch, in the form of v2, and says so with a tag of
ours.
"""

from __future__ import annotations

from functools import partial

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import refused
from flo.wire.fields import Reader, i64, u32, u64
from flo.wire.limits import check_length, check_stream
from flo.wire.payload import Payload
from flo.wire.status import Reason
from flo.wire.stream_fields import (
    ID,
    U32,
    U64,
    V1_TIER_MAX,
    V2_TIER_MAX,
    Integer,
    check_age_s,
    id_option,
    limit_option,
    pack,
    put_id,
    put_integer,
    put_limit_and_wait,
    put_retention,
    read_batch,
    read_id,
    read_records,
    retention_of,
    wait_option,
    write_batch,
    write_records,
)
from flo.wire.stream_messages import (
    Appended,
    Records,
    Retention,
    StreamAppend,
    StreamId,
    StreamInfo,
    StreamInfoResult,
    StreamItem,
    StreamRead,
    StreamTrim,
    Trimmed,
)


def _append(payload: Payload, records: tuple[StreamItem, ...], integer: Integer) -> StreamAppend:
    namespace, stream, _, options, _ = payload
    partition_key = options.get(tlv.PARTITION_KEY)
    partition = integer(options, tlv.PARTITION, 4)
    return StreamAppend(namespace, stream, records, partition, partition_key)


def _decode_append_v1(payload: Payload, value_bytes_max: int) -> StreamAppend:
    check_stream(payload.namespace, payload.key)
    check_length("value", payload.value, value_bytes_max)
    if not payload.options:
        return StreamAppend(payload.namespace, payload.key, (StreamItem(payload.value),))
    if tlv.BATCH in payload.options:
        records = read_batch(payload.value)
    else:
        records = (StreamItem(payload.value),)
    return _append(payload, records, tlv.integer_option)


def _decode_append_v2(payload: Payload, value_bytes_max: int) -> StreamAppend:
    check_stream(payload.namespace, payload.key)
    check_length("value", payload.value, value_bytes_max)
    return _append(payload, read_batch(payload.value), tlv.exact_option)


def _append_options(append: StreamAppend) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    put_integer(options, tlv.PARTITION, U32, append.partition)
    if append.partition_key is not None:
        options[tlv.PARTITION_KEY] = append.partition_key
    return options


def _encode_append_v1(append: StreamAppend) -> Payload:
    options = _append_options(append)
    if len(append.records) == 1 and not append.records[0].headers:
        value = append.records[0].payload
    else:
        value = write_batch(append.records)
        options[tlv.BATCH] = b""
    return Payload(append.namespace, append.stream, value, options)


def _encode_append_v2(append: StreamAppend) -> Payload:
    value = write_batch(append.records)
    return Payload(append.namespace, append.stream, value, _append_options(append))


def _encode_appended(appended: Appended) -> bytes:
    return u64(appended.id.sequence) + i64(appended.id.timestamp_ms)


def _decode_appended(data: bytes, _append: StreamAppend) -> Appended:
    reader = Reader(data)
    sequence = reader.u64()
    return Appended(StreamId(reader.i64(), sequence))


def _decode_read(integer: Integer, payload: Payload, _value_bytes_max: int) -> StreamRead:
    namespace, stream, _, options, _ = payload
    check_stream(namespace, stream)
    return StreamRead(
        namespace,
        stream,
        id_option(options, tlv.STREAM_START),
        id_option(options, tlv.STREAM_END),
        tlv.TAIL in options,
        integer(options, tlv.PARTITION, 4),
        limit_option(options, integer),
        wait_option(options, integer),
        options.get(tlv.PARTITION_KEY),
    )


def _encode_read(read: StreamRead) -> Payload:
    options: dict[int, bytes] = {}
    if read.tail:
        options[tlv.TAIL] = b""
    put_id(options, tlv.STREAM_START, read.start)
    put_id(options, tlv.STREAM_END, read.end)
    put_integer(options, tlv.PARTITION, U32, read.partition)
    put_limit_and_wait(options, read.limit, read.wait_ms)
    if read.partition_key is not None:
        options[tlv.PARTITION_KEY] = read.partition_key
    return Payload(read.namespace, read.stream, b"", options)


def encode_records(tier_max: int, records: Records) -> bytes:
    return write_records(records.records, tier_max)


def decode_records(tier_max: int, data: bytes, _request: object) -> Records:
    return Records(read_records(Reader(data), tier_max))


def _decode_info(payload: Payload, _value_bytes_max: int) -> StreamInfo:
    check_stream(payload.namespace, payload.key)
    return StreamInfo(payload.namespace, payload.key)


def _encode_info(info: StreamInfo) -> Payload:
    return Payload(info.namespace, info.stream, b"")


def _encode_info_result(info: StreamInfoResult) -> bytes:
    numbers = (u64(info.record_count), u64(info.payload_bytes), u32(info.partitions))
    return b"".join((pack(ID, *info.first), pack(ID, *info.last), *numbers))


def _decode_info_result(data: bytes, _info: StreamInfo) -> StreamInfoResult:
    reader = Reader(data)
    first, last = read_id(reader), read_id(reader)
    return StreamInfoResult(first, last, reader.u64(), reader.u64(), reader.u32())


def _decode_trim(exactly_one: bool, payload: Payload, _value_bytes_max: int) -> StreamTrim:
    namespace, stream, _, options, _ = payload
    check_stream(namespace, stream)
    before = id_option(options, tlv.STREAM_START)
    max_len, max_age_s, max_bytes = retention_of(options)
    max_len = _one_of(max_len, tlv.exact_option(options, tlv.LIMIT, 8))
    max_age_s = _one_of(max_age_s, check_age_s(tlv.exact_option(options, tlv.TRIM_AGE_S, 8)))
    max_bytes = _one_of(max_bytes, tlv.exact_option(options, tlv.TRIM_BYTES, 8))
    given = [bound for bound in (before, max_len, max_age_s, max_bytes) if bound is not None]
    if not given or (exactly_one and len(given) > 1):
        how_many = "exactly one" if exactly_one else "at least one"
        message = f"a trim with {len(given)} bounds: give {how_many} of id, length, age, bytes"
        raise refused(Reason.CONFLICTING_FIELDS, message)
    if 0 in given or before == (0, 0):
        raise refused(Reason.OUT_OF_RANGE, "a trim to 0: the bound must be larger")
    dry_run = tlv.DRY_RUN in options
    return StreamTrim(namespace, stream, before, max_len, max_age_s, max_bytes, dry_run)


def _one_of(bound: int | None, other: int | None) -> int | None:
    """A bound that has two tags: each revision knows both."""
    if bound is not None and other is not None:
        raise refused(Reason.CONFLICTING_FIELDS, "a trim with the same bound twice: give it once")
    return other if bound is None else bound


def _encode_trim_v1(trim: StreamTrim) -> Payload:
    options: dict[int, bytes] = {}
    put_id(options, tlv.STREAM_START, trim.before)
    put_retention(options, Retention(trim.max_len, trim.max_age_s, trim.max_bytes))
    return _trim_payload(trim, options)


def _encode_trim_v2(trim: StreamTrim) -> Payload:
    options: dict[int, bytes] = {}
    put_id(options, tlv.STREAM_START, trim.before)
    put_integer(options, tlv.LIMIT, U64, trim.max_len)
    put_integer(options, tlv.TRIM_AGE_S, U64, trim.max_age_s)
    put_integer(options, tlv.TRIM_BYTES, U64, trim.max_bytes)
    return _trim_payload(trim, options)


def _trim_payload(trim: StreamTrim, options: dict[int, bytes]) -> Payload:
    if trim.dry_run:
        options[tlv.DRY_RUN] = b""
    return Payload(trim.namespace, trim.stream, b"", options)


def _encode_trimmed(trimmed: Trimmed) -> bytes:
    return u64(trimmed.removed) + u64(trimmed.first_sequence)


def _decode_trimmed(data: bytes, _trim: StreamTrim) -> Trimmed:
    reader = Reader(data)
    return Trimmed(reader.u64(), reader.u64())


APPEND_V1 = Codec(_decode_append_v1, _encode_append_v1, _encode_appended, _decode_appended)
APPEND_V2 = Codec(_decode_append_v2, _encode_append_v2, _encode_appended, _decode_appended)
READ_V1 = Codec(
    partial(_decode_read, tlv.integer_option),
    _encode_read,
    partial(encode_records, V1_TIER_MAX),
    partial(decode_records, V1_TIER_MAX),
)
READ_V2 = Codec(
    partial(_decode_read, tlv.exact_option),
    _encode_read,
    partial(encode_records, V2_TIER_MAX),
    partial(decode_records, V2_TIER_MAX),
)
# The same in both revisions.
INFO = Codec(_decode_info, _encode_info, _encode_info_result, _decode_info_result)
TRIM_V1 = Codec(partial(_decode_trim, False), _encode_trim_v1, _encode_trimmed, _decode_trimmed)
TRIM_V2 = Codec(partial(_decode_trim, True), _encode_trim_v2, _encode_trimmed, _decode_trimmed)
