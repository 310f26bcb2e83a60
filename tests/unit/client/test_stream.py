"""Stream operations, as they travel and come back."""

from collections.abc import AsyncIterator

import pytest

from flo import (
    StorageTier,
    StreamAlterOptions,
    StreamAppendOptions,
    StreamAppendResult,
    StreamCreateOptions,
    StreamID,
    StreamInfo,
    StreamInfoOptions,
    StreamItem,
    StreamListOptions,
    StreamListResult,
    StreamReadOptions,
    StreamReadResult,
    StreamRecord,
    StreamSummary,
    StreamTrimOptions,
    StreamTrimResult,
    ValidationError,
    ValueTooLargeError,
)
from flo._batches import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, PAYLOAD_BYTES_MAX
from flo.wire import messages as base
from flo.wire import stream_messages as wire
from flo.wire.stream_messages import StreamId
from tests.unit.client.scripted import Scripted, scripted

SPACE, EVENTS = b"default", b"events"


@pytest.fixture
async def there() -> AsyncIterator[Scripted]:
    async with scripted() as there:
        yield there


def record(time: int, sequence: int = 0) -> wire.StreamRecord:
    return wire.StreamRecord(StreamId(time, sequence), b"%d" % time, (), 1, 1, EVENTS)


async def test_append(there: Scripted) -> None:
    there.answers[wire.StreamAppend] = wire.Appended(StreamId(1700, 3))
    append = there.client.stream.append
    assert await append("events", b"x") == StreamAppendResult(StreamID(1700, 3))
    assert there.last() == wire.StreamAppend(SPACE, EVENTS, (wire.StreamItem(b"x"),))
    assert there.last_is_exactly_once
    options = StreamAppendOptions("other", {"ä": "ö"}, 2, "key")
    await append("events", memoryview(b"y"), options)
    item = wire.StreamItem(b"y", (("ä".encode(), "ö".encode()),))
    assert there.last() == wire.StreamAppend(b"other", EVENTS, (item,), 2, b"key")


async def test_a_batch_is_sent_in_as_few_steps_as_it_may(there: Scripted) -> None:
    times = iter(range(10))
    there.answers[wire.StreamAppend] = lambda _: wire.Appended(StreamId(next(times), 5))
    append = there.client.stream.append_batch
    items: list[bytes | StreamItem] = [b"a", StreamItem(b"b", {"own": "1"})]
    ids = await append("events", items, StreamAppendOptions(headers={"all": "2"}))
    assert ids == [StreamID(0, 5), StreamID(0, 6)]
    assert there.last() == wire.StreamAppend(
        SPACE,
        EVENTS,
        (wire.StreamItem(b"a", ((b"all", b"2"),)), wire.StreamItem(b"b", ((b"own", b"1"),))),
    )
    assert await append("events", []) == []
    ids = await append("events", [b""] * (BATCH_ITEMS_MAX + 2))
    assert ids[-3:] == [StreamID(1, 4 + BATCH_ITEMS_MAX), StreamID(2, 5), StreamID(2, 6)]
    half = StreamItem(b"", {str(n): "h" * (BATCH_BYTES_MAX // 16) for n in range(8)})
    assert await append("events", [half] * 2) == [StreamID(3, 5), StreamID(4, 5)]


async def test_read(there: Scripted) -> None:
    found = record(1700, 3)._replace(headers=((b"type", b"created"),), tier=3)
    there.answers[wire.StreamRead] = wire.Records((found,))
    expected = StreamRecord(
        StreamID(1700, 3), StorageTier.WARM, "events", b"1700", {"type": "created"}, 1
    )
    assert await there.client.stream.read("events") == StreamReadResult([expected])
    assert there.last() == wire.StreamRead(SPACE, EVENTS)
    options = StreamReadOptions("other", StreamID(1), StreamID(2, 1), True, 3, 10, 5000)
    await there.client.stream.read("events", options)
    assert there.last() == wire.StreamRead(
        b"other", EVENTS, StreamId(1, 0), StreamId(2, 1), True, 3, 10, 5000
    )


async def test_follow_goes_on_after_what_it_gave(there: Scripted) -> None:
    pages = [(record(1), record(2, 7)), (), (record(3),)]
    there.answers[wire.StreamRead] = lambda _: wire.Records(pages.pop(0))
    records = there.client.stream.follow("events", StreamReadOptions(count=2, partition=1))
    assert [(await anext(records)).id for _ in range(3)] == [
        StreamID(1),
        StreamID(2, 7),
        StreamID(3),
    ]
    await records.aclose()
    starts = [
        body.start for body in there.bodies(wire.StreamRead) if isinstance(body, wire.StreamRead)
    ]
    assert starts == [None, StreamId(2, 8), StreamId(2, 8)]
    assert there.last() == wire.StreamRead(
        SPACE, EVENTS, StreamId(2, 8), None, False, 1, 2, wait_ms=30_000
    )


async def test_follow_to_an_end(there: Scripted) -> None:
    """That nothing came up to the end is only sure once something after it is there."""
    pages = [(record(1),), (), (record(4), record(5))]
    there.answers[wire.StreamRead] = lambda _: wire.Records(pages.pop(0))
    options = StreamReadOptions(end=StreamID(4), block_ms=10)
    found = [each.id async for each in there.client.stream.follow("events", options)]
    assert found == [StreamID(1), StreamID(4)]
    assert not pages


async def test_follow_the_tail(there: Scripted) -> None:
    there.answers[wire.StreamInfo] = wire.StreamInfoResult(
        StreamId(1, 0), StreamId(9, 4), 10, 100, 1
    )
    there.answers[wire.StreamRead] = wire.Records((record(10),))
    records = there.client.stream.follow("events", StreamReadOptions("other", tail=True))
    assert (await anext(records)).id == StreamID(10)
    await records.aclose()
    assert there.last() == wire.StreamRead(b"other", EVENTS, StreamId(9, 5), wait_ms=30_000)


async def test_info(there: Scripted) -> None:
    there.answers[wire.StreamInfo] = wire.StreamInfoResult(
        StreamId(1, 0), StreamId(9, 4), 10, 100, 4
    )
    info = await there.client.stream.info("events", StreamInfoOptions("other"))
    assert info == StreamInfo(10, 100, StreamID(1), StreamID(9, 4), 4)
    assert there.last() == wire.StreamInfo(b"other", EVENTS)


async def test_trim(there: Scripted) -> None:
    there.answers[wire.StreamTrim] = wire.Trimmed(5, 7)
    trim = there.client.stream.trim
    options = StreamTrimOptions("other", StreamID(9), 10, 60, True, 1000)
    assert await trim("events", options) == StreamTrimResult(removed=5, first_seq=7)
    assert there.last() == wire.StreamTrim(b"other", EVENTS, StreamId(9, 0), 10, 60, 1000, True)
    before = len(there.node.requests)
    for wrong in (None, StreamTrimOptions(), StreamTrimOptions(max_len=0)):
        with pytest.raises(ValidationError, match="trim"):
            await trim("events", wrong)
    assert len(there.node.requests) == before


async def test_create_alter_delete(there: Scripted) -> None:
    there.answers |= dict.fromkeys((wire.StreamCreate, wire.StreamAlter), base.Done())
    stream = there.client.stream
    await stream.create("events")
    assert there.last() == wire.StreamCreate(SPACE, EVENTS)
    await stream.create("events", StreamCreateOptions("other", 4, 10, 60, 1000))
    assert there.last() == wire.StreamCreate(b"other", EVENTS, 4, wire.Retention(10, 60, 1000))
    await stream.alter("events", StreamAlterOptions(max_len=0))
    assert there.last() == wire.StreamAlter(SPACE, EVENTS, wire.Retention(0))
    there.answers[wire.StreamDelete] = base.Deleted(True)
    assert await stream.delete("events", force=True, namespace="other")
    assert there.last() == wire.StreamDelete(b"other", EVENTS, True)


async def test_list(there: Scripted) -> None:
    summary = wire.StreamSummary(EVENTS, 10, 100, 4, StreamId(9, 4))
    there.answers[wire.StreamList] = wire.StreamListing((summary,), None)
    page = await there.client.stream.list()
    assert page == StreamListResult([StreamSummary("events", 10, 100, 4, StreamID(9, 4))], None)
    assert not page.has_more
    await there.client.stream.list(StreamListOptions("other", "ev", 5, b"on"))
    assert there.last() == wire.StreamList(b"other", b"ev", 5, b"on")


async def test_what_no_server_takes_is_not_sent(there: Scripted) -> None:
    stream = there.client.stream
    before = len(there.node.requests)
    with pytest.raises(ValidationError, match="count of 1001"):
        await stream.read("events", StreamReadOptions(count=1001))
    with pytest.raises(ValidationError, match="limit of 0"):
        await stream.list(StreamListOptions(limit=0))
    with pytest.raises(ValidationError, match="stream name is empty"):
        await stream.append("", b"")
    with pytest.raises(ValidationError, match="header value"):
        await stream.append("events", b"", StreamAppendOptions(headers={"a": "\ud800"}))
    with pytest.raises(ValidationError, match="partition_key"):
        await stream.append("events", b"", StreamAppendOptions(partition_key="\ud800"))
    with pytest.raises(ValueTooLargeError):
        await stream.append("events", bytes(PAYLOAD_BYTES_MAX + 1))
    assert len(there.node.requests) == before
