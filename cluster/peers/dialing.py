"""Keeping a link to one peer: dial, wait until it is lost, dial again after a growing pause."""

from collections.abc import Awaitable, Callable

from cluster.peers.link import Link
from cluster.peers.timers import Timers, sleep


class Backoff:
    """Pauses that double up to a limit, each shortened at random by up to a half, so that nodes
    that lost each other together do not dial together."""

    def __init__(self, *, first_s: float, max_s: float, random: Callable[[], float]) -> None:
        """`random` draws from 0 to below 1."""
        self._first_s = first_s
        self._max_s = max_s
        self._random = random
        self._next_s = first_s

    def reset(self) -> None:
        self._next_s = self._first_s

    def next_pause_s(self) -> float:
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._max_s)
        return pause_s * (1 - self._random() / 2)


async def keep_dialing(
    dial: Callable[[], Awaitable[Link | None]], timers: Timers, backoff: Backoff
) -> None:
    """Runs until cancelled. `dial` returns None when there was no connection."""
    while True:
        link = await dial()
        if link is not None:
            await link.closed.wait()
            if link.established:
                backoff.reset()
        await sleep(timers, backoff.next_pause_s())
