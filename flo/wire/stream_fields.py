"""What several operations of streams and groups have in common: ids, records, names, options.

Ids are two big-endian u64 inside options, and little-endian everywhere else. An integer option of
another width is ignored in v1, as the original does, and refused in v2: `Integer` says which.
Bounds and ids are never ignored: that would trim too much, or read the wrong records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import TypeAlias

from flo.wire import tlv
from flo.wire.errors import LocalProtocolError, refused
from flo.wire.fields import Reader, b16, b32, u16, u32
from flo.wire.limits import (
    APPEND_RECORDS_MAX,
    GROUP_NAME_BYTES_MAX,
    READ_LIMIT_MAX,
    RETENTION_AGE_S_MAX,
    check_length,
    check_range,
    check_wait_ms,
)
from flo.wire.status import Reason
from flo.wire.stream_messages import (
    READ_LIMIT_DEFAULT,
    Headers,
    Retention,
    StreamId,
    StreamItem,
    StreamRecord,
)

Integer: TypeAlias = Callable[[tlv.Options, int, int], int | None]

ID = Struct("<QQ")
_ID_IN_OPTION = Struct(">QQ")
# Without the presence byte of the name, which follows.
_RECORD_HEAD = Struct("<QqBI")
U8 = Struct("<B")
U16 = Struct("<H")
U32 = Struct("<I")
U64 = Struct("<Q")

# v1 knows four tiers, and clients of v2 refuse all but the first two.
V1_TIER_MAX = 3
V2_TIER_MAX = 1


def pack(layout: Struct, *values: int) -> bytes:
    """Integers one after the other. Raises `LocalProtocolError` when one does not fit."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise LocalProtocolError(f"{values}: a number does not fit its field: {error}") from error


def check_text(field: str, text: bytes) -> bytes:
    """Official SDKs lose a whole answer to one text in it that is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise refused(Reason.MALFORMED, f"{field} is not UTF-8") from error
    return text


def check_name(field: str, name: bytes) -> bytes:
    """The name of a group or consumer: 1 to 255 bytes of UTF-8 without a NUL."""
    if not name:
        raise refused(Reason.MALFORMED, f"{field} is empty")
    check_length(field, name, GROUP_NAME_BYTES_MAX)
    if b"\x00" in name:
        raise refused(Reason.MALFORMED, f"{field} contains a NUL byte")
    return check_text(field, name)


# --- options ---


def id_option(options: tlv.Options, tag: int) -> StreamId | None:
    value = options.get(tag)
    if value is None:
        return None
    if len(value) != _ID_IN_OPTION.size:
        raise refused(Reason.MALFORMED, f"stream id of {len(value)} bytes: 16 expected")
    return StreamId(*_ID_IN_OPTION.unpack(value))


def put_id(options: dict[int, bytes], tag: int, value: StreamId | None) -> None:
    if value is not None:
        options[tag] = pack(_ID_IN_OPTION, *value)


def put_integer(options: dict[int, bytes], tag: int, layout: Struct, value: int | None) -> None:
    if value is not None:
        options[tag] = pack(layout, value)


def limit_of(wanted: int | None) -> int:
    """How many records to give: 0 wanted is the default, and more than the most is the most."""
    return min(wanted or READ_LIMIT_DEFAULT, READ_LIMIT_MAX)


def limit_option(options: tlv.Options, integer: Integer) -> int:
    wanted = integer(options, tlv.COUNT, 4)
    return limit_of(integer(options, tlv.LIMIT, 4) if wanted is None else wanted)


def wait_option(options: tlv.Options, integer: Integer) -> int:
    return check_wait_ms(integer(options, tlv.BLOCK_MS, 4) or 0)


def put_limit_and_wait(options: dict[int, bytes], limit: int, wait_ms: int) -> None:
    put_integer(options, tlv.COUNT, U32, None if limit == READ_LIMIT_DEFAULT else limit)
    put_integer(options, tlv.BLOCK_MS, U32, wait_ms or None)


def retention_of(options: tlv.Options) -> Retention:
    """The bounds of a stream, in the tags of create, alter and v1's trim."""
    return Retention(
        tlv.exact_option(options, tlv.RETAIN_LEN, 8),
        check_age_s(tlv.exact_option(options, tlv.RETAIN_AGE_S, 8)),
        tlv.exact_option(options, tlv.RETAIN_BYTES, 8),
    )


def check_age_s(age_s: int | None) -> int | None:
    if age_s is not None:
        check_range("age in seconds", age_s, least=0, most=RETENTION_AGE_S_MAX)
    return age_s


def put_retention(options: dict[int, bytes], retention: Retention) -> None:
    put_integer(options, tlv.RETAIN_LEN, U64, retention.max_len)
    put_integer(options, tlv.RETAIN_AGE_S, U64, retention.max_age_s)
    put_integer(options, tlv.RETAIN_BYTES, U64, retention.max_bytes)


# --- ids ---


def read_id(reader: Reader) -> StreamId:
    return StreamId(*reader.integers(ID))


def read_ids(reader: Reader) -> tuple[StreamId, ...]:
    packed = reader.bytes_of(reader.u32() * ID.size)
    return tuple(StreamId(*pair) for pair in ID.iter_unpack(packed))


def write_ids(ids: tuple[StreamId, ...]) -> bytes:
    return u32(len(ids)) + b"".join(pack(ID, *one) for one in ids)


# --- batches ---


def read_batch(value: bytes) -> tuple[StreamItem, ...]:
    """The records of an append."""
    reader = Reader(value)
    count = reader.u32()
    check_range("number of records", count, least=1, most=APPEND_RECORDS_MAX)
    items = tuple(_read_item(reader) for _ in range(count))
    reader.finish()
    for item in items:
        for name, text in item.headers:
            check_text("header name", name)
            check_text("header value", text)
    return items


def _read_item(reader: Reader) -> StreamItem:
    payload = reader.b32()
    return StreamItem(payload, tuple((reader.b16(), reader.b16()) for _ in range(reader.u16())))


def write_batch(items: tuple[StreamItem, ...]) -> bytes:
    parts = [u32(len(items))]
    for payload, headers in items:
        parts += (b32(payload), u16(len(headers)))
        for name, text in headers:
            parts += (b16(name), b16(text))
    return b"".join(parts)


# --- records ---


def read_records(reader: Reader, tier_max: int) -> tuple[StreamRecord, ...]:
    return tuple(_read_record(reader, tier_max) for _ in range(reader.u32()))


def _read_record(reader: Reader, tier_max: int) -> StreamRecord:
    sequence, timestamp_ms, tier, partition = reader.integers(_RECORD_HEAD)
    check_range("tier of a record", tier, least=0, most=tier_max)
    stream = reader.b32() if reader.flag() else b""
    payload = reader.b32()
    headers: Headers = tuple((reader.b32(), reader.b32()) for _ in range(reader.u32()))
    return StreamRecord(StreamId(timestamp_ms, sequence), payload, headers, partition, tier, stream)


def write_records(records: tuple[StreamRecord, ...], tier_max: int) -> bytes:
    parts = [u32(len(records))]
    for (timestamp_ms, sequence), payload, headers, partition, tier, stream in records:
        if tier > tier_max:
            raise LocalProtocolError(f"tier {tier} of a record: at most {tier_max} can be said")
        head = pack(_RECORD_HEAD, sequence, timestamp_ms, tier, partition)
        name = b"\x01" + b32(stream) if stream else b"\x00"
        parts += (head, name, b32(payload), u32(len(headers)))
        for header, text in headers:
            parts += (b32(header), b32(text))
    return b"".join(parts)
