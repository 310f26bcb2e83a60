"""Draws what the endurance bench saw."""

import importlib.util
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.endurance import Second

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Column = Literal["private_mib", "heap_mib", "log_mb", "state_mb", "snapshots_mb"]

_POINTS_MAX = 240
"""Of a line: seconds are put together, which keeps the file small."""
_INCHES = (9.0, 9.5)


class CannotDrawError(Exception):
    """The library is missing; the message says how to install it."""


def check_can_draw() -> None:
    """Raises CannotDrawError; for before a long run."""
    if importlib.util.find_spec("matplotlib") is None:
        raise CannotDrawError(
            "drawing needs matplotlib: pip install 'flo-cluster[bench]', or matplotlib alone"
        )


@contextmanager
def picture(path: Path, inches: tuple[float, float]) -> "Generator[Figure]":
    """A figure that is written when it has been drawn, as what the name of `path` ends in.

    Raises CannotDrawError.
    """
    check_can_draw()
    # Late: it is an optional library.
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text, and the same rows give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "flo"}):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def draw(rows: Sequence[Second], path: Path) -> None:
    """Writes the kind of picture that the name of `path` ends in, as .svg or .png.

    Raises CannotDrawError.
    """
    groups = _put_together(rows)
    minutes = [group[-1]["at_s"] / 60 for group in groups]

    def line(axes: "Axes", label: str, value: Callable[[Sequence[Second]], float]) -> None:
        axes.plot(minutes, [value(group) for group in groups], label=label, linewidth=1)

    with picture(path, _INCHES) as figure:
        throughput, latency, memory, disk = figure.subplots(4, 1, sharex=True)
        line(throughput, "puts/s", _mean(lambda row: row["puts_s"]))
        line(latency, "p50", _mean(lambda row: row["p50_ms"]))
        line(latency, "p99", _mean(lambda row: row["p99_ms"]))
        line(latency, "longest", lambda group: max(row["max_ms"] for row in group))
        latency.set_yscale("log")
        for number in range(len(rows[0]["nodes"])):
            node = f"node {number + 1}"
            line(memory, node, partial(_node, number, "private_mib"))
            line(memory, f"{node}, heap", partial(_node, number, "heap_mib"))
        line(disk, "log", partial(_most, "log_mb"))
        line(disk, "state", partial(_most, "state_mb"))
        line(disk, "snapshots", partial(_most, "snapshots_mb"))
        for axes, label in (
            (throughput, "puts/s"),
            (latency, "latency, ms"),
            (memory, "private memory, MiB"),
            (disk, "disk of the fullest\nnode, MB"),
        ):
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
            if axes is not latency:
                axes.set_ylim(bottom=0)
        disk.set_xlabel("minutes")


def _put_together(rows: Sequence[Second]) -> list[Sequence[Second]]:
    size = -(-len(rows) // _POINTS_MAX)
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _mean(value: Callable[[Second], float]) -> Callable[[Sequence[Second]], float]:
    return lambda group: statistics.mean(map(value, group))


def _node(number: int, what: Column, group: Sequence[Second]) -> float:
    return group[-1]["nodes"][number][what]


def _most(what: Column, group: Sequence[Second]) -> float:
    """Of the node that takes most."""
    return max(node[what] for row in group for node in row["nodes"])
