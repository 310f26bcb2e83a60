"""What the official package can ask and no node serves yet; a program for that package alone.

    python -m programs.unserved ENDPOINT

prints one line of JSON: how each call failed, and whether the connection still served a put.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from typing import Protocol, cast

from flo import FloClient, ServerError


class Actions(Protocol):
    """Operations that our package does not have."""

    def status(self, run_id: str) -> Awaitable[object]: ...


class OfficialClient(Protocol):
    action: Actions


async def main(endpoint: str) -> None:
    async with FloClient(endpoint) as client:
        action = cast("OfficialClient", client).action
        calls = {"action.status": action.status("run")}
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
