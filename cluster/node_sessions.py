"""The sessions a node opens for clients that bring none.

One per partition and node process, registered by a log entry. Sequences are given in order;
the floor is the lowest one still awaited, so replicas may forget every result below it.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.calls import Call

_TOKEN_BITS = 63


class NodeSession:
    """The session of this node in one partition; opened on first use."""

    def __init__(
        self, partition: int, rng: Random, open_session: Callable[[int, int], None]
    ) -> None:
        self.partition = partition
        self.session_id = 0
        self._rng = rng
        self._open = open_session
        self._opening = False
        self._queue: dict[Call, None] = {}
        self._next_sequence = 1
        self._awaited: deque[int] = deque()
        self._answered: set[int] = set()

    def assign(self, call: "Call") -> bool:
        """Gives the call its triple; false when it waits for the session to be opened."""
        if not self.session_id:
            self._queue[call] = None
            if not self._opening:
                self._opening = True
                # A retried open carries the same token, so it registers one session.
                self._open(self.partition, self._rng.getrandbits(_TOKEN_BITS))
            return False
        call.node_session = self
        call.session = self.session_id
        call.sequence = self._next_sequence
        self._awaited.append(self._next_sequence)
        self._next_sequence += 1
        call.floor = self._awaited[0]
        return True

    def answered(self, session_id: int, sequence: int) -> None:
        """Nobody waits for `sequence` any more."""
        if session_id != self.session_id:
            return
        self._answered.add(sequence)
        awaited = self._awaited
        while awaited and awaited[0] in self._answered:
            self._answered.discard(awaited.popleft())

    def withdraw(self, call: "Call") -> None:
        """The call has ended while it waited for the session to be opened."""
        self._queue.pop(call, None)

    def opened(self, session_id: int) -> "list[Call]":
        """The calls that waited for it."""
        self._opening = False
        self.session_id = session_id
        return self._take_queue()

    def failed(self) -> "list[Call]":
        """It could not be opened; the next call tries again."""
        self._opening = False
        return self._take_queue()

    def lost(self, session_id: int) -> None:
        """The partition does not know it any more."""
        if session_id == self.session_id:
            self.session_id = 0
            self._next_sequence = 1
            self._awaited.clear()
            self._answered.clear()

    def _take_queue(self) -> "list[Call]":
        waiting, self._queue = self._queue, {}
        return list(waiting)
