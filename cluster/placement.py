"""Which nodes hold which partition: a pure function of the founding configuration.

Rules, in this order: the replicas of a partition stand in different zones as far as there are
zones; every node holds about as many replicas as any other; every node comes first, and so is the
preferred leader, about equally often; the partitions of one leader fall back to different
successors, so that a lost node's load spreads.

An unnamed zone ("") is a zone like any other: nothing is known to keep its nodes apart.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from math import lcm

DEFAULT_REPLICATION = 3
PARTITION_COUNT_MAX = 4096


class PlacementError(ValueError):
    """A replication factor or partition count that cannot be met; the message says why."""


def effective_replication(requested: int | None, node_count: int) -> int:
    """The replication factor in force: the default shrinks to the cluster, a request does not."""
    if requested is None:
        return min(DEFAULT_REPLICATION, node_count)
    if requested < 1:
        raise PlacementError(f"replication {requested} is too small: it must be at least 1")
    if requested > node_count:
        raise PlacementError(
            f"replication {requested} needs {requested} nodes, the cluster has {node_count}: "
            f"name more nodes or ask for replication {node_count} or less"
        )
    return requested


def place_replicas(
    zones: Mapping[int, str], *, replication: int, partition_count: int
) -> tuple[tuple[int, ...], ...]:
    """For each partition its node ids, the preferred leader first. `zones`: node id -> zone.

    The same arguments give the same answer on every node and machine. Raises PlacementError.
    """
    effective_replication(replication, len(zones))
    if not 1 <= partition_count <= PARTITION_COUNT_MAX:
        raise PlacementError(
            f"partition count {partition_count} is out of range: 1..{PARTITION_COUNT_MAX}"
        )
    loads = _Loads(zones)
    sets = [loads.choose(replication) for _ in range(partition_count)]
    return _rank(sets, _choose_leaders(sets, sorted(zones)))


class _Loads:
    """Replica counts so far, and the choice of the next partition's nodes."""

    def __init__(self, zones: Mapping[int, str]) -> None:
        self._zones = dict(sorted(zones.items()))
        self._of_node = dict.fromkeys(self._zones, 0)
        self._of_zone: Counter[str] = Counter()
        self._together: Counter[tuple[int, int]] = Counter()
        sizes = Counter(self._zones.values())
        # The mean load of a zone is its load times this weight, exact in integers.
        self._zone_weight = {zone: lcm(*sizes.values()) // size for zone, size in sizes.items()}

    def choose(self, replication: int) -> tuple[int, ...]:
        chosen: list[int] = []
        for _ in range(replication):
            free = (node for node in self._zones if node not in chosen)
            _, node_id = min((self._cost(node, chosen), node) for node in free)
            self._take(node_id, chosen)
        return tuple(chosen)

    def _cost(self, node_id: int, chosen: Sequence[int]) -> tuple[int, int, int, int]:
        zone = self._zones[node_id]
        same_zone = sum(self._zones[other] == zone for other in chosen)
        zone_load = self._of_zone[zone] * self._zone_weight[zone]
        together = sum(self._together[node_id, other] for other in chosen)
        return same_zone, zone_load, self._of_node[node_id], together

    def _take(self, node_id: int, chosen: list[int]) -> None:
        for other in chosen:
            self._together[node_id, other] += 1
            self._together[other, node_id] += 1
        self._of_node[node_id] += 1
        self._of_zone[self._zones[node_id]] += 1
        chosen.append(node_id)


def _choose_leaders(sets: Sequence[tuple[int, ...]], node_ids: Sequence[int]) -> list[int]:
    leads = dict.fromkeys(node_ids, 0)
    leaders: list[int] = []
    for replicas in sets:
        leader = min(replicas, key=lambda node_id: (leads[node_id], node_id))
        leads[leader] += 1
        leaders.append(leader)
    # Each pass moves one leadership away from a node that leads most, so this ends.
    while _relieve(sets, leaders, leads):
        pass
    return leaders


def _relieve(sets: Sequence[tuple[int, ...]], leaders: list[int], leads: dict[int, int]) -> bool:
    """Hand leaderships along a chain from a busiest node to one with two fewer, if any exists."""
    most = max(leads.values())
    queue = deque(node_id for node_id, count in leads.items() if count == most)
    seen = set(queue)
    handed_by: dict[int, tuple[int, int]] = {}  # node -> (partition it would get, from whom)
    while queue:
        giver = queue.popleft()
        led = (partition for partition, leader in enumerate(leaders) if leader == giver)
        for partition, taker in ((p, node_id) for p in led for node_id in sets[p]):
            if taker in seen:
                continue
            seen.add(taker)
            handed_by[taker] = (partition, giver)
            if leads[taker] <= most - 2:
                _hand_over(taker, handed_by, leaders, leads)
                return True
            queue.append(taker)
    return False


def _hand_over(
    taker: int,
    handed_by: Mapping[int, tuple[int, int]],
    leaders: list[int],
    leads: dict[int, int],
) -> None:
    leads[taker] += 1
    while taker in handed_by:
        partition, giver = handed_by[taker]
        leaders[partition] = taker
        taker = giver
    leads[taker] -= 1


def _rank(sets: Sequence[tuple[int, ...]], leaders: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Order each set: the leader, then the successors this leader has had least often."""
    followed: Counter[tuple[int, int]] = Counter()
    ranked: list[tuple[int, ...]] = []
    for replicas, leader in zip(sets, leaders, strict=True):
        rest = [node_id for node_id in replicas if node_id != leader]
        costs = {node_id: (followed[leader, node_id], node_id) for node_id in rest}
        rest.sort(key=costs.__getitem__)
        if rest:
            followed[leader, rest[0]] += 1
        ranked.append((leader, *rest))
    return tuple(ranked)
