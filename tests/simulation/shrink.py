"""From a run that fails to the smallest one found that fails in the same way."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tests.simulation.plan import LAYOUTS, Event, Plan
from tests.simulation.run import Run

BUDGET_S = 60.0
"""Of processor time."""
_SIGNATURE_CHARS = 40


class Failure(NamedTuple):
    """How a run failed, and in which step."""

    error: Exception
    step: int

    @property
    def signature(self) -> str:
        """What two runs have in common that fail in the same way: not the numbers."""
        head = str(self.error).partition("\n")[0]
        return f"{type(self.error).__name__} {re.sub(r'[0-9]+', '', head)[:_SIGNATURE_CHARS]}"

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


def failure_of(plan: Plan) -> Failure | None:
    """Runs a plan."""
    run = Run(plan)
    try:
        run.execute()
    except Exception as error:
        return Failure(error, run.step)
    return None


class Shrinker:
    """Makes a failing plan smaller, one dimension after the other, while it fails alike."""

    def __init__(
        self,
        plan: Plan,
        failure: Failure,
        *,
        run: Callable[[Plan], Failure | None] = failure_of,
        budget_s: float = BUDGET_S,
    ) -> None:
        self.plan = plan
        self.failure = failure
        self.tried = 0
        self._run = run
        self._until = time.process_time() + budget_s

    def shrink(self) -> Plan:
        """The smallest plan found until nothing more can go, or the time is over."""
        while True:
            before = self.plan
            self._try(self.plan.up_to(self.failure.step + 1))
            for dimension in (self._kinds, self._events, self._clients, self._nodes, self._steps):
                for candidate in dimension():
                    if time.process_time() >= self._until:
                        return self.plan
                    self._try(candidate)
            if self.plan == before:
                return self.plan

    def _try(self, candidate: Plan) -> bool:
        if candidate == self.plan:
            return False
        self.tried += 1
        failure = self._run(candidate)
        if failure is None or failure.signature != self.failure.signature:
            return False
        self.plan, self.failure = candidate, failure
        return True

    def _steps(self) -> Iterator[Plan]:
        """Less and less at the end: what has failed there may show sooner."""
        cut = self.plan.steps // 2
        while cut:
            while cut < self.plan.steps:
                steps = self.plan.steps
                yield self.plan.up_to(steps - cut)
                if self.plan.steps == steps:
                    break
            cut //= 2

    def _kinds(self) -> Iterator[Plan]:
        """One kind of fault after the other is switched off."""
        for kind in sorted({each.fault for each in self.plan.events}):
            yield self.plan.without(kind)

    def _clients(self) -> Iterator[Plan]:
        """One client after the other stays away."""
        for number in self.plan.workers:
            workers = tuple(each for each in self.plan.workers if each != number)
            yield replace(self.plan, workers=workers)

    def _nodes(self) -> Iterator[Plan]:
        for nodes in LAYOUTS:
            if nodes < self.plan.nodes:
                yield replace(self.plan, nodes=nodes)

    def _events(self) -> Iterator[Plan]:
        """Single faults, first many at a time."""
        size = max(len(self.plan.events) // 2, 1)
        while size:
            start = 0
            while start < len(self.plan.events):
                events = self.plan.events
                yield replace(self.plan, events=_without(events, start, size))
                if self.plan.events == events:
                    start += size
            size //= 2


def _without(events: tuple[Event, ...], start: int, size: int) -> tuple[Event, ...]:
    return events[:start] + events[start + size :]
