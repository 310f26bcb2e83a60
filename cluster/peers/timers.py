"""Timers as the peer network uses them: one seam, with the event loop's and a manual one."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that has not been made yet."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """Calls something later, on the event loop."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...


class LoopTimers:
    """The timers of the running event loop."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_s, callback)


class ManualTimers:
    """Timers of a test: time passes only by `advance`."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._calls: list[_ManualTimer] = []
        self._created = 0

    @property
    def pending(self) -> int:
        """How many calls are still to come."""
        return sum(not call.cancelled for call in self._calls)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self._created += 1
        timer = _ManualTimer(self._now_s + delay_s, self._created, callback)
        heapq.heappush(self._calls, timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, making each call at its time."""
        until_s = self._now_s + seconds
        while self._calls and self._calls[0].at_s <= until_s:
            timer = heapq.heappop(self._calls)
            self._now_s = timer.at_s
            if not timer.cancelled:
                timer.callback()
        self._now_s = until_s


class _ManualTimer:
    def __init__(self, at_s: float, order: int, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.order = order
        self.callback = callback
        self.cancelled = False

    def __lt__(self, other: "_ManualTimer") -> bool:
        return (self.at_s, self.order) < (other.at_s, other.order)

    def cancel(self) -> None:
        self.cancelled = True


async def sleep(timers: Timers, seconds: float) -> None:
    """Wait by `timers`."""
    woken = asyncio.Event()
    timer = timers.call_later(seconds, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()
