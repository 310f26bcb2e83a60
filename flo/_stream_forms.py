"""Records and ids on their way to and from the wire."""

from collections.abc import Iterable

from flo._batches import batches_of, payload_of
from flo._checks import within, within_if_given
from flo._names import decode_key, encode_text
from flo.exceptions import ValidationError
from flo.stream_types import (
    StorageTier,
    StreamAlterOptions,
    StreamCreateOptions,
    StreamGroupCreateOptions,
    StreamID,
    StreamItem,
    StreamReadResult,
    StreamRecord,
)
from flo.wire import stream_messages as wire
from flo.wire.group_messages import GroupSettings
from flo.wire.limits import (
    GROUP_DELIVERIES_MAX,
    GROUP_IDS_MAX,
    GROUP_STANDBYS_MAX,
    LEASE_MS_MAX,
    READ_LIMIT_MAX,
    RETENTION_AGE_S_MAX,
    RETENTION_MAX,
    STREAM_PARTITIONS_MAX,
)
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
    found = tuple(place_of(each) for each in ids)
    within("number of ids", len(found), 0, GROUP_IDS_MAX)
    return found


def records_limit(count: int | None) -> int:
    """How many records to give."""
    if count is None:
        return _COUNT_DEFAULT
    return within("count", count, 1, READ_LIMIT_MAX)


def partition_of(partition: int | None) -> int | None:
    """A partition that some stream may have."""
    return within_if_given("partition", partition, 0, STREAM_PARTITIONS_MAX - 1)


def retention_of(options: StreamCreateOptions | StreamAlterOptions) -> wire.Retention:
    """What a stream keeps."""
    return wire.Retention(
        within_if_given("max_len", options.max_len, 0, RETENTION_MAX),
        within_if_given("max_age_seconds", options.max_age_seconds, 0, RETENTION_AGE_S_MAX),
        within_if_given("max_bytes", options.max_bytes, 0, RETENTION_MAX),
    )


def settings_of(options: StreamGroupCreateOptions) -> GroupSettings:
    """How a group delivers."""
    return GroupSettings(
        within_if_given("ack_timeout_ms", options.ack_timeout_ms, 0, LEASE_MS_MAX),
        within_if_given("max_deliver", options.max_deliver, 0, GROUP_DELIVERIES_MAX),
        within_if_given("max_standbys", options.max_standbys, 0, GROUP_STANDBYS_MAX),
    )


def _headers_of(headers: wire.Headers) -> dict[str, str] | None:
    if not headers:
        return None
    return {name.decode(): value.decode() for name, value in headers}


def _size_of(item: wire.StreamItem) -> int:
    return len(item.payload) + sum(len(name) + len(value) for name, value in item.headers)
