"""Messages on their way into a queue."""

from collections.abc import Iterable

from flo._batches import batches_of, payload_of
from flo._checks import within
from flo._names import encode_text
from flo.exceptions import ValidationError
from flo.queue_types import QueueItem
from flo.wire import queue_messages as wire
from flo.wire.limits import TTL_MS_MAX

_DEDUP_KEY_BYTES_MAX = 255


def item_of(item: QueueItem) -> wire.QueueItem:
    """One message, if a server would take it."""
    if not 0 <= item.priority <= 255:
        raise ValidationError(f"priority of {item.priority}: 0 to 255, the lower the sooner")
    within("delay_ms", item.delay_ms, 0, TTL_MS_MAX)
    key = item.dedup_key
    encoded = encode_text(key, "dedup_key") if isinstance(key, str) else key
    if encoded is not None and len(encoded) > _DEDUP_KEY_BYTES_MAX:
        raise ValidationError(f"dedup_key of {len(encoded)} bytes: at most {_DEDUP_KEY_BYTES_MAX}")
    return wire.QueueItem(payload_of(item.payload), item.priority, item.delay_ms, encoded or None)


def steps_of(items: Iterable[wire.QueueItem]) -> list[tuple[wire.QueueItem, ...]]:
    """Messages in the steps they are enqueued in."""
    return batches_of(items, _size_of)


def _size_of(item: wire.QueueItem) -> int:
    return len(item.payload) + len(item.dedup_key or b"")
