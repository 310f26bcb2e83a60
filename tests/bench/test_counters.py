"""What calls cost, in things that can be counted: no more than was agreed on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.counters import (
    OUTSTANDING,
    WRITE_COMMAND,
    counters,
    measure,
    out_of_bounds,
    read_bounds,
    row_name,
)
from bench.counters_cluster import COUNTERS
from bench.counters_workloads import PAYLOAD, WORKLOADS

ROOT = Path(__file__).parents[2]
ROWS = [(name, outstanding) for name in WORKLOADS for outstanding in OUTSTANDING]


@pytest.mark.parametrize(("name", "outstanding"), ROWS)
def test_operations_cost_what_was_agreed_on(name: str, outstanding: int) -> None:
    row = row_name(name, outstanding)
    wrong = out_of_bounds(row, measure(WORKLOADS[name], outstanding), read_bounds()[row])
    assert not wrong, "\n".join(wrong)


def test_the_bounds_are_of_what_is_counted() -> None:
    bounds = read_bounds()
    assert set(bounds) == {row_name(*row) for row in ROWS}
    for row in bounds.values():
        assert tuple(row) == COUNTERS


def test_what_single_puts_cost_is_what_they_must_cost() -> None:
    """One entry each, which all three nodes sync: to the leader, to the followers, and back."""
    found = measure(WORKLOADS["put"], 1)
    assert (found["rounds"], found["entries"], found["syncs"]) == (3_000, 1_000, 3_000)
    # An entry to each follower and its answer; heartbeats come on top.
    assert 4_000 <= found["messages"] < 4_500
    assert found["log_bytes"] > 3_000 * len(PAYLOAD)
    assert found["puts"] >= 3_000


def test_counts_do_not_depend_on_the_order_of_hashes() -> None:
    program = (
        "import json; from bench.counters import measure; from bench.counters_workloads import"
        " WORKLOADS; print(json.dumps(measure(WORKLOADS['group'], 64)))"
    )
    outputs = [
        subprocess.run(
            (sys.executable, "-c", program),
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]


def test_a_cost_that_grew_or_shrank_is_named() -> None:
    bounds = dict.fromkeys(COUNTERS, 1_000)
    bounds["deletes"] = 0
    assert not out_of_bounds("put 64", bounds | {"syncs": 1_050, "gets": 800}, bounds)
    (dearer,) = out_of_bounds("put 64", bounds | {"syncs": 1_051}, bounds)
    for word in ("put 64", "syncs", "1,051", "1,000", WRITE_COMMAND):
        assert word in dearer
    (cheaper,) = out_of_bounds("put 64", bounds | {"gets": 799}, bounds)
    for word in ("put 64", "gets", "799", "1,000", WRITE_COMMAND, "Lower"):
        assert word in cheaper
    (new,) = out_of_bounds("put 64", bounds | {"deletes": 1}, bounds)
    assert "deletes 1 " in new
    del bounds["moves"]
    (unknown,) = out_of_bounds("put 64", {**bounds, "moves": 5}, bounds)
    assert "moves 5 has no bound" in unknown


def test_the_command_writes_bounds_and_compares_with_them(tmp_path: Path) -> None:
    path = tmp_path / "bounds.json"
    path.write_text(json.dumps({"put 1": dict.fromkeys(COUNTERS, 1), "get 1": {"syncs": 7}}))
    arguments = ["--operations", "enqueue", "--bounds", str(path)]
    missing = CliRunner().invoke(counters, arguments)
    assert missing.exit_code == 1
    assert "enqueue 64 outstanding: syncs" in missing.stderr
    written = CliRunner().invoke(counters, [*arguments, "--write"])
    assert written.exit_code == 0
    assert set(read_bounds(path)) == {"put 1", "get 1", "enqueue 1", "enqueue 64"}
    assert read_bounds(path)["get 1"] == {"syncs": 7}
    assert read_bounds(path)["enqueue 64"] == measure(WORKLOADS["enqueue"], 64)
    compared = CliRunner().invoke(counters, arguments)
    assert compared.exit_code == 0, compared.output
    assert "enqueue 64" in compared.stdout


def test_an_operation_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(counters, ["--operations", "put,dance"])
    assert result.exit_code == 2
    assert "'dance' is none of put, get" in result.stderr
