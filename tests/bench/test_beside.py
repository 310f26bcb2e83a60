"""Flo and other systems take turns, and stand beside each other."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.beside import BesidePlan, Case, run_beside
from bench.peers import PEERS, Load, Peer
from bench.peers.servers import StartError
from bench.results import load
from bench.window import Sample, Window

if TYPE_CHECKING:
    from bench.rows import Row

CASES = (Case("put", 1), Case("enqueue", 64))


class FakeCluster:
    """Answers at a fixed pace."""

    version = "7.0"

    def __init__(self, name: str, per_second: int, log: list[str]) -> None:
        self._name = name
        self._per_second = per_second
        self._log = log

    def cpu_seconds(self) -> float:
        return 0.0

    async def sample(self, operation: str, load: Load) -> Sample:
        self._log.append(f"{self._name} {operation} {load.outstanding}")
        return Sample(1.0, 0.5, [0.001] * self._per_second)


def fake(name: str, per_second: int, log: list[str], *, starts: int = 99) -> Peer:
    """A system that puts, and can be started so often."""
    left = iter(range(starts))

    @contextmanager
    def start(_directory: Path | None) -> Generator[FakeCluster]:
        if next(left, None) is None:
            raise StartError("its port is taken")
        yield FakeCluster(name, per_second, log)

    operations = {"put": "", "enqueue": ""} if name == "flo" else {"put": ""}
    return Peer(name, f"a {name}", operations, lambda: None, start)


def plan(*systems: Peer, repetitions: int = 2) -> BesidePlan:
    return BesidePlan(systems, CASES, 128, repetitions, Window())


def test_systems_take_turns_and_stand_beside_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log: list[str] = []
    rows = run_beside(plan(fake("flo", 300, log), fake("redis", 200, log)), log.append)
    assert log == 2 * ["flo put 1", "flo enqueue 64", "redis put 1"]
    assert [(row["system"], row["operation"]) for row in rows] == [
        ("flo", "put"),
        ("redis", "put"),
        ("flo", "enqueue"),
    ]
    assert rows[0]["ops_s_reps"] == [300, 300]
    told = capsys.readouterr().out
    assert "redis 7.0: a redis" in told
    assert "ops/s 1.50, p50 1.00, p99 1.00, server CPU 0.67" in told


def test_a_system_that_fails_is_left_out_from_then_on() -> None:
    log: list[str] = []
    complaints: list[str] = []
    systems = fake("flo", 300, log), fake("redis", 200, log, starts=1)
    rows = run_beside(plan(*systems, repetitions=3), complaints.append)
    assert complaints == ["left out: redis: StartError its port is taken"]
    assert [row["ops_s_reps"] for row in rows] == [[300] * 3, [200], [300] * 3]


def test_without_flo_there_is_nothing_to_compare() -> None:
    with pytest.raises(StartError):
        run_beside(plan(fake("flo", 300, [], starts=0)), print)


def test_the_command_measures_what_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "beside.json"
    arguments = (
        *("peers", "--systems", "redis", "--operations", "enqueue,append", "--outstanding", "2"),
        *("--count", "20", "--warmup", "0", "--repetitions", "2", "--json", str(path)),
        *("--nodes", "1", "--partitions", "1", "--dir", str(tmp_path)),
    )
    ended = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    rows = cast("list[Row]", load(path)["rows"])
    missing = PEERS["redis"].missing()
    expected = ["flo"] if missing else ["flo", "redis"]
    assert [row["system"] for row in rows] == 2 * expected
    assert all(row["ops_s"] > 0 and not row["errors"] for row in rows)
    assert ("left out: redis" in ended.output) == bool(missing)
