"""A lock that ends by itself when its holder dies, and a holder that comes too late.

A lock with a time limit cannot stop a holder that was paused for longer: what it protects has to.
The version of the lock's key is a fencing token: it grows with every acquisition, and a write with
an older token than the last one is refused.

Prints:

    first has the lock
    first has renewed it: True
    second has the lock, and a newer token: True
    first has renewed it: False
    first has released it: False
    second has written: True
    first has written: False
    the report is by second
    second has released it: True
"""

import asyncio
import random
import sys

from flo import (
    Condition,
    ConflictError,
    DeleteOptions,
    FloClient,
    KVExpireOptions,
    NotFoundError,
    PutOptions,
)

LOCK, REPORT = "lock:report", "report"


async def acquire(client: FloClient, owner: str, ttl_ms: int) -> int:
    """Waits for the lock, and returns the fencing token."""
    only_free = PutOptions(condition=Condition.IF_ABSENT, ttl_ms=ttl_ms)
    while True:
        try:
            # An error other than this one may leave it locked, at most for its time to live.
            return (await client.kv.put(LOCK, owner.encode(), only_free)).version
        except ConflictError:
            await asyncio.sleep(random.uniform(0.02, 0.1))


async def renew(client: FloClient, token: int, ttl_ms: int) -> bool:
    """Keeps the lock for longer, from now. False: it is lost, so stop working."""
    try:
        await client.kv.expire(LOCK, ttl_ms, KVExpireOptions(cas_version=token))
    except (ConflictError, NotFoundError):
        return False
    return True


async def release(client: FloClient, token: int) -> bool:
    """Frees the lock; False when it was lost. Never frees that of another holder."""
    try:
        return await client.kv.delete(LOCK, DeleteOptions(cas_version=token))
    except ConflictError:
        return False


async def write_report(client: FloClient, author: str, token: int) -> bool:
    """Writes unless a holder with a newer token has: what the lock protects checks the token."""
    while True:
        found = await client.kv.get(REPORT)
        if found is not None and int(found.value.split()[0]) > token:
            return False
        only_if = PutOptions(cas_version=found.version if found else 0)
        try:
            await client.kv.put(REPORT, f"{token} {author}".encode(), only_if)
        except ConflictError:
            continue
        return True


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-lock") as client:
        first = await acquire(client, "first", ttl_ms=60_000)
        print("first has the lock")
        print("first has renewed it:", await renew(client, first, ttl_ms=100))

        # Now the first one is paused, and its time goes by.
        second = await acquire(client, "second", ttl_ms=60_000)
        print("second has the lock, and a newer token:", second > first)
        print("first has renewed it:", await renew(client, first, ttl_ms=60_000))
        print("first has released it:", await release(client, first))

        print("second has written:", await write_report(client, "second", second))
        print("first has written:", await write_report(client, "first", first))
        report = await client.kv.get(REPORT)
        print("the report is by", report.value.decode().split()[1] if report else "nobody")
        print("second has released it:", await release(client, second))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
