"""What must add up for queues, streams and consumer groups, from what their clients saw.

Times are of one monotonic clock, in seconds. A lease begins at some moment between the start and
the end of the call that took it: when the leader stamped the entry. What is judged holds wherever
that moment was: no verdict rests on a guess. It rests on one thing, that the clocks of all leaders
go with this one; what they say of each message is held against it. So a leader that was paused may
answer late, and the lease may be over by then, but it began within the call.
Every violation raises `Violation`, with the calls that show it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import NamedTuple, TypeAlias

from tests.histories.explain import Violation
from tests.histories.operations import Outcome

NEVER_ANSWERED = math.inf
CLOCKS_S = 0.05
"""How far the clock of a leader and this one may be apart."""

Place: TypeAlias = tuple[int, ...]
"""The sequence of a message, or the id of a record."""


class Added(NamedTuple):
    """One call that enqueued or appended: one payload, or a batch that is there whole or not.

    No payload is added twice by different calls.
    """

    start: float
    end: float
    outcome: Outcome
    payloads: tuple[bytes, ...]
    places: tuple[Place, ...] = ()
    """As answered."""


class Taken(NamedTuple):
    """One message or record that a consumer was given, on lease."""

    start: float
    end: float
    place: Place
    payload: bytes
    lease_s: float
    delivery: int = 0
    """Which delivery of the message it is, from 1 on; 0 when the answer does not tell."""
    added_at: float | None = None
    """When the message was added, by the clock of the leader that did it."""


class Returned(NamedTuple):
    """One call that acknowledged (`done`) or gave back."""

    start: float
    end: float
    outcome: Outcome
    places: tuple[Place, ...]
    done: bool


class Stored(NamedTuple):
    """One record of a stream."""

    place: Place
    payload: bytes
    partition: int = 0


@dataclass
class Deliveries:
    """All that clients did with one queue, or with one stream and one group of it."""

    added: list[Added] = field(default_factory=list[Added])
    taken: list[Taken] = field(default_factory=list[Taken])
    returned: list[Returned] = field(default_factory=list[Returned])


class Evidence(NamedTuple):
    """How much a verdict rests on."""

    delivered: int
    """Different messages."""
    again: int
    """Deliveries of one that was delivered before."""
    certain: int
    """Messages that were acknowledged when the lease had surely not ended: none may come again."""
    sure: int
    """Deliveries whose lease had surely not ended when the consumer heard of it. The others, as
    those that a paused leader answers, say less: the message may be somebody else's by then."""


def judge_deliveries(history: Deliveries, *, drained: bool = True) -> Evidence:
    """Judges a queue, or a group, that was drained: there is nothing left to take.

    Nothing is lost, invented or doubled; batches are whole; nothing that was acknowledged in time
    comes again; no two consumers hold a lease of the same message at the same moment. Where it is
    not drained what is missing says nothing.
    """
    _check_places(history.added)
    found: defaultdict[Place, list[Taken]] = defaultdict(list)
    for each in history.taken:
        found[each.place].append(each)
    _check_origin(history.added, [Stored(each.place, each.payload) for each in history.taken])
    origin = _by_payload(history.added)
    for each in history.taken:
        added = origin[each.payload]
        _require(added.start < each.end, "invented: delivered before it was added", added, each)
        _check_clock(added, each)
    if drained:
        _check_nothing_lost(history, found)
    returned: defaultdict[Place, list[Returned]] = defaultdict(list)
    for call in history.returned:
        if call.outcome is not Outcome.FAILED:
            for place in call.places:
                returned[place].append(call)
    certain = sure = 0
    for place, deliveries in found.items():
        since = origin[deliveries[0].payload].start
        leases = _Leases(since, deliveries, returned[place])
        certain += leases.check()
        sure += leases.count_sure()
    return Evidence(len(found), len(history.taken) - len(found), certain, sure)


def judge_log(added: Sequence[Added], log: Sequence[Stored]) -> None:
    """Judges a stream by all its records, read at the end."""
    _check_places(added)
    for one, other in pairwise(log):
        _require(one.place < other.place, "reordered", one, other)
    _check_origin(added, log)
    order = {each.payload: number for number, each in enumerate(log)}
    for call in added:
        numbers = [order[payload] for payload in call.payloads if payload in order]
        if numbers or call.outcome is Outcome.OK:
            _require(len(numbers) == len(call.payloads), "lost, or half a batch", call)
            first = numbers[0]
            together = numbers == list(range(first, first + len(numbers)))
            _require(together, "a batch was torn apart", call)


def judge_reader(seen: Sequence[Stored], log: Sequence[Stored]) -> None:
    """Judges one that followed from the first record to the last."""
    for number, (one, other) in enumerate(zip(seen, log, strict=False)):
        if one != other:
            kind = "reordered or twice" if one.place < other.place else "a gap"
            raise Violation(f"{kind}: record {number} as read, and as stored\n  {one}\n  {other}")
    _require(len(seen) <= len(log), "invented: more records than are stored", *seen[len(log) :])
    _require(len(seen) == len(log), "a gap at the end", *log[len(seen) :][:3])


def _require(condition: bool, what: str, *shown: object) -> None:
    if not condition:
        raise Violation("\n  ".join([what, *map(str, shown)]))


def _by_payload(added: Iterable[Added]) -> dict[bytes, Added]:
    return {payload: each for each in added for payload in each.payloads}


def _check_places(added: Sequence[Added]) -> None:
    """Places are unique, and rise within a batch and from one call to the next."""
    answered = [each for each in added if each.outcome is Outcome.OK]
    owner: dict[Place, Added] = {}
    for call in answered:
        _require(len(call.places) == len(call.payloads), "another number of places", call)
        for one, other in pairwise(call.places):
            _require(one < other, "reordered within a batch", call)
        for place in call.places:
            _require(place not in owner, "one place twice", call, owner.get(place))
            owner[place] = call
    ended = sorted(answered, key=lambda each: each.end)
    newest: Added | None = None
    number = 0
    for call in sorted(answered, key=lambda each: each.start):
        while ended[number].end < call.start:
            if newest is None or ended[number].places[-1] > newest.places[-1]:
                newest = ended[number]
            number += 1
        if newest is not None:
            _require(newest.places[-1] < call.places[0], "reordered", newest, call)


def _check_origin(added: Sequence[Added], found: Iterable[Stored]) -> None:
    """Everything found was added, and is at one place, the one that was answered."""
    origin = _by_payload(added)
    place_of = {
        payload: place
        for each in added
        for payload, place in zip(each.payloads, each.places, strict=False)
    }
    payload_at: dict[Place, bytes] = {}
    for each in found:
        call = origin.get(each.payload)
        _require(call is not None, "invented: nobody added it", each)
        _require(call is None or call.outcome is not Outcome.FAILED, "invented", each, call)
        place = place_of.setdefault(each.payload, each.place)
        _require(place == each.place, f"doubled: it is at {place} too", each, call)
        other = payload_at.setdefault(each.place, each.payload)
        _require(other == each.payload, f"{other!r} is there too", each)


def _check_clock(added: Added, taken: Taken) -> None:
    """The leader stamped the message within the call that added it."""
    if taken.added_at is not None:
        within = added.start - CLOCKS_S <= taken.added_at <= added.end + CLOCKS_S
        _require(within, "the clock of the leader was wrong", added, taken)


def _check_nothing_lost(history: Deliveries, found: dict[Place, list[Taken]]) -> None:
    delivered = {each.payload for each in history.taken}
    for call in history.added:
        missing = [payload for payload in call.payloads if payload not in delivered]
        if call.outcome is Outcome.OK:
            _require(not missing, f"lost: {missing}", call)
        _require(len(missing) in (0, len(call.payloads)), f"half a batch without {missing}", call)
    done = {
        place
        for call in history.returned
        if call.done and call.outcome is not Outcome.FAILED
        for place in call.places
    }
    for place, deliveries in found.items():
        _require(place in done, "lost: delivered, and nobody acknowledged it", *deliveries)


class _Leases:
    """The deliveries of one message, and the calls that may have ended its leases."""

    def __init__(self, since: float, taken: list[Taken], returned: list[Returned]) -> None:
        self._taken = sorted(taken, key=lambda each: (each.delivery, each.end))
        self._returned = returned
        self._begun: dict[Taken, float] = {}
        """The earliest moment at which each lease may have begun."""
        for each in self._taken:
            self._begun[each] = max(each.start, since)
            if each.delivery:
                # The next one does not begin before this one ends, however early it was asked for.
                since = self._earliest_end(each)

    def check(self) -> bool:
        """Whether it was certainly acknowledged."""
        for one, other in combinations(self._taken, 2):
            _require(
                not one.delivery or one.delivery != other.delivery, "one lease twice", one, other
            )
            ended = self._earliest_end(one)
            # Without counts the two leases may have been the other way around.
            backwards = not one.delivery and one.end >= self._earliest_end(other)
            possible = other.end >= ended or backwards
            _require(possible, "two leases at once", one, other, *self._returned)
        acknowledged = [each for each in self._taken if self._certain_ack(each) is not None]
        for one in acknowledged:
            for other in self._taken:
                self._check_gone(one, other)
        return bool(acknowledged)

    def count_sure(self) -> int:
        """See `Evidence.sure`."""
        return sum(self._earliest_end(each) > each.end for each in self._taken)

    def _check_gone(self, one: Taken, other: Taken) -> None:
        """`one` was certainly acknowledged: `other` must not be later."""
        ack = self._certain_ack(one)
        assert ack is not None
        later = other.delivery > one.delivery if one.delivery else other.start > ack.end
        again = self._certain_ack(other) if later else None
        _require(again is None, "acknowledged twice", one, ack, other, again)
        _require(not later, "delivered after its acknowledgement", one, ack, other)

    def _certain_ack(self, taken: Taken) -> Returned | None:
        """The answered acknowledgement that fell into this lease, wherever that began."""
        for ack in self._returned:
            if not ack.done or ack.outcome is not Outcome.OK or ack.start < taken.end:
                continue
            if ack.end < self._earliest_end(taken, acks=False):
                return ack
        return None

    def _earliest_end(self, taken: Taken, *, acks: bool = True) -> float:
        """When the lease may have ended at the earliest, by time or by one of these calls."""
        begun = self._begun[taken]
        ends = [
            max(call.start, begun)
            for call in self._returned
            if (acks or not call.done) and call.end >= begun
        ]
        return min([begun + taken.lease_s - CLOCKS_S, *ends])
