"""Failing seeds are shrunk and kept."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.ablations import hide_nothing
from tests.simulation.keeper import Tally, keep, kept
from tests.simulation.plan import Event, Plan, from_text, plan_of, to_text
from tests.simulation.run import Run
from tests.simulation.shrink import Failure, Shrinker, failure_of

GUILTY = Event(300, "pause", 77)


def failing_plan() -> Plan:
    plan = plan_of(4711, 5)
    events = sorted((*plan.events, GUILTY))
    return replace(plan, events=tuple(events))


def needs_one_fault_and_two_clients(plan: Plan) -> Failure | None:
    """It fails at the end, but only with a certain fault, with two clients and four nodes."""
    if GUILTY in plan.events and len(plan.workers) >= 2 and plan.nodes >= 4:
        return Failure(AssertionError(f"{len(plan.events)} things are wrong"), plan.steps - 1)
    return None


def test_only_what_is_needed_is_left() -> None:
    plan = failing_plan()
    failure = needs_one_fault_and_two_clients(plan)
    assert failure is not None
    shrinker = Shrinker(plan, failure, run=needs_one_fault_and_two_clients)
    assert shrinker.shrink() == Plan(4711, 4, steps=301, workers=(9, 10), events=(GUILTY,))
    assert str(shrinker.failure.error) == "1 things are wrong"


def test_another_failure_does_not_take_its_place() -> None:
    def fails_differently_without_the_last(each: Plan) -> Failure | None:
        text = "as before" if each.events == plan.events else "otherwise"
        return Failure(AssertionError(text), 0 if text == "otherwise" else each.steps - 1)

    plan = plan_of(4711, 3, steps=50)
    failure = fails_differently_without_the_last(plan)
    assert failure is not None
    small = Shrinker(plan, failure, run=fails_differently_without_the_last).shrink()
    assert small.events == plan.events


def test_no_time_is_needed_for_a_result() -> None:
    plan = failing_plan()
    failure = needs_one_fault_and_two_clients(plan)
    assert failure is not None
    shrinker = Shrinker(plan, failure, run=needs_one_fault_and_two_clients, budget_s=0)
    assert needs_one_fault_and_two_clients(shrinker.shrink()) is not None


def test_plan_survives_its_file() -> None:
    plan = failing_plan()
    assert from_text(to_text(plan, 'it said "no"')) == plan
    empty = replace(plan, events=())
    assert from_text(to_text(empty, "")) == empty


def test_planted_bug_is_found_shrunk_kept_and_seen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        hide_nothing(patch)
        plan, failure = first_failure()
        text = keep(plan, failure, budget_s=8, folder=tmp_path)
        assert text.startswith(f"seed {plan.seed} with 3 nodes: ")
        ((path, small),) = kept(tmp_path)
        assert str(path) in text
        assert small.steps < plan.steps
        assert len(small.events) < len(plan.events) / 3
        again = failure_of(small)
        assert again is not None
        assert again.signature == failure.signature
    Run(small).execute()


def first_failure() -> tuple[Plan, Failure]:
    for seed in range(100):
        plan = plan_of(seed, 3)
        failure = failure_of(plan)
        if failure is not None:
            return plan, failure
    raise AssertionError("100 seeds are green without this protection")


def test_runs_add_up(tmp_path: Path) -> None:
    Tally(tmp_path).add(10, 30.0)
    tally = Tally(tmp_path)
    tally.add(5, 30.0)
    assert str(tally).startswith("15 runs in 1.0 CPU minutes")
    assert str(Tally(tmp_path / "another")).startswith("0 runs")
