"""Records and ids on their way to and from the wire."""

from collections.abc import Iterable

from flo._names import decode_key
from flo.exceptions import ValidationError, ValueTooLargeError
from flo.stream_types import StorageTier, StreamID, StreamItem, StreamReadResult, StreamRecord
from flo.wire import stream_messages as wire
from flo.wire.messages import Result
from flo.wire.stream_messages import StreamId

PAYLOAD_BYTES_MAX = 16 << 20
_BATCH_RECORDS_MAX = 1000
_BATCH_BYTES_MAX = 512 << 10
_COUNT_DEFAULT = 100


def item_of(item: StreamItem) -> wire.StreamItem:
    """One record to append."""
    if not isinstance(item.payload, bytes):
        raise ValidationError(
            f"the payload is a {type(item.payload).__name__}: encode it to bytes first"
        )
    if len(item.payload) > PAYLOAD_BYTES_MAX:
        raise ValueTooLargeError(
            f"payload of {len(item.payload)} bytes: at most {PAYLOAD_BYTES_MAX}"
        )
    headers = item.headers or {}
    return wire.StreamItem(
        item.payload,
        tuple((name.encode(), value.encode()) for name, value in headers.items()),
    )


def batches_of(items: Iterable[wire.StreamItem]) -> list[tuple[wire.StreamItem, ...]]:
    """Records in the steps they are appended in."""
    batches: list[tuple[wire.StreamItem, ...]] = []
    batch: list[wire.StreamItem] = []
    size = 0
    for item in items:
        full = len(batch) == _BATCH_RECORDS_MAX or size + len(item.payload) > _BATCH_BYTES_MAX
        if batch and full:
            batches.append(tuple(batch))
            batch, size = [], 0
        batch.append(item)
        size += len(item.payload)
    return [*batches, tuple(batch)] if batch else batches


def records_of(records: Iterable[wire.StreamRecord]) -> list[StreamRecord]:
    """Records of an answer."""
    return [
        StreamRecord(
            StreamID(*record.id),
            StorageTier(min(record.tier, StorageTier.WARM)),
            decode_key(record.stream),
            record.payload,
            _headers_of(record.headers),
            record.partition,
        )
        for record in records
    ]


def read_result(result: Result) -> StreamReadResult:
    """The answer to a read."""
    assert isinstance(result, wire.Records)
    return StreamReadResult(records_of(result.records))


def wire_id(place: StreamID | None) -> StreamId | None:
    """An id as the wire has it."""
    return None if place is None else StreamId(*place)


def wire_ids(ids: Iterable[StreamID]) -> tuple[StreamId, ...]:
    """Ids as the wire has them."""
    return tuple(StreamId(*each) for each in ids)


def records_limit(count: int | None) -> int:
    """How many records to give."""
    if count is None:
        return _COUNT_DEFAULT
    if not 1 <= count <= 1000:
        raise ValidationError(f"count of {count}: 1 to 1000")
    return count


def _headers_of(headers: wire.Headers) -> dict[str, str] | None:
    if not headers:
        return None
    return {name.decode(): value.decode() for name, value in headers}
