"""Consumer groups as the official SDKs use them: join, leave, read, ack, nack, claim, pending.

The key is the stream, and every value begins with `group:b16`. A v1 nack says its delay in an
option, which v2 reads too. Ack, nack and touch may have an empty consumer, as the Go SDK's worker
sends it.
"""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import TypeVar

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.fields import Reader, b16, u32
from flo.wire.group_messages import (
    Claimed,
    GroupAck,
    GroupBody,
    GroupClaim,
    GroupJoin,
    GroupLeave,
    GroupNack,
    GroupPending,
    GroupRead,
    PendingEntry,
    PendingList,
)
from flo.wire.limits import check_stream
from flo.wire.messages import Done
from flo.wire.payload import Payload
from flo.wire.stream import decode_records, encode_records
from flo.wire.stream_fields import (
    ID,
    U32,
    V1_TIER_MAX,
    V2_TIER_MAX,
    Integer,
    check_name,
    limit_of,
    limit_option,
    pack,
    put_integer,
    put_limit_and_wait,
    read_id,
    read_ids,
    read_records,
    wait_option,
    write_ids,
    write_records,
)
from flo.wire.stream_messages import (
    StreamId,
)

_CLAIM = Struct("<IQQI")
# The cursor of a claim that has seen everything.
_SEEN_ALL = StreamId((1 << 64) - 1, (1 << 64) - 1)

_Member = TypeVar("_Member", GroupJoin, GroupLeave)


def read_group(payload: Payload) -> tuple[bytes, bytes, bytes, Reader]:
    """Namespace, stream, group, and the rest of the value."""
    check_stream(payload.namespace, payload.key)
    reader = Reader(payload.value)
    return payload.namespace, payload.key, check_name("group name", reader.b16()), reader


def read_acked(payload: Payload) -> tuple[bytes, bytes, bytes, bytes, tuple[StreamId, ...]]:
    """What an ack is made of: namespace, stream, group, consumer, ids."""
    namespace, stream, group, reader = read_group(payload)
    consumer = reader.b16()
    if consumer:
        check_name("consumer name", consumer)
    ids = read_ids(reader)
    reader.finish()
    return namespace, stream, group, consumer, ids


def _read_member(payload: Payload) -> tuple[bytes, bytes, bytes, bytes]:
    namespace, stream, group, reader = read_group(payload)
    consumer = check_name("consumer name", reader.b16())
    reader.finish()
    return namespace, stream, group, consumer


def _decode_member(request: type[_Member], payload: Payload, _value_bytes_max: int) -> _Member:
    return request(*_read_member(payload))


def _encode_member(request: GroupJoin | GroupLeave) -> Payload:
    value = b16(request.group) + b16(request.consumer)
    return Payload(request.namespace, request.stream, value)


def encode_done(_done: Done) -> bytes:
    return b""


def decode_done(_data: bytes, _request: GroupBody) -> Done:
    return Done()


def _decode_read(integer: Integer, payload: Payload, _value_bytes_max: int) -> GroupRead:
    options = payload.options
    count, wait_ms = limit_option(options, integer), wait_option(options, integer)
    return GroupRead(*_read_member(payload), count, wait_ms)


def _encode_read(read: GroupRead) -> Payload:
    options: dict[int, bytes] = {}
    put_limit_and_wait(options, read.limit, read.wait_ms)
    return Payload(read.namespace, read.stream, b16(read.group) + b16(read.consumer), options)


def _decode_ack(payload: Payload, _value_bytes_max: int) -> GroupAck:
    return GroupAck(*read_acked(payload))


def _encode_ack(ack: GroupAck) -> Payload:
    value = b16(ack.group) + b16(ack.consumer) + write_ids(ack.ids)
    return Payload(ack.namespace, ack.stream, value)


def _decode_nack(integer: Integer, payload: Payload, _value_bytes_max: int) -> GroupNack:
    delay_ms = integer(payload.options, tlv.REDELIVERY_DELAY_MS, 4) or 0
    return GroupNack(*read_acked(payload), delay_ms)


def _encode_nack(nack: GroupNack) -> Payload:
    value = b16(nack.group) + b16(nack.consumer) + write_ids(nack.ids)
    options: dict[int, bytes] = {}
    put_integer(options, tlv.REDELIVERY_DELAY_MS, U32, nack.delay_ms or None)
    return Payload(nack.namespace, nack.stream, value, options)


def _decode_claim(payload: Payload, _value_bytes_max: int) -> GroupClaim:
    namespace, stream, group, reader = read_group(payload)
    consumer = check_name("consumer name", reader.b16())
    min_idle_ms, start, count = reader.u32(), read_id(reader), reader.u32()
    reader.finish()
    return GroupClaim(namespace, stream, group, consumer, min_idle_ms, start, limit_of(count))


def _encode_claim(claim: GroupClaim) -> Payload:
    where = pack(_CLAIM, claim.min_idle_ms, *claim.start, claim.limit)
    value = b16(claim.group) + b16(claim.consumer) + where
    return Payload(claim.namespace, claim.stream, value)


def _encode_claimed(tier_max: int, claimed: Claimed) -> bytes:
    cursor = _SEEN_ALL if claimed.cursor is None else claimed.cursor
    return write_records(claimed.records, tier_max) + pack(ID, *cursor)


def _decode_claimed(tier_max: int, data: bytes, _claim: GroupClaim) -> Claimed:
    reader = Reader(data)
    records, cursor = read_records(reader, tier_max), read_id(reader)
    return Claimed(records, None if cursor == _SEEN_ALL else cursor)


def _decode_pending(payload: Payload, _value_bytes_max: int) -> GroupPending:
    namespace, stream, group, reader = read_group(payload)
    consumer = reader.b16() if reader.left else b""
    reader.finish()
    if not consumer:
        return GroupPending(namespace, stream, group)
    return GroupPending(namespace, stream, group, check_name("consumer name", consumer))


def _encode_pending(pending: GroupPending) -> Payload:
    consumer = b"" if pending.consumer is None else b16(pending.consumer)
    return Payload(pending.namespace, pending.stream, b16(pending.group) + consumer)


def _encode_entries(pending: PendingList) -> bytes:
    parts = [u32(len(pending.entries))]
    for entry_id, delivery_count, consumer in pending.entries:
        parts += (pack(ID, *entry_id), u32(delivery_count), b16(consumer))
    return b"".join(parts)


def _decode_entries(data: bytes, _pending: GroupPending) -> PendingList:
    reader = Reader(data)
    return PendingList(
        tuple(
            PendingEntry(read_id(reader), reader.u32(), reader.b16()) for _ in range(reader.u32())
        )
    )


# One codec is the same in both revisions.
JOIN = Codec(partial(_decode_member, GroupJoin), _encode_member, encode_done, decode_done)
LEAVE = Codec(partial(_decode_member, GroupLeave), _encode_member, encode_done, decode_done)
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
ACK = Codec(_decode_ack, _encode_ack, encode_done, decode_done)
NACK_V1 = Codec(partial(_decode_nack, tlv.integer_option), _encode_nack, encode_done, decode_done)
NACK_V2 = Codec(partial(_decode_nack, tlv.exact_option), _encode_nack, encode_done, decode_done)
CLAIM_V1 = Codec(
    _decode_claim,
    _encode_claim,
    partial(_encode_claimed, V1_TIER_MAX),
    partial(_decode_claimed, V1_TIER_MAX),
)
CLAIM_V2 = Codec(
    _decode_claim,
    _encode_claim,
    partial(_encode_claimed, V2_TIER_MAX),
    partial(_decode_claimed, V2_TIER_MAX),
)
PENDING = Codec(_decode_pending, _encode_pending, _encode_entries, _decode_entries)
