"""Counters: ten tasks count at once, and no increment is lost or counted twice.

That holds also while a node is killed: an increment whose answer got lost is sent again, and the
cluster knows it.

Prints:

    counting
    1000 visits
    every answer was another number: True
    990 after taking ten away
"""

import asyncio
import sys

from flo import FloClient, KVIncrOptions

TASKS = 10
VISITS = 100


async def visit(client: FloClient) -> list[int]:
    """Counts some visits, one after the other; returns what the counter was after each."""
    return [(await client.kv.incr("visits")).value for _ in range(VISITS)]


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    # A call waits for so long for a new leader before it gives up.
    async with FloClient(endpoints, namespace="example-counters", timeout_ms=30_000) as client:
        await client.kv.delete("visits")
        print("counting")
        answers = await asyncio.gather(*(visit(client) for _ in range(TASKS)))

        found = await client.kv.get("visits")
        # A counter is kept as 8 bytes, the lowest first.
        count = int.from_bytes(found.value, "little", signed=True) if found else 0
        print(count, "visits")
        different = {number for each in answers for number in each}
        print("every answer was another number:", len(different) == TASKS * VISITS)

        counter = await client.kv.incr("visits", KVIncrOptions(delta=-10))
        print(counter.value, "after taking ten away")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
