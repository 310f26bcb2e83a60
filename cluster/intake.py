"""What clients may send before it is run: time and memory, shared fairly.

In one pass of the event loop requests are run for a few milliseconds; then peers and timers have
their turn, so that clients cannot starve them however much they send. Connections that had to wait
take turns by small portions, and those that have just begun to send come first.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

PASS_S = 0.005
"""For the requests of all clients, in one pass of the loop."""
READ_BYTES = 32 << 10
"""What is read of a connection at a time. A connection may always hold as much."""


class Sender(Protocol):
    """A connection whose requests wait."""

    def run_more(self) -> bool:
        """Runs a portion; true when there is more."""
        ...

    def read_on(self) -> None:
        """It may hold more of its request now."""
        ...

    def end_unfinished(self) -> None:
        """It held up others for too long with a request that does not end."""
        ...


class Intake:
    """One for all client connections of a node.

    What they hold stays below `bytes_max`, beside one request and two reads of each connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        bytes_max: int,
        stall_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._bytes_max = bytes_max
        self._stall_s = stall_s
        self._in_pass = False
        self._until = 0.0
        self._new: deque[Sender] = deque()
        self._waiting: deque[Sender] = deque()
        self._held: dict[Sender, int] = {}
        """More than READ_BYTES each."""
        self._unread: dict[Sender, None] = {}
        """They may not read on, because too much is held."""
        self._favoured: Sender | None = None
        """The one that may read on all the same: else nobody's request would ever end."""
        self._watched: dict[Sender, int] = {}
        """What those that may read held when the timer began; without those that ended one."""
        self._watch_timer: asyncio.TimerHandle | None = None
        self.held_bytes = 0

    # --- time ---

    def begin(self) -> bool:
        """Whether requests may be run at once; else `wait` for a turn."""
        if self._new or self._waiting:
            return False
        if not self._in_pass:
            self._begin_pass()
        return not self.is_over()

    def is_over(self) -> bool:
        """Whether this pass has used up its time."""
        return self._clock() >= self._until

    def wait(self, sender: Sender) -> None:
        """`sender` has requests, and is asked for them in its turn."""
        self._new.append(sender)
        if not self._in_pass:
            self._begin_pass()

    def _begin_pass(self) -> None:
        self._in_pass = True
        self._until = self._clock() + PASS_S
        self._loop.call_soon(self._next_pass)

    def _next_pass(self) -> None:
        self._in_pass = False
        if not self._new and not self._waiting:
            return
        self._begin_pass()
        while self._new or self._waiting:
            sender = self._new.popleft() if self._new else self._waiting.popleft()
            if sender.run_more():
                self._waiting.append(sender)
            if self.is_over():
                break

    # --- memory ---

    def hold(self, sender: Sender, nbytes: int) -> bool:
        """`sender` holds so much that is not run yet. False: it must not read until `read_on`."""
        if nbytes <= READ_BYTES:
            if self._held:
                self.forget(sender)
            return True
        self.held_bytes += nbytes - self._held.get(sender, 0)
        self._held[sender] = nbytes
        if self.held_bytes <= self._bytes_max or sender is self._favoured:
            return True
        if self._watch_timer is None:
            self._watch()
        if self._favoured is None:
            self._favoured = sender
            return True
        self._unread[sender] = None
        return False

    def forget(self, sender: Sender) -> None:
        """`sender` has ended a request, or is gone: others may read on."""
        self.held_bytes -= self._held.pop(sender, 0)
        self._unread.pop(sender, None)
        self._watched.pop(sender, None)
        if sender is self._favoured:
            self._favoured = None
        room = (self._bytes_max - self.held_bytes) // READ_BYTES
        while self._unread and (room > 0 or self._favoured is None):
            room -= 1
            each = next(iter(self._unread))
            del self._unread[each]
            if room < 0:
                self._favoured = each
            each.read_on()

    def _watch(self) -> None:
        """Gives those that may read the stall time to get on with their requests."""
        self._watched = {
            sender: nbytes for sender, nbytes in self._held.items() if sender not in self._unread
        }
        self._watch_timer = self._loop.call_later(self._stall_s, self._end_stalled)

    def _end_stalled(self) -> None:
        self._watch_timer = None
        if not self._unread:
            return  # Nobody is held up.
        for sender, nbytes in list(self._watched.items()):
            if self._held.get(sender, 0) - nbytes < READ_BYTES:
                sender.end_unfinished()
        if self._unread:
            self._watch()
