"""Random runs of the whole replica: fixed seeds, which never change, and fresh ones.

`--seeds N` simulates N fresh seeds, `--seed N` runs just that one, at both sizes.
"""

from collections import Counter
from secrets import randbits

import pytest

from tests.simulation.run import Run

SIZES = (3, 5)
STEPS = 800
FIXED_SEEDS = 70
"""Per size: about 20 seconds on one core together."""
CHUNK = 10
FRESH_BATCH = 5


def run(seed: int, size: int) -> Run:
    """Executes one seed; a failure names how to see it again."""
    simulation = Run(seed, nodes=size, steps=STEPS)
    try:
        simulation.execute()
    except Exception as error:
        raise AssertionError(
            f"seed {seed} with {size} nodes: {error}. To see it again:"
            f" pytest tests/simulation --seed {seed}"
        ) from error
    return simulation


@pytest.mark.parametrize("first", range(0, FIXED_SEEDS, CHUNK))
@pytest.mark.parametrize("size", SIZES)
def test_fixed_seeds(size: int, first: int, only_seed: int | None) -> None:
    if only_seed is not None:
        pytest.skip("--seed names another")
    for seed in range(first, first + CHUNK):
        run(seed, size)


@pytest.mark.parametrize("size", SIZES)
def test_named_seed(size: int, only_seed: int | None) -> None:
    if only_seed is None:
        pytest.skip("runs with --seed")
    run(only_seed, size)


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
            run(seed, size)


@pytest.mark.parametrize(
    ("size", "at_least_acknowledged", "at_least_read"), [(3, 500, 500), (5, 250, 250)]
)
def test_faults_take_effect_and_work_gets_done(
    size: int, at_least_acknowledged: int, at_least_read: int
) -> None:
    """Else all the other seeds might be green because nothing happens in them."""
    faults: Counter[str] = Counter()
    acknowledged = reads = terms = 0
    for seed in range(40):
        simulation = run(seed, size)
        faults += simulation.world.faults
        acknowledged += simulation.acknowledged
        reads += simulation.reads
        terms += len(simulation.world.leaders)
    assert acknowledged >= at_least_acknowledged
    assert reads >= at_least_read
    assert terms > 60, "leaders come and go"
    expected = {
        "disconnect": 100,
        "late message": 5,
        "repeated message": 5,
        "slow disk": 20,
        "disk failed": 3,
        "crash process": 10,
        "crash synced": 10,
        "crash subset": 10,
        "crash with a sync in flight": 1,
        "disk lost": 5,
        "disk repaired": 5,
        "snapshot installed": 15,
        "snapshot without space": 10,
        "snapshot piece damaged": 1,
    }
    too_few = {name: faults[name] for name, count in expected.items() if faults[name] < count}
    assert not too_few


def test_seed_replays_exactly() -> None:
    histories = [
        [(c.acknowledged, c.incremented, c.reads) for c in run(5, 3).clients] for _ in range(2)
    ]
    assert histories[0] == histories[1]
