"""Holds the rows of one run against those of another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from bench.results import Header, Results, ResultsError
from bench.rows import Row

Key: TypeAlias = tuple[str, str, str, int, int]
"""System, operation, clients, outstanding, bytes of a value."""

MARKED_FROM = 0.15
_FIGURES: dict[str, Callable[[Row], float]] = {
    "ops/s": lambda row: row["ops_s"],
    "p50": lambda row: row["p50_ms"],
    "p99": lambda row: row["p99_ms"],
    "server CPU": lambda row: row["server_cpu_s_per_kop"],
    "units": lambda row: row.get("server_units_per_kop", 0.0),
}
"""The last two say the same; the units take away how fast the machine was at that time."""
_NEEDED = {
    *("system", "operation", "clients", "outstanding", "value_bytes", "ops_s", "ops_s_reps"),
    *("p50_ms", "p99_ms", "server_cpu_s_per_kop", "by_second"),
}
"""Other columns may be missing in files of another version."""
_NOT_OF_THE_RESULT = {"json", "plot", "page", "directory"}
"""Options that do not change what is measured."""


class Compared(NamedTuple):
    """One row of both files."""

    key: Key
    first: Row
    second: Row

    def ratios(self) -> dict[str, float]:
        """The second by the first; without what is 0 in the first, and units that only one has."""
        return {
            name: value(self.second) / value(self.first)
            for name, value in _FIGURES.items()
            if value(self.first) and (value(self.second) or name != "units")
        }

    def differing(self) -> list[str]:
        """What differs by more than `MARKED_FROM`, either way round."""
        return [
            name
            for name, ratio in self.ratios().items()
            if not 1 / (1 + MARKED_FROM) <= ratio <= 1 + MARKED_FROM
        ]

    def overlaps(self) -> bool:
        """Some repetition of the slower run was as fast as one of the faster."""
        one, other = self.first["ops_s_reps"], self.second["ops_s_reps"]
        return min(one) <= max(other) and min(other) <= max(one)


def rows_of(results: Results, path: Path) -> list[Row]:
    """Those of `run` or `peers`. Raises ResultsError for a file of another command."""
    rows = results["rows"]
    if not all(isinstance(row, dict) and row.keys() >= _NEEDED for row in rows):
        command = results["header"]["command"]
        raise ResultsError(f"{path} is of `{command}`: give files of `run` or `peers`")
    return cast("list[Row]", list(rows))


def comparison(first: Sequence[Row], second: Sequence[Row]) -> str:
    """A table of ratios, and which rows only one of them has."""
    firsts, seconds = ({_key(row): row for row in rows} for rows in (first, second))
    lines = [
        f"{'':<46} {'ops/s':>20} {'ratio':>6} {'p50':>6} {'p99':>6} {'server CPU':>10}"
        f" {'units':>6}   (second / first)"
    ]
    lines += [_line(Compared(key, firsts[key], seconds[key])) for key in firsts if key in seconds]
    for name, own, other in (("first", firsts, seconds), ("second", seconds, firsts)):
        lines += [f"{_name(key)} only in the {name} file" for key in own if key not in other]
    return "\n".join(lines)


def differences(first: Header, second: Header) -> list[str]:
    """What makes the runs themselves hard to compare: settings and machines that differ."""
    found: list[str] = []
    for part in ("settings", "machine"):
        one, other = (cast("dict[str, object]", header[part]) for header in (first, second))
        found += [
            f"{name}: {_shown(one.get(name))} / {_shown(other.get(name))}"
            for name in sorted((one.keys() | other.keys()) - _NOT_OF_THE_RESULT)
            if one.get(name) != other.get(name)
        ]
    return found


def _key(row: Row) -> Key:
    return (
        row["system"],
        row["operation"],
        row["clients"],
        row["outstanding"],
        row["value_bytes"],
    )


def _name(key: Key) -> str:
    system, operation, clients, outstanding, value_bytes = key
    return f"{system:<9} {operation:<10} {clients:<8} {outstanding:>6} {value_bytes:>7} B"


def _line(compared: Compared) -> str:
    ratios = compared.ratios()
    shown = [f"{ratios[name]:.2f}" if name in ratios else "-" for name in _FIGURES]
    speeds = f"{compared.first['ops_s']:,.0f} > {compared.second['ops_s']:,.0f}"
    line = (
        f"{_name(compared.key):<46} {speeds:>20} {shown[0]:>6} {shown[1]:>6} {shown[2]:>6}"
        f" {shown[3]:>10} {shown[4]:>6}"
    )
    if not (marks := compared.differing()):
        return line
    if "ops/s" in marks and compared.overlaps():
        marks[marks.index("ops/s")] = "ops/s (repetitions overlap)"
    return f"{line}   ! {', '.join(marks)}"


def _shown(value: object) -> str:
    return (
        ",".join(map(str, cast("list[object]", value))) if isinstance(value, list) else f"{value}"
    )
