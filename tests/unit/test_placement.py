"""Replica placement: golden values, which must never change, and what balance means."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.placement import (
    PARTITION_COUNT_MAX,
    PlacementError,
    effective_replication,
    place_replicas,
)


def unzoned(node_count: int) -> dict[int, str]:
    return dict.fromkeys(range(1, node_count + 1), "")


def spread(values: list[int]) -> int:
    return max(values) - min(values)


def test_golden_three_nodes() -> None:
    assert place_replicas(unzoned(3), replication=3, partition_count=8) == (
        (1, 2, 3),
        (2, 1, 3),
        (3, 1, 2),
        (1, 3, 2),
        (2, 3, 1),
        (3, 2, 1),
        (1, 2, 3),
        (2, 1, 3),
    )


def test_golden_five_nodes_two_zones() -> None:
    zones = {1: "a", 2: "a", 3: "b", 4: "b", 5: "b"}
    assert place_replicas(zones, replication=2, partition_count=6) == (
        (1, 3),
        (2, 4),
        (5, 1),
        (3, 2),
        (4, 1),
        (2, 5),
    )


def test_golden_six_nodes_three_zones() -> None:
    zones = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
    assert place_replicas(zones, replication=3, partition_count=4) == (
        (1, 3, 5),
        (2, 4, 6),
        (4, 1, 5),
        (3, 2, 6),
    )


def test_one_node_holds_everything() -> None:
    assert place_replicas({7: "z"}, replication=1, partition_count=2) == ((7,), (7,))


def test_order_of_the_mapping_does_not_matter() -> None:
    zones = {1: "a", 2: "b", 3: "a", 4: "b"}
    backwards = dict(reversed(zones.items()))
    assert place_replicas(zones, replication=2, partition_count=9) == place_replicas(
        backwards, replication=2, partition_count=9
    )


@pytest.mark.parametrize(("node_count", "expected"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_default_replication_shrinks_to_the_cluster(node_count: int, expected: int) -> None:
    assert effective_replication(None, node_count) == expected


def test_requested_replication_does_not_shrink() -> None:
    with pytest.raises(PlacementError, match="replication 3 needs 3 nodes, the cluster has 2"):
        effective_replication(3, 2)
    with pytest.raises(PlacementError, match="at least 1"):
        effective_replication(0, 2)
    with pytest.raises(PlacementError, match="needs 4 nodes"):
        place_replicas(unzoned(3), replication=4, partition_count=1)


@pytest.mark.parametrize("count", [0, -1, PARTITION_COUNT_MAX + 1])
def test_partition_count_is_bounded(count: int) -> None:
    with pytest.raises(PlacementError, match=f"partition count {count} is out of range"):
        place_replicas(unzoned(1), replication=1, partition_count=count)


@given(node_count=st.integers(1, 9), replication=st.integers(1, 5), partitions=st.integers(1, 40))
def test_without_zones_replicas_and_leaders_are_even(
    node_count: int, replication: int, partitions: int
) -> None:
    replication = min(replication, node_count)
    placed = place_replicas(
        unzoned(node_count), replication=replication, partition_count=partitions
    )
    check_even(placed, unzoned(node_count))


@given(
    zone_count=st.integers(1, 4),
    zone_size=st.integers(1, 3),
    replication=st.integers(1, 5),
    partitions=st.integers(1, 40),
)
def test_equal_zones_are_even_too(
    zone_count: int, zone_size: int, replication: int, partitions: int
) -> None:
    zones = {i + 1: f"z{i % zone_count}" for i in range(zone_count * zone_size)}
    replication = min(replication, len(zones))
    placed = place_replicas(zones, replication=replication, partition_count=partitions)
    check_even(placed, zones)


@given(
    zones=st.dictionaries(
        st.integers(1, 65_535), st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=8
    ),
    replication=st.integers(1, 5),
    partitions=st.integers(1, 30),
)
def test_replicas_are_distinct_and_stand_in_as_many_zones_as_possible(
    zones: dict[int, str], replication: int, partitions: int
) -> None:
    replication = min(replication, len(zones))
    placed = place_replicas(zones, replication=replication, partition_count=partitions)
    assert len(placed) == partitions
    for replicas in placed:
        assert len(set(replicas)) == len(replicas) == replication
        in_zones = {zones[node_id] for node_id in replicas}
        assert len(in_zones) == min(replication, len(set(zones.values())))


def test_a_lost_leader_has_several_successors() -> None:
    placed = place_replicas(unzoned(5), replication=3, partition_count=40)
    for leader in range(1, 6):
        successors = {replicas[1] for replicas in placed if replicas[0] == leader}
        assert len(successors) >= 3


def check_even(placed: tuple[tuple[int, ...], ...], zones: dict[int, str]) -> None:
    held = Counter(dict.fromkeys(zones, 0))
    led = Counter(dict.fromkeys(zones, 0))
    for replicas in placed:
        held.update(replicas)
        led[replicas[0]] += 1
    assert spread(list(held.values())) <= 1
    assert spread(list(led.values())) <= 1
