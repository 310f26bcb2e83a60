"""What all scenarios use. It imports nothing but the package and the standard library."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from flo import DEFAULT_RETRY_POLICY, FloClient, FloError, RetryPolicy, ServerError

Seen: TypeAlias = object
"""What a scenario saw, as JSON takes it."""

POLL_S = 0.02
PATIENCE_S = 30.0


class Cluster:
    """Where the nodes are, and clients of them in the scenario's own namespace."""

    def __init__(self, endpoints: list[str], namespace: str) -> None:
        self.endpoints = endpoints
        self.namespace = namespace

    def client(
        self, node: int = 0, *, timeout_ms: int = 20_000, retry: RetryPolicy = DEFAULT_RETRY_POLICY
    ) -> FloClient:
        return FloClient(
            self.endpoints[node], namespace=self.namespace, timeout_ms=timeout_ms, retry=retry
        )

    async def please(self, what: str) -> None:
        """Asks for something outside of the program, and returns when it has happened."""
        print(json.dumps({"please": what}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def failure(call: Awaitable[object]) -> Seen:
    """How a call fails: the class, and for a refusal its reason and whether it ran."""
    try:
        await call
    except FloError as error:
        if isinstance(error, ServerError):
            return [type(error).__name__, error.reason.name, error.ran.name]
        return type(error).__name__
    return "no error"


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(POLL_S)


async def text_of(client: FloClient, key: str) -> str | None:
    found = await client.kv.get(key)
    return None if found is None else found.value.decode()
