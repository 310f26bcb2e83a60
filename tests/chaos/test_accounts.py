"""Queues, streams and groups under real faults: everything that their clients were told adds up."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

import pytest

from tests.chaos.accounts import Report, check_enough, run_accounts
from tests.chaos.cluster import ChaosCluster, Stop
from tests.chaos.faults import FAULTS, POWER_FAULTS
from tests.chaos.rounds import Rounds, Settings, TooLittle
from tests.chaos.test_chaos import say
from tests.histories.deliveries import Evidence
from tests.integration.queue_accounts import Account, Queue

FIXED_SEED = 216
"""It pauses the node that leads most for longer than a lease lasts."""
NAMES = (
    "kill a node",
    "kill all",
    "terminate a node",
    "pause a node",
    "isolate a node",
    "mute a node",
    "cut one way of a pair",
    "cut answers of a node",
)
_MANY = 1 << 32


async def test_most_faults_once(tmp_path: Path) -> None:
    settings = Settings(FIXED_SEED, rounds_max=len(NAMES), fault_s=(0.3, 2.5), names=NAMES)
    say(str(await run_accounts(tmp_path, settings, say)))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ChaosCluster]:
    """Its nodes are not started."""
    with ExitStack() as stack:
        cluster = ChaosCluster(tmp_path)
        stack.push(cluster)
        yield cluster


def test_a_request_reaches_a_stopped_node_when_it_goes_on(cluster: ChaosCluster) -> None:
    cluster.stops[1].append(Stop(10.0, 20.0))
    assert [cluster.earliest(1, start) for start in (9.0, 12.0, 20.0)] == [9.0, 20.0, 20.0]
    assert cluster.earliest(2, 12.0) == 12.0


def test_it_has_not_reached_one_that_is_still_stopped(cluster: ChaosCluster) -> None:
    now = time.monotonic()
    cluster.stops[1].append(Stop(now - 9.0))
    assert now <= cluster.earliest(1, now - 1.0) <= time.monotonic()


GOOD = Evidence(delivered=100, again=20, certain=90, sure=100)
COUNTS = {"single": 9, "batch": 9, "taken": 9, "acknowledged": 9, "given back": 9, "unknown": 9}


def report(evidence: Evidence = GOOD, counts: Mapping[str, int] = COUNTS) -> Report:
    """Of one target and nine faults."""
    account = Account(Queue("queue"), counts=Counter(counts))
    rounds = Rounds(Counter({"pause a node": 9}), Counter({1: 3}))
    return Report(Settings(1, rounds_max=9), rounds, [account], {"queue": evidence})


def test_enough_is_enough() -> None:
    check_enough(report())


@pytest.mark.parametrize("kind", COUNTS)
def test_a_kind_of_call_that_is_too_rare_proves_nothing(kind: str) -> None:
    with pytest.raises(AssertionError):
        check_enough(report(counts=COUNTS | {kind: 0}))


@pytest.mark.parametrize("field", ["again", "certain", "sure"])
def test_too_little_evidence_proves_nothing(field: str) -> None:
    with pytest.raises(AssertionError):
        check_enough(report(GOOD._replace(**{field: 8})))


@pytest.mark.parametrize(
    "rounds", [Rounds(), Rounds(Counter(kill=9)), Rounds(Counter(kill=40), Counter({1: 9}))]
)
def test_faults_without_effect_prove_nothing(rounds: Rounds) -> None:
    one = report()
    one.rounds = rounds
    with pytest.raises(TooLittle):
        check_enough(one)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_for_minutes(
    tmp_path: Path,
    minutes: float,
    only_seed: int | None,
    any_shim: Path | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = SystemRandom().getrandbits(32) if only_seed is None else only_seed
    names = (*FAULTS, *POWER_FAULTS) if any_shim is not None else tuple(FAULTS)
    settings = Settings(
        seed,
        rounds_max=_MANY,
        faults_s=60 * minutes,
        fault_s=(0.1, 10.0),
        together=0.3,
        names=names,
        shim=any_shim,
    )
    with capsys.disabled():
        say(f"\nseed {seed}, everything is kept in {tmp_path}")
        say(str(await run_accounts(tmp_path, settings, say, pause_s=0.1)))
