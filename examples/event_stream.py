"""A stream: orders are appended, billed by a worker, replayed for an audit, and followed live.

Prints:

    billing: created, by Ada
    billing: paid, by Ada
    billing has everything: True
    audit: created
    audit: paid
    live: sent
"""

import asyncio
import sys

from flo import (
    FloClient,
    StreamAppendOptions,
    StreamContext,
    StreamGroupReadOptions,
    StreamID,
    StreamReadOptions,
)

STREAM = "orders"


async def append(client: FloClient, what: bytes) -> StreamID:
    headers = {"by": "Ada"}
    return (await client.stream.append(STREAM, what, StreamAppendOptions(headers=headers))).id


async def bill(client: FloClient) -> None:
    """One worker of the group. Others in other processes would share the records with it."""

    async def handle(ctx: StreamContext) -> None:
        # The record is done when this returns, and comes again when it raises.
        print(f"billing: {ctx.payload.decode()}, by {ctx.headers['by']}")
        if ctx.payload == b"paid":
            worker.stop()  # A real one goes on until its program is told to end.

    worker = client.new_stream_worker(stream=STREAM, group="billing", handler=handle)
    await worker.start()
    info = await client.stream.group_info(STREAM, "billing")
    print("billing has everything:", info.lag == 0 and info.pending == 0)


async def audit(client: FloClient) -> None:
    """A second group has its own place in the stream, and begins with the first record."""
    options = StreamGroupReadOptions(count=100)
    taken = await client.stream.group_read(STREAM, "audit", "auditor-1", options)
    for record in taken.records:
        print("audit:", record.payload.decode())
    await client.stream.group_ack(STREAM, "audit", [record.id for record in taken.records])


async def follow(client: FloClient, after: StreamID) -> None:
    """Without a group: each program that follows gets every record, and remembers its place."""
    async for record in client.stream.follow(STREAM, StreamReadOptions(start=after.next())):
        print("live:", record.payload.decode())
        if record.payload == b"sent":
            return


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-stream") as client:
        await client.stream.delete(STREAM, force=True)
        await append(client, b"created")
        last = await append(client, b"paid")
        await bill(client)
        await audit(client)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(client, last))
            await append(client, b"sent")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
