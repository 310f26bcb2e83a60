"""The time a leader writes into its batches.

Expiry, leases and delays are judged by these stamps alone, so they never go back: a leader
continues from the last stamp it knows with its monotonic clock when the wall clock is behind.
"""

from cluster.clock import Clock


class Stamps:
    """Stamps of one partition's leader, in unix milliseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ms = 0
        self._last_at = clock.monotonic()

    def follow(self, stamp_ms: int) -> None:
        """The state has seen `stamp_ms`; later stamps are not below it."""
        now = self._clock.monotonic()
        # Starting over at every stamp would lose the fraction of a millisecond each time.
        if stamp_ms > self._continued_ms(now):
            self._last_ms = stamp_ms
            self._last_at = now

    def now_ms(self) -> int:
        """What a batch made now would be stamped with. Never less than what it said before, once
        that was followed."""
        return max(self._clock.wall_ms(), self._continued_ms(self._clock.monotonic()))

    def _continued_ms(self, now: float) -> int:
        return self._last_ms + int((now - self._last_at) * 1000)
