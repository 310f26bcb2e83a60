"""Consumer groups of streams."""

import asyncio

from flo import (
    FloClient,
    StreamAppendOptions,
    StreamClaimResult,
    StreamGroupAckOptions,
    StreamGroupJoinOptions,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamID,
    StreamReadResult,
    StreamTrimOptions,
)

from .common import Cluster, Seen, failure

WAIT = StreamGroupReadOptions(block_ms=20_000)


async def a_group_shares_the_records(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        headers = StreamAppendOptions(headers={"type": "created"})
        await client.stream.append("s", b"0", headers)
        await _append(client, 1, 5)
        for consumer in ("a", "b", "a"):
            await client.stream.group_join("s", "g", consumer)
        first = await _read(client, "a", 2)
        second = await other.stream.group_read("s", "g", "b")
        nothing = await _read(client, "a", 2)
        await other.stream.group_ack("s", "g", _ids(first))
        await client.stream.group_ack("s", "g", _ids(second), StreamGroupAckOptions(consumer="b"))
        apart = await client.stream.group_read("s", "another", "a")
        return {
            "read": [_texts(found) for found in (first, second, nothing, apart)],
            "headers": first.records[0].headers,
            "pending": await _pending(client),
        }


async def pending_says_who_has_what(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0, 3)
        first = await _read(client, "a", 2)
        second = await _read(client, "b", 2)
        everything = await client.stream.group_pending("s", "g")
        return {
            "all": await _pending(client),
            "one": await _pending(client, "b"),
            "nobody": await _pending(client, "c"),
            "ids": [entry.id for entry in everything] == [*_ids(first), *_ids(second)],
        }


async def a_record_that_is_given_back_comes_again(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0, 3)
        taken = await _read(client, "a", 1)
        await client.stream.group_nack("s", "g", _ids(taken), StreamGroupNackOptions(consumer="a"))
        again = await _read(client, "b", 2)
        return [_texts(again), await _pending(client)]


async def a_group_read_waits(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:

        async def waiting() -> "asyncio.Task[StreamReadResult]":
            task = asyncio.create_task(client.stream.group_read("s", "g", "a", WAIT))
            await asyncio.sleep(0.1)
            return task

        first = await waiting()
        await other.stream.append("s", b"0")
        appended = await first
        second = await waiting()
        await other.stream.group_nack("s", "g", _ids(appended))
        given_back = await second
        short = StreamGroupReadOptions(block_ms=50)
        in_vain = await client.stream.group_read("s", "g", "a", short)
        return [_texts(found) for found in (appended, given_back, in_vain)]


async def claim_takes_over_in_pages(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        await _append(client, 0, 5)
        await _read(client, "a", 3)
        await _read(client, "b", 2)
        own = await _claim(client, "a", 0)
        foreign = await _claim(other, "c", 0)
        fresh = await _claim(other, "c", 3_600_000)
        # Now they are idle for as long as it takes.
        await asyncio.sleep(0.2)
        stolen = await _claim(other, "c", 20)
        return {
            "own": own,
            "others'": foreign,
            "not long enough": fresh,
            "idle": stolen,
            "pending": await _pending(client),
        }


async def entries_of_trimmed_records_are_gone(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0, 3)
        await _read(client, "a", 2)
        await client.stream.trim("s", StreamTrimOptions(max_len=1))
        rest = await _read(client, "a", 10)
        return [await _pending(client), await _claim(client, "a", 0), _texts(rest)]


async def what_a_member_leaves_stays_pending(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0, 2)
        await _read(client, "a", 1)
        for consumer in ("a", "a", "nobody"):
            await client.stream.group_leave("s", "g", consumer, StreamGroupJoinOptions())
        rest = await _read(client, "b", 10)
        return [_texts(rest), await _pending(client)]


async def a_group_that_nobody_made(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        stream, ids = client.stream, [StreamID(1, 1)]
        no_stream = [
            await failure(stream.group_ack("s", "g", ids)),
            await failure(stream.group_nack("s", "g", ids)),
        ]
        await _append(client, 0, 1)
        no_group = [
            await failure(stream.group_ack("s", "g", ids)),
            await failure(stream.group_nack("s", "g", ids)),
        ]
        await stream.group_join("s", "g", "a")
        return {
            "no stream": no_stream,
            "no group": no_group,
            "unknown id": await failure(stream.group_ack("s", "g", ids)),
            "leave": await failure(stream.group_leave("s", "missing", "a")),
            "no name": await failure(stream.group_join("s", "", "a")),
        }


async def a_group_is_there_before_its_stream(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.stream.group_join("s", "g", "a")
        before = await _read(client, "a", 1)
        await _append(client, 0, 1)
        return [_texts(found) for found in (before, await _read(client, "a", 1))]


async def each_record_goes_to_one_consumer(cluster: Cluster) -> Seen:
    async def consume(number: int) -> list[str]:
        async with cluster.client(number % 3) as client:
            taken: list[str] = []
            while True:
                found = await _read(client, f"c-{number}", 3)
                if not found.records:
                    return taken
                taken += _texts(found)
                await client.stream.group_ack("s", "g", _ids(found))

    async with cluster.client() as client:
        await _append(client, 0, 60)
        taken = await asyncio.gather(*(consume(number) for number in range(6)))
        everything = sorted(int(text) for part in taken for text in part)
        return [everything == list(range(60)), await _pending(client)]


async def _append(client: FloClient, first: int, end: int) -> None:
    for number in range(first, end):
        await client.stream.append("s", b"%d" % number)


async def _read(client: FloClient, consumer: str, count: int) -> StreamReadResult:
    options = StreamGroupReadOptions(count=count)
    return await client.stream.group_read("s", "g", consumer, options)


async def _claim(client: FloClient, consumer: str, min_idle_ms: int) -> Seen:
    """The texts of each page, of two entries at most."""
    pages: list[list[str]] = []
    cursor, done = StreamID(), False
    while not done:
        page = await client.stream.group_claim("s", "g", consumer, min_idle_ms, cursor, 2)
        pages.append(_texts(page))
        cursor, done = page.next_cursor, page.done
    return pages


async def _pending(client: FloClient, consumer: str = "") -> list[list[object]]:
    entries = await client.stream.group_pending("s", "g", consumer)
    return [[entry.consumer, entry.delivery_count] for entry in entries]


def _ids(found: StreamReadResult) -> list[StreamID]:
    return [record.id for record in found.records]


def _texts(found: StreamReadResult | StreamClaimResult) -> list[str]:
    return [record.payload.decode() for record in found.records]
