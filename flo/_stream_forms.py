"""Records and ids on their way to and from the wire."""

from collections.abc import Iterable

from flo._batches import batches_of, payload_of
from flo._names import decode_key, encode_text
from flo.exceptions import ValidationError
from flo.stream_types import StorageTier, StreamID, StreamItem, StreamReadResult, StreamRecord
from flo.wire import stream_messages as wire
from flo.wire.messages import Result
from flo.wire.stream_messages import StreamId

_COUNT_DEFAULT = 100


def item_of(item: StreamItem) -> wire.StreamItem:
    """One record to append, if a server would take it."""
    headers = item.headers or {}
    return wire.StreamItem(
        payload_of(item.payload),
        tuple(
            (encode_text(name, "header name"), encode_text(value, "header value"))
            for name, value in headers.items()
        ),
    )


def steps_of(items: Iterable[wire.StreamItem]) -> list[tuple[wire.StreamItem, ...]]:
    """Records in the steps they are appended in."""
    return batches_of(items, _size_of)


def records_of(records: Iterable[wire.StreamRecord]) -> list[StreamRecord]:
    """Records of an answer."""
    return [
        StreamRecord(
            id_of(record.id),
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


def id_of(place: StreamId) -> StreamID:
    """An id of an answer."""
    return StreamID(place.timestamp_ms, place.sequence)


def wire_id(place: StreamID | None) -> StreamId | None:
    """An id as the wire has it, where there need not be one."""
    return None if place is None else place_of(place)


def place_of(place: StreamID) -> StreamId:
    """An id as the wire has it."""
    return StreamId(place.timestamp_ms, place.sequence)


def wire_ids(ids: Iterable[StreamID]) -> tuple[StreamId, ...]:
    """Ids as the wire has them."""
    if isinstance(ids, StreamID):
        raise ValidationError(f"ids: give a list, as [{ids}]")
    return tuple(place_of(each) for each in ids)


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


def _size_of(item: wire.StreamItem) -> int:
    return len(item.payload) + sum(len(name) + len(value) for name, value in item.headers)
