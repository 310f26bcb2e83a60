"""Queues."""

import asyncio

from flo import (
    AckOptions,
    DequeueOptions,
    DequeueResult,
    EnqueueOptions,
    FloClient,
    Message,
    PeekOptions,
)

from .common import Cluster, Seen, failure

WAIT = DequeueOptions(block_ms=20_000)


async def low_numbers_of_priority_come_first(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        queue = client.queue
        sequences = [
            await queue.enqueue("q", b"%d" % number, EnqueueOptions(priority=priority))
            for number, priority in enumerate((5, 0, 255, 0))
        ]
        await queue.enqueue("q", b"")
        taken = (await other.queue.dequeue("q", 100)).messages
        return {
            "grow": sequences == sorted(set(sequences)) and sequences[0] > 0,
            "order": _texts(taken),
            "priorities": [message.priority for message in taken],
            "deliveries": [message.delivery_count for message in taken],
            "sequences": {message.seq for message in taken} >= set(sequences),
            "times": all(message.enqueued_at_ms > 1_600_000_000_000 for message in taken),
        }


async def a_message_is_leased_until_it_is_acknowledged(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        for number in range(3):
            await client.queue.enqueue("q", b"%d" % number)
        first = await client.queue.dequeue("q", 2)
        second = await other.queue.dequeue("q", 2)
        await other.queue.ack("q", _sequences(first))
        await other.queue.ack("q", [*_sequences(first), 99])
        await client.queue.ack("q", _sequences(second), AckOptions())
        return [_texts(first.messages), _texts(second.messages), await _emptied(client, "q")]


async def a_message_that_is_given_back_comes_again(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.queue.enqueue("q", b"old")
        taken = await client.queue.dequeue("q", 1)
        await client.queue.enqueue("q", b"new")
        await client.queue.nack("q", _sequences(taken))
        again = await client.queue.dequeue("q", 1)
        (message,) = again.messages
        return [
            _texts(again.messages),
            _sequences(taken) == _sequences(again),
            message.delivery_count,
        ]


async def peek_takes_nothing(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        for number in range(3):
            await client.queue.enqueue("q", b"%d" % number)
        seen = [await other.queue.peek("q", 2, PeekOptions()) for _ in range(2)]
        taken = await client.queue.dequeue("q", 1)
        after = await other.queue.peek("q", 10)
        return {
            "seen": [_texts(peeked.messages) for peeked in seen],
            "deliveries": [seen[1].messages[0].delivery_count, taken.messages[0].delivery_count],
            "after": _texts(after.messages),
        }


async def a_dequeue_waits_for_a_message(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        waiting = asyncio.create_task(client.queue.dequeue("q", 10, WAIT))
        await asyncio.sleep(0.1)
        await other.queue.enqueue("q", b"woken")
        woken = await waiting
        await other.queue.enqueue("q", b"at once")
        at_once = await client.queue.dequeue("q", 10, WAIT)
        # What is given back wakes too.
        waiting = asyncio.create_task(client.queue.dequeue("q", 10, WAIT))
        await asyncio.sleep(0.1)
        await other.queue.nack("q", _sequences(woken))
        again = await waiting
        in_vain = await client.queue.dequeue("q", 10, DequeueOptions(block_ms=50))
        return [_texts(found.messages) for found in (woken, at_once, again, in_vain)]


async def dead_letters_are_listed_and_put_back(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        sequence = await client.queue.enqueue("q", b"v")
        deliveries: list[int] = []
        for _ in range(5):
            (message,) = (await client.queue.dequeue("q", 1)).messages
            deliveries.append(message.delivery_count)
            await client.queue.nack("q", [message.seq])
        left = await client.queue.dequeue("q", 1)
        letters = await client.queue.dlq_list("q")
        await client.queue.dlq_requeue("q", [99, sequence])
        (again,) = (await client.queue.dequeue("q", 1)).messages
        return {
            "deliveries": deliveries,
            "left": _texts(left.messages),
            "letters": [_texts(letters.messages), _sequences(letters) == [sequence]],
            "after": _texts((await client.queue.dlq_list("q")).messages),
            "again": [again.seq == sequence, again.payload.decode(), again.delivery_count],
        }


async def a_queue_that_nobody_made_is_empty(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        seen = [
            await client.queue.dequeue("q", 1),
            await client.queue.peek("q", 1),
            await client.queue.dlq_list("q"),
        ]
        done = [
            await failure(call("q", [1]))
            for call in (client.queue.ack, client.queue.nack, client.queue.dlq_requeue)
        ]
        return [[_texts(found.messages) for found in seen], done]


async def queues_and_namespaces_are_apart(cluster: Cluster) -> Seen:
    there = f"{cluster.namespace}-b"
    async with cluster.client() as client:
        await client.queue.enqueue("q", b"here")
        await client.queue.enqueue("q", b"there", EnqueueOptions(namespace=there))
        await client.queue.enqueue("other", b"other")
        taken = [
            await client.queue.dequeue("q", 10, DequeueOptions(namespace=there)),
            await client.queue.dequeue("q", 10),
            await client.queue.dequeue("other", 10),
        ]
        return [_texts(found.messages) for found in taken]


async def large_messages(cluster: Cluster) -> Seen:
    payload = bytes(range(256)) * 900
    async with cluster.client() as client:
        for _ in range(3):
            await client.queue.enqueue("q", payload)
        sizes: list[bool] = []
        while taken := (await client.queue.dequeue("q", 100)).messages:
            sizes += [message.payload == payload for message in taken]
        return sizes


async def what_no_queue_takes(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        queue = client.queue
        too_long = DequeueOptions(block_ms=300_001)
        return {
            "name": await failure(queue.enqueue("", b"v")),
            "reserved": await failure(queue.enqueue("_sys:q", b"v")),
            "block_ms": await failure(queue.dequeue("q", 1, too_long)),
            "nothing to ack": await failure(queue.ack("q", [])),
        }


async def each_message_goes_to_one_consumer(cluster: Cluster) -> Seen:
    async def consume(node: int) -> list[int]:
        async with cluster.client(node % 3) as client:
            taken: list[int] = []
            while True:
                found = await client.queue.dequeue("q", 3)
                if not found.messages:
                    return taken
                taken += _sequences(found)
                await client.queue.ack("q", _sequences(found))

    async with cluster.client() as client:
        sequences = [await client.queue.enqueue("q", b"v") for _ in range(60)]
        taken = await asyncio.gather(*(consume(node) for node in range(6)))
        return [
            sorted(seq for part in taken for seq in part) == sequences,
            await _emptied(client, "q"),
        ]


async def a_lease_that_ends_wakes_the_next(cluster: Cluster) -> Seen:
    """The consumer forgets its message; another one waits for it."""
    await cluster.please(f"short leases in {cluster.namespace}")
    async with cluster.client() as client, cluster.client(1) as other:
        await client.queue.enqueue("q", b"v")
        forgotten = await client.queue.dequeue("q", 1)
        (again,) = (await other.queue.dequeue("q", 1, WAIT)).messages
        await other.queue.ack("q", [again.seq])
        return [
            _sequences(forgotten) == [again.seq],
            again.delivery_count,
            await _emptied(client, "q"),
        ]


def _texts(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


def _sequences(taken: DequeueResult) -> list[int]:
    return [message.seq for message in taken.messages]


async def _emptied(client: FloClient, queue: str) -> bool:
    """Whether there is nothing to take, and nothing that was put aside."""
    ready = await client.queue.peek(queue, 1)
    dead = await client.queue.dlq_list(queue)
    return not ready.messages and not dead.messages
