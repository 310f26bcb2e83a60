"""A closed-loop load generator that costs little CPU beside the servers it measures.

Frames are encoded before the measurement, answers are only cut at their headers. It keeps a
number of requests outstanding, spread evenly over its connections, and sends the next one when
an answer comes.
"""

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, cast

from flo.wire.connection import encode_request
from flo.wire.messages import KvGet, KvPut
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.routing import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HEADER_BYTES = 32
_LENGTH = Struct("<I")
_LENGTH_AT, _STATUS_AT = 4, 21
_OK = 0
_NAMESPACE = b"bench"
_PRELOAD_OUTSTANDING = 768
_PRELOAD_BYTES = 8 << 20
"""Outstanding: what is large must not wait until it is refused."""


@dataclass
class Sample:
    """What one measured window saw; latencies in seconds, of what succeeded."""

    seconds: float = 0.0
    server_cpu_s: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    errors: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """0 when nothing was answered."""
        ordered = sorted(self.latencies)
        if not ordered:
            return 0.0
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@dataclass(frozen=True)
class Workload:
    """Encoded requests by partition, so that each can be sent to its leader."""

    frames: dict[int, list[bytes]]

    @classmethod
    def puts(cls, *, keys: int, value_bytes: int, partitions: int) -> "Workload":
        value = bytes(Random(1).randbytes(value_bytes))
        return cls._encode(partitions, [KvPut(_NAMESPACE, key, value) for key in _keys(keys)])

    @classmethod
    def gets(cls, *, keys: int, partitions: int) -> "Workload":
        return cls._encode(partitions, [KvGet(_NAMESPACE, key) for key in _keys(keys)])

    def some(self, keys: int) -> "Workload":
        """About as many of its requests, from everywhere among them."""
        total = sum(map(len, self.frames.values()))
        step = max(1, total // keys)
        return Workload({number: frames[::step] for number, frames in self.frames.items()})

    @classmethod
    def _encode(cls, partitions: int, bodies: "list[KvPut] | list[KvGet]") -> "Workload":
        frames: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        for body in bodies:
            partition = partition_of(body.namespace, body.key, partitions)
            frames[partition].append(encode_request(1, 1, OP_OF_REQUEST[type(body)], body))
        return cls(frames)


def _keys(count: int) -> list[bytes]:
    return [b"key-%012d" % number for number in range(count)]


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
    """One connection with a fixed number of requests outstanding."""

    def __init__(self, next_frame: "Callable[[], bytes | None]", sample: Sample) -> None:
        self._next_frame = next_frame
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
        frames: list[bytes] = []
        for _ in range(count):
            frame = self._next_frame()
            if frame is None:
                break
            frames.append(frame)
        if frames:
            self._sent.extend([time.perf_counter()] * len(frames))
            self._transport.write(b"".join(frames))


async def run_load(
    addresses: "dict[int, tuple[str, int]]",
    workload: Workload,
    *,
    leaders: dict[int, int] | None,
    outstanding: int,
    seconds: float,
    warmup_s: float,
    cpu_seconds: "Callable[[], float]",
) -> Sample:
    """Keeps `outstanding` requests under way for `seconds`.

    `cpu_seconds` is read at both ends of the window. `leaders` maps partitions to the node to
    send to; without it every node gets any key.
    """
    rng = Random(outstanding)
    sample = Sample()
    running = True
    shares = _shares(list(addresses), leaders, outstanding)
    connections: list[tuple[LoadConnection, int]] = []
    for node, share in shares.items():
        frames = _frames_of(workload, node, leaders)

        def next_frame(frames: list[bytes] = frames) -> bytes | None:
            return rng.choice(frames) if running else None

        connection = await connect_load(addresses[node], next_frame, sample)
        connections.append((connection, share))
    for connection, share in connections:
        connection.start(share)
    await asyncio.sleep(warmup_s)
    sample.latencies.clear()
    sample.errors = 0
    begun, cpu = time.perf_counter(), cpu_seconds()
    await asyncio.sleep(seconds)
    measured = Sample(
        time.perf_counter() - begun,
        cpu_seconds() - cpu,
        sample.latencies[:],
        sample.errors,
    )
    running = False
    await close_load([connection for connection, _ in connections])
    return measured


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
    for partition, frames in workload.frames.items():
        own = len(frames) if count is None else count // len(workload.frames)
        total += own
        rest = itertools.islice(itertools.cycle(frames), own)
        connection = await connect_load(
            addresses[leaders[partition]], partial(next, rest, None), sample
        )
        connection.start(each)
        connections.append(connection)
    while len(sample.latencies) < total:
        if sample.errors or any(connection.lost.done() for connection in connections):
            raise RuntimeError(f"preloading failed: {sample.errors} of {total} requests refused")
        await asyncio.sleep(0.05)
    await close_load(connections)


async def connect_load(
    address: tuple[str, int], next_frame: "Callable[[], bytes | None]", sample: Sample
) -> LoadConnection:
    """A connection that sends nothing before its `start`."""
    loop = asyncio.get_running_loop()
    make = partial(LoadConnection, next_frame, sample)
    _, connection = await loop.create_connection(make, *address)
    return connection


async def close_load(connections: "Iterable[LoadConnection]") -> None:
    """Closes them all, whatever they wait for."""
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.lost for connection in connections))


def _shares(nodes: list[int], leaders: dict[int, int] | None, outstanding: int) -> dict[int, int]:
    """How many of the outstanding requests each node gets: by the partitions it leads."""
    weights = dict.fromkeys(nodes, 1)
    if leaders is not None:
        weights = {node: sum(leader == node for leader in leaders.values()) for node in nodes}
    order = sorted((node for node in nodes if weights[node]), key=lambda node: -weights[node])
    total = sum(weights[node] for node in order)
    shares = {node: outstanding * weights[node] // total for node in order}
    for place in range(outstanding - sum(shares.values())):
        shares[order[place % len(order)]] += 1
    return {node: share for node, share in shares.items() if share}


def _frames_of(workload: Workload, node: int, leaders: dict[int, int] | None) -> list[bytes]:
    return [
        frame
        for partition, frames in workload.frames.items()
        if leaders is None or leaders[partition] == node
        for frame in frames
    ]
