"""The measured part of a load: what succeeded, second by second, and whose CPU time it took."""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)
"""Of /proc/stat: user, nice, system, irq, softirq, steal; not idle, and not waiting for disks."""
_SHORTEST_LOOK_S = 0.001


@dataclass
class Sample:
    """What one measured window saw; latencies in seconds, of what succeeded."""

    seconds: float = 0.0
    server_cpu_s: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    errors: int = 0
    client_cpu_s: float = 0.0
    """Of the load generator."""
    other_cpu_s: float = 0.0
    """Of everything else on this machine."""
    by_second: list[int] = field(default_factory=list[int])
    """How many operations succeeded in each full second."""
    unit_s: float = 0.0
    """CPU seconds of a calibration unit at that time; 0 when it was not measured."""

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
class Window:
    """How long a load is measured: for some seconds, or until `count` operations were answered."""

    seconds: float = 4.0
    warmup_s: float = 1.0
    count: int | None = None

    def left_s(self, elapsed_s: float, answered: int) -> float:
        """How long to wait before looking again; not above 0 when it is over."""
        if self.count is None:
            return self.seconds - elapsed_s
        if answered >= self.count:
            return 0.0
        # Half of what is left at this pace: few looks, and the last one comes soon.
        left = elapsed_s * (self.count - answered) / (2 * max(1, answered))
        return max(_SHORTEST_LOOK_S, left)


class _Cpu(NamedTuple):
    """Seconds so far."""

    servers: float
    own: float
    all: float


async def measure(
    sample: Sample,
    window: Window,
    cpu_seconds: Callable[[], float],
    pause: Callable[[float], Awaitable[None]],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Sample:
    """Waits for the warm-up and the window, while a load runs that notes what it sees in `sample`.

    Returns what the window saw. `cpu_seconds` tells the CPU time of the servers so far; `pause`
    waits so many seconds, and raises when the load cannot go on.
    """
    await pause(window.warmup_s)
    sample.latencies.clear()
    sample.errors = 0
    begun, before = clock(), _cpu(cpu_seconds)
    by_second: list[int] = []
    while True:
        elapsed = clock() - begun
        succeeded = len(sample.latencies)
        while len(by_second) + 1 <= elapsed:
            by_second.append(succeeded - sum(by_second))
        left = window.left_s(elapsed, succeeded + sample.errors)
        if left <= 0:
            break
        await pause(min(left, len(by_second) + 1 - elapsed))
    after = _cpu(cpu_seconds)
    servers, own = after.servers - before.servers, after.own - before.own
    return Sample(
        elapsed,
        servers,
        sample.latencies[:succeeded],
        sample.errors,
        client_cpu_s=own,
        other_cpu_s=max(0.0, after.all - before.all - servers - own),
        by_second=by_second,
    )


def _cpu(cpu_seconds: Callable[[], float]) -> _Cpu:
    columns = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    busy = sum(int(columns[number]) for number in _BUSY_COLUMNS)
    return _Cpu(cpu_seconds(), time.process_time(), busy / _CLOCK_TICKS)
