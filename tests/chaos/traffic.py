"""Clients that write and read a few keys at a time, and record each call."""

import asyncio
import itertools
import time
from collections import Counter
from contextlib import AsyncExitStack
from errno import ECONNREFUSED
from random import Random

from flo import (
    Condition,
    ConflictError,
    FloClient,
    FloError,
    PutOptions,
)
from flo._connection import TcpConnector
from flo._endpoints import Endpoint
from flo._transport import Channel, Connector, LostCallback
from tests.histories.operations import Answer, Kind, Operation, Outcome, Recorder, counter_bytes
from tests.integration.kit import EXPECTED

WORKERS = 12
GENERATION_S = 10.0
"""How long keys are written before others take their place: short histories are judged fast."""
_CALL_TIMEOUT_MS = 5_000
_PAUSE_S = 0.02
_OLD_READS = 0.05
_VALUE_BYTES_MAX = 3_000
_MORE_CALLS = 20
_PATIENCE_S = 60.0
_POLL_S = 0.05

_G, _P, _C, _A, _D, _I = Kind.GET, Kind.PUT, Kind.CAS, Kind.PUT_IF_ABSENT, Kind.DELETE, Kind.INCR
_MIX = {
    "register": (*[_G] * 8, *[_P] * 5, *[_C] * 4, *[_A] * 2, _D),
    "counter": (_I, _I, _I, _G),
    "mixed": (*[_I] * 4, *[_G] * 3, _D),
}
_KEYS = {"register": 5, "counter": 3, "mixed": 1}


class OneNode(TcpConnector):
    """For a client that reaches one node alone: also one that others have deposed, or left."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
        if endpoint.port != self._port:
            raise ConnectionRefusedError(ECONNREFUSED, "this client reaches another node alone")
        return await super().connect(endpoint, on_lost)


class Traffic:
    """One client for each node, which reaches that one alone, and one that reaches them all.

    Runs from `async with` until `finish`.
    """

    def __init__(self, endpoints: str, recorder: Recorder, rng: Random) -> None:
        self._endpoints = endpoints
        self._recorder = recorder
        self._rng = rng
        self._stack = AsyncExitStack()
        self._clients: list[FloClient] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._names = itertools.count(1)
        self._values = itertools.count(1)
        self._stopping = False
        self._keys: list[str] = []
        self._all_keys: list[str] = []
        self._generation = 0
        self.succeeded: Counter[Kind] = Counter()
        self.findings: list[str] = []
        """Errors that no fault explains."""
        self.longest_gap_s = 0.0
        """The longest time in which no call at all succeeded."""
        self.slowest_s = 0.0
        """The longest time that a call took which then succeeded."""
        self._last_success = 0.0

    async def __aenter__(self) -> "Traffic":
        ports = [int(node.rpartition(":")[2]) for node in self._endpoints.split(",")]
        connectors: list[Connector | None] = [None, *map(OneNode, ports)]
        try:
            for connector in connectors:
                client = FloClient(
                    self._endpoints, timeout_ms=_CALL_TIMEOUT_MS, connector=connector
                )
                self._clients.append(await self._stack.enter_async_context(client))
        except BaseException:
            await self._stack.aclose()
            raise
        self._new_keys()
        self._last_success = time.monotonic()
        self._tasks = [
            asyncio.create_task(self._work(self._clients[n % len(self._clients)]))
            for n in range(WORKERS)
        ]
        self._tasks.append(asyncio.create_task(self._renew_keys()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._stack.aclose()

    @property
    def total(self) -> int:
        return self.succeeded.total()

    async def more(self) -> None:
        """Returns when further calls have succeeded. Raises what a worker ended with, if one
        did.
        """
        deadline = time.monotonic() + _PATIENCE_S
        target = self.total + _MORE_CALLS
        while self.total < target:
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            assert time.monotonic() < deadline, "calls do not succeed although they should"
            await asyncio.sleep(_POLL_S)

    async def finish(self) -> None:
        """Ends the load; then every client writes and reads, and every key is read once more."""
        self._stopping = True
        self._tasks[-1].cancel()
        await asyncio.gather(*self._tasks[:-1])
        for number, client in enumerate(self._clients):
            name, key = next(self._names), f"last-of-{number}"
            self._all_keys.append(key)
            for kind in (Kind.PUT, Kind.GET):
                ended = await self._call(client, name, kind, key, value=b"the end")
                assert ended.outcome is Outcome.OK, f"client {number} cannot {kind}"
        name = next(self._names)
        for key in self._all_keys:
            ended = await self._call(self._rng.choice(self._clients), name, Kind.GET, key)
            assert ended.outcome is Outcome.OK, f"{key} cannot be read"

    async def _renew_keys(self) -> None:
        while True:
            await asyncio.sleep(GENERATION_S)
            self._new_keys()

    def _new_keys(self) -> None:
        self._generation += 1
        self._keys = [
            f"{what}-{self._generation}-{number}"
            for what, count in _KEYS.items()
            for number in range(count)
        ]
        self._all_keys += self._keys

    async def _work(self, client: FloClient) -> None:
        name = next(self._names)
        versions: dict[str, int] = {}
        while not self._stopping:
            if self._rng.random() < _OLD_READS:
                key, kind = self._rng.choice(self._all_keys), Kind.GET
            else:
                key = self._rng.choice(self._keys)
                kind = self._rng.choice(_MIX[key.partition("-")[0]])
            number = versions.get(key, 0) if kind is Kind.CAS else int(kind is Kind.INCR)
            value = self._new_value() if kind not in (_G, _D, _I) else b""
            ended = await self._call(client, name, kind, key, value=value, number=number)
            if ended.answer is not None and ended.answer.version:
                versions[key] = ended.answer.version
            if ended.outcome is Outcome.UNKNOWN:
                name = next(self._names)
            await asyncio.sleep(self._rng.expovariate(1 / _PAUSE_S))

    def _new_value(self) -> bytes:
        return b"%d " % next(self._values) + b"." * self._rng.randrange(10, _VALUE_BYTES_MAX)

    async def _call(
        self,
        client: FloClient,
        name: int,
        kind: Kind,
        key: str,
        *,
        value: bytes = b"",
        number: int = 0,
    ) -> Operation:
        began = time.monotonic()
        begun = self._recorder.begin(name, kind, key, value=value, number=number)
        try:
            answer = await _ask(client, begun)
        except FloError as error:
            unknown = error.outcome == "unknown" and kind is not Kind.GET
            if not isinstance(error, EXPECTED):
                self.findings.append(f"{key} {kind}: {type(error).__name__}: {error}")
            return self._recorder.end(begun, Outcome.UNKNOWN if unknown else Outcome.FAILED)
        ended = self._recorder.end(begun, Outcome.OK, answer)
        now = time.monotonic()
        self.succeeded[kind] += 1
        self.slowest_s = max(self.slowest_s, now - began)
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_success)
        self._last_success = now
        return ended


async def _ask(client: FloClient, call: Operation) -> Answer:
    """The answer to one call. Raises FloError; a condition that does not hold is an answer."""
    key, kv = call.key, client.kv
    if call.kind is Kind.GET:
        found = await kv.get(key)
        return Answer() if found is None else Answer(version=found.version, value=found.value)
    if call.kind is Kind.DELETE:
        return Answer(happened=await kv.delete(key))
    if call.kind is Kind.INCR:
        counted = await kv.incr(key)
        return Answer(version=counted.version, value=counter_bytes(counted.value))
    options = PutOptions()
    if call.kind is Kind.PUT_IF_ABSENT:
        options = PutOptions(condition=Condition.IF_ABSENT)
    elif call.kind is Kind.CAS:
        options = PutOptions(cas_version=call.number)
    try:
        stored = await kv.put(key, call.value, options)
    except ConflictError:
        return Answer(happened=False)
    return Answer(version=stored.version)
