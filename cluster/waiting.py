"""Calls that wait at the leader until there is something for them.

A call that found nothing is parked under its topic, and woken by the entry that brings something:
the state machine says which topics an entry touched, and for about how many. Reads are all woken;
of writes, which take something away, as many as can be served, those first that came first. One
that is woken and finds nothing is parked again in its old place. One that is woken and does not
take what there is leaves it to the next: whoever that is, is woken with the next tick, never by
the call that ends. One that was refused for a moment is held, and is tried again with a tick.
"""

from __future__ import annotations

from bisect import insort
from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENDS_SLACK = 1024
_RETRIES_PER_TICK = 256
"""Of calls that are held: where one is refused, most are."""


class Patient(Protocol):
    """A call that may wait."""

    is_write: bool
    ticket: int
    """Its place in the order of arrival, 0 until it is parked for the first time."""
    wait_until: float
    """Monotonic seconds."""

    @property
    def topics(self) -> tuple[bytes, ...]:
        """What it waits for, and wider topics: it is also woken by whatever touches these. The last
        but one, or the only one, is the line in which it stands."""
        ...

    def woken(self, line: bytes) -> None:
        """Something may be there: try again. If it is not taken, the next who waits for `line` is
        to be woken for it."""
        ...

    def again(self) -> None:
        """A moment has passed since a try was refused."""
        ...

    def wait_over(self) -> None:
        """Nothing came in time."""
        ...

    def on_not_leader(self, leader: int) -> None:
        """This is the wrong place to wait; `leader` is where to, 0 when unknown."""
        ...


class Waiting:
    """What waits at one replica; only a leader's has anything in it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tickets = count(1)
        self._pushes = count()
        self._parked: dict[bytes, list[Patient]] = {}
        self._followers: dict[bytes, set[bytes]] = {}
        """Topics that are woken with another one."""
        self._members: dict[Patient, None] = {}
        self._held: dict[Patient, None] = {}
        """Those of the members that are in no line."""
        self._owed: dict[bytes, int] = {}
        """What is to be woken with the next tick."""
        self._ends: list[tuple[float, int, Patient]] = []
        """A heap by time; also of calls that have ended since, and of some more than once, until it
        is worth a cleaning."""

    def __len__(self) -> int:
        return len(self._members)

    def park(self, call: Patient) -> bool:
        """Keeps a call until it is woken, cancelled or out of time; false when too many wait.

        One that was parked before has its place still.
        """
        if not self._enter(call):
            return False
        topic, *wider = call.topics
        insort(self._parked.setdefault(topic, []), call, key=_ticket_of)
        for each in wider:
            self._followers.setdefault(each, set()).add(topic)
        return True

    def hold(self, call: Patient) -> bool:
        """Keeps a call that was refused for a moment, to be tried again with a tick; false when too
        many wait. It has its place, but stands in no line: it has not seen what there is."""
        if not self._enter(call):
            return False
        self._held[call] = None
        return True

    def wake(self, touched: Mapping[bytes, int]) -> None:
        """Entries have touched these topics, each for about so many calls."""
        if not self._members:
            return
        for topic, served in touched.items():
            self._wake_first(self._parked.get(topic, ()), served, topic)
            lines: dict[bytes, list[Patient]] = {}
            # In order, so that a simulation repeats.
            for follower in sorted(self._followers.get(topic, ())):
                for call in self._parked[follower]:
                    lines.setdefault(line_of(call), []).append(call)
            for line, calls in lines.items():
                self._wake_first(sorted(calls, key=_ticket_of), served, line)

    def has_any(self, topic: bytes) -> bool:
        """Whether a call waits for this topic, none of those that are held or being tried: what
        they have not seen may be there."""
        return topic in self._parked

    def wake_later(self, topic: bytes) -> None:
        """Somebody was woken for something, and has not taken it."""
        self._owed[topic] = self._owed.get(topic, 0) + 1

    def tick(self, now: float) -> None:
        """Ends the calls whose time is over, and wakes those that are to be woken by now."""
        self._end_overdue(now)
        for call in list(islice(self._held, _RETRIES_PER_TICK)):
            if call in self._held:
                self.cancel(call)
                call.again()
        owed, self._owed = self._owed, {}
        self.wake(owed)

    def cancel(self, call: Patient) -> None:
        """Nobody waits for this call any more."""
        if call in self._members:
            del self._members[call]
            if call in self._held:
                del self._held[call]
            else:
                self._take_out(call)

    def take_all(self) -> list[Patient]:
        """Empties this, in the order of arrival: the replica leads no longer."""
        calls = sorted(self._members, key=_ticket_of)
        self._parked.clear()
        self._followers.clear()
        self._members.clear()
        self._held.clear()
        self._ends.clear()
        self._owed.clear()
        for call in calls:
            call.ticket = 0
        return calls

    def _enter(self, call: Patient) -> bool:
        if not call.ticket:
            if len(self._members) >= self._most:
                return False
            call.ticket = next(self._tickets)
        if len(self._ends) > 2 * len(self._members) + _ENDS_SLACK:
            self._ends = [(each.wait_until, next(self._pushes), each) for each in self._members]
            heapify(self._ends)
        heappush(self._ends, (call.wait_until, next(self._pushes), call))
        self._members[call] = None
        return True

    def _end_overdue(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            call = heappop(self._ends)[2]
            if call in self._members:
                self.cancel(call)
                call.wait_over()

    def _wake_first(self, parked: Iterable[Patient], served: int, line: bytes) -> None:
        """Those in one line are all reads or all writes."""
        woken: list[Patient] = []
        for call in parked:
            if call not in self._members:
                continue
            if call.is_write:
                if served <= 0:
                    break
                served -= 1
            woken.append(call)
        for call in woken:
            self.cancel(call)
        for call in woken:
            call.woken(line)

    def _take_out(self, call: Patient) -> None:
        topic, *wider = call.topics
        parked = self._parked[topic]
        parked.remove(call)
        if parked:
            return
        del self._parked[topic]
        for each in wider:
            followers = self._followers[each]
            followers.discard(topic)
            if not followers:
                del self._followers[each]


def line_of(call: Patient) -> bytes:
    """Of calls that are woken by the same wider topic, those of one line share what is served."""
    return call.topics[-2:][0]


def _ticket_of(call: Patient) -> int:
    return call.ticket
