"""What the official package can ask and no node serves yet; a program for that package alone.

    python -m programs.unserved ENDPOINT

prints one line of JSON: how each call failed, and whether the connection still served a put.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Protocol, cast

from flo import FloClient, GetOptions, ServerError


class LaterKv(Protocol):
    """Operations that our package does not have yet."""

    def history(self, key: str) -> Awaitable[object]: ...
    def json_get(self, key: str) -> Awaitable[object]: ...
    def json_set(self, key: str, path: str, json_value: bytes) -> Awaitable[object]: ...
    def json_del(self, key: str) -> Awaitable[object]: ...
    def begin(self, routing_key: str) -> Awaitable[object]: ...


async def main(endpoint: str) -> None:
    async with FloClient(endpoint) as client:
        kv = cast("LaterKv", client.kv)
        calls = {
            "history": kv.history("k"),
            "json_get": kv.json_get("k"),
            "json_set": kv.json_set("k", "$", b"{}"),
            "json_del": kv.json_del("k"),
            "begin": kv.begin("k"),
            "get with wait_ms": client.kv.get("k", GetOptions(wait_ms=100)),
        }
        seen: dict[str, object] = {}
        for name, call in calls.items():
            try:
                await call
            except ServerError as error:
                seen[name] = [type(error).__name__, error.reason.name, error.ran.name]
            else:
                seen[name] = "served"
            await client.kv.put("k", b"v")
        print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
