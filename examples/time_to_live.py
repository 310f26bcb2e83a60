"""Time to live: a cache in front of something slow, and sessions that end by themselves.

Prints:

    asking the weather service
    Oslo: rain
    Oslo: rain
    the session is there: True
    the session has ended
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from flo import FloClient, NotFoundError, PutOptions


async def cached(
    client: FloClient, key: str, ttl_ms: int, load: Callable[[], Awaitable[bytes]]
) -> bytes:
    """What is kept under the key, or else what `load` gives, which is then kept for a while."""
    found = await client.kv.get(key)
    if found is not None:
        return found.value
    value = await load()
    await client.kv.put(key, value, PutOptions(ttl_ms=ttl_ms))
    return value


async def weather() -> bytes:
    print("asking the weather service")
    return b"rain"


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-ttl") as client:
        await client.kv.delete("weather:oslo")
        for _ in range(2):
            value = await cached(client, "weather:oslo", 60_000, weather)
            print("Oslo:", value.decode())

        await client.kv.put("session:9", b"token", PutOptions(ttl_ms=60_000))
        # Each request of the user lets the session live on. The value and its version stay.
        await client.kv.touch("session:9", 60_000)
        print("the session is there:", await client.kv.exists("session:9"))

        await client.kv.expire("session:9", 100)
        while await client.kv.exists("session:9"):
            await asyncio.sleep(0.05)
        try:
            await client.kv.touch("session:9", 60_000)
        except NotFoundError:
            print("the session has ended")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
