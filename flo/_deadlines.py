"""The deadlines of many calls with one timer."""

import asyncio
from math import ceil

from flo._transport import EXPIRED, Reply

# How late a deadline may be noticed.
TICK_S = 0.02


class Deadlines:
    """Answers futures with EXPIRED when their time has come.

    A timer of its own for each call costs as much as encoding the request. Here calls of one tick
    share a set, and one timer waits for the first set.

        waiting = deadlines.add(reply, deadline)
        try: ... await reply
        finally: waiting.discard(reply)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, set[asyncio.Future[Reply]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def add(self, reply: asyncio.Future[Reply], deadline: float) -> set[asyncio.Future[Reply]]:
        """The set to take the future out of once it is answered."""
        tick = int(deadline / TICK_S)
        waiting = self._waiting.get(tick)
        if waiting is None:
            waiting = self._waiting[tick] = set()
            if self._timer is None or tick < self._timer_tick:
                self._set_timer(tick)
        waiting.add(reply)
        return waiting

    def close(self) -> None:
        """Nothing expires any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = self._loop.call_at((tick + 1) * TICK_S, self._expire)

    def _expire(self) -> None:
        self._timer = None
        # Rounded up: the loop may call a little early, by the resolution of its clock.
        now = ceil(self._loop.time() / TICK_S)
        for tick in [each for each in self._waiting if each < now]:
            for reply in self._waiting.pop(tick):
                if not reply.done():
                    reply.set_result(EXPIRED)
        if self._waiting:
            self._set_timer(min(self._waiting))
