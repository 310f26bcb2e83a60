"""What can go wrong, and how often: one row a fault."""

from collections.abc import Callable
from typing import NamedTuple

from cluster.raft.types import NodeId
from cluster.storage.memory_files import Crash, Operation
from tests.simulation.world import SimNode, World

_NO_SPACE = "snapshot without space"
_DAMAGED = "snapshot piece damaged"


class Fault(NamedTuple):
    """`weight` is its chance per step, in thousandths."""

    weight: int
    inject: Callable[[World], None]


def inject_one(world: World) -> None:
    """At most one fault, drawn by weight."""
    draw = world.rng.randrange(1000)
    for weight, inject in FAULTS:
        draw -= weight
        if draw < 0:
            inject(world)
            return


def heal(world: World) -> None:
    """Every fault ends; every node runs and is connected."""
    for node in world.nodes.values():
        node.paused = False
        node.slow_disk = False
        # Only what took effect is counted.
        world.faults[_NO_SPACE] -= node.snapshots.failures
        world.faults[_DAMAGED] -= node.snapshots.flips
        node.snapshots.failures = node.snapshots.flips = 0
        node.storage.space_bytes = None
        for operation in (Operation.WRITE, Operation.SYNC):
            while node.storage.failure(operation) is not None:
                continue  # Armed, and now used up.
    world.stop_failed()
    for node_id in world.node_ids:
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
    leaders = [node for node in world.nodes.values() if node.alive and node.group.is_leader]
    if leaders and world.rng.random() < 0.5:
        return world.rng.choice(leaders)
    return _node(world)


def _ends(world: World) -> tuple[NodeId, NodeId]:
    a, b = world.rng.choice(world.pairs)
    return (a, b) if world.rng.random() < 0.5 else (b, a)


# --- the network ---


def _disconnect(world: World) -> None:
    world.disconnect(*world.rng.choice(world.pairs))


def _connect(world: World) -> None:
    world.connect(*world.rng.choice(world.pairs))


def _lose_one_way(world: World) -> None:
    world.links[_ends(world)].cut = True


def _repeat_message(world: World) -> None:
    world.duplicate(*_ends(world))


def _isolate(world: World) -> None:
    node_id = _victim(world).node_id
    for pair in world.pairs:
        if node_id in pair:
            world.disconnect(*pair)


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


def _lose_disk(world: World) -> None:
    """Of a minority at a time: what two of three nodes lost together may be lost for good."""
    minority = (len(world.nodes) - 1) // 2
    node = _victim(world)
    if node.alive and sum(each.learning for each in world.nodes.values()) < minority:
        world.crash(node.node_id, Crash.PROCESS)
        node.replace_disk()
        world.faults["disk lost"] += 1


def _restart(world: World) -> None:
    world.restart(_node(world).node_id)


def _pause(world: World) -> None:
    _victim(world).paused = True
    world.faults["pause"] += 1


def _resume_all(world: World) -> None:
    for node in world.nodes.values():
        node.paused = False


# --- clocks ---


def _wall_clock_jumps(world: World) -> None:
    world.clock.wall_offset_ms += world.rng.randrange(-5000, 5000)


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


def _space_returns(world: World) -> None:
    for node in world.nodes.values():
        node.storage.space_bytes = None


def _snapshots_find_no_space(world: World) -> None:
    node = _victim(world)
    count = world.rng.choice((1, 2))
    node.snapshots.failures += count
    world.faults[_NO_SPACE] += count


def _snapshot_is_damaged(world: World) -> None:
    _victim(world).snapshots.flips += 1
    world.faults[_DAMAGED] += 1


# --- the operator ---


def _hand_over(world: World) -> None:
    target = _node(world).node_id
    for node in world.nodes.values():
        if node.alive and node.group.is_leader and node.group.transfer_leadership(target):
            world.faults["hand-over"] += 1


FAULTS = [
    Fault(20, _disconnect),
    Fault(40, _connect),
    Fault(5, _lose_one_way),
    Fault(40, _repeat_message),
    Fault(5, _isolate),
    Fault(3, _reconnect_at_once),
    Fault(5, _crash),
    Fault(4, _crash_and_restart),
    Fault(1, _lose_disk),
    Fault(24, _restart),
    Fault(5, _pause),
    Fault(25, _resume_all),
    Fault(10, _wall_clock_jumps),
    Fault(5, _everybody_sleeps),
    Fault(5, _change_disk_speed),
    Fault(1, _disk_fails),
    Fault(2, _disk_fills_up),
    Fault(12, _space_returns),
    Fault(3, _snapshots_find_no_space),
    Fault(4, _snapshot_is_damaged),
    Fault(10, _hand_over),
]
assert sum(fault.weight for fault in FAULTS) < 1000
