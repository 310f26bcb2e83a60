"""How much may wait in a partition follows from how fast it gets done."""

import pytest

from cluster.config import Limits
from cluster.pace import Pace
from flo.wire.messages import KvGet, KvPut, Stored, Value
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.small_cluster import SmallCluster

MANY = 1_000_000


def most(pace: Pace) -> int:
    """How many commands may wait."""
    return next(waiting for waiting in range(1, MANY) if not pace.allows(waiting))


def most_bytes(pace: Pace) -> int:
    return next(size for size in range(0, 1 << 30, 1 << 16) if not pace.allows(1, size))


@pytest.fixture
def pace() -> Pace:
    return Pace(commands_max=65_536, bytes_max=64 << 20, wait_s=1.0)


def test_a_slow_partition_takes_what_it_does_in_the_bearable_wait(pace: Pace) -> None:
    pace.done(4000, 4 << 20, seconds=2.0)
    assert most(pace) == 2000
    assert most_bytes(pace) == pytest.approx(2 << 20, abs=1 << 16)


def test_a_fast_partition_takes_more_up_to_the_bound(pace: Pace) -> None:
    before = most(pace)
    pace.done(before - 1, 3 << 20, seconds=0.1)
    assert most(pace) == 10 * (before - 1)
    pace.done(most(pace) - 1, 30 << 20, seconds=0.01)
    assert most(pace) == 65_536
    assert most_bytes(pace) == pytest.approx(64 << 20, abs=1 << 16)


def test_nothing_is_learnt_from_a_partition_with_little_to_do(pace: Pace) -> None:
    before = most(pace), most_bytes(pace)
    pace.done(3, 300, seconds=0.02)
    assert (most(pace), most_bytes(pace)) == before


def test_one_that_stands_still_takes_a_few_and_comes_back(pace: Pace) -> None:
    pace.done(4000, 1000, seconds=600.0)
    least = most(pace)
    assert 1 < least < 300
    pace.done(least - 1, 1000, seconds=0.01)
    assert most(pace) > 50 * least


def test_after_a_crowd_few_commands_show_that_many_may_wait_again(pace: Pace) -> None:
    pace.done(4000, 4 << 20, seconds=600.0)
    pace.done(30, 3000, seconds=0.01)
    assert most(pace) == 3000
    pace.done(100, 300_000, seconds=0.01)
    assert most(pace) == 4096
    assert most_bytes(pace) == pytest.approx(4 << 20, abs=1 << 16)


def test_where_nothing_waits_any_command_fits(pace: Pace) -> None:
    assert pace.allows(0, 1 << 30)


# --- in a partition ---

NS = b"default"


def test_commands_that_would_wait_too_long_are_refused_as_not_run() -> None:
    cluster = SmallCluster(owners=(1,), limits=Limits(partition_commands_max=2))
    answers = [cluster.start(KvPut(NS, b"k%d" % number, b"v")) for number in range(4)]
    cluster.settle()
    assert isinstance(answers[0].answer, Stored)
    refused = [each.answer for each in answers if isinstance(each.answer, Refusal)]
    assert refused
    assert all((each.reason, each.ran) == (Reason.SHARD_BUSY, Ran.NO) for each in refused)
    assert isinstance(cluster.run(KvPut(NS, b"later", b"v")), Stored)


def test_all_reads_are_answered_though_a_turn_answers_only_some() -> None:
    cluster = SmallCluster(owners=(1,))
    cluster.run(KvPut(NS, b"k", b"v"))
    answers = [cluster.start(KvGet(NS, b"k")) for _ in range(1500)]
    callbacks = cluster.nodes[1].callbacks
    while not any(each.given for each in answers):
        callbacks.popleft()()
    assert not all(each.given for each in answers), "one turn answered everything"
    cluster.settle()
    assert all(each.answer == Value(1, b"v") for each in answers)
