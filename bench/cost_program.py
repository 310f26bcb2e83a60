"""The measured process of `bench.client_cost`: one kind of client, doing one kind of work.

    python cost_program.py KIND ENDPOINTS OPERATION CONCURRENCY CLIENTS OPERATIONS

It imports the package that its path gives it, and prints one line of JSON.
"""

import asyncio
import importlib
import json
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeAlias, cast

VALUE = bytes(range(128))
_KEYS = 1_000
_WARM_UP_PART = 10

Call: TypeAlias = Callable[[str], Awaitable[object]]


class Work(NamedTuple):
    """What a client has to do; `concurrency` tasks or threads share `clients` clients."""

    operation: str
    concurrency: int
    clients: int
    operations: int


class Measured(NamedTuple):
    """The cost of the measured part: CPU time of this process, user and system."""

    cpu_us: float
    per_second: float


class RedisClient(Protocol):
    """The part of redis-py that is measured."""

    def set(self, name: str, value: bytes) -> Awaitable[object]: ...
    def get(self, name: str) -> Awaitable[object]: ...
    def aclose(self) -> Awaitable[None]: ...


class _Meter:
    def __init__(self) -> None:
        self._cpu_s, self._begun = _cpu_s(), time.perf_counter()

    def read(self, operations: int) -> Measured:
        seconds = time.perf_counter() - self._begun
        return Measured(1e6 * (_cpu_s() - self._cpu_s) / operations, operations / seconds)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def run_flo(endpoints: str, work: Work) -> Measured:
    """`flo.FloClient`, the official one or ours: the same code."""
    from flo import FloClient

    clients = [FloClient(endpoints, timeout_ms=30_000) for _ in range(work.clients)]
    for client in clients:
        await client.connect()

    def put(client: FloClient) -> Call:
        return lambda key: client.kv.put(key, VALUE)

    calls = [put(client) if work.operation == "put" else client.kv.get for client in clients]
    measured = await _measure(put(clients[0]), calls, work)
    for client in clients:
        await client.close()
    return measured


async def run_redis(endpoints: str, work: Work) -> Measured:
    """`redis.asyncio.Redis`, which takes a connection of its pool for each call."""
    make = importlib.import_module("redis.asyncio").Redis.from_url
    clients = [cast("RedisClient", make(f"redis://{endpoints}")) for _ in range(work.clients)]

    def put(client: RedisClient) -> Call:
        return lambda key: client.set(key, VALUE)

    calls = [put(client) if work.operation == "put" else client.get for client in clients]
    measured = await _measure(put(clients[0]), calls, work)
    for client in clients:
        await client.aclose()
    return measured


async def _measure(put: Call, calls: list[Call], work: Work) -> Measured:
    for key in _keys(0, _KEYS):
        await put(key)
    await _all_tasks(calls, work, work.operations // _WARM_UP_PART)
    meter = _Meter()
    await _all_tasks(calls, work, work.operations)
    return meter.read(work.operations)


async def _all_tasks(calls: list[Call], work: Work, operations: int) -> None:
    share = operations // work.concurrency

    async def task(number: int) -> None:
        call = calls[number % len(calls)]
        for key in _keys(number * share, share):
            await call(key)

    await asyncio.gather(*(task(number) for number in range(work.concurrency)))


def run_flo_sync(endpoints: str, work: Work) -> Measured:
    """`flo.sync.FloClient`, shared by threads."""
    from flo.sync import FloClient

    with FloClient(endpoints, timeout_ms=30_000) as client:

        def put(key: str) -> object:
            return client.kv.put(key, VALUE)

        call = put if work.operation == "put" else client.kv.get
        for key in _keys(0, _KEYS):
            put(key)
        _all_threads(call, work, work.operations // _WARM_UP_PART)
        meter = _Meter()
        _all_threads(call, work, work.operations)
        return meter.read(work.operations)


def _all_threads(call: Callable[[str], object], work: Work, operations: int) -> None:
    share = operations // work.concurrency

    def thread(number: int) -> None:
        for key in _keys(number * share, share):
            call(key)

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(work.concurrency)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def _keys(first: int, count: int) -> list[str]:
    return [f"key-{number % _KEYS:012d}" for number in range(first, first + count)]


def main(kind: str, endpoints: str, operation: str, *numbers: str) -> None:
    work = Work(operation, *map(int, numbers))
    if kind == "sync":
        measured = run_flo_sync(endpoints, work)
    else:
        measured = asyncio.run((run_flo if kind == "flo" else run_redis)(endpoints, work))
    print(json.dumps(measured._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
