"""What the tests with real processes share: traffic that keeps account, and waiting."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.cluster_view import ask
from bench.local_cluster import LocalCluster
from flo import (
    ConnectionFailedError,
    FloClient,
    FloError,
    OverloadedError,
    RequestTimeoutError,
    UnavailableError,
    UnexpectedEofError,
)
from flo.wire.messages import ClusterStatus, ClusterStatusRequest

PATIENCE_S = 60.0
_POLL_S = 0.02

EXPECTED = (
    ConnectionFailedError,
    OverloadedError,
    RequestTimeoutError,
    UnavailableError,
    UnexpectedEofError,
)
"""What clients may meet while nodes fail."""


async def eventually(what: str, condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until `condition` holds; fails, saying what did not happen, after a minute."""
    until = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < until, f"did not happen: {what}"
        await asyncio.sleep(_POLL_S)


@dataclass
class Account:
    """What clients were told: only these outcomes count."""

    acknowledged_puts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    increments: int = 0
    unknown_increments: int = 0
    counter_answers: list[int] = field(default_factory=list[int])
    refused: int = 0

    @property
    def acknowledged(self) -> int:
        return self.increments + len(self.acknowledged_puts)


class Traffic:
    """Clients that increment one counter and put unique keys until they are stopped."""

    def __init__(self, endpoints: str, *, clients: int = 4) -> None:
        self.account = Account()
        self._endpoints = endpoints
        self._count = clients
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Traffic":
        self._tasks = [asyncio.create_task(self._client(n)) for n in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Lets every client finish its call."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> None:
        """Waits until so many further calls were acknowledged."""
        target = self.account.acknowledged + count

        async def reached() -> bool:
            return self.account.acknowledged >= target

        await eventually(f"{count} more acknowledged calls", reached)

    async def _client(self, name: int) -> None:
        # Each starts with another node, and knows all of them.
        parts = self._endpoints.split(",")
        own = parts[name % len(parts) :] + parts[: name % len(parts)]
        async with FloClient(",".join(own), timeout_ms=20_000) as client:
            number = 0
            while not self._stopping:
                number += 1
                if number % 2:
                    await self._increment(client)
                else:
                    await self._put(client, f"client-{name}-{number}")

    async def _increment(self, client: FloClient) -> None:
        try:
            counter = await client.kv.incr("counter")
        except FloError as error:
            self._failed(error, increment=True)
        else:
            self.account.increments += 1
            self.account.counter_answers.append(counter.value)

    async def _put(self, client: FloClient, key: str) -> None:
        value = f"value of {key}".encode()
        try:
            await client.kv.put(key, value)
        except FloError as error:
            self._failed(error, increment=False)
        else:
            self.account.acknowledged_puts[key] = value

    def _failed(self, error: FloError, *, increment: bool) -> None:
        self.account.refused += 1
        if increment and error.outcome == "unknown":
            self.account.unknown_increments += 1


class HasEndpoints(Protocol):
    """A cluster, in whatever processes."""

    @property
    def endpoints(self) -> str: ...


async def check_account(cluster: HasEndpoints, account: Account) -> None:
    """Every acknowledged write is there, each increment exactly once."""
    async with FloClient(cluster.endpoints, timeout_ms=20_000) as client:
        for key, value in account.acknowledged_puts.items():
            found = await client.kv.get(key)
            assert found is not None, f"acknowledged {key} is gone"
            assert found.value == value
        found = await client.kv.get("counter")
        counted = int.from_bytes(found.value, "little") if found is not None else 0
    assert len(set(account.counter_answers)) == len(account.counter_answers), "an answer twice"
    assert account.increments <= counted <= account.increments + account.unknown_increments


def status_of(cluster: LocalCluster, node: int, partition: int) -> "ReplicaStatus":
    """One replica with its digest, as the node itself tells."""
    request = ClusterStatusRequest(partition=partition, digest=True)
    answer = ask(cluster.client_ports[node], request, timeout_s=20)
    assert isinstance(answer, ClusterStatus)
    return ReplicaStatus.parse(answer.document)


@dataclass(frozen=True)
class ReplicaStatus:
    """What a digest belongs to."""

    applied_index: int
    last_index: int
    digest: str

    @classmethod
    def parse(cls, document: bytes) -> "ReplicaStatus":
        row = json.loads(document)["partitions"][0]
        assert row["broken"] is None, row["broken"]
        return cls(row["applied_index"], row["last_index"], row["digest"])


async def check_replicas_agree(cluster: LocalCluster) -> None:
    """All replicas catch up, and then hold the same bytes."""
    for partition in range(cluster.partitions):

        async def agreed(partition: int = partition) -> bool:
            found = {
                await asyncio.to_thread(status_of, cluster, node, partition)
                for node in cluster.client_ports
            }
            if len({each.applied_index for each in found}) > 1:
                return False
            assert len({each.digest for each in found}) == 1, f"partition {partition} differs"
            return True

        await eventually(f"the replicas of partition {partition} are level", agreed)
