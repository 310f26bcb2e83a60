"""Every protection is switched off in turn, to see that somebody notices."""

import pytest

from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import InvariantBrokenError
from tests.simulation.ablations import ABLATIONS, Ablation
from tests.simulation.run import Run

SEEDS = 250
"""Each was found within half of them when this was written; DESIGN.md says after how many."""
NOTICED = (AssertionError, InvariantBrokenError, MalformedMessageError)


def by_simulation() -> list[Ablation]:
    return [each for each in ABLATIONS if each.directed_test is None]


def by_directed_test() -> list[Ablation]:
    return [each for each in ABLATIONS if each.directed_test is not None]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ablation", by_simulation(), ids=lambda ablation: ablation.name)
def test_simulation_notices(ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> None:
    ablation.switch_off(monkeypatch)
    for seed in range(SEEDS):
        try:
            Run(seed, nodes=3, steps=800).execute()
        except NOTICED:
            return
    raise AssertionError(f"{SEEDS} seeds are green without this protection")


@pytest.mark.parametrize("ablation", by_directed_test(), ids=lambda ablation: ablation.name)
def test_directed_test_notices(ablation: Ablation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ablation.directed_test is not None
    ablation.directed_test()
    ablation.switch_off(monkeypatch)
    with pytest.raises(NOTICED):
        ablation.directed_test()
