"""Messages on their way into a queue."""

from flo.exceptions import ValidationError, ValueTooLargeError
from flo.queue_types import QueueItem
from flo.wire import queue_messages as wire

PAYLOAD_BYTES_MAX = 16 << 20
_BATCH_ITEMS_MAX = 1000
_BATCH_BYTES_MAX = 512 << 10


def item_of(item: QueueItem) -> wire.QueueItem:
    if not isinstance(item.payload, bytes):
        raise ValidationError(
            f"the payload is a {type(item.payload).__name__}: encode it to bytes first"
        )
    if len(item.payload) > PAYLOAD_BYTES_MAX:
        raise ValueTooLargeError(
            f"payload of {len(item.payload)} bytes: at most {PAYLOAD_BYTES_MAX}"
        )
    if not 0 <= item.priority <= 255:
        raise ValidationError(f"priority of {item.priority}: 0 to 255, the lower the sooner")
    if item.delay_ms < 0:
        raise ValidationError(f"delay_ms of {item.delay_ms}: it must not be negative")
    key = item.dedup_key
    encoded = key.encode() if isinstance(key, str) else key
    return wire.QueueItem(item.payload, item.priority, item.delay_ms, encoded or None)


def batches_of(items: list[wire.QueueItem]) -> list[tuple[wire.QueueItem, ...]]:
    batches: list[tuple[wire.QueueItem, ...]] = []
    batch: list[wire.QueueItem] = []
    size = 0
    for item in items:
        if batch and (
            len(batch) == _BATCH_ITEMS_MAX or size + len(item.payload) > _BATCH_BYTES_MAX
        ):
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(item)
        size += len(item.payload)
    return [*batches, tuple(batch)] if batch else batches
