"""Time as the server sees it: one seam, so that a simulation can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the server may know of time."""

    def monotonic(self) -> float:
        """Seconds that never go back; differences are durations."""
        ...

    def wall_ms(self) -> int:
        """Unix time in milliseconds; may jump either way."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
