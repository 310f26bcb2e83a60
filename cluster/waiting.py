"""Calls that wait at the leader until there is something for them.

A call that found nothing is parked under its topic, and woken by the entry that brings something:
the state machine says which topics an entry touched, and for about how many. Reads are all woken;
of writes, which take something away, as many as can be served, those first that came first. One
that is woken and finds nothing is parked again in its old place.
"""

from __future__ import annotations

from bisect import insort
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENDS_SLACK = 1024


class Patient(Protocol):
    """A call that may wait."""

    is_write: bool
    ticket: int
    """Its place in the order of arrival, 0 until it is parked for the first time."""
    wait_until: float
    """Monotonic seconds."""

    @property
    def topics(self) -> tuple[bytes, ...]:
        """What it waits for; with a second topic it is also woken by whatever touches that."""
        ...

    def woken(self) -> None:
        """Something may be there: try again."""
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
        self._members: set[Patient] = set()
        self._ends: list[tuple[float, int, Patient]] = []
        """A heap by time; also of calls that have ended since, until it is worth a cleaning."""

    def __len__(self) -> int:
        return len(self._members)

    def park(self, call: Patient) -> bool:
        """Keeps a call until it is woken, cancelled or out of time; false when too many wait."""
        if len(self._members) >= self._most:
            return False
        if not call.ticket:
            call.ticket = next(self._tickets)
        if len(self._ends) > 2 * len(self._members) + _ENDS_SLACK:
            self._ends = [each for each in self._ends if each[2] in self._members]
            heapify(self._ends)
        heappush(self._ends, (call.wait_until, next(self._pushes), call))
        topic, *wider = call.topics
        insort(self._parked.setdefault(topic, []), call, key=_ticket_of)
        for each in wider:
            self._followers.setdefault(each, set()).add(topic)
        self._members.add(call)
        return True

    def wake(self, touched: Mapping[bytes, int]) -> None:
        """Entries have touched these topics, each for about so many calls."""
        if not self._members:
            return
        for topic, served in touched.items():
            self._wake_topic(topic, served)
            # In order, so that a simulation repeats.
            for follower in sorted(self._followers.get(topic, ())):
                self._wake_topic(follower, served)

    def cancel(self, call: Patient) -> None:
        """Nobody waits for this call any more."""
        if call in self._members:
            self._members.discard(call)
            self._take_out(call)

    def end_overdue(self, now: float) -> None:
        """Ends the calls whose time is over."""
        while self._ends and self._ends[0][0] <= now:
            call = heappop(self._ends)[2]
            if call in self._members:
                self.cancel(call)
                call.wait_over()

    def take_all(self) -> list[Patient]:
        """Empties this, in the order of arrival: the replica leads no longer."""
        calls = sorted(self._members, key=_ticket_of)
        self._parked.clear()
        self._followers.clear()
        self._members.clear()
        self._ends.clear()
        for call in calls:
            call.ticket = 0
        return calls

    def _wake_topic(self, topic: bytes, served: int) -> None:
        parked = self._parked.get(topic)
        if not parked:
            return
        woken: list[Patient] = []
        for call in parked:
            if call.is_write:
                if served <= 0:
                    continue
                served -= 1
            woken.append(call)
        for call in woken:
            self.cancel(call)
        for call in woken:
            call.woken()

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


def _ticket_of(call: Patient) -> int:
    return call.ticket
