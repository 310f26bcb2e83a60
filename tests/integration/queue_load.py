"""Producers, consumers and readers of queues and streams, who write down what they saw."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from flo import FloClient, FloError, StreamID, StreamReadOptions
from tests.histories.deliveries import Stored
from tests.integration.kit import eventually
from tests.integration.queue_accounts import (
    BLOCK_MS,
    KINDS,
    Account,
    Caller,
    Stream,
    Target,
    stored,
)

_BATCH_MAX = 8
_GIVE_BACK, _FORGET = 0.1, 0.15
"""Of what is taken: below the first it is given back, then up to the second its lease runs out."""
_READ_MAX = 3
"""Less than a batch: readers go on within one, too."""


@dataclass
class Reader:
    """One that follows a stream, or a partition of it, from the first record on."""

    stream: str
    partition: int | None
    seen: list[Stored] = field(default_factory=list[Stored])

    async def follow(self, client: FloClient) -> None:
        start = StreamID()
        while True:
            options = StreamReadOptions(
                start=start, partition=self.partition, count=_READ_MAX, block_ms=BLOCK_MS
            )
            try:
                async for record in client.stream.follow(self.stream, options):
                    self.seen.append(stored(record))
                    start = record.id.next()
            except FloError as error:
                # Faults may last longer than the client has patience; it goes on where it was.
                if not error.retryable:
                    raise

    def own(self, log: Sequence[Stored]) -> list[Stored]:
        """Those of the stream's records that it should read."""
        return [each for each in log if self.partition in (None, each.partition)]

    async def reach_end(self, log: Sequence[Stored]) -> None:
        """Waits until it has read the last of them."""
        last = self.own(log)[-1].place

        async def has_all() -> bool:
            return bool(self.seen) and self.seen[-1].place >= last

        await eventually(f"a reader of {self.stream} is at its end", has_all)


class Load:
    """Producers and consumers on several targets, and readers of the streams among them."""

    def __init__(self, targets: Sequence[Target], rng: Random, pause_s: float = 0.01) -> None:
        """`pause_s`: of a producer between two calls, and of a consumer that got nothing."""
        self.streams = [target for target in targets if isinstance(target, Stream)]
        self.accounts = [Account(target) for target in targets]
        self.readers = [
            Reader(stream.name, partition) for stream in self.streams for partition in (None, 1)
        ]
        self._rng = rng
        self._pause_s = pause_s
        self._closing = False

    @asynccontextmanager
    async def running(self, callers: Sequence[Caller]) -> AsyncGenerator[None]:
        """All of them at work within the body. An error that no fault explains is raised."""
        for account in self.accounts:
            await account.target.create(callers[0].client)
        async with asyncio.TaskGroup() as group:
            self._start(group, callers)
            try:
                yield
            finally:
                self._closing = True
                for account in self.accounts:
                    account.room.set()

    def _start(self, group: asyncio.TaskGroup, callers: Sequence[Caller]) -> None:
        for account in self.accounts:
            for number, caller in enumerate(callers):
                name = f"{account.target.name} client-{number}"
                group.create_task(self._produce(caller, account, name))
                for block_ms in (0, BLOCK_MS):
                    consumer = f"{name} {block_ms}"
                    group.create_task(self._consume(caller, account, consumer, block_ms))

    def account_of(self, name: str) -> Account:
        """The one of a queue or stream."""
        return next(account for account in self.accounts if account.target.name == name)

    @property
    def total(self) -> int:
        """Calls of the kinds that everything depends on, which have succeeded."""
        return sum(account.counts[kind] for account in self.accounts for kind in KINDS)

    async def more(self, calls: int = 3) -> None:
        """Waits until on every target each kind of call was answered so many times more."""
        targets = [(account, account.least() + calls) for account in self.accounts]

        async def reached() -> bool:
            return all(account.least() >= target for account, target in targets)

        await eventually(f"{calls} more calls of each kind on each target", reached)

    async def _produce(self, caller: Caller, account: Account, name: str) -> None:
        rng, number = self._another_rng(), 0
        while not self._closing:
            size = rng.randint(2, _BATCH_MAX) if number % 2 else 1
            payloads = [f"{name} {number} {n}".encode() for n in range(size)]
            await account.add(caller, payloads, number)
            number += 1
            await asyncio.sleep(rng.expovariate(1 / self._pause_s))
            await account.room.wait()

    async def _consume(
        self, caller: Caller, account: Account, consumer: str, block_ms: int
    ) -> None:
        rng = self._another_rng()
        while not self._closing:
            items = await account.take(caller, consumer, rng.randint(1, 10), block_ms)
            fates = [(rng.random(), item) for item in items]
            done = [item for fate, item in fates if fate >= _FORGET]
            await account.give(caller, done, done=True)
            back = [item for fate, item in fates if fate < _GIVE_BACK]
            await account.give(caller, back, done=False)
            if not items:
                await asyncio.sleep(rng.expovariate(1 / self._pause_s))

    def _another_rng(self) -> Random:
        return Random(self._rng.getrandbits(64))
