"""A steady load of puts and gets, whatever the cluster does.

Requests are due at fixed times, and waiting counts from then: a cluster that stands still is not
spared the requests that come meanwhile. Answers leave a connection in the order of its requests, so
each node, operation and partition has a connection of its own: none waits for another partition.
"""

import asyncio
import itertools
import time
from array import array
from collections import deque
from functools import partial
from random import Random
from types import TracebackType
from typing import cast

from bench.load import Sample, Workload, split_answers

_TICK_S = 0.005
"""Requests that are due in the same tick are due at the same moment."""


class _Record:
    """What became of the requests of one operation."""

    def __init__(self) -> None:
        self.due = array("d")
        self.waited = array("d")
        self.failed = array("d")
        """When those were due that were refused."""

    def between(self, begun: float, ended: float) -> Sample:
        latencies = [
            waited
            for due, waited in zip(self.due, self.waited, strict=True)
            if begun <= due < ended
        ]
        errors = sum(begun <= due < ended for due in self.failed)
        return Sample(ended - begun, 0.0, latencies, errors)


class _Connection(asyncio.Protocol):
    """To one node, with one operation on keys of one partition."""

    def __init__(self, frames: list[bytes], record: _Record) -> None:
        self._frames = frames
        self._record = record
        self._unanswered: deque[float] = deque()
        self._rest = b""
        self._transport: asyncio.Transport
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._record.failed.extend(self._unanswered)
        self.lost.set_result(None)

    def send(self, due: float, rng: Random) -> None:
        self._unanswered.append(due)
        self._transport.write(rng.choice(self._frames))

    def close(self) -> None:
        """What is unanswered counts as failed."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        succeeded, self._rest = split_answers(self._rest + data)
        now = time.perf_counter()
        for ok in succeeded:
            due = self._unanswered.popleft()
            if ok:
                self._record.due.append(due)
                self._record.waited.append(now - due)
            else:
                self._record.failed.append(due)


class PacedLoad:
    """`rate` requests a second, evenly over operations, `addresses` and partitions."""

    def __init__(
        self, addresses: list[tuple[str, int]], workloads: dict[str, Workload], rate: int
    ) -> None:
        self._addresses = addresses
        self._workloads = workloads
        self._per_tick = rate * _TICK_S / len(workloads)
        self._records = {operation: _Record() for operation in workloads}
        self._connections: dict[str, list[_Connection]] = {}
        self._rng = Random(1)
        self._running: asyncio.Task[None]

    async def __aenter__(self) -> "PacedLoad":
        loop = asyncio.get_running_loop()
        for operation, workload in self._workloads.items():
            opened: list[_Connection] = []
            for address, frames in itertools.product(self._addresses, workload.frames.values()):
                make = partial(_Connection, frames, self._records[operation])
                _, connection = await loop.create_connection(make, *address)
                opened.append(connection)
            self._connections[operation] = opened
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.cancel()
        connections = [each for opened in self._connections.values() for each in opened]
        for connection in connections:
            connection.close()
        await asyncio.gather(*(connection.lost for connection in connections))

    def between(self, begun: float, ended: float) -> dict[str, Sample]:
        """By operation, what became of the requests that were due then; once this is closed."""
        return {
            operation: record.between(begun, ended) for operation, record in self._records.items()
        }

    async def _run(self) -> None:
        begun = time.perf_counter()
        sent = 0
        for tick in itertools.count(1):
            due = begun + tick * _TICK_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            count = int(tick * self._per_tick) - sent
            sent += count
            for connections in self._connections.values():
                for connection in self._rng.choices(connections, k=count):
                    connection.send(due, self._rng)
