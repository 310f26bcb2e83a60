"""Two runs, row by row."""

from bench.compare import comparison, differences
from bench.results import Header, header
from bench.rows import Row, row
from bench.window import Sample

FAST = Sample(1.0, 0.2, [0.001] * 1_000, client_cpu_s=0.1, other_cpu_s=0.5, by_second=[1_000])


def measured(
    operation: str = "put", *, ops_s: float = 1_000.0, reps: tuple[int, ...] = (1_000,)
) -> Row:
    made = row("flo", operation, "leaders", 64, [FAST])
    made["ops_s"], made["ops_s_reps"] = ops_s, list(reps)
    return made


def test_a_row_has_medians_and_costs() -> None:
    slow = Sample(2.0, 0.2, [0.004] * 1_000, errors=3, client_cpu_s=0.1, other_cpu_s=1.0)
    made = row("flo", "put", "leaders", 64, [FAST, FAST, slow])
    assert (made["ops_s"], made["ops_s_reps"]) == (1_000, [1_000, 1_000, 500])
    assert (made["p50_ms"], made["p99_ms"], made["errors"]) == (1.0, 1.0, 3)
    assert (made["server_cpu_s_per_kop"], made["client_cpu_s_per_kop"]) == (0.2, 0.1)
    assert made["other_cores"] == 0.5
    assert made["by_second"] == [[1_000], [1_000], []]


def test_a_row_of_nothing_but_errors_can_be_made() -> None:
    made = row("flo", "put", "leaders", 64, [Sample(1.0, 0.2, errors=5)])
    assert (made["ops_s"], made["server_cpu_s_per_kop"], made["errors"]) == (0, 0, 5)
    assert "p50" not in comparison([made], [made]).splitlines()[1]


def test_rows_that_differ_much_are_marked() -> None:
    first = [measured(), measured("get"), measured("scan"), measured("txn3")]
    second = [
        measured(ops_s=1_160.0, reps=(1_160,)),
        measured("get", ops_s=860.0, reps=(860,)),
        measured("scan", ops_s=880.0, reps=(880,)),
        measured("txn3", ops_s=1_500.0, reps=(900, 1_500, 1_700)),
    ]
    lines = comparison(first, second).splitlines()[1:]
    assert [line.partition("!")[2].strip() for line in lines] == [
        "ops/s",
        "ops/s",
        "",
        "ops/s (repetitions overlap)",
    ]
    assert "1,000 > 1,160" in lines[0]
    assert " 1.16 " in lines[0]
    assert " 0.86 " in lines[1]


def test_units_tell_a_slow_hour_from_a_slow_change() -> None:
    first, slow_hour, older = measured(), measured(), measured()
    first["server_units_per_kop"], slow_hour["server_units_per_kop"] = 1.0, 1.1
    slow_hour["server_cpu_s_per_kop"] *= 2
    line = comparison([first], [slow_hour]).splitlines()[1]
    assert " 2.00   1.10   ! server CPU" in line
    assert "units" not in comparison([first], [older]).splitlines()[1], "it has none"


def test_rows_of_one_file_alone_are_told() -> None:
    told = comparison([measured(), measured("get")], [measured(), measured("scan")])
    one, other = told.splitlines()[2:]
    assert one.startswith("flo")
    assert "get" in one
    assert one.endswith("only in the first file")
    assert "scan" in other
    assert other.endswith("only in the second file")


def test_what_was_set_differently_is_told() -> None:
    first: Header = header("run", {"partitions": 8, "keys": None, "json": "a.json"})
    second: Header = header("run", {"partitions": 16, "keys": None, "json": "b.json"})
    second["machine"]["cores"] = first["machine"]["cores"] + 1
    assert differences(first, second) == [
        "partitions: 8 / 16",
        f"cores: {first['machine']['cores']} / {second['machine']['cores']}",
    ]
