"""Random runs of whole clusters: what failed before, fixed seeds, which never change, fresh ones.

`--seeds N` simulates N fresh seeds, `--seed N` runs just that one, at every size. `make simulate`
does the same faster, counts, and adds up.
"""

from collections import Counter
from secrets import randbits

import pytest

from tests.histories.operations import Kind, Outcome
from tests.simulation.keeper import keep, kept
from tests.simulation.plan import SIZES, Plan, plan_of
from tests.simulation.run import Run
from tests.simulation.shrink import Failure
from tests.simulation.txn_clients import PAIR

FIXED_SEEDS = 100
"""Per size: about half a minute on one core together."""
CHUNK = 10
FRESH_BATCH = 5
SHRINK_S = 15.0


def run(plan: Plan) -> Run:
    """Executes one plan; a failure names how to see it again, and is kept."""
    simulation = Run(plan)
    try:
        simulation.execute()
    except Exception as error:
        failure = Failure(error, simulation.step)
        raise AssertionError(keep(plan, failure, budget_s=SHRINK_S)) from error
    return simulation


def test_what_failed_before(only_seed: int | None) -> None:
    if only_seed is not None:
        pytest.skip("--seed names another")
    for path, plan in kept():
        simulation = Run(plan)
        try:
            simulation.execute()
        except Exception as error:
            raise AssertionError(f"{path.name} fails still: {plan}: {error}") from error


@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, CHUNK))
@pytest.mark.parametrize("size", SIZES)
def test_fixed_seeds(size: int, first: int, only_seed: int | None) -> None:
    if only_seed is not None:
        pytest.skip("--seed names another")
    for seed in range(first, first + CHUNK):
        run(plan_of(seed, size))


@pytest.mark.parametrize("size", SIZES)
def test_named_seed(size: int, only_seed: int | None) -> None:
    if only_seed is None:
        pytest.skip("runs with --seed")
    run(plan_of(only_seed, size))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fresh seeds come in batches, so that they spread over the processors."""
    if "fresh_seeds" in metafunc.fixturenames:
        left = metafunc.config.getoption("--seeds")
        assert isinstance(left, int)
        counts = [min(FRESH_BATCH, left - begun) for begun in range(0, left, FRESH_BATCH)]
        metafunc.parametrize("fresh_seeds", counts, ids=range(len(counts)))


def test_fresh_seeds(fresh_seeds: int, only_seed: int | None) -> None:
    if only_seed is not None:
        pytest.skip("--seed names another")
    for _ in range(fresh_seeds):
        seed = randbits(48)
        for size in SIZES:
            run(plan_of(seed, size))


AT_LEAST = {
    "disconnect": 150,
    "one end disconnects": 12,
    "loss noticed late": 50,
    "connection replaced": 15,
    "message lost": 300,
    "one way lost": 15,
    "slow link": 15,
    "parted, noticed at once": 8,
    "parted, noticed later": 8,
    "link without room": 5,
    "late message": 100,
    "repeated message": 25,
    "bit flip on the way": 2,
    "crash process": 40,
    "crash synced": 40,
    "crash subset": 40,
    "crash with a sync in flight": 5,
    "unsynced bytes lost": 10,
    "write torn": 2,
    "power cut at the start": 3,
    "disk lost": 8,
    "disk repaired": 8,
    "bit flip on the disk": 3,
    "bit flip found at the start": 3,
    "pause": 50,
    "clock jump": 80,
    "clock leap": 5,
    "everybody sleeps": 40,
    "slow disk": 30,
    "write failed": 2,
    "sync failed": 2,
    "disk failed": 5,
    "log full": 3,
    "state full": 5,
    "snapshot without space": 20,
    "snapshot piece damaged": 4,
    "snapshot installed": 5,
    "hand-over": 10,
    "refused: leader_unknown": 300,
    "refused: answer_lost": 100,
    "refused: writes_stopped": 5,
    "refused: session_unknown": 3,
}
"""In 30 runs of one size."""
AT_LEAST_OF_THE_REST = {
    "QueueEnqueue": 40,
    "QueueEnqueueBatch": 8,
    "QueueDequeue": 100,
    "QueueAck": 40,
    "QueueNack": 1,
    "QueueTouch": 1,
    "queue: delivered again": 40,
    "queue: surely acknowledged": 3,
    "StreamAppend": 25,
    "StreamRead": 30,
    "GroupRead": 70,
    "GroupAck": 20,
    "GroupNack": 1,
    "GroupClaim": 1,
    "group: delivered again": 20,
    "group: surely acknowledged": 10,
    "commit ok": 10,
    "commit failed": 5,
}
"""As well."""


@pytest.mark.parametrize("size", SIZES)
def test_faults_take_effect_and_work_gets_done(size: int) -> None:
    """Else all the other seeds might be green because nothing happens in them."""
    faults: Counter[str] = Counter()
    said: Counter[str] = Counter()
    found: Counter[str] = Counter()
    terms = 0
    for seed in range(30):
        simulation = run(plan_of(seed, size))
        faults += simulation.world.faults
        terms += len(simulation.world.leaders)
        for (kind, outcome), count in simulation.verdict.operations.items():
            said[f"{kind} {outcome}"] += count
        found += done_with_the_rest(simulation)
    assert terms > 60, "leaders come and go"
    few_done = {kind: said[f"{kind} ok"] for kind in Kind if said[f"{kind} ok"] < 30}
    assert not few_done
    assert sum(said[f"{kind} unknown"] for kind in Kind) > 50
    for least, counts in ((AT_LEAST, faults), (AT_LEAST_OF_THE_REST, found)):
        too_few = {name: counts[name] for name, count in least.items() if counts[name] < count}
        assert not too_few


def done_with_the_rest(simulation: Run) -> Counter[str]:
    """What was done with queue, stream and transactions."""
    crowd = simulation.crowd
    calls = crowd.queue.calls + crowd.stream.calls
    done = Counter(type(each.body).__name__ for each in calls if each.outcome is Outcome.OK)
    for name, evidence in simulation.evidence.items():
        done[f"{name}: delivered again"] += evidence.again
        done[f"{name}: surely acknowledged"] += evidence.certain
    commits = [each for each in crowd.history.ended if each.key == PAIR and each.kind is Kind.PUT]
    done.update(f"commit {each.outcome}" for each in commits)
    return done


@pytest.mark.parametrize("size", SIZES)
def test_seed_replays_exactly(size: int) -> None:
    one, other = (run(plan_of(5, size)) for _ in range(2))
    assert one.trace == other.trace
    assert one.world.faults == other.world.faults
