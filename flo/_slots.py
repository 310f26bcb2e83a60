"""A bound on how many calls are under way, first come first served."""

import asyncio
from collections import deque


class Slots:
    """`free` of them may be held at once. Cheaper than a semaphore where nobody has to wait.

    if not slots.take():
        await slots.wait()
    try: ...
    finally: slots.release()
    """

    __slots__ = ("_free", "_waiters")

    def __init__(self, free: int) -> None:
        self._free = free
        # Never holds a waiter that gave up: it takes itself out.
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> int:
        """How many can be taken at once."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiters)

    def take(self) -> bool:
        """Takes a slot if one is free."""
        if self._free:
            self._free -= 1
            return True
        return False

    async def wait(self) -> None:
        """Waits for a slot and takes it."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.remove(waiter)
            else:
                # The slot was handed over in the same turn.
                self.release()
            raise

    def release(self) -> None:
        """Gives a slot back, to the one that waits longest if there is one."""
        # A waiter that was cancelled in this turn is still in the queue, until its task runs.
        for waiter in self._waiters:
            if not waiter.done():
                self._waiters.remove(waiter)
                waiter.set_result(None)
                return
        self._free += 1
