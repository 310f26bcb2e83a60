"""What there is to show of a local cluster: made from what the nodes say and how they changed."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flo.cli.overview import Partition, Replica, listed
from flo.cli.up.children import Child

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class NodeRow(NamedTuple):
    """One node. What only it could say is None while it does not answer."""

    node_id: int
    address: str
    state: str
    leads: int | None = None
    replicas: int | None = None
    lag: int | None = None
    writes_per_s: float | None = None
    reads_per_s: float | None = None
    pid: int | None = None
    memory_bytes: int | None = None


class Picture(NamedTuple):
    """Everything at one moment. `progress` says what the start waits for, empty once it is over."""

    rows: tuple[NodeRow, ...]
    partitions: int
    leaderless: tuple[int, ...]
    progress: str = ""


class Look(NamedTuple):
    """What the nodes that answered said at a moment of the clock, in seconds."""

    at_s: float
    partitions: Sequence[Partition]
    answered: frozenset[int]


NOTHING_SEEN = Look(0.0, (), frozenset())


def draw(children: Sequence[Child], now: Look, before: Look, progress: str = "") -> Picture:
    """The picture of two successive looks: rates are what happened between them."""
    rows = tuple(_row(child, now, before) for child in children)
    leaderless = tuple(each.number for each in now.partitions if not each.has_leader)
    return Picture(rows, len(now.partitions), leaderless, progress)


def _row(child: Child, now: Look, before: Look) -> NodeRow:
    node = child.node_id
    pid = None if child.ended else child.pid
    blank = NodeRow(node, child.address, _state(child, now), pid=pid, memory_bytes=_memory(pid))
    if node not in now.answered:
        return blank
    own = [
        (each, replica)
        for each in now.partitions
        for replica in each.replicas
        if replica.node == node
    ]
    led = [each.number for each, _ in own if each.leader == node]
    return blank._replace(
        leads=len(led),
        replicas=len(own),
        lag=sum(each.lag(replica) for each, replica in own),
        writes_per_s=_rate(node, led, now, before, lambda replica: replica.commands),
        reads_per_s=_rate(node, led, now, before, lambda replica: replica.reads),
    )


def _state(child: Child, now: Look) -> str:
    node = child.node_id
    if child.ended:
        return "elsewhere" if node in now.answered else "ended"
    if not child.ready:
        return "starting"
    if node not in now.answered:
        return "silent" if now.partitions else "ready"
    return "up" if _takes_part(node, now) else "shut out"


def _takes_part(node: int, now: Look) -> bool:
    """Whether the other nodes have accepted its data directory."""
    own = [
        replica.takes_part
        for each in now.partitions
        for replica in each.replicas
        if replica.node == node
    ]
    return any(own) or not own


def _rate(
    node: int, led: Sequence[int], now: Look, before: Look, count: Callable[[Replica], int]
) -> float | None:
    """Of the partitions that it leads; None until it was looked at twice."""
    elapsed_s = now.at_s - before.at_s
    if node not in before.answered or elapsed_s <= 0:
        return None
    new, old = _counts(node, now, count), _counts(node, before, count)
    # A node that was started again counts from 0.
    return sum(max(0, new[each] - old.get(each, new[each])) for each in led) / elapsed_s


def _counts(node: int, look: Look, count: Callable[[Replica], int]) -> Mapping[int, int]:
    return {
        each.number: count(replica)
        for each in look.partitions
        for replica in each.replicas
        if replica.node == node
    }


def _memory(pid: int | None) -> int | None:
    """Resident memory; None for a process that is gone."""
    if pid is None:
        return None
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return None


def moves(before: Look, now: Look) -> list[str]:
    """Which leaders changed, one line for all partitions that went the same way."""
    led = {each.number: each.leader for each in before.partitions}
    ways: dict[tuple[int, int], list[int]] = {}
    for each in now.partitions:
        old = led.get(each.number, each.leader)
        if old != each.leader:
            ways.setdefault((old, each.leader), []).append(each.number)
    return [f"{listed('partition', ways[way])}: leader {_way(*way)}" for way in sorted(ways)]


def _way(old: int, new: int) -> str:
    return f"{f'node {old}' if old else 'none'} -> {f'node {new}' if new else 'none'}"
