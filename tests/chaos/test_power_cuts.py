"""Nodes lose what they had not synced, one of them and all at once, under load."""

from pathlib import Path

import pytest

from tests.chaos.faults import POWER_FAULTS
from tests.chaos.rounds import Settings
from tests.chaos.run import run_chaos
from tests.chaos.test_chaos import say
from tests.histories.explain import Violation

FIXED_SEED = 1


async def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path, shim: Path) -> None:
    names = tuple(POWER_FAULTS)
    settings = Settings(FIXED_SEED, rounds_max=4, fault_s=(0.5, 1.5), names=names, shim=shim)
    say(str(await run_chaos(tmp_path, settings, say)))


async def test_disks_that_do_not_sync_are_found_out(tmp_path: Path, shim: Path) -> None:
    """Else the test above might be green because a cut takes nothing that matters."""
    settings = Settings(
        FIXED_SEED, rounds_max=1, names=("cut the power of all",), shim=shim, disks_lie=True
    )
    with pytest.raises(Violation):
        await run_chaos(tmp_path, settings, say)
