"""Whether the calls on one key can have happened one after the other, each between its start and
its end: the search of Wing and Gong with Lowe's memory of what was tried.

A configuration is what has been put in order so far. From each the search goes on with every call
that could come next. What keeps the tree small, without losing an answer:

- A call that reads what is there and changes nothing is taken at once.
- Writes that were told their version are taken in the order of their versions.
- A call without an answer is taken only just before a call that needs it. Any order of a history
  has an equivalent one like that: where what follows is right without the call, it can come later
  or not at all.
- Among equal calls without an answer the one that began first is taken; two puts whose values
  nobody ever read are equal.
- What has used fewer of the calls without an answer, for the same state, can do all that the other
  can.

Where no call is under way all orders meet again: whatever was tried before is one state, and a few
calls without an answer that may still come.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from tests.histories.explain import Violation, explain
from tests.histories.operations import (
    NEVER,
    PUTS,
    Answer,
    Kind,
    Operation,
    Outcome,
    counter_value,
)
from tests.histories.register import ABSENT, State, effect, step
from tests.histories.versions import check_versions

CONFIGURATIONS_MAX = 500_000
"""About ten seconds and half a gigabyte; an ordinary history needs one for each call."""

_OVERWRITING = (Kind.PUT, Kind.DELETE)


class Undecided(Exception):
    """Too many orders to try: fewer clients per key, or fewer calls with unknown outcome."""


def check_key(operations: Sequence[Operation], configurations_max: int = CONFIGURATIONS_MAX) -> int:
    """Judges all calls on one key, absent at first; returns how many configurations it took.

    Raises Violation, Undecided.
    """
    search = Search(operations, configurations_max)
    if not search.run():
        raise Violation(explain(search))
    return search.tried


class Configuration(NamedTuple):
    """What has been put in order: all answered calls before `first`, those of `mask`, and `used`.

    Bit n of `mask` stands for call `first` + n. Together with the state, that is all that counts
    for what may follow.
    """

    first: int
    mask: int
    used: int
    state: State


class Search:
    """One search through the orders of the calls on one key."""

    def __init__(self, operations: Sequence[Operation], configurations_max: int) -> None:
        """Raises Violation when versions alone tell that something is wrong."""
        writes_by_version = check_versions(operations, operations[0].key) if operations else []
        by_start = sorted(operations, key=lambda each: each.start)
        self.answered = [each for each in by_start if each.outcome is Outcome.OK]
        self.open = [
            each
            for each in by_start
            if each.outcome is Outcome.UNKNOWN and each.kind is not Kind.GET
        ]
        """A read without an answer says nothing, and a call that failed did nothing."""
        self.tried = 0
        self.furthest: list[Configuration] = []
        """Those that got past the most ends of calls: what comes next in them cannot be."""
        self.furthest_end = -1
        self._limit = configurations_max
        self._open_starts = [each.start for each in self.open]
        read = {each.answer.value for each in self.answered if each.answer is not None}
        self._effects = [_unread(each, read) for each in self.open]
        self._equal_before = _equal_before(self._effects)
        index_of = {id(each): index for index, each in enumerate(self.answered)}
        writes = [index_of[id(each)] for each in writes_by_version]
        self._first_write = writes[0] if writes else -1
        self._next_write = dict(pairwise([*writes, -1]))

    def run(self) -> bool:
        """Whether there is an order."""
        todo = [(Configuration(0, 0, 0, ABSENT), self._first_write)]
        seen = _Seen()
        while todo:
            configuration, next_write = todo.pop()
            if configuration.first == len(self.answered):
                return True
            if seen.covers(configuration):
                continue
            self._count()
            todo.extend(self._follow(configuration, next_write))
        return False

    def candidates(self, configuration: Configuration) -> tuple[list[int], int]:
        """The answered calls that can come next, and the first end among those that must."""
        mask = configuration.mask
        end = NEVER
        found: list[int] = []
        for index in range(configuration.first, len(self.answered)):
            operation = self.answered[index]
            if operation.start > end:
                break
            if not mask >> (index - configuration.first) & 1:
                found.append(index)
                end = min(end, operation.end)
        return found, end

    def _follow(
        self, configuration: Configuration, next_write: int
    ) -> Iterator[tuple[Configuration, int]]:
        candidates, end = self.candidates(configuration)
        self._note(configuration, end)
        state = configuration.state
        reads = [i for i in candidates if step(state, self.answered[i]) == state]
        if reads:
            yield _taken(configuration, reads, state), next_write
            return
        chains: list[tuple[State, int]] | None = None
        for index in self._worth_trying(candidates, next_write):
            operation = self.answered[index]
            write_after = self._next_write.get(index, next_write)
            state_after = step(state, operation)
            if state_after is not None:
                yield _taken(configuration, [index], state_after), write_after
                continue
            if chains is None:
                chains = list(self._chains(state, configuration.used, end))
            for needed, used in chains:
                state_after = step(needed, operation)
                if state_after is not None:
                    yield _taken(configuration, [index], state_after, used), write_after

    def _worth_trying(self, candidates: list[int], next_write: int) -> list[int]:
        """Of calls that asked and were told the same, the one that ended first can come first."""
        chosen: list[int] = []
        alike: set[tuple[Kind, bytes, int, Answer | None]] = set()
        for index in sorted(candidates, key=lambda each: self.answered[each].end):
            each = self.answered[index]
            what = (each.kind, each.value, each.number, each.answer)
            if what not in alike and (index not in self._next_write or index == next_write):
                alike.add(what)
                chosen.append(index)
        # The search goes on with the last: the call that ended first.
        return chosen[::-1]

    def _chains(self, state: State, used: int, end: int) -> Iterator[tuple[State, int]]:
        """What calls without an answer can make of a state, with all that are then used.

        A call that overwrites is only tried first: what came before it would leave no trace.
        """
        begun = bisect_left(self._open_starts, end)
        todo = [(state, used)]
        seen = {(state, used)}
        while todo:
            before, taken = todo.pop()
            for index in range(begun):
                operation = self._effects[index]
                if taken >> index & 1 or self._equal_before[index] & ~taken:
                    continue
                if operation.kind in _OVERWRITING and taken != used:
                    continue
                after = (effect(before, operation), taken | 1 << index)
                if after[0] == before or after in seen:
                    continue
                seen.add(after)
                self._count()
                yield after
                todo.append(after)

    def _count(self) -> None:
        self.tried += 1
        if self.tried > self._limit:
            raise Undecided(
                f"gave up after {self.tried} configurations, with {len(self.answered)} answered"
                f" calls and {len(self.open)} without an answer; if it is wrong, then here:\n"
                + explain(self)
            )

    def _note(self, configuration: Configuration, end: int) -> None:
        if end > self.furthest_end:
            self.furthest_end = end
            self.furthest.clear()
        if end == self.furthest_end:
            self.furthest.append(configuration)


class _Seen:
    """What was tried, so that what can do no more than that is left out."""

    def __init__(self) -> None:
        self._tried: dict[tuple[int, int, bytes | None, int], list[tuple[int, int]]] = {}

    def covers(self, configuration: Configuration) -> bool:
        """Whether one at least as good was given before; remembers this one."""
        first, mask, used, state = configuration
        told = state.version if state.exact and state.value is not None else -1
        others = self._tried.setdefault((first, mask, state.value, told), [])
        for lowest, taken in others:
            if lowest <= state.version and taken & used == taken:
                return True
        others.append((state.version, used))
        return False


def _unread(operation: Operation, read: set[bytes | None]) -> Operation:
    """A put with its value left out, if nobody ever read that."""
    if operation.kind not in PUTS or operation.value in read:
        return operation
    if counter_value(operation.value) is not None:
        return operation
    return replace(operation, value=b"a value that nobody read")


def _taken(
    configuration: Configuration, indexes: Sequence[int], state: State, used: int | None = None
) -> Configuration:
    """With these answered calls added, and `state` as what they leave."""
    first, mask = configuration.first, configuration.mask
    for index in indexes:
        mask |= 1 << (index - first)
    while mask & 1:
        mask >>= 1
        first += 1
    return Configuration(first, mask, configuration.used if used is None else used, state)


def _equal_before(operations: Sequence[Operation]) -> list[int]:
    """For each call the bit of the last equal one before it."""
    last: dict[tuple[Kind, bytes, int], int] = {}
    bits: list[int] = []
    for index, each in enumerate(operations):
        what = (each.kind, each.value, each.number)
        bits.append(1 << last[what] if what in last else 0)
        last[what] = index
    return bits
