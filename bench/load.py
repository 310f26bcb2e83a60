"""A closed-loop load generator that costs little CPU beside the servers it measures.

Frames are encoded before the measurement, answers are only cut at their headers. It keeps a
number of requests outstanding, spread evenly over its connections, and sends the next one when
an answer comes.
"""

import asyncio
import itertools
import time
from collections import deque
from functools import partial
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, cast

from bench.frames import Workload
from bench.window import Sample, Window, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "LoadConnection",
    "Sample",
    "Window",
    "Workload",
    "close_load",
    "connect_load",
    "preload",
    "run_load",
    "shares",
    "split_answers",
]

_HEADER_BYTES = 32
_LENGTH = Struct("<I")
_LENGTH_AT, _STATUS_AT = 4, 21
_OK = 0
_PRELOAD_OUTSTANDING = 768
_PRELOAD_BYTES = 8 << 20
"""Outstanding: what is large must not wait until it is refused."""


def split_answers(data: bytes) -> tuple[list[bool], bytes]:
    """Whether each of the answers says ok, and the beginning of the next one."""
    succeeded: list[bool] = []
    at, size = 0, len(data)
    while size - at >= _HEADER_BYTES:
        end = at + _HEADER_BYTES + _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
        if end > size:
            break
        succeeded.append(data[at + _STATUS_AT] == _OK)
        at = end
    return succeeded, data[at:]


class LoadConnection(asyncio.Protocol):
    """One connection with a fixed number of requests outstanding, as long as there are frames."""

    def __init__(self, frames: "Iterator[bytes]", sample: Sample) -> None:
        self._frames = frames
        self._sample = sample
        self._sent: deque[float] = deque()
        self._rest = b""
        self._transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def start(self, outstanding: int) -> None:
        self._send(outstanding)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        succeeded, self._rest = split_answers(self._rest + data if self._rest else data)
        now = time.perf_counter()
        sample, sent = self._sample, self._sent
        for ok in succeeded:
            waited = now - sent.popleft()
            if ok:
                sample.latencies.append(waited)
            else:
                sample.errors += 1
        self._send(len(succeeded))

    def _send(self, count: int) -> None:
        frames = list(itertools.islice(self._frames, count))
        if frames:
            self._sent.extend([time.perf_counter()] * len(frames))
            self._transport.write(b"".join(frames))


async def run_load(
    addresses: "dict[int, tuple[str, int]]",
    workload: Workload,
    *,
    leaders: dict[int, int] | None,
    outstanding: int,
    window: Window,
    cpu_seconds: "Callable[[], float]",
) -> Sample:
    """Keeps `outstanding` requests under way for the window.

    `cpu_seconds` tells the CPU time of the servers so far. `leaders` maps partitions to the node to
    send to; without it every node gets any key. ConnectionError when a node closes its connection.
    """
    rng = Random(outstanding)
    sample = Sample()
    connections: list[tuple[LoadConnection, int]] = []
    try:
        for node, share in shares(workload, list(addresses), leaders, outstanding).items():
            frames = _frames_of(workload, node, leaders)
            rng.shuffle(frames)
            connection = await connect_load(addresses[node], itertools.cycle(frames), sample)
            connections.append((connection, share))
        for connection, share in connections:
            connection.start(share)
        pause = partial(_pause, [connection.lost for connection, _ in connections])
        return await measure(sample, window, cpu_seconds, pause)
    finally:
        await close_load([connection for connection, _ in connections])


async def _pause(lost: "list[asyncio.Future[None]]", seconds: float) -> None:
    ended, _ = await asyncio.wait(lost, timeout=seconds, return_when="FIRST_COMPLETED")
    if ended:
        raise ConnectionError("a node has closed its connection")


async def preload(
    addresses: "dict[int, tuple[str, int]]",
    workload: Workload,
    leaders: dict[int, int],
    *,
    count: int | None = None,
) -> None:
    """Sends every request once, or the first `count` of them, beginning anew after the last.

    All partitions are loaded at the same time. RuntimeError when a request fails.
    """
    sample = Sample()
    total = 0
    connections: list[LoadConnection] = []
    longest = max(len(frame) for frames in workload.frames.values() for frame in frames)
    outstanding = min(_PRELOAD_OUTSTANDING, _PRELOAD_BYTES // longest)
    each = max(1, outstanding // len(workload.frames))
    try:
        for partition, frames in workload.frames.items():
            own = len(frames) if count is None else count // len(workload.frames)
            total += own
            rest = itertools.islice(itertools.cycle(frames), own)
            connection = await connect_load(addresses[leaders[partition]], rest, sample)
            connections.append(connection)
            connection.start(each)
        while len(sample.latencies) < total:
            if sample.errors or any(connection.lost.done() for connection in connections):
                refused = f"{sample.errors} of {total} requests refused"
                raise RuntimeError(f"preloading failed: {refused}")
            await asyncio.sleep(0.05)
    finally:
        await close_load(connections)


async def connect_load(
    address: tuple[str, int], frames: "Iterator[bytes]", sample: Sample
) -> LoadConnection:
    """A connection that sends nothing before its `start`."""
    loop = asyncio.get_running_loop()
    make = partial(LoadConnection, frames, sample)
    _, connection = await loop.create_connection(make, *address)
    return connection


async def close_load(connections: "Iterable[LoadConnection]") -> None:
    """Closes them all, whatever they wait for."""
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.lost for connection in connections))


def shares(
    workload: Workload, nodes: list[int], leaders: dict[int, int] | None, outstanding: int
) -> dict[int, int]:
    """How many of the outstanding requests each node gets: by how many frames are meant for it."""
    weights = dict.fromkeys(nodes, 1)
    if leaders is not None:
        weights = dict.fromkeys(nodes, 0)
        for partition, frames in workload.frames.items():
            weights[leaders[partition]] += len(frames)
    order = sorted((node for node in nodes if weights[node]), key=lambda node: -weights[node])
    total = sum(weights[node] for node in order)
    found = {node: outstanding * weights[node] // total for node in order}
    for place in range(outstanding - sum(found.values())):
        found[order[place % len(order)]] += 1
    return {node: share for node, share in found.items() if share}


def _frames_of(workload: Workload, node: int, leaders: dict[int, int] | None) -> list[bytes]:
    return [
        frame
        for partition, frames in workload.frames.items()
        if leaders is None or leaders[partition] == node
        for frame in frames
    ]
