"""What one run will do: everything that chance decides beforehand, as a file can hold it."""

import json
from bisect import bisect_right
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from random import Random
from typing import NamedTuple, TypedDict, cast

from cluster.raft.types import NodeId
from tests.simulation.faults import FAULTS

STEPS = 800
WORKERS = 11
"""The first five are clients of keys; see `clients_of` for the others."""

LAYOUTS: dict[int, tuple[tuple[NodeId, ...], ...]] = {
    3: ((1, 2, 3),),
    4: ((1, 2, 3), (4, 3, 2)),
    5: ((1, 2, 3, 4, 5),),
}
"""By the number of nodes, the replicas of each partition. Of four nodes two have no replica of a
partition, and still serve everybody."""
SIZES = tuple(LAYOUTS)

_ENDS = list(accumulate(fault.weight for fault in FAULTS))
_SEED_BITS = 32


class Event(NamedTuple):
    """One fault: when, which, and what decides the rest of it."""

    step: int
    fault: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """One run. The same plan gives the same run, as long as nobody changes the code."""

    seed: int
    nodes: int
    steps: int = STEPS
    workers: tuple[int, ...] = tuple(range(WORKERS))
    events: tuple[Event, ...] = ()

    def up_to(self, steps: int) -> "Plan":
        """The same with its end earlier."""
        events = tuple(each for each in self.events if each.step < steps)
        return replace(self, steps=steps, events=events)

    def without(self, fault: str) -> "Plan":
        """The same without one kind of fault."""
        return replace(self, events=tuple(each for each in self.events if each.fault != fault))

    def __str__(self) -> str:
        kinds = {each.fault for each in self.events}
        return (
            f"seed {self.seed}, {self.nodes} nodes, {len(self.workers)} clients,"
            f" {self.steps} steps, {len(self.events)} faults of {len(kinds)} kinds"
        )


def plan_of(seed: int, nodes: int, *, steps: int = STEPS) -> Plan:
    """What a seed means."""
    rng = Random(f"{seed} faults {nodes}")
    events: list[Event] = []
    for step in range(steps):
        place = bisect_right(_ENDS, int(rng.random() * 1000))
        if place < len(FAULTS):
            events.append(Event(step, FAULTS[place].name, rng.getrandbits(_SEED_BITS)))
    return Plan(seed, nodes, steps, events=tuple(events))


class _Fields(TypedDict):
    seed: int
    nodes: int
    steps: int
    workers: list[int]
    events: list[tuple[int, str, int]]


def to_text(plan: Plan, error: str) -> str:
    """As a file keeps it, one event a line."""
    fields = asdict(plan)
    events = ",\n  ".join(json.dumps(each) for each in fields.pop("events"))
    head = json.dumps({"error": error, **fields})
    return f'{head[:-1]},\n "events": [\n  {events}\n]}}\n'


def from_text(text: str) -> Plan:
    """What `to_text` wrote."""
    fields = cast(_Fields, json.loads(text))
    events = tuple(Event(*each) for each in fields["events"])
    workers = tuple(fields["workers"])
    return Plan(fields["seed"], fields["nodes"], fields["steps"], workers, events)
