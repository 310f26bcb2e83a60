"""Queues and streams with an account of all that was done to them, and what came of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from flo import (
    DequeueOptions,
    FloClient,
    QueueConfigureOptions,
    StreamAppendOptions,
    StreamCreateOptions,
    StreamGroupCreateOptions,
    StreamGroupReadOptions,
    StreamID,
    StreamReadOptions,
    StreamRecord,
)
from tests.histories.deliveries import (
    NEVER_ANSWERED,
    Added,
    Deliveries,
    Place,
    Returned,
    Stored,
    Taken,
)
from tests.histories.operations import Outcome
from tests.integration.kit import EXPECTED, eventually

LEASE_MS = 2_000
BLOCK_MS = 500
PARTITIONS = 3
"""Of each stream."""
GROUP = "group"
KINDS = ("single", "batch", "taken", "acknowledged")
"""Calls that everything depends on."""
_AHEAD_MAX = 100
"""Producers do not go further ahead of the consumers."""

_T = TypeVar("_T")


class Ended(NamedTuple, Generic[_T]):
    """What became of a call."""

    start: float
    end: float
    outcome: Outcome
    answer: _T | None


def _as_asked(start: float) -> float:
    return start


class Caller(NamedTuple):
    """One client."""

    client: FloClient
    earliest: Callable[[float], float] = _as_asked
    """The earliest moment at which a call may have reached a node: from its start, at its end."""

    async def ended(self, call: Awaitable[_T]) -> Ended[_T]:
        """Waits for a call. One that may still take effect later never ends. Raises what no
        fault explains.
        """
        start = time.monotonic()
        try:
            answer = await call
        except EXPECTED as error:
            start = self.earliest(start)
            if error.outcome == "unknown":
                return Ended(start, NEVER_ANSWERED, Outcome.UNKNOWN, None)
            return Ended(start, time.monotonic(), Outcome.FAILED, None)
        return Ended(self.earliest(start), time.monotonic(), Outcome.OK, answer)


class Item(NamedTuple):
    """What a consumer was given."""

    place: Place
    payload: bytes
    delivery: int
    added_ms: int
    """As the leader says."""


class Target(Protocol):
    """A queue, or a stream with a group."""

    @property
    def name(self) -> str: ...

    async def create(self, client: FloClient) -> None: ...

    async def add(
        self, client: FloClient, payloads: Sequence[bytes], number: int
    ) -> list[Place]: ...

    async def take(
        self, client: FloClient, consumer: str, count: int, block_ms: int
    ) -> list[Item]: ...

    async def give(self, client: FloClient, places: Sequence[Place], *, done: bool) -> None: ...

    async def left(self, client: FloClient) -> int:
        """How much is yet to be acknowledged."""
        ...


def clock_offset_s() -> float:
    """How far the clock that leaders go by is ahead of the one of the histories."""
    return time.time() - time.monotonic()


@dataclass
class Account:
    """One target and all that happened to it."""

    target: Target
    history: Deliveries = field(default_factory=Deliveries)
    counts: Counter[str] = field(default_factory=Counter[str])
    """Answered calls of each kind; "refused" and "unknown" are the others."""
    clock_offset_s: float = field(default_factory=clock_offset_s)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether producers may go on."""

    def least(self) -> int:
        """Of the kinds that everything depends on, the number of the rarest."""
        return min(self.counts[kind] for kind in KINDS)

    def count(self, kind: str, call: Ended[_T]) -> None:
        found = {Outcome.OK: kind, Outcome.FAILED: "refused", Outcome.UNKNOWN: "unknown"}
        self.counts[found[call.outcome]] += 1

    async def add(self, caller: Caller, payloads: Sequence[bytes], number: int) -> Outcome:
        call = await caller.ended(self.target.add(caller.client, payloads, number))
        places = tuple(call.answer or ())
        self.history.added.append(Added(*call[:3], tuple(payloads), places))
        self.count("single" if len(payloads) == 1 else "batch", call)
        self._moved("added", len(places))
        return call.outcome

    async def take(
        self, caller: Caller, consumer: str, count: int, block_ms: int = 0
    ) -> list[Item]:
        call = await caller.ended(self.target.take(caller.client, consumer, count, block_ms))
        items = call.answer or []
        self.history.taken += [
            Taken(
                call.start,
                call.end,
                item.place,
                item.payload,
                LEASE_MS / 1000,
                item.delivery,
                item.added_ms / 1000 - self.clock_offset_s,
            )
            for item in items
        ]
        if items or call.outcome is not Outcome.OK:
            self.count("taken", call)
        return items

    async def give(self, caller: Caller, items: Sequence[Item], *, done: bool) -> None:
        places = tuple(item.place for item in items)
        if not places:
            return
        call = await caller.ended(self.target.give(caller.client, places, done=done))
        self.history.returned.append(Returned(*call[:3], places, done))
        self.count("acknowledged" if done else "given back", call)
        self._moved("handled", len(places) if done else 0)

    def _moved(self, kind: str, messages: int) -> None:
        self.counts[kind] += messages
        if self.counts["added"] - self.counts["handled"] > _AHEAD_MAX:
            self.room.clear()
        else:
            self.room.set()

    async def drain(self, caller: Caller) -> None:
        """Takes and acknowledges all that is left."""

        async def nothing_left() -> bool:
            items = await self.take(caller, "last", 100, BLOCK_MS)
            await self.give(caller, items, done=True)
            return not items and await self.target.left(caller.client) == 0

        await eventually(f"{self.target.name} is drained", nothing_left)


@dataclass(frozen=True)
class Queue:
    """Messages that are delivered until they are acknowledged, never dead letters."""

    name: str

    async def create(self, client: FloClient) -> None:
        options = QueueConfigureOptions(visibility_ms=LEASE_MS, max_attempts=2**16 - 1)
        await client.queue.configure(self.name, options)

    async def add(self, client: FloClient, payloads: Sequence[bytes], number: int) -> list[Place]:
        if len(payloads) == 1:
            return [(await client.queue.enqueue(self.name, payloads[0]),)]
        return [(seq,) for seq in await client.queue.enqueue_batch(self.name, payloads)]

    async def take(self, client: FloClient, consumer: str, count: int, block_ms: int) -> list[Item]:
        options = DequeueOptions(block_ms=block_ms)
        found = (await client.queue.dequeue(self.name, count, options)).messages
        return [
            Item((each.seq,), each.payload, each.delivery_count, each.enqueued_at_ms)
            for each in found
        ]

    async def give(self, client: FloClient, places: Sequence[Place], *, done: bool) -> None:
        seqs = [place[0] for place in places]
        await (client.queue.ack(self.name, seqs) if done else client.queue.nack(self.name, seqs))

    async def left(self, client: FloClient) -> int:
        info = await client.queue.info(self.name)
        return info.ready + info.delayed + info.leased + info.dead


@dataclass(frozen=True)
class Stream:
    """A stream, a group that shares it, and readers of everything."""

    name: str

    async def create(self, client: FloClient) -> None:
        await client.stream.create(self.name, StreamCreateOptions(partitions=PARTITIONS))
        options = StreamGroupCreateOptions(ack_timeout_ms=LEASE_MS, max_deliver=0)
        await client.stream.group_create(self.name, GROUP, options)

    async def add(self, client: FloClient, payloads: Sequence[bytes], number: int) -> list[Place]:
        options = StreamAppendOptions(partition=number % PARTITIONS)
        if len(payloads) == 1:
            ids = [(await client.stream.append(self.name, payloads[0], options)).id]
        else:
            ids = await client.stream.append_batch(self.name, payloads, options)
        return [(each.timestamp_ms, each.sequence) for each in ids]

    async def take(self, client: FloClient, consumer: str, count: int, block_ms: int) -> list[Item]:
        options = StreamGroupReadOptions(count=count, block_ms=block_ms)
        found = (await client.stream.group_read(self.name, GROUP, consumer, options)).records
        return [Item(stored(each).place, each.payload, 0, each.id.timestamp_ms) for each in found]

    async def give(self, client: FloClient, places: Sequence[Place], *, done: bool) -> None:
        ids = [StreamID(*place) for place in places]
        stream = client.stream
        await (stream.group_ack if done else stream.group_nack)(self.name, GROUP, ids)

    async def left(self, client: FloClient) -> int:
        info = await client.stream.group_info(self.name, GROUP)
        return info.pending + info.lag

    async def read_all(self, client: FloClient) -> list[Stored]:
        """All records, page by page."""
        found: list[Stored] = []
        start = StreamID()
        while True:
            options = StreamReadOptions(start=start, count=1_000)
            page = (await client.stream.read(self.name, options)).records
            if not page:
                return found
            found += map(stored, page)
            start = page[-1].id.next()


def stored(record: StreamRecord) -> Stored:
    """What the judge knows of a record."""
    place = (record.id.timestamp_ms, record.id.sequence)
    return Stored(place, record.payload, record.partition)
