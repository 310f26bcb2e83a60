"""A short endurance run on so little log that it is let go during the run."""

import sys
from pathlib import Path

import pytest

from bench import plot
from bench.endurance import NodeLook, Second, run_endurance
from bench.measured_cluster import MeasuredCluster
from bench.report import PageError, endurance_table, write_between_marks

LITTLE_LOG = ("FLO_WAL_SEGMENT_BYTES=8MiB", "FLO_LIMITS_LOG_BYTES_MAX=16MiB")


async def test_every_second_is_looked_at(tmp_path: Path) -> None:
    with MeasuredCluster(3, 3, tmp_path, settings=LITTLE_LOG, keep=True) as cluster:
        rows = await run_endurance(
            cluster, minutes=3 / 60, keys=500, value_bytes=1_000, outstanding=64
        )
        log_mb = cluster.disk_mb(1)["log"]
    assert rows[-1]["at_s"] >= 3
    assert sum(row["puts_s"] for row in rows) > 0
    assert not any(row["errors"] for row in rows)
    last = rows[-1]
    assert len(last["nodes"]) == 3
    for node in last["nodes"]:
        assert 0 < node["heap_mib"] <= node["private_mib"]
        assert node["state_mb"] > 0
    assert log_mb > 0


def second(at_s: float, *, puts_s: float, log_mb: float) -> Second:
    node: NodeLook = {
        "private_mib": 50.0,
        "heap_mib": 40.0,
        "log_mb": log_mb,
        "state_mb": 9.0,
        "snapshots_mb": 7.0,
    }
    other: NodeLook = {**node, "log_mb": 1.0}
    return {
        "at_s": at_s,
        "puts_s": puts_s,
        "errors": 0,
        "p50_ms": 5.0,
        "p99_ms": 9.0,
        "max_ms": 30.0,
        "snapshots": int(at_s) // 60,
        "elections": 0,
        "nodes": [node, other],
    }


RUN = [second(at, puts_s=1000 + at, log_mb=min(at, 200)) for at in range(1, 601)]


def test_the_table_compares_the_first_minute_with_the_last() -> None:
    table = endurance_table(RUN)
    assert "10.0 minutes" in table
    assert "10 snapshots, 0 elections" in table
    assert "| puts/s | 1,030 | 1,570 | 1,330 | 1,600 |" in table
    assert "| log, MB | 30 | 200 | 200 | 200 |" in table


def test_a_table_replaces_what_stood_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n")
    write_between_marks(page, "a", "new\n")
    write_between_marks(page, "a", "newer\n")
    assert page.read_text() == "before\n<!-- a: begin -->\n\nnewer\n\n<!-- a: end -->\nafter\n"
    with pytest.raises(PageError, match="b: begin"):
        write_between_marks(page, "b", "new\n")


def test_a_long_run_is_a_small_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    path = tmp_path / "run.svg"
    plot.draw(RUN * 6, path)
    picture = path.read_text()
    assert "disk of the fullest" in picture
    assert "node 2, heap" in picture
    assert len(picture) < 150_000


def test_without_the_library_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.CannotDrawError, match="pip install"):
        plot.draw(RUN, tmp_path / "run.svg")
