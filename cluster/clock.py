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


class Pauses:
    """Notices that this process stood still: what arrived meanwhile is to be read first.

    `pause_s`: how late a timer must be. Not twice in a row, so that time is never ignored for good.
    """

    def __init__(self, clock: Clock, pause_s: float) -> None:
        self._clock = clock
        self._pause_s = pause_s
        self._last = clock.monotonic()
        self._told = False

    def noticed(self) -> bool:
        """To be asked by a timer, every time: whether it came so late that it should not judge."""
        now = self._clock.monotonic()
        self._told = now - self._last > self._pause_s and not self._told
        self._last = now
        return self._told
