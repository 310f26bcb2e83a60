"""When the partitions of a node bring what they have applied to their stores."""

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.partition import Partition

STORE_EVERY_S = 3.0
"""How long changes stay in memory alone, about. The longer, the more of them fall together; the
shorter, the less has to be applied again after a crash."""
_LOOKS_PER_ROUND = 16
"""Ticks in which every partition is looked at once: of an idle node, as many as a second has."""
_WORK_S = 0.005
"""Whoever has no time left in a tick comes first in the next one."""


class Storing:
    """Looks at some partitions with each tick, so that they do not all store at once.

    A partition that has changed much stores without being told; see `Replica.apply`.
    """

    def __init__(self, partitions: "dict[int, Partition]", clock: "Clock") -> None:
        self._partitions = partitions
        self._clock = clock
        self._turn: list[int] = []
        self._stored_at: dict[int, float] = {}

    def tick(self) -> None:
        """Stores the changes of partitions whose turn it is, and which have not for a while."""
        now = begun = self._clock.monotonic()
        for _ in range(ceil(len(self._partitions) / _LOOKS_PER_ROUND)):
            if not self._turn:
                self._turn = list(self._partitions)
            number = self._turn.pop()
            if now >= self._stored_at.get(number, 0.0) + STORE_EVERY_S:
                self._stored_at[number] = now
                self._partitions[number].store()
                now = self._clock.monotonic()
                if now > begun + _WORK_S:
                    break
