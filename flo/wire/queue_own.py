"""The queue operations that no official SDK sends, in layouts of ours (v1 frames). Key: the queue.

    batch enqueue    value   count:u16 (payload:b32 priority:u8 delay_ms:u64 dedup_key:b8)*
                     answer  count:u16 (sequence:u64)*
    list             key     prefix
                     value   limit:u32 (0: the default), then the cursor
                     answer  count:u32 queue* has_more:u8 cursor:b16
    stats            answer  queue
    configure        value   ?delivery:u8 ?visibility_ms:u32 ?max_attempts:u16
    purge, dlq purge answer  removed:u64

A queue is `name:b16 ready:u64 delayed:u64 leased:u64 dead:u64 delivery:u8`. An empty dedup key is
none.
"""

from __future__ import annotations

from flo.wire.codec import Codec
from flo.wire.fields import (
    Reader,
    b8,
    b16,
    b32,
    flag,
    optional_u8,
    optional_u16,
    optional_u32,
    u8,
    u16,
    u32,
    u64,
)
from flo.wire.limits import (
    LEASE_MS_MAX,
    QUEUE_ATTEMPTS_MAX,
    QUEUE_BATCH_ITEMS_MAX,
    QUEUE_LIST_LIMIT_MAX,
    V1_CURSOR_BYTES_MAX,
    check_delay_ms,
    check_length,
    check_prefix,
    check_queue,
    check_range,
)
from flo.wire.messages import Done
from flo.wire.payload import Payload
from flo.wire.queue_messages import (
    DELIVERY_CONSUME,
    DELIVERY_LEASE,
    EnqueuedBatch,
    Purged,
    QueueConfigure,
    QueueDlqPurge,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueueListing,
    QueuePurge,
    QueueStats,
    QueueSummary,
)


def _decode_batch(payload: Payload, value_bytes_max: int) -> QueueEnqueueBatch:
    check_queue(payload.namespace, payload.key)
    reader = Reader(payload.value)
    count = reader.u16()
    check_range("number of messages", count, least=1, most=QUEUE_BATCH_ITEMS_MAX)
    items = tuple(_read_item(reader) for _ in range(count))
    reader.finish()
    for item in items:
        check_length("payload", item.payload, value_bytes_max)
        check_delay_ms(item.delay_ms)
    return QueueEnqueueBatch(payload.namespace, payload.key, items)


def _read_item(reader: Reader) -> QueueItem:
    return QueueItem(reader.b32(), reader.u8(), reader.u64(), reader.b8() or None)


def _encode_batch(batch: QueueEnqueueBatch) -> Payload:
    parts = [u16(len(batch.items))]
    for payload, priority, delay_ms, dedup_key in batch.items:
        parts += (b32(payload), u8(priority), u64(delay_ms), b8(dedup_key or b""))
    return Payload(batch.namespace, batch.queue, b"".join(parts))


def _encode_enqueued(enqueued: EnqueuedBatch) -> bytes:
    return u16(len(enqueued.sequences)) + b"".join(map(u64, enqueued.sequences))


def _decode_enqueued(data: bytes, batch: QueueEnqueueBatch) -> EnqueuedBatch:
    reader = Reader(data)
    count = reader.u16()
    check_range("number of sequences", count, least=len(batch.items), most=len(batch.items))
    enqueued = EnqueuedBatch(tuple(reader.u64() for _ in range(count)))
    reader.finish()
    return enqueued


def _decode_list(payload: Payload, _value_bytes_max: int) -> QueueList:
    namespace, prefix, value, _, _ = payload
    check_prefix(namespace, prefix)
    limit, cursor = 0, b""
    if value:
        reader = Reader(value)
        limit, cursor = reader.u32(), reader.rest()
    check_range("limit", limit, least=0, most=QUEUE_LIST_LIMIT_MAX)
    check_length("cursor", cursor, V1_CURSOR_BYTES_MAX)
    return QueueList(namespace, prefix, limit or None, cursor)


def _encode_list(request: QueueList) -> Payload:
    return Payload(request.namespace, request.prefix, u32(request.limit or 0) + request.cursor)


def _encode_listing(listing: QueueListing) -> bytes:
    queues = b"".join(map(_encode_summary, listing.queues))
    end = flag(listing.cursor is not None) + b16(listing.cursor or b"")
    return u32(len(listing.queues)) + queues + end


def _decode_listing(data: bytes, _request: QueueList) -> QueueListing:
    reader = Reader(data)
    queues = tuple(_read_summary(reader) for _ in range(reader.u32()))
    has_more, cursor = reader.flag(), reader.b16()
    reader.finish()
    return QueueListing(queues, cursor if has_more else None)


def _encode_summary(queue: QueueSummary) -> bytes:
    counts = map(u64, (queue.ready, queue.delayed, queue.leased, queue.dead))
    return b16(queue.name) + b"".join(counts) + u8(queue.delivery)


def _read_summary(reader: Reader) -> QueueSummary:
    name = reader.b16()
    return QueueSummary(name, reader.u64(), reader.u64(), reader.u64(), reader.u64(), reader.u8())


def _decode_summary(data: bytes, _request: QueueStats) -> QueueSummary:
    reader = Reader(data)
    summary = _read_summary(reader)
    reader.finish()
    return summary


def _decode_configure(payload: Payload, _value_bytes_max: int) -> QueueConfigure:
    check_queue(payload.namespace, payload.key)
    reader = Reader(payload.value)
    delivery, visibility_ms = reader.optional_u8(), reader.optional_u32()
    max_attempts = reader.optional_u16()
    reader.finish()
    if delivery is not None:
        check_range("delivery", delivery, least=DELIVERY_LEASE, most=DELIVERY_CONSUME)
    if visibility_ms is not None:
        check_range("visibility timeout in milliseconds", visibility_ms, least=1, most=LEASE_MS_MAX)
    if max_attempts is not None:
        check_range("number of attempts", max_attempts, least=1, most=QUEUE_ATTEMPTS_MAX)
    return QueueConfigure(payload.namespace, payload.key, delivery, visibility_ms, max_attempts)


def _encode_configure(settings: QueueConfigure) -> Payload:
    value = (
        optional_u8(settings.delivery),
        optional_u32(settings.visibility_ms),
        optional_u16(settings.max_attempts),
    )
    return Payload(settings.namespace, settings.queue, b"".join(value))


def _encode_done(_done: Done) -> bytes:
    return b""


def _decode_done(data: bytes, _request: QueueConfigure) -> Done:
    Reader(data).finish()
    return Done()


def _decode_stats(payload: Payload, _value_bytes_max: int) -> QueueStats:
    check_queue(payload.namespace, payload.key)
    return QueueStats(payload.namespace, payload.key)


def _decode_purge(payload: Payload, _value_bytes_max: int) -> QueuePurge:
    check_queue(payload.namespace, payload.key)
    return QueuePurge(payload.namespace, payload.key)


def _decode_dlq_purge(payload: Payload, _value_bytes_max: int) -> QueueDlqPurge:
    check_queue(payload.namespace, payload.key)
    return QueueDlqPurge(payload.namespace, payload.key)


def _encode_name(request: QueueStats | QueuePurge | QueueDlqPurge) -> Payload:
    return Payload(request.namespace, request.queue, b"")


def _encode_purged(purged: Purged) -> bytes:
    return u64(purged.removed)


def _decode_purged(data: bytes, _request: QueuePurge | QueueDlqPurge) -> Purged:
    reader = Reader(data)
    purged = Purged(reader.u64())
    reader.finish()
    return purged


ENQUEUE_BATCH = Codec(_decode_batch, _encode_batch, _encode_enqueued, _decode_enqueued)
LIST = Codec(_decode_list, _encode_list, _encode_listing, _decode_listing)
STATS = Codec(_decode_stats, _encode_name, _encode_summary, _decode_summary)
CONFIGURE = Codec(_decode_configure, _encode_configure, _encode_done, _decode_done)
PURGE = Codec(_decode_purge, _encode_name, _encode_purged, _decode_purged)
DLQ_PURGE = Codec(_decode_dlq_purge, _encode_name, _encode_purged, _decode_purged)
