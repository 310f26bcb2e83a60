"""`python -m bench scaling`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import uvloop

from bench.commands.options import (
    check_page,
    keep,
    numbers,
    page_option,
    picture_option,
    place_options,
    told_in_a_sentence,
)
from bench.report import write_between_marks
from bench.scaling.dimensions import DIMENSIONS, NODES_PARTITIONS
from bench.scaling.lab import Lab, ScalingPlan
from bench.scaling.page import MODEL, mark, model_rows, model_text, table
from bench.scaling.picture import draw_points
from bench.scaling.points import Point, title
from bench.window import Window

_C = TypeVar("_C", bound=Callable[..., object])


def _points_options(command: _C) -> _C:
    """The points of each dimension."""
    for name, each in reversed(DIMENSIONS.items()):
        command = click.option(
            f"--{name}",
            default=",".join(map(str, each.points)),
            metavar="N,...",
            callback=numbers(each.least, each.most),
            help=f"How many {each.about}.",
        )(command)
    return command


@click.command("scaling")
@click.argument(
    "dimensions", nargs=-1, type=click.Choice(list(DIMENSIONS)), metavar="[DIMENSION]..."
)
@_points_options
@click.option(
    "--cluster-nodes",
    type=click.IntRange(1, 9),
    default=ScalingPlan.nodes,
    metavar="N",
    help="Of each cluster, where nodes are not what grows.",
)
@click.option(
    "--cluster-partitions",
    type=click.IntRange(1, 256),
    default=ScalingPlan.partitions,
    metavar="N",
    help=f"Of each cluster; but {NODES_PARTITIONS} where nodes grow, 1 with long queues and"
    " streams.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=Window.seconds,
    metavar="S",
    help="Of a measured window.",
)
@click.option(
    "--warmup",
    type=click.FloatRange(0),
    default=Window.warmup_s,
    metavar="S",
    help="Seconds of load before it.",
)
@click.option(
    "--idle",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    metavar="S",
    help="Seconds without load, to see what idle nodes use.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Of each row; the median is reported.",
)
@page_option
@picture_option("--plot", "Draw throughput, latency, memory and idle CPU over each dimension.")
@place_options
def scaling(
    *,
    dimensions: tuple[str, ...],
    cluster_nodes: int,
    cluster_partitions: int,
    seconds: float,
    warmup: float,
    idle: float,
    repetitions: int,
    page: Path | None,
    plot: Path | None,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
    **points: tuple[int, ...],
) -> None:
    """Make things larger: what happens to throughput, latency, memory and CPU time?

    \b
    Dimensions, all of them unless some are given (about 20 minutes on two cores):
      nodes, partitions, keys, value-bytes, connections, queue-length, stream-length
    Each point has a cluster of its own, but for keys and connections. From the puts of
    value-bytes it is calculated what a command, a log entry, a byte and a turn cost.
    """
    chosen = [name for name in DIMENSIONS if name in (dimensions or DIMENSIONS)]
    for name in (*chosen, *([MODEL] if "value-bytes" in chosen else [])):
        check_page(page, mark(name))
    plan = ScalingPlan(
        {name: points[name.replace("-", "_")] for name in chosen},
        Window(seconds, warmup),
        repetitions,
        idle,
        cluster_nodes,
        cluster_partitions,
        directory,
        setting,
    )
    found: list[Point] = []

    def complete(point: Point) -> None:
        found.append(point)
        keep(json, found)

    print(title(), flush=True)
    with told_in_a_sentence():
        uvloop.run(_measure(plan, complete))
    tables = {
        mark(name): table([each for each in found if each["dimension"] == name]) for name in chosen
    }
    if model_rows(found):
        tables[mark(MODEL)] = model_text(found)
    _tell(tables, page)
    if plot:
        draw_points(found, plot)


async def _measure(plan: ScalingPlan, complete: Callable[[Point], object]) -> None:
    lab = Lab(plan, complete)
    try:
        for name, points in plan.points.items():
            await DIMENSIONS[name].measure(lab, points)
    finally:
        lab.clear()


def _tell(tables: dict[str, str], page: Path | None) -> None:
    for name, text in tables.items():
        print(f"\n{text}", end="")
        if page:
            write_between_marks(page, name, text)
