"""Every operation is measured on a real cluster, briefly, and what was saved can be used."""

import io
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.progress import Progress
from bench.results import load
from bench.workloads import ANYWHERE, WORKLOADS

if TYPE_CHECKING:
    from bench.rows import Row

BRIEFLY = ("--count", "20", "--warmup", "0", "--repetitions", "1", "--keys", "200")


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_every_operation_is_measured_kept_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    small = ("--nodes", "3", "--partitions", "3", "--dir", str(tmp_path))
    ended = bench(
        *("run", "--operations", "all", "--outstanding", "1,8", "--json", str(path)),
        *(*BRIEFLY, *small),
    )
    assert ended.exit_code == 0, ended.output
    results = load(path)
    assert results["header"]["settings"]["partitions"] == 3
    rows = cast("list[Row]", results["rows"])
    expected = [
        (operation, clients, outstanding)
        for operation in WORKLOADS
        for clients in (("spread",) if operation in ANYWHERE else ("leaders", "spread"))
        for outstanding in (1, 8)
    ]
    assert [(row["operation"], row["clients"], row["outstanding"]) for row in rows] == expected
    for row in rows:
        assert row["errors"] == 0, row
        assert row["ops_s"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert f"{row['operation']:<10} {row['clients']:<8}" in ended.output

    compared = bench("compare", str(path), str(path))
    assert compared.exit_code == 0, compared.output
    assert compared.output.count(" 1.00 ") >= 2 * len(rows)
    assert "!" not in compared.output


def test_a_single_node_and_values_of_several_sizes(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    ended = bench(
        *("run", "--operations", "put,mget16,scan,dequeue,read10,mixed"),
        *("--value-bytes", "16,65536", "--outstanding", "2", "--clients", "leaders"),
        *("--json", str(path), "--nodes", "1", "--partitions", "2", "--dir", str(tmp_path)),
        *BRIEFLY,
    )
    assert ended.exit_code == 0, ended.output
    rows = cast("list[Row]", load(path)["rows"])
    assert [row["value_bytes"] for row in rows] == [16] * 6 + [65_536] * 6
    assert not any(row["errors"] for row in rows)


def test_a_queue_that_was_emptied_ends_the_run_with_advice(tmp_path: Path) -> None:
    ended = bench(
        *("run", "--operations", "dequeue10", "--keys", "100", "--seconds", "60"),
        *("--warmup", "0", "--nodes", "1", "--partitions", "1", "--dir", str(tmp_path)),
    )
    assert ended.exit_code == 1
    assert "give more --keys" in ended.output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["run", "--outstanding", "1,5000"], "5000: give 1 to 4096"),
        (["run", "--outstanding", "many"], "give numbers with commas between them"),
        (["run", "--value-bytes", "0"], "0: give 1 to 65536"),
        (["run", "--operations", "put,sing"], "'sing': give some of put, get, "),
        (["run", "--clients", "some"], "'some': give some of leaders, spread"),
        (["run", "--seconds", "1", "--count", "1"], "--seconds and --count exclude each other"),
        (["run", "--json", "not/there/a.json"], "there is no directory not/there: make it first"),
        (["run", "--plot", "run.gif"], "give a name that ends in .svg or .png"),
        (["run", "--setting", "LIMITS=1"], "write it as FLO_"),
        (["failover", "--nodes", "1"], "give 3 or more"),
        (["recovery", "nap"], "'nap' is not one of"),
        (["queue-length", "--lengths", "1,,2"], "give numbers with commas between them"),
        (["conpare"], "Did you mean 'compare'?"),
    ],
)
def test_wrong_options_say_what_to_do(arguments: list[str], advice: str) -> None:
    ended = bench(*arguments)
    assert ended.exit_code == 2
    assert advice in ended.output


def test_every_command_has_help_with_defaults() -> None:
    for name in main.commands:
        ended = bench(name, "--help")
        assert ended.exit_code == 0
        if name in ("run", "failover", "endurance", "recovery", "client-cost", "queue-length"):
            assert "[default: 3" in ended.output, name
    assert "mget16     read 16 random keys" in bench("run", "--help").output


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("no JSON", "is no JSON"),
        ("[]", "has no header and rows"),
        (
            json.dumps({"header": {"command": "failover"}, "rows": [{"gap_s": 1}]}),
            "is of `failover`: give files of `run` or `peers`",
        ),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    ended = bench("compare", str(path), str(path))
    assert ended.exit_code == 2
    assert complaint in ended.output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO) -> str:
    now = itertools.count(0.0, 60.0)
    progress = Progress(4, stream, lambda: next(now))
    progress.doing("put")
    progress.doing("get")
    progress.clear()
    return stream.getvalue()


def test_progress_is_told_on_a_terminal_alone() -> None:
    seen = told(Terminal())
    assert "1/4 put" in seen
    assert "2/4 get, about 3 min left" in seen, "the first took a minute, so three take three"
    assert seen.endswith("\r\x1b[2K")
    assert told(io.StringIO()) == ""
