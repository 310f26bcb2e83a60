"""Queues, streams and transactions that programs of both packages use."""

from flo import (
    AckOptions,
    DequeueOptions,
    EnqueueOptions,
    FloClient,
    NackOptions,
    StreamAppendOptions,
    StreamGroupReadOptions,
    StreamID,
)

from .common import Cluster, Seen, text_of

NAMESPACE = "shared"


async def fill_for_the_other_package(cluster: Cluster) -> Seen:
    """Takes a message and gives it back, and keeps a record that it has read."""
    async with FloClient(cluster.endpoints[0], namespace=NAMESPACE) as client:
        await client.queue.enqueue("q", b"plain", EnqueueOptions(priority=7))
        taken = await client.queue.dequeue("q", 1)
        await client.queue.nack("q", [taken.messages[0].seq], NackOptions())
        await client.queue.enqueue("q", b"urgent", EnqueueOptions(priority=1))
        headers = StreamAppendOptions(headers={"by": "the other"})
        for payload in (b"0", b"1"):
            await client.stream.append("s", payload, headers)
        read = await client.stream.group_read("s", "g", "a", StreamGroupReadOptions(count=1))
        async with await client.kv.begin("user:1") as txn:
            await txn.put("user:1:name", b"Ada")
            await txn.incr("user:1:visits", 2)
            await txn.commit()
        return [record.payload.decode() for record in read.records]


async def take_what_the_other_package_left(cluster: Cluster) -> Seen:
    async with FloClient(cluster.endpoints[1], namespace=NAMESPACE) as client:
        taken = (await client.queue.dequeue("q", 10, DequeueOptions())).messages
        await client.queue.ack("q", [message.seq for message in taken], AckOptions())
        records = (await client.stream.read("s")).records
        fresh = (await client.stream.group_read("s", "g", "a")).records
        # Under the name of the consumer that has it.
        own = (await client.stream.group_claim("s", "g", "a", 0, StreamID(), 1)).records
        pending = await client.stream.group_pending("s", "g")
        counts = {entry.id.to_bytes(): entry.delivery_count for entry in pending}
        visits = await client.kv.incr("user:1:visits")
        return {
            "queue": [[message.payload.decode(), message.delivery_count] for message in taken],
            "stream": [[record.payload.decode(), record.headers] for record in records],
            "group": [
                [record.payload.decode(), counts[record.id.to_bytes()]] for record in (*fresh, *own)
            ],
            "both": [await text_of(client, "user:1:name"), visits.value],
        }
