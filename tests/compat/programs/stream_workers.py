"""Workers on streams, which use the consumer groups for the program."""

import asyncio
from dataclasses import dataclass

from flo import FloClient, StreamAppendOptions, StreamContext, StreamGroupReadOptions, StreamWorker

from .common import PATIENCE_S, Cluster, Seen, eventually

BLOCK_MS = 1_000


@dataclass
class Order:
    number: int


async def a_worker_handles_each_record_once(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        for number in range(20):
            await _append(other, number)
        contexts: list[StreamContext] = []

        async def handle(ctx: StreamContext) -> None:
            contexts.append(ctx)

        worker = client.new_stream_worker(
            stream="s", group="g", consumer="w", handler=handle, block_ms=BLOCK_MS, concurrency=3
        )
        working = asyncio.create_task(worker.start())
        await _handled(other, contexts, 20)
        # Waits for a record while there is none, and is woken.
        await _append(other, 20)
        await _handled(other, contexts, 21)
        await _stop(worker, working)
        first = min(contexts, key=lambda ctx: ctx.into(Order).number)
        return {
            "numbers": sorted(ctx.into(Order).number for ctx in contexts) == list(range(21)),
            "context": [first.namespace == cluster.namespace, first.stream, first.group],
            "consumer": first.consumer,
            "headers": first.headers,
            "json": first.json(),
            "payload": first.payload == first.record.payload,
            "id": first.stream_id == first.record.id,
            "left to read": len((await other.stream.group_read("s", "g", "x")).records),
        }


async def a_handler_that_fails_gets_its_record_again(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        for number in range(3):
            await _append(client, number)
        tries: list[int] = []
        done: list[StreamContext] = []

        async def handle(ctx: StreamContext) -> None:
            number = ctx.into(Order).number
            tries.append(number)
            if number == 1 and tries.count(1) < 3:
                raise ValueError("not today")
            done.append(ctx)

        worker = client.new_stream_worker(stream="s", group="g", handler=handle, block_ms=BLOCK_MS)
        working = asyncio.create_task(worker.start())
        await _handled(client, done, 3)
        await _stop(worker, working)
        return sorted(tries)


async def a_handler_that_takes_too_long_gets_its_record_again(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0)
        tries: list[int] = []
        done: list[StreamContext] = []

        async def handle(ctx: StreamContext) -> None:
            tries.append(ctx.into(Order).number)
            if len(tries) == 1:
                await asyncio.sleep(PATIENCE_S)
            done.append(ctx)

        worker = client.new_stream_worker(
            stream="s", group="g", handler=handle, block_ms=BLOCK_MS, message_timeout=0.2
        )
        working = asyncio.create_task(worker.start())
        await _handled(client, done, 1)
        await _stop(worker, working)
        return tries


async def a_worker_that_stops_finishes_what_it_handles(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await _append(client, 0)
        begun, go_on = asyncio.Event(), asyncio.Event()
        done: list[StreamContext] = []

        async def handle(ctx: StreamContext) -> None:
            begun.set()
            await go_on.wait()
            done.append(ctx)

        worker = client.new_stream_worker(stream="s", group="g", handler=handle, block_ms=BLOCK_MS)
        working = asyncio.create_task(worker.start())
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        worker.stop()
        go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            await working
        # What comes later is for others.
        await _append(client, 1)
        left = await client.stream.group_read("s", "g", "x")
        pending = await client.stream.group_pending("s", "g")
        return [len(done), len(left.records), [entry.consumer for entry in pending]]


async def workers_share_the_records(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        numbers: list[int] = []
        done: list[StreamContext] = []

        async def handle(ctx: StreamContext) -> None:
            numbers.append(ctx.into(Order).number)
            done.append(ctx)

        workers = [
            place.new_stream_worker(
                stream="s", group="g", handler=handle, block_ms=BLOCK_MS, batch_size=2
            )
            for place in (client, other)
        ]
        working = [asyncio.create_task(worker.start()) for worker in workers]
        for number in range(30):
            await _append(client, number)
        await _handled(client, done, 30)
        for worker, task in zip(workers, working, strict=True):
            await _stop(worker, task)
        return sorted(numbers) == list(range(30))


async def a_worker_that_begins_again_under_its_name(cluster: Cluster) -> Seen:
    """What was given to it before, and not acknowledged, is still its own."""
    async with cluster.client() as client:
        await _append(client, 0)
        await client.stream.group_read("s", "g", "w", StreamGroupReadOptions(count=1))
        await _append(client, 1)
        numbers: list[int] = []
        last = asyncio.Event()

        async def handle(ctx: StreamContext) -> None:
            numbers.append(ctx.into(Order).number)
            if ctx.into(Order).number == 1:
                last.set()

        worker = client.new_stream_worker(
            stream="s", group="g", consumer="w", handler=handle, block_ms=BLOCK_MS
        )
        working = asyncio.create_task(worker.start())
        async with asyncio.timeout(PATIENCE_S):
            await last.wait()
        await _stop(worker, working)
        return sorted(numbers)


async def _append(client: FloClient, number: int) -> None:
    headers = StreamAppendOptions(headers={"type": "order"})
    await client.stream.append("s", b'{"number": %d}' % number, headers)


async def _handled(client: FloClient, done: list[StreamContext], count: int) -> None:
    """Until so many are handled, and acknowledged."""

    async def so_many() -> bool:
        return len(done) >= count and not await client.stream.group_pending("s", "g")

    await eventually(so_many)


async def _stop(worker: StreamWorker, working: "asyncio.Task[None]") -> None:
    worker.stop()
    async with asyncio.timeout(PATIENCE_S):
        await working
