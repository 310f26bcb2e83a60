"""When a node brings what it has applied to its stores, and what a mistake there costs."""

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest

from cluster.state.errors import CorruptState
from cluster.storing import STORE_EVERY_S, Storing
from flo.wire.messages import KvPut
from tests.unit.node.kit import ManualClock
from tests.unit.node.small_cluster import SmallCluster

if TYPE_CHECKING:
    from cluster.partition import Partition

TICK_S = 0.02


class Asked:
    """A partition that notes when it is asked to store, which takes its time."""

    def __init__(self, clock: ManualClock, takes_s: float = 0.0) -> None:
        self._clock = clock
        self._takes_s = takes_s
        self.at: list[float] = []

    def store(self) -> None:
        self.at.append(self._clock.now)
        self._clock.advance(self._takes_s)


class Many:
    """Partitions, and who has them store."""

    def __init__(self, count: int, *, takes_s: float = 0.0) -> None:
        self.clock = ManualClock()
        self.partitions = {number: Asked(self.clock, takes_s) for number in range(count)}
        self.storing = Storing(cast("dict[int, Partition]", self.partitions), self.clock)
        self.most = 0
        """That were asked in one tick."""

    @property
    def asked(self) -> int:
        return sum(len(each.at) for each in self.partitions.values())

    def tick(self, count: int) -> None:
        for _ in range(count):
            before, begun = self.asked, self.clock.now
            self.storing.tick()
            self.most = max(self.most, self.asked - before)
            self.clock.advance(max(0.0, begun + TICK_S - self.clock.now))


@pytest.mark.parametrize("count", [1, 5, 100])
def test_each_partition_once_in_a_while_and_few_in_a_tick(count: int) -> None:
    many = Many(count)
    many.tick(round(10 * STORE_EVERY_S / TICK_S))
    assert many.most <= count / 16 + 1
    for asked in many.partitions.values():
        gaps = [after - before for before, after in pairwise(asked.at)]
        assert len(gaps) >= 6
        assert min(gaps) >= STORE_EVERY_S
        assert max(gaps) <= STORE_EVERY_S + 20 * TICK_S


def test_those_that_take_long_have_their_turn_one_after_the_other() -> None:
    """However many there are, a tick ends soon."""
    many = Many(200, takes_s=TICK_S / 2)
    many.tick(600)
    assert many.most == 1
    assert {len(asked.at) for asked in many.partitions.values()} == {3}


def test_replica_in_the_place_of_another_has_its_turn() -> None:
    many = Many(2)
    many.tick(100)
    many.partitions[1] = new = Asked(many.clock)
    many.tick(100)
    assert new.at


def test_node_without_a_partition_has_nothing_to_store() -> None:
    Storing({}, ManualClock()).tick()


def test_what_was_applied_is_stored_in_time() -> None:
    cluster = SmallCluster(owners=(1, 1), nodes=(1,))
    for number in range(20):
        cluster.run(KvPut(b"ns", b"%d" % number, b"value"))
    replicas = [partition.replica for partition in cluster.nodes[1].partitions.values()]
    assert any(replica.stored_index < replica.applied_index for replica in replicas)
    for _ in range(round(STORE_EVERY_S / TICK_S) + 5):
        cluster.tick(TICK_S)
    assert all(replica.stored_index == replica.applied_index for replica in replicas)


def test_broken_partition_is_left_as_it_is() -> None:
    cluster = SmallCluster(owners=(1, 1), nodes=(1,))
    for number in range(20):
        cluster.run(KvPut(b"ns", b"%d" % number, b"value"))
    broken, other = cluster.nodes[1].partitions.values()
    before = broken.replica.stored_index
    assert before < broken.replica.applied_index
    broken.broken = "CorruptState: for this test"
    for _ in range(200):
        cluster.tick(TICK_S)
    assert broken.replica.stored_index == before
    assert other.replica.stored_index == other.replica.applied_index


def test_damage_that_storing_finds_stops_this_replica_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = SmallCluster(owners=(1, 1), nodes=(1,))
    damaged, other = cluster.nodes[1].partitions.values()

    def fail() -> None:
        raise CorruptState("for this test")

    monkeypatch.setattr(damaged.replica, "store", fail)
    for number in range(20):
        cluster.run(KvPut(b"ns", b"%d" % number, b"value"))
    for _ in range(200):
        cluster.tick(TICK_S)
    assert damaged.broken == "CorruptState: for this test"
    assert other.broken is None
    assert other.replica.stored_index == other.replica.applied_index
