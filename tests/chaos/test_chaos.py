"""Real nodes under real faults, and a verdict over everything that their clients saw."""

import sys
from pathlib import Path
from random import SystemRandom

import pytest

from tests.chaos.faults import FAULTS, POWER_FAULTS
from tests.chaos.rounds import Settings
from tests.chaos.run import run_chaos

FIXED_SEED = 1
_MANY = 1 << 32


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


async def test_each_fault_once(tmp_path: Path) -> None:
    report = await run_chaos(tmp_path, Settings(FIXED_SEED, rounds_max=len(FAULTS)), say)
    say(str(report))


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
        say(str(await run_chaos(tmp_path, settings, say)))
