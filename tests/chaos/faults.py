"""What is done to the cluster. Each fault makes sure that it happened, or raises `Ineffective`.

A new one is a class with `inject` and `heal`, and a line in `FAULTS`.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from tests.chaos.cluster import ChaosCluster, Stop
from tests.chaos.power import Loss
from tests.chaos.proxy import Direction, Link

_PATIENCE_S = 30.0
_POLL_S = 0.02
_AT_LEADER = 0.6


class Ineffective(Exception):
    """A fault did not happen as it should: the run proves nothing."""


class Fault(Protocol):
    """One fault, injected once and healed once."""

    silenced: Sequence[int]
    """Nodes that cannot lead meanwhile."""
    majority: bool
    """Whether a majority of the nodes is well, and in contact."""

    @property
    def busy(self) -> Sequence[int]:
        """Nodes that another fault must leave alone."""
        ...

    async def inject(self, cluster: ChaosCluster) -> None: ...

    async def heal(self, cluster: ChaosCluster) -> None: ...


@dataclass
class Kill:
    """kill -9, of one or more at the same moment."""

    silenced: Sequence[int]

    def __post_init__(self) -> None:
        self.majority = len(self.silenced) == 1

    @property
    def busy(self) -> Sequence[int]:
        return self.silenced

    async def inject(self, cluster: ChaosCluster) -> None:
        for node in self.silenced:
            cluster.signal(node, signal.SIGKILL)
        for node in self.silenced:
            cluster.kill(node)
            code = cluster.processes[node].returncode
            if code != -signal.SIGKILL or cluster.listens(node):
                raise Ineffective(f"node {node} ended with {code}, or still listens")

    async def heal(self, cluster: ChaosCluster) -> None:
        await start(cluster, self.silenced)


@dataclass
class PowerCut:
    """kill -9, and what was not synced is lost, all of it or parts. Needs the disks of `power`."""

    silenced: Sequence[int]
    rng: Random = field(repr=False)
    losses: list[Loss] = field(default_factory=list[Loss])

    def __post_init__(self) -> None:
        self._kill = Kill(self.silenced)
        self.majority = self._kill.majority

    @property
    def busy(self) -> Sequence[int]:
        return self.silenced

    async def inject(self, cluster: ChaosCluster) -> None:
        await self._kill.inject(cluster)
        for node in self.silenced:
            loss = await asyncio.to_thread(cluster.disks[node].cut, self.rng)
            self.losses.append(loss)

    async def heal(self, cluster: ChaosCluster) -> None:
        await self._kill.heal(cluster)


@dataclass
class Terminate:
    """SIGTERM: the node hands its leaderships over and stops."""

    silenced: Sequence[int]
    majority: bool = True

    @property
    def busy(self) -> Sequence[int]:
        return self.silenced

    async def inject(self, cluster: ChaosCluster) -> None:
        for node in self.silenced:
            code = await asyncio.to_thread(cluster.terminate, node)
            if code != 0 or cluster.listens(node):
                raise Ineffective(f"node {node} stopped with {code}, or still listens")

    async def heal(self, cluster: ChaosCluster) -> None:
        await start(cluster, self.silenced)


@dataclass
class Pause:
    """SIGSTOP: the node is silent, and knows nothing of the time that passes."""

    silenced: Sequence[int]
    majority: bool = True

    @property
    def busy(self) -> Sequence[int]:
        return self.silenced

    async def inject(self, cluster: ChaosCluster) -> None:
        for node in self.silenced:
            cluster.signal(node, signal.SIGSTOP)
            await until(f"node {node} is stopped", partial(cluster.is_stopped, node))
            cluster.stops[node].append(Stop(time.monotonic()))

    async def heal(self, cluster: ChaosCluster) -> None:
        for node in self.silenced:
            if not cluster.is_stopped(node):
                raise Ineffective(f"node {node} went on while it was stopped")
            cluster.stops[node][-1].to = time.monotonic()
            cluster.signal(node, signal.SIGCONT)
            await until(f"node {node} goes on", partial(cluster.goes_on, node))


@dataclass
class Cut:
    """Ways between nodes let nothing through, without a word."""

    ways: Sequence[tuple[int, int]]
    """Sender and receiver."""
    silenced: Sequence[int]
    majority: bool = True
    _before: dict[tuple[int, int], tuple[int, int]] = field(
        default_factory=dict[tuple[int, int], tuple[int, int]]
    )

    @property
    def busy(self) -> Sequence[int]:
        return self.silenced

    async def inject(self, cluster: ChaosCluster) -> None:
        for sender, receiver in self.ways:
            way = cluster.way(sender, receiver)
            way.cut()
            self._before[sender, receiver] = (way.passed, way.held)

    async def heal(self, cluster: ChaosCluster) -> None:
        for one, other in {(min(way), max(way)) for way in self.ways}:
            # Where another fault stopped a node nobody talks.
            if cluster.goes_on(one) and cluster.goes_on(other):
                await until(
                    f"nodes {one} and {other} talk into the cut",
                    partial(self._has_held, cluster, {one, other}),
                )
        for sender, receiver in self.ways:
            way = cluster.way(sender, receiver)
            if way.passed != self._before[sender, receiver][0]:
                raise Ineffective(f"bytes of node {sender} reached {receiver} over the cut way")
            way.heal()

    def _has_held(self, cluster: ChaosCluster, pair: set[int]) -> bool:
        """On one way of a pair: who hears nothing need not begin to talk."""
        return any(
            cluster.way(*way).has_held_more_than(self._before[way][1])
            for way in self.ways
            if set(way) == pair
        )


@dataclass
class Refuse:
    """Connections of a node, to others or from clients, end and are turned away."""

    node: int
    clients: bool
    silenced: Sequence[int]
    majority: bool = True
    _before: int = 0

    @property
    def busy(self) -> Sequence[int]:
        return [self.node]

    async def inject(self, cluster: ChaosCluster) -> None:
        for link in self._links(cluster):
            link.refuse()
        self._before = self._refused(cluster)

    async def heal(self, cluster: ChaosCluster) -> None:
        await until(
            f"somebody tries to reach node {self.node}",
            lambda: self._refused(cluster) > self._before,
        )
        for link in self._links(cluster):
            link.accept()

    def _refused(self, cluster: ChaosCluster) -> int:
        return sum(link.refused for link in self._links(cluster))

    def _links(self, cluster: ChaosCluster) -> list[Link]:
        if self.clients:
            return [cluster.client_links[self.node]]
        return [link for pair, link in cluster.peer_links.items() if self.node in pair]


@dataclass
class CutClients:
    """What clients send to a node, or what it answers them, is lost."""

    node: int
    answers: bool
    silenced: Sequence[int] = ()
    majority: bool = True
    _before: tuple[int, int] = (0, 0)

    @property
    def busy(self) -> Sequence[int]:
        return [self.node]

    async def inject(self, cluster: ChaosCluster) -> None:
        way = self._way(cluster)
        way.cut()
        self._before = (way.passed, way.held)

    async def heal(self, cluster: ChaosCluster) -> None:
        way = self._way(cluster)
        passed, held = self._before
        await until(
            f"clients and node {self.node} talk over the cut way",
            partial(way.has_held_more_than, held),
        )
        if way.passed != passed:
            raise Ineffective(f"bytes passed between clients and node {self.node}")
        way.heal()

    def _way(self, cluster: ChaosCluster) -> Direction:
        link = cluster.client_links[self.node]
        return link.backward if self.answers else link.forward


class Draw:
    """Draws what a fault is about: often the node that leads most, else any."""

    def __init__(self, rng: Random, nodes: Sequence[int]) -> None:
        """`nodes`: all of them, those that lead more before those that lead less."""
        self.nodes = list(nodes)
        self._rng = rng

    def another_rng(self) -> Random:
        return Random(self._rng.getrandbits(64))

    def one(self) -> int:
        return self.nodes[0] if self._rng.random() < _AT_LEADER else self._rng.choice(self.nodes)

    def two(self) -> tuple[int, int]:
        one = self.one()
        return one, self._rng.choice(self.others(one))

    def others(self, node: int) -> list[int]:
        return [each for each in self.nodes if each != node]


def _isolate(draw: Draw) -> Fault:
    node = draw.one()
    ways = [(node, other) for other in draw.others(node)]
    return Cut([*ways, *((b, a) for a, b in ways)], [node])


def _mute(draw: Draw) -> Fault:
    node = draw.one()
    return Cut([(node, other) for other in draw.others(node)], [node])


def _deafen(draw: Draw) -> Fault:
    node = draw.one()
    return Cut([(other, node) for other in draw.others(node)], [node])


def _cut_pair(draw: Draw) -> Fault:
    a, b = draw.two()
    return Cut([(a, b), (b, a)], [])


def _refuse_peers(draw: Draw) -> Fault:
    node = draw.one()
    return Refuse(node, clients=False, silenced=[node])


FAULTS: dict[str, Callable[[Draw], Fault]] = {
    "kill a node": lambda draw: Kill([draw.one()]),
    "kill a majority": lambda draw: Kill(draw.two()),
    "kill all": lambda draw: Kill(draw.nodes),
    "terminate a node": lambda draw: Terminate([draw.one()]),
    "pause a node": lambda draw: Pause([draw.one()]),
    "isolate a node": _isolate,
    "mute a node": _mute,
    "deafen a node": _deafen,
    "cut a pair": _cut_pair,
    "cut one way of a pair": lambda draw: Cut([draw.two()], []),
    "refuse peers of a node": _refuse_peers,
    "refuse clients of a node": lambda draw: Refuse(draw.nodes[0], clients=True, silenced=[]),
    "cut requests to a node": lambda draw: CutClients(draw.nodes[0], answers=False),
    "cut answers of a node": lambda draw: CutClients(draw.nodes[0], answers=True),
}

POWER_FAULTS: dict[str, Callable[[Draw], Fault]] = {
    "cut the power of a node": lambda draw: PowerCut([draw.one()], draw.another_rng()),
    "cut the power of all": lambda draw: PowerCut(draw.nodes, draw.another_rng()),
}


async def start(cluster: ChaosCluster, nodes: Sequence[int]) -> None:
    """Starts nodes that were stopped, all at once."""
    await asyncio.gather(*(asyncio.to_thread(cluster.start, node) for node in nodes))


async def until(what: str, condition: Callable[[], bool]) -> None:
    """Waits for something that a fault needs to be one."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Ineffective(f"did not happen in {_PATIENCE_S:g} s: {what}")
        await asyncio.sleep(_POLL_S)
