"""A closed-loop load of operations that take several requests: see `bench.operations`.

A number of operations is under way at a time, spread evenly over the partitions. Each talks to the
leader of its partition, or to a node like any other, over one connection to each node, and the next
one begins when it ends.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, TypeAlias, cast

from bench.frames import NAMESPACE, fresh_names
from bench.window import Sample, Window, measure
from flo.wire.connection import ClientConnection
from flo.wire.messages import Body, Result
from flo.wire.routing import partition_of
from flo.wire.status import Refusal

Dialogue: TypeAlias = Generator[tuple[Body, ...], tuple[Result, ...], None]
"""One operation: it yields requests that leave together, and is sent their answers."""

_STOCK_BATCH, _STOCK_BATCH_BYTES, _STOCK_OUTSTANDING = 1_000, 256 << 10, 4
_STOCK_BYTES = 8 << 20
"""Outstanding: what is large must not be so much that it is refused."""
_STOCK_TRIES, _STOCK_PAUSE_S = 60, 0.5


class RanDryError(Exception):
    """Everything that was put there before has been taken: give more `--keys`."""


class Operation(NamedTuple):
    """One kind of operation."""

    begin: Callable[[bytes, bytes], Iterator[Dialogue]]
    """One after the other, with the name of a queue, stream or routing key, and a payload."""
    fill: Callable[[bytes, bytes, int], Body] | None = None
    """The request that puts so many payloads there before, to be taken."""
    size: int = 1
    """How many each operation takes."""


class Talk(asyncio.Protocol):
    """One connection with many dialogues under way."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends, with an error, when this connection is of no more use."""
        self._codec = ClientConnection()
        self._waiting: dict[int, tuple[Slot, int]] = {}
        """Whose request it is, and which of those that left together."""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.failed.done():
            self.failed.set_exception(exc or ConnectionError("a node closed the connection"))

    def data_received(self, data: bytes) -> None:
        frames: list[bytes] = []
        try:
            for answer in self._codec.receive(data):
                slot, place = self._waiting.pop(answer.request_id)
                self._request(slot, slot.go_on(place, answer.result), frames)
        except RanDryError as error:
            if not self.failed.done():
                self.failed.set_exception(error)
        self._transport.write(b"".join(frames))

    def begin(self, slot: "Slot") -> None:
        frames: list[bytes] = []
        self._request(slot, slot.begin(), frames)
        self._transport.write(b"".join(frames))

    def close(self) -> None:
        self.failed.cancel()
        self._transport.close()

    def _request(self, slot: "Slot", bodies: tuple[Body, ...], frames: list[bytes]) -> None:
        for place, body in enumerate(bodies):
            number, frame = self._codec.request(body)
            self._waiting[number] = slot, place
            frames.append(frame)


class Slot:
    """One operation after the other, until there are no more: nothing is to be sent then."""

    def __init__(self, dialogues: Iterator[Dialogue], sample: Sample) -> None:
        self.ended = False
        self._dialogues = dialogues
        self._sample = sample
        self._current: Dialogue
        self._begun = 0.0
        self._answers: dict[int, Result | Refusal] = {}
        self._expected = 0

    def begin(self) -> tuple[Body, ...]:
        current = next(self._dialogues, None)
        if current is None:
            self.ended = True
            return ()
        self._current = current
        self._begun = time.perf_counter()
        return self._sent(next(current))

    def go_on(self, place: int, result: Result | Refusal) -> tuple[Body, ...]:
        """What to send after the answer to one of the requests that left last."""
        self._answers[place] = result
        if len(self._answers) < self._expected:
            return ()
        results = [self._answers[each] for each in range(self._expected)]
        succeeded = tuple(each for each in results if not isinstance(each, Refusal))
        if len(succeeded) < len(results):
            self._sample.errors += 1
            self._current.close()
            return self.begin()
        try:
            return self._sent(self._current.send(succeeded))
        except StopIteration:
            self._sample.latencies.append(time.perf_counter() - self._begun)
            return self.begin()

    def _sent(self, bodies: tuple[Body, ...]) -> tuple[Body, ...]:
        self._answers.clear()
        self._expected = len(bodies)
        return bodies


class Stage(NamedTuple):
    """Where operations take place."""

    addresses: dict[int, tuple[str, int]]
    leaders: dict[int, int]
    """Partition to node."""
    payload: bytes
    spread: bool = False
    """Operations go to all nodes alike, not to leaders."""


async def run_dialogues(
    stage: Stage,
    operation: Operation,
    *,
    outstanding: int,
    stock: int,
    window: Window,
    cpu_seconds: Callable[[], float],
) -> Sample:
    """Keeps `outstanding` operations under way for the window.

    `stock` payloads are put there before, for what takes. Raises RanDryError when that was not
    enough.
    """
    names = fresh_names(len(stage.leaders))[:outstanding]
    if operation.fill is not None:
        await _fill(stage, operation, names, stock)
    sample = Sample()
    async with connected(stage) as talks:
        everywhere = list(talks.values())
        for number in range(outstanding):
            name = names[number % len(names)]
            dialogues = operation.begin(name, stage.payload)
            talk = talks[_leader(stage, name)]
            if stage.spread:
                # One further in each round: every name is talked of at every node.
                talk = everywhere[(number + number // len(names)) % len(everywhere)]
            talk.begin(Slot(dialogues, sample))
        return await measure(sample, window, cpu_seconds, partial(watch, talks))


async def _fill(stage: Stage, operation: Operation, names: list[bytes], stock: int) -> None:
    """Refused batches are tried again: large ones fill a log faster than it is let go."""
    count = min(_STOCK_BATCH, _STOCK_BATCH_BYTES // max(1, len(stage.payload)))
    missing = -(-stock // count)
    async with connected(stage) as talks:
        for _ in range(_STOCK_TRIES):
            missing = await _put(stage, talks, operation, names, batches=missing, count=count)
            if not missing:
                return
            await watch(talks, _STOCK_PAUSE_S)
    raise RuntimeError(f"{missing} batches were refused before the measurement: give less --keys")


async def _put(
    stage: Stage,
    talks: dict[int, Talk],
    operation: Operation,
    names: list[bytes],
    *,
    batches: int,
    count: int,
) -> int:
    """So many batches, evenly; returns how many were refused."""
    fill = operation.fill
    assert fill is not None

    def one(name: bytes) -> Dialogue:
        yield (fill(name, stage.payload, count),)

    at_once = _STOCK_BYTES // (len(names) * count * max(1, len(stage.payload)))
    sample = Sample()
    slots: list[Slot] = []
    for name in names:
        dialogues = iter([one(name) for _ in range(-(-batches // len(names)))])
        for _ in range(max(1, min(at_once, _STOCK_OUTSTANDING))):
            slots.append(Slot(dialogues, sample))
            talks[_leader(stage, name)].begin(slots[-1])
    while not all(slot.ended for slot in slots):
        await watch(talks, 0.01)
    return sample.errors


def _leader(stage: Stage, name: bytes) -> int:
    return stage.leaders[partition_of(NAMESPACE, name, len(stage.leaders))]


@asynccontextmanager
async def connected(stage: Stage) -> AsyncGenerator[dict[int, Talk]]:
    """A connection to each node that operations talk to, or that leads."""
    loop = asyncio.get_running_loop()
    talks: dict[int, Talk] = {}
    try:
        for node in sorted(stage.addresses if stage.spread else set(stage.leaders.values())):
            _, talks[node] = await loop.create_connection(Talk, *stage.addresses[node])
        yield talks
    finally:
        for talk in talks.values():
            talk.close()


async def watch(talks: dict[int, Talk], seconds: float) -> None:
    """Waits so long. Raises at once when a connection fails."""
    failing = [talk.failed for talk in talks.values()]
    failed, _ = await asyncio.wait(failing, timeout=seconds, return_when="FIRST_COMPLETED")
    for each in failed:
        each.result()
