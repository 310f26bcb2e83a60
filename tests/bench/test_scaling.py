"""Dimensions measured as small as can be, and what is calculated from their rows."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.results import load
from bench.rows import row
from bench.scaling.dimensions import DIMENSIONS
from bench.scaling.limits import Limit, Use, limit_of, measure_sync_ms
from bench.scaling.model import CannotFitError, Costs, Observation, fit
from bench.scaling.page import mark, model_text, table
from bench.scaling.picture import draw_points
from bench.window import Sample

if TYPE_CHECKING:
    from bench.scaling.points import Point

BRIEFLY = ("--seconds", "0.5", "--warmup", "0", "--idle", "0.1")
SMALL = ("--cluster-nodes", "1", "--cluster-partitions", "2")
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


# --- the model ---


def observed(costs: Costs, batch: float, outstanding: int, size: int) -> Observation:
    return Observation(batch, outstanding, size, costs.of(batch, outstanding, size))


EIGHT_PARTITIONS = [(1.0, 1), (1.4, 8), (8.0, 64), (60.0, 512)]
ONE_PARTITION = [(1.0, 1), (8.0, 8), (64.0, 64)]
"""Batches with so much outstanding."""


def test_the_costs_of_a_formula_are_found_again() -> None:
    costs = Costs(command=0.05, entry=0.6, byte=0.00002, turn=0.5)
    seen = [
        observed(costs, *each, size) for each in EIGHT_PARTITIONS for size in (16, 1024, 65_536)
    ]
    found = fit(seen)
    assert found == pytest.approx(costs, rel=1e-6)
    assert [found.error(each) for each in seen] == pytest.approx([0.0] * len(seen), abs=1e-6)


def test_where_each_turn_is_an_entry_their_costs_are_one() -> None:
    costs = Costs(command=0.05, entry=0.6, byte=0.00002, turn=0.5)
    seen = [observed(costs, *each, size) for each in ONE_PARTITION for size in (16, 1024)]
    assert fit(seen) == pytest.approx(Costs(0.05, 1.1, 0.00002, 0.0), rel=1e-6)


def test_cheap_rows_count_as_much_as_costly_ones() -> None:
    costs = Costs(0.05, 1.0, 0.0002)
    cheap = [observed(costs, *each, size) for each in ONE_PARTITION for size in (16, 128)]
    costly = [
        Observation(each, each, 65_536, factor * costs.of(each, each, 65_536))
        for each, factor in ((1, 1.1), (64, 0.9))
    ]
    found = fit([*cheap, *costly])
    assert max(abs(found.error(each)) for each in cheap) < 0.02
    assert max(abs(found.error(each)) for each in costly) > 0.05, "these contradict each other"


@pytest.mark.parametrize(
    "seen",
    [
        [],
        [Observation(1.0, 1, 16, 0.5)] * 5,
        [Observation(batch, 8, 128, 0.1 + 1 / batch) for batch in (1.0, 2.0, 4.0, 8.0)],
    ],
)
def test_rows_that_are_too_alike_tell_no_costs(seen: list[Observation]) -> None:
    with pytest.raises(CannotFitError, match="different sizes of values"):
        fit(seen)


# --- what limits ---


@pytest.mark.parametrize(
    ("use", "limit"),
    [
        (Use(2, 1.8, 0.95, syncs=2, sync_ms=9.0, p50_ms=10.0), "CPU"),
        (Use(8, 1.8, 0.95, syncs=2, sync_ms=9.0, p50_ms=10.0), "one core"),
        (Use(2, 1.6, 0.6, syncs=2, sync_ms=2.6, p50_ms=10.0), "fsync"),
        (Use(2, 1.6, 0.6, syncs=1, sync_ms=2.6, p50_ms=10.0), "network"),
        (Use(2, 1.6, 0.6, syncs=0, sync_ms=9.0, p50_ms=10.0), "network"),
    ],
)
def test_what_limits_is_what_is_used_up_first(use: Use, limit: Limit) -> None:
    assert limit_of(use) == limit


def test_syncs_are_timed_where_the_nodes_would_write(tmp_path: Path) -> None:
    assert measure_sync_ms(tmp_path) > 0
    assert not list(tmp_path.iterdir())


# --- pages and pictures ---


def point(dimension: str, at: int, *, busiest: float = 0.1, batch: float = 8.0) -> "Point":
    sample = Sample(2.0, 0.4, [0.002] * 2_000, client_cpu_s=0.1)
    return {
        **row("flo", "put", "leaders", 64, [sample], value_bytes=at),
        "dimension": dimension,
        "at": at,
        "nodes": 3,
        "partitions": 8,
        "busiest_cpu_s_per_kop": busiest,
        "batch": batch,
        "private_mib": 50.4,
        "heap_mib": 40.4,
        "idle_percent": 1.25,
        "sync_ms": 0.25,
        "limit": "fsync",
    }


def test_a_table_tells_what_more_nodes_would_bring() -> None:
    points = [point("nodes", 1, busiest=0.05), point("nodes", 3), point("nodes", 6, busiest=0.06)]
    told = table(points)
    assert (
        "| 3 | put | 64 | 1,000 | 2.00 | 2.00 | 0 | 0.200 | 0.100 | 10,000 | 8.0 | 50 | 40 | 1.2"
        " | 0.25 | fsync |" in told
    )
    assert "Rows by what limits them: fsync 3." in told
    assert "put, 64 outstanding, ops/s apart: 3 nodes 10,000 (1.00 times), 6 nodes 16,667" in told
    assert "an fdatasync took 0.25 ms" in told
    assert "apart: " not in table([point("keys", 100), point("keys", 1_000)])


def test_the_model_tells_what_one_core_for_each_node_would_do() -> None:
    costs = Costs(command=0.1, entry=1.0, byte=0.0001, turn=0.5)
    points: list[Point] = []
    for size in (16, 1_024, 8_192):
        for batch, outstanding in EIGHT_PARTITIONS:
            cost = costs.of(batch, outstanding, size)
            made = point("value-bytes", size, busiest=cost / 2, batch=batch)
            made["outstanding"] = outstanding
            made["server_cpu_s_per_kop"] = cost
            points.append(made)
    told = model_text([*points, point("keys", 1_000)])
    assert "0.1000 ms + 1.0000 ms / batch + 0.5000 ms / outstanding + 0.1024 ms * KiB" in told
    assert "Fitted to 12 rows, it is off by 0% in the median and 0% at most." in told
    assert "the busiest node has a share of 0.50" in told
    assert "| 1,024 bytes | 1,175 | " in told, "1,000 by half of 0.1 + 1 + 0.5 + 0.1024 ms"
    assert "No model: " in model_text(points[:1])


def test_every_dimension_is_a_line_of_panels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", exc_type=ImportError)
    path = tmp_path / "scaling.svg"
    draw_points([point(name, at) for name in DIMENSIONS for at in (10, 1_000)], path)
    picture = path.read_text()
    for name in DIMENSIONS:
        assert name in picture
    assert "idle CPU of a node" in picture


def test_the_page_has_a_place_for_every_table() -> None:
    text = PAGE.read_text()
    for name in (*DIMENSIONS, "model"):
        assert f"<!-- {mark(name)}: begin -->\n" in text
        assert f"<!-- {mark(name)}: end -->\n" in text


def test_a_page_without_that_place_is_refused_before_the_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    ended = bench("scaling", "keys", "--page", str(page))
    assert ended.exit_code == 1
    assert "scaling-keys: begin" in ended.output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["depth"], "'depth' is not one of"),
        (["--nodes", "1,20"], "20: give 1 to 9"),
        (["--keys", "some"], "give numbers with commas between them"),
    ],
)
def test_wrong_points_say_what_to_do(arguments: list[str], advice: str) -> None:
    ended = bench("scaling", *arguments)
    assert ended.exit_code == 2
    assert advice in ended.output


# --- small runs ---


@pytest.mark.parametrize(
    ("dimension", "points", "operations"),
    [
        ("nodes", "1", ["put", "put", "get", "get"]),
        ("partitions", "3", ["put", "put", "get", "get"]),
        ("keys", "100,250", ["put", "get"]),
        ("value-bytes", "16,2048", ["put", "put", "put", "put", "get"]),
        ("connections", "1,70", ["put", "get", "put, each one"]),
        ("queue-length", "40,1200", ["dequeue+enqueue"]),
        ("stream-length", "40,1200", ["append", "read", "group+append"]),
    ],
)
def test_a_dimension_is_measured_and_told(
    tmp_path: Path, dimension: str, points: str, operations: list[str]
) -> None:
    page, path = tmp_path / "scaling.md", tmp_path / "scaling.json"
    page.write_text(PAGE.read_text())
    ended = bench(
        *("scaling", dimension, f"--{dimension}", points, "--dir", str(tmp_path)),
        *("--page", str(page), "--json", str(path), *BRIEFLY, *SMALL),
    )
    assert ended.exit_code == 0, ended.output
    values = [int(each) for each in points.split(",")]
    rows = cast("list[Point]", load(path)["rows"])
    assert [(each["dimension"], each["at"], each["operation"]) for each in rows] == [
        (dimension, value, operation) for value in values for operation in operations
    ]
    for each in rows:
        assert each["errors"] == 0, each
        assert each["ops_s"] > 0
        assert (each["batch"] > 0) == (each["operation"] not in ("get", "read"))
        assert 0 < each["heap_mib"] <= each["private_mib"]
        assert (each["idle_percent"] is None) == (each["operation"] == "put, each one")
        assert f"| {each['at']:,} | {each['operation']} |" in page.read_text()
    if dimension == "value-bytes":
        assert "A put costs" in page.read_text()
