"""A work queue: orders are handled, one cannot be, becomes a dead letter, and is put back.

Prints:

    order 1 for Ada is done
    failed, try 1: {"order": 2}
    order 3 for Cy is done
    failed, try 2: {"order": 2}
    failed, try 3: {"order": 2}
    dead letters: {"order": 2}
    order 2 for nobody is done
    left: 0 messages, 0 dead letters
"""

import asyncio
import json
import sys
from collections.abc import Callable
from uuid import uuid4

from flo import EnqueueOptions, FloClient, Message, QueueConfigureOptions

QUEUE = "orders"
ORDERS = ({"order": 1, "name": "Ada"}, {"order": 2}, {"order": 3, "name": "Cy"})


async def produce(client: FloClient, batch: str) -> None:
    for order in ORDERS:
        # A producer that died may begin anew: what it had put there already is not stored twice.
        once = EnqueueOptions(dedup_key=f"{batch}-{order['order']}")
        await client.queue.enqueue(QUEUE, json.dumps(order).encode(), once)


async def consume(client: FloClient, handle: Callable[[Message], None]) -> None:
    """Works for ever. A message may come twice, when a consumer dies before its ack."""
    async for message in client.queue.consume(QUEUE):
        try:
            handle(message)
        except Exception:
            print(f"failed, try {message.delivery_count}: {message.payload.decode()}")
            # It comes again, until it was delivered `max_attempts` times.
            await client.queue.nack(QUEUE, [message.seq])
        else:
            await client.queue.ack(QUEUE, [message.seq])


def handle_order(message: Message) -> None:
    order = json.loads(message.payload)
    print(f"order {order['order']} for {order['name']} is done")


def handle_any_order(message: Message) -> None:
    order = json.loads(message.payload)
    print(f"order {order['order']} for {order.get('name', 'nobody')} is done")


async def until_empty(client: FloClient, handle: Callable[[Message], None]) -> None:
    """Runs a consumer until there is nothing left to do."""
    async with asyncio.TaskGroup() as tasks:
        consumer = tasks.create_task(consume(client, handle))
        while (info := await client.queue.info(QUEUE)).ready + info.leased:
            await asyncio.sleep(0.05)
        consumer.cancel()


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-queue") as client:
        await client.queue.configure(QUEUE, QueueConfigureOptions(max_attempts=3))
        # What an earlier run may have left.
        await client.queue.purge(QUEUE)
        await client.queue.dlq_purge(QUEUE)

        batch = uuid4().hex
        await produce(client, batch)
        await produce(client, batch)
        await until_empty(client, handle_order)

        letters = (await client.queue.dlq_list(QUEUE)).messages
        print("dead letters:", ", ".join(letter.payload.decode() for letter in letters))
        # Somebody looks at them, mends the consumer, and gives them another chance.
        await client.queue.dlq_requeue(QUEUE, [letter.seq for letter in letters])
        await until_empty(client, handle_any_order)

        info = await client.queue.info(QUEUE)
        print(f"left: {info.ready + info.leased} messages, {info.dead} dead letters")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
