"""What a peer is: another system that does what Flo does, measured the same way."""

import re
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

from bench.dialogues import RanDryError
from bench.window import Sample, Window

KEYS = 100_000
_KEYS_BYTES_MAX = 256 << 20
_RATE_OF_ONE = 4_000
_BYTES_PER_SECOND_MAX = 200 << 20
_ROOM = 1.5
_TRIES = 5


class Load(NamedTuple):
    """How an operation is measured."""

    outstanding: int
    window: Window
    value_bytes: int
    keys_max: int = KEYS
    """How many keys there are, or fewer when values are so long that they would not fit."""

    @property
    def value(self) -> bytes:
        """Random bytes, which nothing can compress; always the same."""
        return Random(1).randbytes(self.value_bytes)

    @property
    def keys(self) -> list[bytes]:
        """All of them."""
        count = min(self.keys_max, _KEYS_BYTES_MAX // max(1, self.value_bytes))
        return [b"key-%012d" % number for number in range(count)]


class PeerCluster(Protocol):
    """The servers of a peer that runs."""

    @property
    def version(self) -> str: ...

    async def sample(self, operation: str, load: Load) -> Sample:
        """Puts there what the operation needs, then measures it: one repetition.

        Raises ConnectionError and StartError when a server fails, and RanDryError when what is to
        be taken runs out again and again.
        """
        ...

    def cpu_seconds(self) -> float:
        """CPU time of all servers so far."""
        ...


@dataclass(frozen=True)
class Peer:
    """One of the systems that Flo can be compared with."""

    name: str
    about: str
    """How many nodes of what, and what an acknowledged write has survived."""
    operations: dict[str, str]
    """By our name for it, what the peer is made to do."""
    missing: Callable[[], str | None]
    """Why it cannot be started here and what to install, or None."""
    start: Callable[[Path | None], AbstractContextManager[PeerCluster]]
    """Starts its servers in a temporary directory, below the given one if there is one."""


class Stock:
    """How much has to be there before something can be taken for a whole window.

    Too little is found out by running dry; then there is more the next time.
    """

    def __init__(self, rate_max: int) -> None:
        """rate_max: operations per second that are expected at most."""
        self._rate_max = rate_max
        self._rates: dict[tuple[str, int, int], float] = {}

    async def take(
        self, operation: str, load: Load, once: Callable[[int], Awaitable[Sample]]
    ) -> Sample:
        """Calls `once` with a stock, again while that runs dry. Raises RanDryError at last."""
        key = operation, load.outstanding, load.value_bytes
        stock = _needed(load, self._rates.get(key, self._guess(load)))
        for _ in range(_TRIES - 1):
            try:
                return self._learn(key, await once(stock))
            except RanDryError:
                stock *= 3
        return self._learn(key, await once(stock))

    def _learn(self, key: tuple[str, int, int], sample: Sample) -> Sample:
        self._rates[key] = max(_RATE_OF_ONE, _ROOM * sample.per_second)
        return sample

    def _guess(self, load: Load) -> float:
        by_size = _BYTES_PER_SECOND_MAX // max(1, load.value_bytes)
        return min(self._rate_max, _RATE_OF_ONE * load.outstanding, by_size)


def _needed(load: Load, rate: float) -> int:
    """At so many operations per second. A window of a count is noticed late, so twice that."""
    window = load.window
    measured = rate * window.seconds if window.count is None else 2.0 * window.count
    return int(rate * window.warmup_s + measured) + 2 * load.outstanding


def version_of(*command: str) -> str:
    """The first number with dots that it prints; 0 when there is none."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "0"
