"""Draws rows: throughput, latency and cost over concurrency, and throughput over time."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.plot import picture
from bench.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (11.0, 15.0)
_COLORS = 10
"""Of matplotlib; then they begin again with another marker."""
_MARKERS = "os^vD"


class _Line(NamedTuple):
    """Rows that differ in concurrency alone, in that order."""

    label: str
    color: str
    marker: str
    rows: list[Row]

    def over_outstanding(self, axes: "Axes", value: Callable[[Row], float], style: str) -> None:
        """What is 0 is left out: nothing succeeded, or the CPU time was too short to be seen."""
        points = [(row["outstanding"], value(row)) for row in self.rows if value(row) > 0]
        if points:
            self._plot(axes, [at for at, _ in points], [each for _, each in points], style)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")

    def over_time(self, axes: "Axes") -> None:
        """The first repetition with most outstanding."""
        counts = self.rows[-1]["by_second"][0]
        mean = statistics.mean(counts) if any(counts) else 1.0
        shares = [count / mean for count in counts]
        self._plot(axes, range(1, len(counts) + 1), shares, "-")

    def _plot(self, axes: "Axes", x: Sequence[float], y: Sequence[float], style: str) -> None:
        axes.plot(
            x,
            y,
            linestyle=style,
            marker=self.marker,
            color=self.color,
            markersize=4,
            linewidth=1,
            label=self.label,
        )


def draw_rows(files: Sequence[tuple[str, Sequence[Row]]], path: Path) -> None:
    """Writes a picture of the rows of one or several files, each with the name it is to have.

    `path` ends in .svg or .png. Raises CannotDrawError.
    """
    lines = _lines(files)
    with picture(path, _INCHES) as figure:
        throughput, latency, cost, over_time = figure.subplots(4, 1)
        for line in lines:
            line.over_outstanding(throughput, lambda row: row["ops_s"], "-")
            line.over_outstanding(latency, lambda row: row["p50_ms"], "-")
            line.over_outstanding(latency, lambda row: row["p99_ms"], ":")
            line.over_outstanding(cost, _cost_us, "-")
            line.over_time(over_time)
        for axes, label in (
            (throughput, "operations/s"),
            (latency, "latency, ms\n(p50; dotted: p99)"),
            (cost, "server CPU of an\noperation, \N{MICRO SIGN}s"),
        ):
            axes.xaxis.set_major_formatter("{x:.0f}")
            axes.set_xlabel("operations outstanding")
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
        over_time.set_xlabel("seconds (with most outstanding)")
        over_time.set_ylabel("operations/s,\nby their mean")
        over_time.set_ylim(bottom=0)
        over_time.grid(alpha=0.3)
        handles, labels = over_time.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False)


def _lines(files: Sequence[tuple[str, Sequence[Row]]]) -> list[_Line]:
    found: dict[str, list[Row]] = {}
    for name, rows in files:
        for row in rows:
            parts = (name, row["system"], row["operation"], row["clients"])
            label = " ".join(filter(None, parts)) + f" {row['value_bytes']} B"
            found.setdefault(label, []).append(row)
    return [
        _Line(
            label,
            f"C{number % _COLORS}",
            _MARKERS[number // _COLORS % len(_MARKERS)],
            sorted(rows, key=lambda row: row["outstanding"]),
        )
        for number, (label, rows) in enumerate(found.items())
    ]


def _cost_us(row: Row) -> float:
    """1,000 operations in seconds are one in milliseconds."""
    return 1_000 * row["server_cpu_s_per_kop"]
