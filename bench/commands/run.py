"""`python -m bench run`."""

from pathlib import Path
from typing import cast

import click
import uvloop

from bench.commands.options import (
    OUTSTANDING_MAX,
    VALUE_BYTES_MAX,
    chosen,
    cluster_of,
    cluster_options,
    keep,
    numbers,
    picture_option,
    window_of,
    window_options,
)
from bench.plot_rows import draw_rows
from bench.rows import Clients, Row
from bench.runner import RunPlan, run_plan
from bench.workloads import WORKLOADS

_EPILOG = "\b\nOperations:\n" + "\n".join(
    f"  {name:<10} {text}" for name, text in WORKLOADS.items()
)


@click.command("run", epilog=_EPILOG)
@click.option(
    "--operations",
    default="put,get",
    metavar="NAME,...",
    callback=chosen(list(WORKLOADS)),
    help="Names of the list below; all for all of them.",
)
@click.option(
    "--clients",
    default="leaders,spread",
    metavar="WHERE,...",
    callback=chosen(["leaders", "spread"]),
    help="Send to the leader of a partition, or to all nodes alike.",
)
@click.option(
    "--outstanding",
    default="1,64,512",
    metavar="N,...",
    callback=numbers(1, OUTSTANDING_MAX),
    help="Operations under way at a time, 1 to 4096; a row for each.",
)
@click.option(
    "--value-bytes",
    default="128",
    metavar="N,...",
    callback=numbers(1, VALUE_BYTES_MAX),
    help="Of a value or payload, up to 65536; rows for each.",
)
@click.option(
    "--keys",
    type=click.IntRange(100),
    metavar="N",
    help="How many there are, and how many payloads to take.  [default: 100000, but at most"
    " 256 MiB; more payloads when they are taken too soon]",
)
@window_options
@cluster_options
@picture_option(
    "--plot", "Draw throughput, latency and cost over --outstanding, and throughput over time."
)
def run(
    *,
    operations: tuple[str, ...],
    clients: tuple[str, ...],
    outstanding: tuple[int, ...],
    value_bytes: tuple[int, ...],
    keys: int | None,
    seconds: float,
    count: int | None,
    warmup: float,
    repetitions: int,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
    plot: Path | None,
) -> None:
    """Measure operations of all kinds.

    A closed loop with so many of them under way. A row says how many succeeded in a second, how
    long one took, and CPU seconds for 1,000 of them: of all nodes, and of the load generator, which
    shares the machine with them. `units` is that of the nodes by a loop that is timed around each
    repetition, so that machines and hours compare; `unit s` is what the loop took. `others` is how
    many cores something else used meanwhile: figures of a busy machine compare with nothing.
    """
    plan = RunPlan(
        operations,
        cast("tuple[Clients, ...]", clients),
        outstanding,
        value_bytes,
        keys,
        repetitions,
        window_of(seconds, count, warmup),
    )
    rows: list[Row] = []

    def complete(row: Row) -> None:
        rows.append(row)
        keep(json, rows)

    with cluster_of(nodes, partitions, directory, setting) as cluster:
        uvloop.run(run_plan(cluster, plan, complete))
        memory = ", ".join(f"{mib:.0f}" for mib in cluster.private_mib())
        print(f"private memory of the nodes afterwards: {memory} MiB")
    if plot:
        draw_rows([("", rows)], plot)
