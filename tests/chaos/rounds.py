"""Faults from a seed, one after the other, while clients go on; both kinds of runs use this."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Protocol

from tests.chaos.cluster import NODES, PARTITIONS, ChaosCluster
from tests.chaos.faults import FAULTS, POWER_FAULTS, Draw, Fault, PowerCut
from tests.chaos.power import Loss

PATIENCE_S = 60.0
_POLL_S = 0.05
_SECOND = ("kill a node", "pause a node")
_MOVES_FROM_S = 0.5
"""Faults meant to last so long last at least until others lead."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What a run is made of. The seed says which faults come when, and whether at who leads."""

    seed: int
    rounds_max: int
    faults_s: float = math.inf
    """No fault begins later than this."""
    fault_s: tuple[float, float] = (0.1, 1.5)
    """The shortest and longest time that a fault lasts, beyond what it takes to have its effect."""
    together: float = 0.0
    """How often a second fault comes with the first."""
    names: tuple[str, ...] = tuple(FAULTS)
    """The kinds of faults."""
    shim: Path | None = None
    """What makes faults of `POWER_FAULTS` possible: see `power.build_shim`."""
    disks_lie: bool = False
    """Disks say that they have synced what they have not: no run may pass."""


class TooLittle(AssertionError):
    """The run proves nothing: too few calls succeeded, or too little happened."""


class Load(Protocol):
    """Clients at work."""

    @property
    def total(self) -> int:
        """Calls that have succeeded."""
        ...

    async def more(self) -> None:
        """Returns when enough further calls have succeeded; AssertionError when they do not."""
        ...


@dataclass
class Rounds:
    """What was done to the cluster."""

    faults: Counter[str] = field(default_factory=Counter[str])
    replaced: Counter[int] = field(default_factory=Counter[int])
    """How often each partition's leader was seen to lose its place."""
    lost: list[Loss] = field(default_factory=list[Loss])
    """With the power of each node."""

    def lines(self) -> list[str]:
        """For a report."""
        return [
            f"faults: {self.faults.total()}, leaders replaced: {self.replaced.total()}",
            *(f"  {name:28}{count}" for name, count in sorted(self.faults.items())),
        ]

    def check_enough(self) -> None:
        """Raises TooLittle unless enough happened for a verdict to mean something."""
        if not self.faults:
            raise TooLittle("there was no fault")
        if not self.replaced:
            raise TooLittle("no fault made a leader lose its place")
        if self.lost and not any(loss.undone_sectors for loss in self.lost):
            raise TooLittle("no write was lost with the power")


def schedule(settings: Settings, rng: Random) -> Iterator[list[str]]:
    """Every kind of fault once, in random order, then every kind again."""
    while True:
        for name in rng.sample(settings.names, len(settings.names)):
            second = [rng.choice(_SECOND)] if rng.random() < settings.together else []
            yield [name, *second]


async def run_faults(
    cluster: ChaosCluster, load: Load, settings: Settings, rounds: Rounds, say: Say
) -> None:
    """Injects and heals, until there were enough. After each, calls must succeed again."""
    rng = Random(settings.seed)
    began = time.monotonic()
    for names in islice(schedule(settings, rng), settings.rounds_max):
        if time.monotonic() - began > settings.faults_s:
            return
        before = load.total
        leaders = await cluster.leaders(cluster.nodes)
        chosen = _draw(names, leaders, rng)
        lasts_s = rng.uniform(*settings.fault_s)
        say(f"{time.monotonic() - began:7.1f} s, {lasts_s:.1f} s long, leaders {leaders}")
        for name, fault in chosen.items():
            say(f"           {name}: {fault}")
        lost = [number for number, node in leaders.items() if node in _silenced(chosen.values())]
        if await _round(cluster, load, chosen, lasts_s):
            rounds.replaced.update(lost)
        rounds.faults.update(chosen.keys())
        await load.more()
        for fault in chosen.values():
            if isinstance(fault, PowerCut):
                rounds.lost += fault.losses
                say(f"           lost: {fault.losses}")
        say(f"{time.monotonic() - began:7.1f} s, healed, {load.total - before} calls meanwhile")


def _draw(names: list[str], leaders: dict[int, int], rng: Random) -> dict[str, Fault]:
    """Faults with these names that can come together."""
    leads = Counter(leaders.values())
    draw = Draw(rng, sorted(range(1, NODES + 1), key=lambda node: (-leads[node], node)))
    chosen: dict[str, Fault] = {}
    for name in names:
        fault = (FAULTS | POWER_FAULTS)[name](draw)
        if not {node for other in chosen.values() for node in other.busy} & set(fault.busy):
            chosen[name] = fault
    return chosen


def _silenced(faults: Iterable[Fault]) -> set[int]:
    return {node for fault in faults for node in fault.silenced}


async def _round(
    cluster: ChaosCluster, load: Load, chosen: dict[str, Fault], lasts_s: float
) -> bool:
    """Injects and heals. True if it was seen meanwhile that the others lead and do the work."""
    faults = list(chosen.values())
    ends = time.monotonic() + lasts_s
    for fault in faults:
        await fault.inject(cluster)
    others_lead = len(faults) == 1 and faults[0].majority and lasts_s >= _MOVES_FROM_S
    if others_lead:
        well = set(cluster.nodes) - _silenced(faults)
        await wait_for_leaders(cluster, sorted(well))
        await load.more()
    await asyncio.sleep(max(0.0, ends - time.monotonic()))
    for fault in faults:
        await fault.heal(cluster)
    return others_lead


async def wait_for_leaders(cluster: ChaosCluster, among: list[int]) -> None:
    """Returns when every partition is led by one of these nodes."""
    deadline = time.monotonic() + PATIENCE_S
    while len(await cluster.leaders(among)) < PARTITIONS:
        assert time.monotonic() < deadline, f"nodes {among} do not lead every partition"
        await asyncio.sleep(_POLL_S)


async def wait_until_level(cluster: ChaosCluster) -> None:
    """Returns when every replica has all that its partition has; snapshots may bring it."""
    deadline = time.monotonic() + PATIENCE_S
    while not await cluster.is_level():
        assert time.monotonic() < deadline, "the replicas do not become level"
        await asyncio.sleep(_POLL_S)
