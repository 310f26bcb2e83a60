"""Leadership goes back to the preferred replica, and away before a stop."""

import pytest

from cluster.leadership import Leadership
from cluster.partition import Partition
from tests.unit.node.kit import FakeNetwork, FakePartition, ManualClock, as_partitions


class Led:
    """Node 1 leads partition 0, which prefers node 2."""

    def __init__(self, replicas: tuple[int, ...] = (2, 1, 3)) -> None:
        self.clock = ManualClock()
        self.network = FakeNetwork(2, 3)
        self.partition = FakePartition(0, 1, replicas)
        self.group = self.partition.group
        self.group.leader = 1
        self.group.levels = {2: 1000, 3: 990}
        self.turns: list[Partition] = []
        self.disk_is_stuck = False
        self.leadership = Leadership(
            1,
            as_partitions({0: self.partition}),
            self.network,
            self.clock,
            self.turns.append,
        )

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds * 2):
            self.clock.advance(0.5)
            self.leadership.tick(disk_is_stuck=self.disk_is_stuck)

    def wait_to_hand_over(self) -> None:
        """Leadership would move but for a transaction that is open; no other begins meanwhile."""
        self.partition.transactions.open = 1
        while self.partition.transactions.begins_from <= self.clock.monotonic():
            self.clock.advance(0.1)
            self.leadership.tick()


def test_a_caught_up_preferred_replica_gets_its_partition_back() -> None:
    led = Led()
    led.network.peers.discard(2)
    led.pass_seconds(3)
    led.network.peers.add(2)
    led.pass_seconds(4)
    assert not led.group.transfers, "it has been here for too short a time"
    led.pass_seconds(2)
    assert led.group.transfers == [2]
    assert len(led.turns) == 1
    led.pass_seconds(20)
    assert led.group.transfers == [2], "a transfer that failed is not repeated at once"
    led.pass_seconds(15)
    assert led.group.transfers == [2, 2]


def test_a_replica_that_is_behind_gets_nothing() -> None:
    led = Led()
    led.group.levels[2] = 900
    led.pass_seconds(60)
    assert not led.group.transfers


def test_the_preferred_replica_keeps_its_partition() -> None:
    led = Led((1, 2, 3))
    led.pass_seconds(60)
    assert not led.group.transfers


def test_who_does_not_lead_gives_nothing_away() -> None:
    led = Led()
    led.group.leader = 3
    led.group.is_ready = False
    led.pass_seconds(60)
    assert not led.group.transfers


@pytest.mark.parametrize("why", ["disk_full", "log_full", "log_too_long", "stuck"])
@pytest.mark.parametrize("led_for_s", [0, 60])
def test_leadership_leaves_a_disk_that_takes_nothing(why: str, led_for_s: int) -> None:
    led = Led((1, 2, 3))
    led.pass_seconds(led_for_s)
    if why == "stuck":
        led.disk_is_stuck = True
    else:
        setattr(led.partition, why, True)
    led.pass_seconds(2)
    assert led.group.transfers == [2]
    led.pass_seconds(20)
    assert led.group.transfers == [2], "who took over may be no better: no ring"
    led.pass_seconds(15)
    assert led.group.transfers == [2, 2]


def test_a_broken_replica_moves_nothing() -> None:
    led = Led()
    led.partition.broken = "damage"
    led.pass_seconds(60)
    assert not led.group.transfers


def test_leadership_waits_for_open_transactions() -> None:
    led = Led()
    led.wait_to_hand_over()
    assert not led.group.transfers
    led.partition.transactions.open = 0
    led.leadership.tick()
    assert led.group.transfers == [2]


def test_long_transactions_are_not_waited_for_again_at_once() -> None:
    led = Led()
    led.partition.transactions.open = 1
    led.pass_seconds(8)
    assert not led.group.transfers
    assert led.partition.transactions.begins_from == 0.0, "others may begin again"
    led.partition.transactions.open = 0
    led.pass_seconds(20)
    assert not led.group.transfers
    led.pass_seconds(15)
    assert led.group.transfers == [2]


def test_a_hand_over_that_waits_ends_with_the_leadership() -> None:
    led = Led()
    led.wait_to_hand_over()
    led.group.leader, led.partition.transactions.open = 3, 0
    led.leadership.tick()
    led.group.leader = 1
    led.leadership.tick()
    assert not led.group.transfers


async def test_before_a_stop_open_transactions_may_end() -> None:
    led = Led((1, 2, 3))
    transactions = led.partition.transactions
    transactions.open = 1
    looks = 0

    class Watched(ManualClock):
        def monotonic(self) -> float:
            nonlocal looks
            looks += 1
            if looks == 3:
                assert not led.group.transfers
                assert transactions.begins_from > 0
                transactions.open = 0
            return 0.0

    def take_over(_: Partition) -> None:
        led.group.leader = 2

    partitions = as_partitions({0: led.partition})
    await Leadership(1, partitions, led.network, Watched(), take_over).hand_over_all(5.0)
    assert led.group.transfers == [2]


async def test_a_stop_does_not_wait_long_for_a_transaction() -> None:
    led = Led((1, 2, 3))
    led.partition.transactions.open = 1
    clock = led.clock

    class Fast(ManualClock):
        def monotonic(self) -> float:
            clock.now += 0.2
            return clock.now

    def take_over(_: Partition) -> None:
        led.group.leader = 2

    partitions = as_partitions({0: led.partition})
    await Leadership(1, partitions, led.network, Fast(), take_over).hand_over_all(5.0)
    assert led.group.transfers == [2]


async def test_before_a_stop_the_most_advanced_replica_takes_over() -> None:
    led = Led((1, 2, 3))
    led.group.levels = {2: 990, 3: 1000}

    def take_over(_: Partition) -> None:
        led.group.leader = 3

    partitions = as_partitions({0: led.partition})
    leadership = Leadership(1, partitions, led.network, led.clock, take_over)
    await leadership.hand_over_all(5.0)
    assert led.group.transfers == [3]


@pytest.mark.parametrize("why", ["nobody is there", "broken", "not led"])
async def test_a_stop_does_not_wait_without_a_reason(why: str) -> None:
    led = Led()
    if why == "nobody is there":
        led.network.peers.clear()
    elif why == "broken":
        led.partition.broken = "damage"
    else:
        led.group.leader = 2
    await led.leadership.hand_over_all(1e9)
    assert not led.group.transfers


async def test_a_stop_waits_only_so_long() -> None:
    led = Led()
    clock = led.clock

    class Impatient(ManualClock):
        def monotonic(self) -> float:
            clock.now += 1.0
            return clock.now

    partitions = as_partitions({0: led.partition})
    await Leadership(1, partitions, led.network, Impatient(), led.turns.append).hand_over_all(3.0)
    assert led.group.is_leader
