"""What can go wrong, and how often: one row a fault."""

from collections.abc import Callable
from typing import NamedTuple

from cluster.raft.types import NodeId
from cluster.storage.memory_files import Crash, Operation
from tests.simulation.devices import flip_bit
from tests.simulation.node import SimNode
from tests.simulation.world import World

_NO_SPACE = "snapshot without space"
_DAMAGED = "snapshot piece damaged"
_LEAP_MS = 700_000
"""Longer than a session lives without a sign of its client."""


class Fault(NamedTuple):
    """`weight` is its chance per step, in thousandths."""

    name: str
    weight: int
    inject: Callable[[World], None]


def heal(world: World) -> None:
    """Every fault ends; every node runs and is connected."""
    for node in world.nodes.values():
        node.paused = False
        node.slow_disk = False
        for snapshots in node.all_snapshots.values():
            # Only what took effect is counted.
            world.faults[_NO_SPACE] -= snapshots.failures
            world.faults[_DAMAGED] -= snapshots.flips
            snapshots.failures = snapshots.flips = 0
        node.storage.heal()
    _space_returns(world)
    world.parted.clear()
    world.stop_failed()
    for node_id in world.node_ids * 2:  # A damaged log is found by the first start.
        world.restart(node_id)
    for pair in world.pairs:
        world.disconnect(*pair)
        world.connect(*pair)
    for link in world.links.values():
        link.leftovers.clear()


def _node(world: World) -> SimNode:
    return world.nodes[world.rng.choice(world.node_ids)]


def _victim(world: World) -> SimNode:
    """Half of the time a leader: most of what can go wrong goes wrong around it."""
    leaders = [node for node in world.nodes.values() if node.leads]
    if leaders and world.rng.random() < 0.5:
        return world.rng.choice(leaders)
    return _node(world)


def _ends(world: World) -> tuple[NodeId, NodeId]:
    a, b = world.rng.choice(world.pairs)
    return (a, b) if world.rng.random() < 0.5 else (b, a)


# --- the network ---


def _disconnect(world: World) -> None:
    world.disconnect(*world.rng.choice(world.pairs))


def _one_end_disconnects(world: World) -> None:
    me, other = _ends(world)
    if world.links[me, other].up and world.nodes[me].runs:
        world.faults["one end disconnects"] += 1
        world.lose(me, other)


def _lose_one_way(world: World) -> None:
    link = world.links[_ends(world)]
    world.faults["one way lost"] += link.up and not link.cut
    link.cut = True


def _slow_link(world: World) -> None:
    link = world.links[_ends(world)]
    world.faults["slow link"] += link.up and not link.slow
    link.slow = True


def _repeat_message(world: World) -> None:
    world.duplicate(*_ends(world))


def _flip_bit_on_the_way(world: World) -> None:
    busy = [ends for ends, link in world.links.items() if link.queue]
    if busy:
        world.damage(*world.rng.choice(busy))


def _isolate(world: World) -> None:
    node_id = _victim(world).node_id
    for pair in world.pairs:
        if node_id in pair:
            world.disconnect(*pair)


def _part(world: World) -> None:
    """Two sides that cannot reach each other; one hears of it, or both, or nobody."""
    side = set(world.rng.sample(world.node_ids, world.rng.randrange(1, len(world.node_ids))))
    heard = world.rng.choice(("at once", "later"))
    world.faults[f"parted, noticed {heard}"] += 1
    for a, b in world.pairs:
        if (a in side) != (b in side):
            world.parted.add((a, b))
            if heard == "at once":
                world.disconnect(a, b)
            else:
                world.links[a, b].cut = world.links[b, a].cut = True


def _rejoin(world: World) -> None:
    world.parted.clear()


def _reconnect_at_once(world: World) -> None:
    """A storm: what was in flight may come late, on the old connection."""
    for pair in world.pairs:
        if world.links[pair].up:
            world.disconnect(*pair)
            world.connect(*pair)


# --- processes and machines ---


def _crash(world: World) -> None:
    node = _victim(world)
    if node.alive:
        world.crash(node.node_id, world.rng.choice(list(Crash)))


def _crash_and_restart(world: World) -> None:
    """So fast that the others are still busy with what the node said before."""
    node = _victim(world)
    if node.alive:
        world.crash(node.node_id, world.rng.choice(list(Crash)))
        world.restart(node.node_id)
        for pair in world.pairs:
            if node.node_id in pair:
                world.connect(*pair)


def _cut_power(world: World) -> None:
    """In the middle of a write, or between it and its sync; just before, or in a start."""
    node = _victim(world)
    node.storage.cut_power(after=world.rng.randrange(4))


def _may_lose_a_disk(world: World) -> bool:
    """Of a minority at a time: what two of three nodes lost together may be lost for good."""
    minority = (world.founding.replication - 1) // 2
    return sum(each.learning or each.damaged for each in world.nodes.values()) < minority


def _lose_disk(world: World) -> None:
    node = _victim(world)
    if node.alive and _may_lose_a_disk(world):
        world.crash(node.node_id, Crash.PROCESS)
        world.replace_disk(node.node_id)


def _flip_bit_on_the_disk(world: World) -> None:
    """While the machine is down, so that the next start finds it."""
    node = _victim(world)
    if node.alive and _may_lose_a_disk(world):
        world.crash(node.node_id, world.rng.choice(list(Crash)))
        node.damaged = flip_bit(node.storage, world.rng)
        world.faults["bit flip on the disk"] += node.damaged


def _pause(world: World) -> None:
    _victim(world).paused = True
    world.faults["pause"] += 1


# --- clocks ---


def _wall_clock_jumps(world: World) -> None:
    _node(world).clock.wall_offset_ms += world.rng.randrange(-5000, 5000)
    world.faults["clock jump"] += 1


def _wall_clock_leaps(world: World) -> None:
    """So far that sessions expire, where this machine leads; back again, time stands still."""
    _victim(world).clock.wall_offset_ms += world.rng.choice((-_LEAP_MS, _LEAP_MS))
    world.faults["clock leap"] += 1
    world.clock_leaps += 1


def _everybody_sleeps(world: World) -> None:
    """All timers are due at the same moment afterwards, so everybody campaigns."""
    world.clock.now += world.rng.uniform(0.5, 2.0)
    world.faults["everybody sleeps"] += 1


# --- disks ---


def _change_disk_speed(world: World) -> None:
    node = _victim(world)
    node.slow_disk = not node.slow_disk
    world.faults["slow disk"] += node.slow_disk


def _disk_fails(world: World) -> None:
    _node(world).storage.fail(world.rng.choice((Operation.WRITE, Operation.SYNC)))


def _disk_fills_up(world: World) -> None:
    _node(world).storage.space_bytes = 0


def _state_fills_up(world: World) -> None:
    for store in _victim(world).stores.values():
        store.full = True


def _space_returns(world: World) -> None:
    for node in world.nodes.values():
        node.storage.space_bytes = None
        for store in node.stores.values():
            store.full = False
        if node.alive:
            for partition in node.partitions.values():
                world.faults["log full"] += partition.log_full
                world.faults["state full"] += partition.disk_full


def _snapshots_find_no_space(world: World) -> None:
    node = _victim(world)
    count = world.rng.choice((1, 2))
    world.rng.choice(list(node.all_snapshots.values())).failures += count
    world.faults[_NO_SPACE] += count


def _snapshot_is_damaged(world: World) -> None:
    world.rng.choice(list(_victim(world).all_snapshots.values())).flips += 1
    world.faults[_DAMAGED] += 1


# --- the operator ---


def _hand_over(world: World) -> None:
    target = _node(world).node_id
    for node in world.nodes.values():
        if not node.alive:
            continue
        for partition in node.partitions.values():
            if partition.group.is_leader and partition.group.transfer_leadership(target):
                world.faults["hand-over"] += 1


FAULTS = [
    Fault("disconnect", 20, _disconnect),
    Fault("one end disconnects", 5, _one_end_disconnects),
    Fault("one way lost", 5, _lose_one_way),
    Fault("slow link", 4, _slow_link),
    Fault("repeated message", 40, _repeat_message),
    Fault("bit flip on the way", 4, _flip_bit_on_the_way),
    Fault("isolation", 5, _isolate),
    Fault("partition", 2, _part),
    Fault("partition ends", 16, _rejoin),
    Fault("reconnection storm", 3, _reconnect_at_once),
    Fault("crash", 4, _crash),
    Fault("crash and restart", 4, _crash_and_restart),
    Fault("power cut", 4, _cut_power),
    Fault("disk lost", 1, _lose_disk),
    Fault("bit flip on the disk", 1, _flip_bit_on_the_disk),
    Fault("pause", 5, _pause),
    Fault("clock jump", 10, _wall_clock_jumps),
    Fault("clock leap", 1, _wall_clock_leaps),
    Fault("everybody sleeps", 5, _everybody_sleeps),
    Fault("disk speed", 5, _change_disk_speed),
    Fault("disk fails", 1, _disk_fails),
    Fault("disk full", 2, _disk_fills_up),
    Fault("state full", 2, _state_fills_up),
    Fault("space returns", 12, _space_returns),
    Fault("snapshot without space", 3, _snapshots_find_no_space),
    Fault("snapshot damaged", 4, _snapshot_is_damaged),
    Fault("hand-over", 10, _hand_over),
]
assert sum(fault.weight for fault in FAULTS) < 1000
BY_NAME = {fault.name: fault for fault in FAULTS}
