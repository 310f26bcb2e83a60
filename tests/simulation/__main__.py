"""`python -m tests.simulation`: simulated clusters from fresh seeds, or one seed again."""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from secrets import randbits
from typing import NamedTuple

import pytest

from tests.claims import check_inserts
from tests.simulation.keeper import Tally, keep, kept
from tests.simulation.plan import SIZES, Plan, plan_of
from tests.simulation.shrink import BUDGET_S, failure_of

_SEED_BITS = 48
_NOTE_EVERY_S = 20.0


class _Outcome(NamedTuple):
    plan: Plan
    cpu_s: float
    failed: bool


def main() -> int:
    """The exit code: 1 when a seed failed."""
    arguments = _arguments()
    _prepare()
    for path, plan in kept():
        if _run(plan).failed:
            _say(f"FAILED as before: {plan}")
            _report(plan)
            return 1
        _say(f"{path} does not fail any more: delete it once a test keeps what it found")
    if arguments.seed is not None:
        return 0 if _simulate((plan_of(arguments.seed, size) for size in SIZES), 1) else 1
    seeds = (randbits(_SEED_BITS) for _ in range(arguments.seeds))
    return 0 if _simulate(_spread(seeds), arguments.jobs) else 1


class _Arguments(argparse.Namespace):
    seeds: int
    seed: int | None
    jobs: int


def _arguments() -> _Arguments:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="so many fresh seeds (default 200)")
    parser.add_argument("--seed", type=int, help="this seed again, at every size")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    return parser.parse_args(namespace=_Arguments())


def _spread(seeds: Iterable[int]) -> Iterator[Plan]:
    for seed in seeds:
        for size in SIZES:
            yield plan_of(seed, size)


def _simulate(plans: Iterable[Plan], jobs: int) -> bool:
    """Runs them until one fails, and prints that first; false then."""
    tally, runs, cpu_s = Tally(), 0, 0.0
    noted, begun = time.monotonic(), time.monotonic()
    total, total_cpu_s = 0, 0.0
    try:
        for outcome in _outcomes(plans, jobs):
            if outcome.failed:
                _report(outcome.plan)
                return False
            runs, cpu_s = runs + 1, cpu_s + outcome.cpu_s
            total, total_cpu_s = total + 1, total_cpu_s + outcome.cpu_s
            if time.monotonic() >= noted + _NOTE_EVERY_S:
                tally.add(runs, cpu_s)
                runs, cpu_s, noted = 0, 0.0, time.monotonic()
                _say(f"{total} runs, {total / total_cpu_s:.1f} per CPU second")
    except KeyboardInterrupt:
        _say("stopped")
    finally:
        if runs:
            tally.add(runs, cpu_s)
    if total:
        wall_s = time.monotonic() - begun
        rate = f"{total / total_cpu_s:.1f} per CPU second"
        _say(f"{total} runs in {wall_s:.0f} s, {rate}: none failed")
        _say(f"altogether {tally}")
    return True


def _report(plan: Plan) -> None:
    _say(f"FAILED: seed {plan.seed} with {plan.nodes} nodes; shrinking for up to {BUDGET_S:.0f} s")
    failure = failure_of(plan)
    if failure is None:
        _say("It does not fail again: something in it is not decided by the seed")
    else:
        _say(keep(plan, failure, budget_s=BUDGET_S))


def _outcomes(plans: Iterable[Plan], jobs: int) -> Iterator[_Outcome]:
    if jobs == 1:
        yield from map(_run, plans)
        return
    waiting = iter(plans)
    with ProcessPoolExecutor(jobs, initializer=_prepare) as pool:
        running: set[Future[_Outcome]] = set()
        try:
            while True:
                running |= {
                    pool.submit(_run, each) for each in islice(waiting, 2 * jobs - len(running))
                }
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    yield each.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _run(plan: Plan) -> _Outcome:
    begun = time.process_time()
    failure = failure_of(plan)
    return _Outcome(plan, time.process_time() - begun, failure is not None)


def _prepare() -> None:
    """In each process. Nodes log every fault, which nobody reads."""
    logging.disable(logging.CRITICAL)
    check_inserts(pytest.MonkeyPatch())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
