"""The sessions a node opens for clients that bring none.

One per partition and node process, registered by a log entry. Sequences are given in order;
the floor is the lowest one still awaited, so replicas may forget every result below it.

A call that waits for minutes would keep that floor down, and all that came after it. It has a
session for itself while it lasts, which then serves the next one. Its result, as messages that were
consumed, is kept until then, or until the session expires.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from cluster.state.sessions import SESSION_IDLE_MS
from flo.wire.limits import WAIT_MS_MAX

if TYPE_CHECKING:
    from cluster.calls import Call

_TOKEN_BITS = 63
_SLACK_MS = 60_000
_FRESH_S = (SESSION_IDLE_MS - WAIT_MS_MAX - _SLACK_MS) / 1000
"""One whose last known command is older might expire while a call waits, unseen: a call that only
stands in line, or finds nothing at another node, tells nothing about its session here."""


class NodeSession:
    """A session of this node in one partition; opened on first use."""

    def __init__(
        self, partition: int, rng: Random, open_session: "Callable[[NodeSession, int], None]"
    ) -> None:
        self.partition = partition
        self.session_id = 0
        self.known_at = 0.0
        """When the partition last carried out a command of it, as far as is known; monotonic
        seconds."""
        self._rng = rng
        self._open = open_session
        self._opening = False
        self._queue: dict[Call, None] = {}
        self._next_sequence = 1
        self._awaited: deque[int] = deque()
        self._answered: set[int] = set()

    def assign(self, call: "Call") -> bool:
        """Gives the call its triple; false when it waits for the session to be opened."""
        call.node_session = self
        if not self.session_id:
            self._queue[call] = None
            if not self._opening:
                self._opening = True
                # A retried open carries the same token, so it registers one session.
                self._open(self, self._rng.getrandbits(_TOKEN_BITS))
            return False
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

    def opened(self, session_id: int, now: float) -> "list[Call]":
        """The calls that waited for it."""
        self.known_at = now
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


class WaitSessions:
    """The sessions of calls that wait in one partition, each for one at a time."""

    def __init__(self, make: Callable[[], NodeSession]) -> None:
        self._make = make
        self._idle: deque[NodeSession] = deque()
        """No more than have waited at once; those that nobody needs expire."""

    def take(self, now: float) -> NodeSession:
        """One that no call uses, and that outlives the longest wait."""
        idle = self._idle
        while idle and idle[0].known_at < now - _FRESH_S:
            idle.popleft()
        while idle:
            session = idle.pop()
            if session.known_at >= now - _FRESH_S:
                return session
        return self._make()

    def give_back(self, session: NodeSession) -> None:
        """The call has ended; no later one may be given its sequence."""
        if session.session_id:
            self._idle.append(session)
