"""Draws points: a line of panels for each dimension."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plot import picture
from bench.scaling.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 16.0, 2.6
_LOG_FROM = 16
_PANELS = ("operations/s", "latency, ms\n(p50; dotted: p99)", "memory, MiB\n(dotted: heap)")
_IDLE = "idle CPU of a node,\n% of a core"


def draw_points(points: Sequence[Point], path: Path) -> None:
    """Writes the kind of picture that the name of `path` ends in, as .svg or .png.

    Raises CannotDrawError.
    """
    dimensions = list(dict.fromkeys(each["dimension"] for each in points))
    columns = len(_PANELS) + 1
    with picture(path, (_WIDTH, _HEIGHT * len(dimensions))) as figure:
        for number, dimension in enumerate(dimensions):
            panels = [
                figure.add_subplot(len(dimensions), columns, number * columns + place)
                for place in range(1, columns + 1)
            ]
            _draw(panels, [each for each in points if each["dimension"] == dimension])


def _draw(panels: "list[Axes]", points: Sequence[Point]) -> None:
    throughput, latency, memory, idle = panels
    values = [each["at"] for each in points]
    for number, label in enumerate(dict.fromkeys(map(_label, points))):
        rows = [each for each in points if _label(each) == label]
        color = f"C{number}"
        _line(throughput, rows, lambda row: row["ops_s"], color, label=label)
        _line(latency, rows, lambda row: row["p50_ms"], color)
        _line(latency, rows, lambda row: row["p99_ms"], color, style=":")
        _line(memory, rows, lambda row: row["private_mib"], color)
        _line(memory, rows, lambda row: row["heap_mib"], color, style=":")
    seen = [each for each in points if each["idle_percent"] is not None]
    _line(idle, seen, lambda row: row["idle_percent"] or 0.0, "black")
    for axes, label in zip(panels, (*_PANELS, _IDLE), strict=True):
        if max(values) >= _LOG_FROM * min(values):
            axes.set_xscale("log", base=10)
        axes.set_xlabel(points[0]["dimension"])
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes is latency:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
    throughput.legend(loc="best", frameon=False)


def _label(point: Point) -> str:
    if point["operation"] == "put, each one":
        return point["operation"]
    return f"{point['operation']}, {point['outstanding']}"


def _line(
    axes: "Axes",
    rows: Sequence[Point],
    value: Callable[[Point], float],
    color: str,
    *,
    style: str = "-",
    label: str = "",
) -> None:
    points = [(row["at"], value(row)) for row in rows if value(row) > 0]
    if points:
        axes.plot(
            [at for at, _ in points],
            [each for _, each in points],
            linestyle=style,
            marker="o",
            color=color,
            markersize=3,
            linewidth=1,
            label=label,
        )
