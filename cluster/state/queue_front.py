"""The first ready messages of a queue, kept decoded: most dequeues need no scan.

What it has follows from the rows, so it may be forgotten at any time.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cluster.state.queue_rows import Ready

LOADED = 16
"""Messages that one scan brings. Each takes some 180 bytes."""
_KEPT_MAX = 2 * LOADED

_key_of = attrgetter("key")


class Front:
    """The beginning of a queue, in the order of delivery.

    To be told of the rows of QUEUE_READY that come and go.
    """

    __slots__ = ("_first", "_whole")

    def __init__(self) -> None:
        self._first: list[Ready] = []
        self._whole = False  # there are no others

    def look(self, ready: Iterator[Ready], count: int) -> Iterable[Ready]:
        """The messages to be delivered next: `count`, and maybe more, if there are so many.

        `ready` would bring all of them from the rows.
        """
        if count <= len(self._first) or self._whole:
            return self._first
        if count > LOADED:
            return ready
        self._first = list(islice(ready, LOADED))
        self._whole = len(self._first) < LOADED
        return self._first

    def reaches(self, key: bytes) -> bool:
        """Whether a message with this key belongs here: it must be `added` when it gets ready."""
        return self._whole or bool(self._first and key < self._first[-1].key)

    def added(self, ready: Ready) -> None:
        """A message has become ready that belongs here."""
        insort(self._first, ready, key=_key_of)
        if len(self._first) > _KEPT_MAX:
            del self._first[LOADED:]
            self._whole = False

    def removed(self, ready: Ready) -> None:
        """A message is ready no longer."""
        first = self._first
        if first and first[0].key == ready.key:
            del first[0]
            return
        at = bisect_left(first, ready.key, key=_key_of)
        if at < len(first) and first[at].key == ready.key:
            del first[at]

    def cleared(self) -> None:
        """None is ready any more."""
        self._first = []
        self._whole = True
