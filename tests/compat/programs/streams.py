"""Streams."""

import asyncio

from flo import (
    FloClient,
    StreamAppendOptions,
    StreamID,
    StreamInfoOptions,
    StreamReadOptions,
    StreamReadResult,
    StreamTrimOptions,
)

from .common import Cluster, Seen, failure

WAIT_MS = 20_000


async def records_are_read_as_they_were_appended(cluster: Cluster) -> Seen:
    headers = {"type": "created", "grüße": "wörld", "empty": ""}
    async with cluster.client() as client, cluster.client(1) as other:
        first = await client.stream.append("s", b"1", StreamAppendOptions(headers=headers))
        second = await client.stream.append("s", bytes(range(256)))
        third = await client.stream.append("s", b"")
        ids = [_pair(appended.id) for appended in (first, second, third)]
        records = (await other.stream.read("s")).records
        return {
            "ids": ids == sorted(set(ids)) and ids == [_pair(record.id) for record in records],
            "time": ids[0][0] > 1_600_000_000_000,
            "payloads": [record.payload.hex()[:6] for record in records],
            "headers": [record.headers or {} for record in records] == [headers, {}, {}],
            "stream": {record.stream for record in records} == {"s"},
            "tier": sorted({record.tier.name for record in records}),
        }


async def reads_have_a_start_an_end_and_a_count(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        ids = await _append(client, 6)

        async def read(options: StreamReadOptions) -> list[str]:
            return _texts(await client.stream.read("s", options))

        return {
            "from": await read(StreamReadOptions(start=ids[3])),
            "to": await read(StreamReadOptions(end=ids[1])),
            "between": await read(StreamReadOptions(start=ids[1], end=ids[3])),
            "after": await read(
                StreamReadOptions(start=StreamID(ids[4].timestamp_ms, ids[4].sequence + 1))
            ),
            "count": await read(StreamReadOptions(start=ids[1], count=2)),
            "from zero": await read(StreamReadOptions(start=StreamID(), count=1)),
            "turned round": await read(StreamReadOptions(start=ids[3], end=ids[1])),
            "partition": await read(StreamReadOptions(partition=0, count=1)),
            "no such partition": await read(StreamReadOptions(partition=1)),
            "no such stream": _texts(await client.stream.read("missing")),
        }


async def a_long_stream_is_read_in_pages(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 250)
        page = (await client.stream.read("s")).records
        sizes, seen = [len(page)], page
        while page:
            last = page[-1].id
            start = StreamID(last.timestamp_ms, last.sequence + 1)
            page = (await client.stream.read("s", StreamReadOptions(start=start))).records
            sizes, seen = [*sizes, len(page)], [*seen, *page]
        return [sizes, [record.payload for record in seen] == [b"%d" % n for n in range(250)]]


async def a_read_waits_for_records(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:

        async def woken_by(payload: bytes, options: StreamReadOptions) -> StreamReadResult:
            waiting = asyncio.create_task(client.stream.read("s", options))
            await asyncio.sleep(0.1)
            await other.stream.append("s", payload)
            return await waiting

        made = await woken_by(b"1", StreamReadOptions(block_ms=WAIT_MS))
        place = made.records[0].id
        start = StreamID(place.timestamp_ms, place.sequence + 1)
        later = await woken_by(b"2", StreamReadOptions(start=start, block_ms=WAIT_MS))
        tail = StreamReadOptions(tail=True, block_ms=WAIT_MS)
        waiting = asyncio.create_task(client.stream.read("s", tail))
        while not waiting.done():
            # Until one comes after the request is there; several may, before it is answered.
            await other.stream.append("s", b"3")
        newest = sorted(set(_texts(await waiting)))
        nothing = [
            await client.stream.read("s", StreamReadOptions(tail=True)),
            await client.stream.read("s", StreamReadOptions(tail=True, block_ms=50)),
        ]
        too_long = StreamReadOptions(block_ms=300_001)
        return [
            *[_texts(found) for found in (made, later)],
            newest,
            *[_texts(found) for found in nothing],
            await failure(client.stream.read("s", too_long)),
        ]


async def info_tells_the_size(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        missing = await client.stream.info("missing")
        ids = await _append(client, 12)
        info = await client.stream.info("s", StreamInfoOptions())
        return {
            "missing": [
                missing.count,
                missing.bytes_size,
                _pair(missing.first_id),
                _pair(missing.last_id),
                missing.partition_count,
            ],
            "sizes": [info.count, info.bytes_size, info.partition_count],
            "ids": [_pair(info.first_id), _pair(info.last_id)] == [_pair(ids[0]), _pair(ids[-1])],
        }


async def trim_removes_the_oldest(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        ids = await _append(client, 10)

        async def trim(options: StreamTrimOptions) -> Seen:
            done = await client.stream.trim("s", options)
            left = (await client.stream.read("s")).records
            first = left[0].id.sequence
            return [done.removed, done.first_seq == first or options.dry_run, len(left)]

        return {
            "dry run": await trim(StreamTrimOptions(before=ids[2], dry_run=True)),
            "before": await trim(StreamTrimOptions(before=ids[2])),
            "length": await trim(StreamTrimOptions(max_len=4)),
            "length again": await trim(StreamTrimOptions(max_len=4)),
            "age": await trim(StreamTrimOptions(max_age_seconds=3600)),
            "texts": _texts(await client.stream.read("s")),
            "counted": (await client.stream.info("s")).count,
        }


async def trim_needs_one_bound(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        ids = await _append(client, 3)
        refused = [
            await failure(client.stream.trim("s", options))
            for options in (
                StreamTrimOptions(),
                StreamTrimOptions(max_len=0),
                StreamTrimOptions(max_age_seconds=0),
                StreamTrimOptions(before=ids[0], max_len=1),
            )
        ]
        return [refused, (await client.stream.info("s")).count]


async def trimming_what_is_not_there(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        done = await client.stream.trim("missing", StreamTrimOptions(max_len=1))
        return [done.removed, done.first_seq]


async def what_no_stream_takes(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        return [
            await failure(client.stream.append("", b"v")),
            await failure(client.stream.append("_sys:s", b"v")),
            await failure(client.stream.read("with\0nul")),
        ]


async def many_writers_make_one_order(cluster: Cluster) -> Seen:
    async def write(node: int) -> list[StreamID]:
        async with cluster.client(node % 3) as client:
            return [(await client.stream.append("s", b"%d" % node)).id for _ in range(20)]

    written = await asyncio.gather(*(write(node) for node in range(6)))
    async with cluster.client() as client:
        everything = StreamReadOptions(count=1000)
        ids = [_pair(r.id) for r in (await client.stream.read("s", everything)).records]
        return [
            ids == sorted(set(ids)),
            ids == sorted(_pair(place) for part in written for place in part),
            all([_pair(p) for p in part] == sorted(_pair(p) for p in part) for part in written),
        ]


async def _append(client: FloClient, count: int) -> list[StreamID]:
    return [(await client.stream.append("s", b"%d" % n)).id for n in range(count)]


def _pair(place: StreamID) -> tuple[int, int]:
    return place.timestamp_ms, place.sequence


def _texts(found: StreamReadResult) -> list[str]:
    return [record.payload.decode() for record in found.records]
