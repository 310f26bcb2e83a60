"""Every operation that `python -m bench run` measures, on a cluster that runs."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

from bench import frames
from bench.cluster_view import ask, leaders_of
from bench.dialogues import RanDryError, Stage, run_dialogues
from bench.frames import NAMESPACE, Ground, StreamIds, Workload, payload
from bench.load import preload, run_load
from bench.measured_cluster import MeasuredCluster
from bench.operations import OPERATIONS
from bench.rows import Clients
from bench.window import Sample, Window
from flo.wire.stream_messages import Appended, StreamAppend, StreamId, StreamItem

WORKLOADS = {
    "put": "write a key",
    "get": "read a key, linearizable",
    "get-stale": "read a key as the node has it that is asked",
    "mget16": "read 16 random keys, which lie in several partitions",
    "scan": "read a page of up to 100 keys with values, which lie in all partitions",
    "txn3": "begin, write three keys, commit",
    "mixed": "80 % get, 20 % put, keys by a zipfian distribution (theta 0.99, as YCSB has it)",
    "enqueue": "put a message into a queue",
    "dequeue": "take a message and acknowledge it",
    "dequeue10": "take ten messages and acknowledge them",
    "consume": "acknowledge the last message and take the next, both at once",
    "append": "append a record to a stream",
    "read": "read a record from a random place",
    "read10": "read ten records from a random place",
    "group": "read a record as a group and acknowledge it",
    "follow": "acknowledge the last record and read the next as a group, both at once",
    "group10": "read ten records as a group and acknowledge them",
}
"""By name, what one operation does."""

ANYWHERE = frozenset({"mget16", "scan"})
"""They are about several partitions, so no node is the one to ask."""

KEYS = 100_000
_KEYS_BYTES = 256 << 20
_STOCK_TRIES, _STOCK_GROWTH = 4, 3
_RECORDS, _RECORDS_BYTES, _APPEND_BYTES = 1_000, 16 << 20, 256 << 10
"""Of each stream that is read, and of a request that fills it."""


class Target(NamedTuple):
    """What is measured in one row."""

    operation: str
    """One of WORKLOADS."""
    clients: Clients
    outstanding: int


class _Framed(NamedTuple):
    """An operation of one request."""

    make: Callable[[Ground], Workload]
    needs_keys: bool = False


def _puts(ground: Ground) -> Workload:
    return Workload.puts(
        keys=ground.keys, value_bytes=ground.value_bytes, partitions=ground.partitions
    )


def _gets(ground: Ground, *, stale: bool = False) -> Workload:
    return Workload.gets(keys=ground.keys, partitions=ground.partitions, stale=stale)


_FRAMED = {
    "put": _Framed(_puts, needs_keys=True),
    "get": _Framed(_gets, needs_keys=True),
    "get-stale": _Framed(partial(_gets, stale=True), needs_keys=True),
    "mget16": _Framed(frames.mgets, needs_keys=True),
    "scan": _Framed(frames.scans, needs_keys=True),
    "mixed": _Framed(frames.mixed, needs_keys=True),
    "enqueue": _Framed(frames.enqueues),
    "append": _Framed(frames.appends),
}
_READS = {"read": 1, "read10": 10}


class Workbench:
    """Measures operations with values of one size, and puts there before what they need.

    `keys`: how many there are, and how many payloads to take; None is 100,000, but at most 256 MiB,
    and more payloads when all were taken before the window ended.
    """

    def __init__(self, cluster: MeasuredCluster, value_bytes: int, keys: int | None = None) -> None:
        self._cluster = cluster
        self._stock = keys or min(KEYS, _KEYS_BYTES // value_bytes)
        self._tries = 1 if keys else _STOCK_TRIES
        self._ground = Ground(cluster.partitions, self._stock, value_bytes)
        self._value = payload(value_bytes)
        self._made: dict[str, Workload] = {}
        self._has_keys = False

    async def sample(self, target: Target, window: Window) -> Sample:
        """One warm-up and one measured window. Raises RanDryError, ConnectionError."""
        if target.operation in OPERATIONS:
            for _ in range(self._tries - 1):
                try:
                    return await self._talk(target, window)
                except RanDryError:
                    self._stock *= _STOCK_GROWTH
            return await self._talk(target, window)
        workload = await self._prepared(target.operation)
        return await run_load(
            self._cluster.addresses,
            workload,
            leaders=await leaders_of(self._cluster) if target.clients == "leaders" else None,
            outstanding=target.outstanding,
            window=window,
            cpu_seconds=self._cluster.cpu_seconds,
        )

    async def _talk(self, target: Target, window: Window) -> Sample:
        leaders, spread = await leaders_of(self._cluster), target.clients == "spread"
        operation = OPERATIONS[target.operation]
        return await run_dialogues(
            Stage(self._cluster.addresses, leaders, self._value, spread),
            operation,
            outstanding=target.outstanding,
            stock=self._stock * min(operation.size, 4),
            window=window,
            cpu_seconds=self._cluster.cpu_seconds,
        )

    async def _prepared(self, operation: str) -> Workload:
        if operation not in self._made:
            self._made[operation] = await self._make(operation)
        return self._made[operation]

    async def _make(self, operation: str) -> Workload:
        if operation in _READS:
            limit = _READS[operation]
            return frames.reads(await self._streams(limit), limit)
        framed = _FRAMED[operation]
        if framed.needs_keys and not self._has_keys:
            puts = _puts(self._ground)
            await preload(self._cluster.addresses, puts, await leaders_of(self._cluster))
            self._has_keys = True
        return framed.make(self._ground)

    async def _streams(self, limit: int) -> StreamIds:
        """Fills a stream in each partition; where `limit` records can be read."""
        leaders = await leaders_of(self._cluster)
        names = frames.fresh_names(self._cluster.partitions)
        ports = [self._cluster.client_ports[leaders[number]] for number in range(len(names))]
        found: StreamIds = {}
        for name, port in zip(names, ports, strict=True):
            ids = await asyncio.to_thread(self._fill_stream, name, port)
            found[name] = ids[: len(ids) - limit + 1]
        return found

    def _fill_stream(self, name: bytes, port: int) -> list[StreamId]:
        records = max(10, min(_RECORDS, _RECORDS_BYTES // len(self._value)))
        each = min(records, max(1, _APPEND_BYTES // len(self._value)))
        body = StreamAppend(NAMESPACE, name, (StreamItem(self._value),) * each)
        ids: list[StreamId] = []
        while len(ids) < records:
            first = cast(Appended, ask(port, body)).id
            ids += [StreamId(first.timestamp_ms, first.sequence + number) for number in range(each)]
        return ids
