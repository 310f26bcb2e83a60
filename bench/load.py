"""A closed-loop load generator that costs little CPU beside the servers it measures.

Frames are encoded before the measurement, answers are only cut at their headers. It keeps a
number of requests outstanding, spread evenly over its connections, and sends the next one when
an answer comes.
"""

import asyncio
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
    from collections.abc import Callable

_HEADER_BYTES = 32
_LENGTH = Struct("<I")
_LENGTH_AT, _STATUS_AT = 4, 21
_OK = 0
_NAMESPACE = b"bench"
_PRELOAD_OUTSTANDING = 256


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
        ordered = sorted(self.latencies)
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

    @classmethod
    def _encode(cls, partitions: int, bodies: "list[KvPut] | list[KvGet]") -> "Workload":
        frames: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        for body in bodies:
            partition = partition_of(body.namespace, body.key, partitions)
            frames[partition].append(encode_request(1, 1, OP_OF_REQUEST[type(body)], body))
        return cls(frames)


def _keys(count: int) -> list[bytes]:
    return [b"key-%012d" % number for number in range(count)]


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
        data = self._rest + data if self._rest else data
        at, size, answered = 0, len(data), 0
        now = time.perf_counter()
        sample, sent = self._sample, self._sent
        while size - at >= _HEADER_BYTES:
            end = at + _HEADER_BYTES + _LENGTH.unpack_from(data, at + _LENGTH_AT)[0]
            if end > size:
                break
            waited = now - sent.popleft()
            if data[at + _STATUS_AT] == _OK:
                sample.latencies.append(waited)
            else:
                sample.errors += 1
            answered += 1
            at = end
        self._rest = data[at:]
        self._send(answered)

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
    loop = asyncio.get_running_loop()
    rng = Random(outstanding)
    sample = Sample()
    running = True
    shares = _shares(list(addresses), leaders, outstanding)
    connections: list[tuple[LoadConnection, int]] = []
    for node, share in shares.items():
        frames = _frames_of(workload, node, leaders)

        def next_frame(frames: list[bytes] = frames) -> bytes | None:
            return rng.choice(frames) if running else None

        make = partial(LoadConnection, next_frame, sample)
        _, protocol = await loop.create_connection(make, *addresses[node])
        connections.append((protocol, share))
    for protocol, share in connections:
        protocol.start(share)
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
    for protocol, _ in connections:
        protocol.close()
    await asyncio.gather(*(protocol.lost for protocol, _ in connections))
    return measured


async def preload(
    addresses: "dict[int, tuple[str, int]]", workload: Workload, leaders: dict[int, int]
) -> None:
    """Sends every request once. RuntimeError when one of them fails."""
    loop = asyncio.get_running_loop()
    sample = Sample()
    connections: list[LoadConnection] = []
    for node in set(leaders.values()):
        frames = iter(_frames_of(workload, node, leaders))
        make = partial(LoadConnection, partial(next, frames, None), sample)
        _, protocol = await loop.create_connection(make, *addresses[node])
        connections.append(protocol)
        protocol.start(_PRELOAD_OUTSTANDING)
    total = sum(len(frames) for frames in workload.frames.values())
    while len(sample.latencies) < total:
        if sample.errors or any(protocol.lost.done() for protocol in connections):
            raise RuntimeError(f"preloading failed: {sample.errors} of {total} requests refused")
        await asyncio.sleep(0.05)
    for protocol in connections:
        protocol.close()
    await asyncio.gather(*(protocol.lost for protocol in connections))


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
