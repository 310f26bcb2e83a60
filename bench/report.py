"""Writes what was measured into the documentation, between the marks `<!-- name: begin -->` and
`<!-- name: end -->` of a page.
"""

import itertools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import cast

from bench.endurance import NodeLook, Second


class PageError(Exception):
    """The page lacks the marks; the message names them."""


def write_between_marks(page: Path, name: str, text: str) -> None:
    """Replaces what stands between the marks; the rest of the page stays. Raises PageError."""
    before, after = _around_marks(page, name)
    page.write_text(f"{before}\n{text}\n{after}")


def check_marks(page: Path, name: str) -> None:
    """Raises PageError when nothing can be written there; for before a long run."""
    _around_marks(page, name)


def _around_marks(page: Path, name: str) -> tuple[str, str]:
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    try:
        before, found, rest = page.read_text().partition(begin)
    except OSError as error:
        raise PageError(f"{page}: {error.strerror}") from error
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise PageError(f"{page} needs the lines {begin.strip()} and {end}")
    return before + begin, end + after


def endurance_table(rows: list[Second]) -> str:
    """Medians of the seconds of the first and last minute and of those in which a snapshot was
    finished, and the most that a second saw.
    """
    minutes = rows[-1]["at_s"] / 60
    first = [row for row in rows if row["at_s"] <= 60]
    last = [row for row in rows if row["at_s"] > rows[-1]["at_s"] - 60]
    taking = [
        row for before, row in itertools.pairwise(rows) if row["snapshots"] > before["snapshots"]
    ]
    lines = [
        f"{minutes:.1f} minutes, {sum(row['puts_s'] for row in rows):,.0f} puts,"
        f" {rows[-1]['snapshots']} snapshots, {rows[-1]['elections']} elections,"
        f" {sum(row['errors'] for row in rows)} errors.",
        "",
        "| | first minute | last minute | with a snapshot | most |",
        "|---|---|---|---|---|",
    ]
    for name, value in _LINES.items():
        columns = [_median(value, seconds) for seconds in (first, last, taking)]
        columns.append(f"{max(map(value, rows)):,.0f}")
        lines.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def _median(value: Callable[[Second], float], rows: list[Second]) -> str:
    return f"{statistics.median(map(value, rows)):,.0f}" if rows else "-"


def _most(pick: Callable[[NodeLook], float]) -> Callable[[Second], float]:
    """Of the node that takes most."""
    return lambda row: max(map(pick, row["nodes"]))


_LINES: dict[str, Callable[[Second], float]] = {
    "puts/s": lambda row: row["puts_s"],
    "p50, ms": lambda row: row["p50_ms"],
    "p99, ms": lambda row: row["p99_ms"],
    "longest of a second, ms": lambda row: row["max_ms"],
    "log, MB": _most(lambda node: node["log_mb"]),
    "state, MB": _most(lambda node: node["state_mb"]),
    "snapshots, MB": _most(lambda node: node["snapshots_mb"]),
    "private memory, MiB": _most(lambda node: node["private_mib"]),
    "of which heap, MiB": _most(lambda node: node["heap_mib"]),
}


def recovery_tables(rows: list[dict[str, object]]) -> str:
    """How long it took and what it moved; then what the others' clients saw."""
    lines = [
        "| scenario | listens, s | level, s | heap, MiB | most | received, MB | written, MB"
        " | own snapshots | sent snapshots |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    columns = ("scenario", "ready_s", "level_s", "heap_mib", "heap_most_mib", "received_mb")
    for row in rows:
        cells = [row[name] for name in (*columns, "written_mb", "own_snapshots", "by_snapshot")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "| scenario | window | seconds | operation | p50, ms | p99, ms | longest, ms | errors |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for window in cast("list[dict[str, object]]", row["windows"]):
            names = ("window", "seconds", "operation", "p50_ms", "p99_ms", "max_ms", "errors")
            cells = [row["scenario"], *(window[name] for name in names)]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
