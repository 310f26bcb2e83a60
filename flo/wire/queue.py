"""The queue operations of the official SDKs: v1 and v2 carry them in options, almost alike.

Both revisions read every option, also those that only one of the SDKs sends. v1 ignores an integer
of an unexpected width, v2 refuses it. Messages are

    v1       count:u32 (sequence:u64 payload:b32)*
    to us    the same, then (enqueued_at_ms:i64 delivery_count:u32 priority:u8)*
    v2       count:u32 (sequence:u64 payload:b32 enqueued_at_ms:i64 delivery_count:u32 priority:u8)*

where "to us" is an extended answer. Bytes after all that are ignored. `touch` says how long in the
option of dequeue's visibility timeout, which official clients do not send there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.fields import Reader, b32, i64, u8, u32, u64
from flo.wire.limits import (
    QUEUE_COUNT_MAX,
    QUEUE_DLQ_LIMIT_MAX,
    QUEUE_SEQUENCES_MAX,
    check_delay_ms,
    check_length,
    check_queue,
    check_range,
    check_wait_ms,
)
from flo.wire.messages import Done
from flo.wire.payload import Payload
from flo.wire.queue_messages import (
    Enqueued,
    QueueAck,
    QueueBody,
    QueueDequeue,
    QueueDlqList,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueMessage,
    QueueMessages,
    QueueNack,
    QueuePeek,
    QueueTouch,
)

_DETAILS_BYTES = 13

# Reads an integer option of a width; None when it is absent.
_Option: TypeAlias = Callable[[tlv.Options, int, int], "int | None"]


def _decode_enqueue(option: _Option, payload: Payload, value_bytes_max: int) -> QueueEnqueue:
    namespace, queue, message, options, _ = payload
    check_queue(namespace, queue)
    check_length("payload", message, value_bytes_max)
    if not options:
        return QueueEnqueue(namespace, queue, message)
    return QueueEnqueue(
        namespace,
        queue,
        message,
        option(options, tlv.PRIORITY, 1) or 0,
        check_delay_ms(option(options, tlv.DELAY_MS, 8) or 0),
        options.get(tlv.DEDUP_KEY) or None,
    )


def _encode_enqueue(enqueue: QueueEnqueue) -> Payload:
    options: dict[int, bytes] = {}
    if enqueue.priority:
        options[tlv.PRIORITY] = u8(enqueue.priority)
    if enqueue.delay_ms:
        options[tlv.DELAY_MS] = u64(enqueue.delay_ms)
    if enqueue.dedup_key:
        options[tlv.DEDUP_KEY] = enqueue.dedup_key
    return Payload(enqueue.namespace, enqueue.queue, enqueue.payload, options)


def _encode_enqueued(enqueued: Enqueued) -> bytes:
    return u64(enqueued.sequence)


def _decode_enqueued(data: bytes, _enqueue: QueueEnqueue) -> Enqueued:
    reader = Reader(data)
    enqueued = Enqueued(reader.u64())
    reader.finish()
    return enqueued


def _count(option: _Option, options: tlv.Options, most: int) -> int | None:
    """How many messages are asked for; 0 is as good as nothing said."""
    count = option(options, tlv.COUNT, 4)
    if count is None:
        count = option(options, tlv.LIMIT, 4)
    if not count:
        return None
    check_range("number of messages", count, least=1, most=most)
    return count


def _decode_dequeue(option: _Option, payload: Payload, _value_bytes_max: int) -> QueueDequeue:
    namespace, queue, _, options, _ = payload
    check_queue(namespace, queue)
    return QueueDequeue(
        namespace,
        queue,
        _count(option, options, QUEUE_COUNT_MAX) or 1,
        check_wait_ms(option(options, tlv.BLOCK_MS, 4) or 0),
        option(options, tlv.VISIBILITY_MS, 4) or None,
    )


def _encode_dequeue(dequeue: QueueDequeue) -> Payload:
    options = {tlv.COUNT: u32(dequeue.count)}
    if dequeue.visibility_ms:
        options[tlv.VISIBILITY_MS] = u32(dequeue.visibility_ms)
    if dequeue.wait_ms:
        options[tlv.BLOCK_MS] = u32(dequeue.wait_ms)
    return Payload(dequeue.namespace, dequeue.queue, b"", options)


def _decode_peek(option: _Option, payload: Payload, _value_bytes_max: int) -> QueuePeek:
    namespace, queue, _, options, _ = payload
    check_queue(namespace, queue)
    return QueuePeek(namespace, queue, _count(option, options, QUEUE_COUNT_MAX) or 1)


def _encode_peek(peek: QueuePeek) -> Payload:
    return Payload(peek.namespace, peek.queue, b"", {tlv.COUNT: u32(peek.count)})


def _decode_dlq_list(option: _Option, payload: Payload, _value_bytes_max: int) -> QueueDlqList:
    namespace, queue, _, options, _ = payload
    check_queue(namespace, queue)
    return QueueDlqList(namespace, queue, _count(option, options, QUEUE_DLQ_LIMIT_MAX))


def _encode_dlq_list(listing: QueueDlqList) -> Payload:
    options = tlv.NO_OPTIONS if listing.limit is None else {tlv.LIMIT: u32(listing.limit)}
    return Payload(listing.namespace, listing.queue, b"", options)


def _encode_plain_messages(result: QueueMessages) -> bytes:
    parts = [u32(len(result.messages))]
    for message in result.messages:
        parts += (u64(message.sequence), b32(message.payload))
    return b"".join(parts)


def _encode_details(message: QueueMessage) -> bytes:
    return i64(message.enqueued_at_ms) + u32(message.delivery_count) + u8(message.priority)


def _encode_messages_to_us(result: QueueMessages) -> bytes:
    return _encode_plain_messages(result) + b"".join(map(_encode_details, result.messages))


def _decode_messages_v1(data: bytes, _request: QueueBody) -> QueueMessages:
    reader = Reader(data)
    plain = [(reader.u64(), reader.b32()) for _ in range(reader.u32())]
    if reader.left != len(plain) * _DETAILS_BYTES:
        return QueueMessages(tuple(QueueMessage(*message, 0, 0, 0) for message in plain))
    return QueueMessages(
        tuple(QueueMessage(*message, reader.i64(), reader.u32(), reader.u8()) for message in plain)
    )


def _encode_messages_v2(result: QueueMessages) -> bytes:
    parts = [u32(len(result.messages))]
    for message in result.messages:
        parts += (u64(message.sequence), b32(message.payload), _encode_details(message))
    return b"".join(parts)


def _decode_messages_v2(data: bytes, _request: QueueBody) -> QueueMessages:
    reader = Reader(data)
    return QueueMessages(
        tuple(
            QueueMessage(reader.u64(), reader.b32(), reader.i64(), reader.u32(), reader.u8())
            for _ in range(reader.u32())
        )
    )


def _read_sequences(payload: Payload) -> tuple[bytes, bytes, tuple[int, ...]]:
    check_queue(payload.namespace, payload.key)
    reader = Reader(payload.value)
    count = reader.u32()
    check_range("number of sequences", count, least=0, most=QUEUE_SEQUENCES_MAX)
    sequences = tuple(reader.u64() for _ in range(count))
    reader.finish()
    return payload.namespace, payload.key, sequences


def _encode_sequences(
    request: QueueAck | QueueNack | QueueTouch | QueueDlqRequeue,
    options: tlv.Options = tlv.NO_OPTIONS,
) -> Payload:
    value = u32(len(request.sequences)) + b"".join(map(u64, request.sequences))
    return Payload(request.namespace, request.queue, value, options)


def _decode_ack(payload: Payload, _value_bytes_max: int) -> QueueAck:
    return QueueAck(*_read_sequences(payload))


def _decode_nack(option: _Option, payload: Payload, _value_bytes_max: int) -> QueueNack:
    to_dead_letter = option(payload.options, tlv.TO_DEAD_LETTER, 1) or 0
    return QueueNack(*_read_sequences(payload), to_dead_letter > 0)


def _encode_nack(nack: QueueNack) -> Payload:
    options = {tlv.TO_DEAD_LETTER: b"\x01"} if nack.to_dead_letter else tlv.NO_OPTIONS
    return _encode_sequences(nack, options)


def _decode_touch(payload: Payload, _value_bytes_max: int) -> QueueTouch:
    extend_ms = tlv.integer_option(payload.options, tlv.VISIBILITY_MS, 4) or None
    return QueueTouch(*_read_sequences(payload), extend_ms)


def _encode_touch(touch: QueueTouch) -> Payload:
    options = {tlv.VISIBILITY_MS: u32(touch.extend_ms)} if touch.extend_ms else tlv.NO_OPTIONS
    return _encode_sequences(touch, options)


def _decode_dlq_requeue(payload: Payload, _value_bytes_max: int) -> QueueDlqRequeue:
    return QueueDlqRequeue(*_read_sequences(payload))


def _encode_done(_done: Done) -> bytes:
    return b""


def _decode_done(_data: bytes, _request: QueueBody) -> Done:
    return Done()


_v1 = tlv.integer_option
_v2 = tlv.exact_option

ENQUEUE_V1 = Codec(
    partial(_decode_enqueue, _v1), _encode_enqueue, _encode_enqueued, _decode_enqueued
)
ENQUEUE_V2 = ENQUEUE_V1._replace(decode_request=partial(_decode_enqueue, _v2))
DEQUEUE_V1 = Codec(
    partial(_decode_dequeue, _v1),
    _encode_dequeue,
    _encode_plain_messages,
    _decode_messages_v1,
    encode_extended=_encode_messages_to_us,
)
DEQUEUE_V2 = Codec(
    partial(_decode_dequeue, _v2), _encode_dequeue, _encode_messages_v2, _decode_messages_v2
)
PEEK_V1 = Codec(
    partial(_decode_peek, _v1),
    _encode_peek,
    _encode_plain_messages,
    _decode_messages_v1,
    encode_extended=_encode_messages_to_us,
)
PEEK_V2 = Codec(partial(_decode_peek, _v2), _encode_peek, _encode_messages_v2, _decode_messages_v2)
DLQ_LIST_V1 = Codec(
    partial(_decode_dlq_list, _v1),
    _encode_dlq_list,
    _encode_plain_messages,
    _decode_messages_v1,
    encode_extended=_encode_messages_to_us,
)
DLQ_LIST_V2 = Codec(
    partial(_decode_dlq_list, _v2), _encode_dlq_list, _encode_messages_v2, _decode_messages_v2
)
# The same in both revisions.
ACK = Codec(_decode_ack, _encode_sequences, _encode_done, _decode_done)
NACK_V1 = Codec(partial(_decode_nack, _v1), _encode_nack, _encode_done, _decode_done)
NACK_V2 = NACK_V1._replace(decode_request=partial(_decode_nack, _v2))
# v1 alone has it.
TOUCH = Codec(_decode_touch, _encode_touch, _encode_done, _decode_done)
DLQ_REQUEUE = Codec(_decode_dlq_requeue, _encode_sequences, _encode_done, _decode_done)
