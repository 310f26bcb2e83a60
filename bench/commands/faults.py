"""`python -m bench failover`, `endurance` and `recovery`: what lasts, and what breaks."""

from pathlib import Path

import click
import uvloop

from bench.commands.options import (
    OUTSTANDING_MAX,
    check_page,
    cluster_of,
    cluster_options,
    keep,
    page_option,
    picture_option,
    value_bytes_option,
)
from bench.endurance import run_endurance
from bench.failover import run_failover
from bench.plot import draw
from bench.recovery import SCENARIOS, RecoveryPlan, run_recovery
from bench.report import endurance_table, recovery_tables, write_between_marks


@click.command("failover")
@click.option("--trials", type=click.IntRange(1), default=10, metavar="N", help="Kills in all.")
@cluster_options
def failover(
    *,
    trials: int,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Kill nodes: how long do writes stand still?

    One node after the other is killed with kill -9 and started again. A trial's value is the gap
    between two acknowledgements of the slowest partition that the node led.
    """
    _needs_a_majority(nodes)
    with cluster_of(nodes, partitions, directory, setting) as cluster:
        keep(json, uvloop.run(run_failover(cluster, trials)))


@click.command("endurance")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    metavar="M",
    help="Of full load.",
)
@click.option(
    "--keys", type=click.IntRange(100), default=20_000, metavar="N", help="That are written."
)
@click.option(
    "--outstanding",
    type=click.IntRange(1, OUTSTANDING_MAX),
    default=256,
    metavar="N",
    help="Puts under way at a time, over all partitions.",
)
@value_bytes_option
@page_option
@picture_option("--plot", "Draw throughput, latency, memory and disk over time.")
@cluster_options
def endurance(
    *,
    minutes: float,
    keys: int,
    outstanding: int,
    value_bytes: int,
    page: Path | None,
    plot: Path | None,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Put for minutes under full load.

    Throughput, latency, elections, and each node's memory and disk are looked at every second.
    """
    check_page(page, "endurance")
    with cluster_of(nodes, partitions, directory, setting) as cluster:
        rows = uvloop.run(
            run_endurance(
                cluster,
                minutes=minutes,
                keys=keys,
                value_bytes=value_bytes,
                outstanding=outstanding,
            )
        )
    keep(json, rows)
    table = endurance_table(rows)
    print(table)
    if page:
        write_between_marks(page, "endurance", table)
    if plot:
        draw(rows, plot)


@click.command("recovery")
@click.argument("scenarios", nargs=-1, type=click.Choice(list(SCENARIOS)), metavar="[SCENARIO]...")
@click.option(
    "--keys",
    type=click.IntRange(100),
    default=RecoveryPlan.keys,
    metavar="N",
    help="That are there before.",
)
@click.option(
    "--rate",
    type=click.IntRange(1),
    default=RecoveryPlan.rate,
    metavar="N",
    help="Requests a second of the steady load.",
)
@click.option(
    "--missed-writes",
    type=click.IntRange(1),
    default=RecoveryPlan.missed_writes,
    metavar="N",
    help="What the others take meanwhile, in that scenario.",
)
@click.option(
    "--window",
    type=click.FloatRange(0, min_open=True),
    default=RecoveryPlan.window_s,
    metavar="S",
    help="Seconds that are measured before, and after.",
)
@value_bytes_option
@page_option
@cluster_options
def recovery(
    *,
    scenarios: tuple[str, ...],
    keys: int,
    rate: int,
    missed_writes: int,
    window: float,
    value_bytes: int,
    page: Path | None,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Take a node away: how long until it is back?

    And what the others' clients notice, under a steady load.

    \b
    Scenarios, all of them unless some are given; what happens while the node is away:
      restart   nothing: kill -9, and a start some seconds later
      missed    the others take many writes
      rebuild   its states are not to be believed, as after a crash of its system
      repair    its disk is lost
    """
    _needs_a_majority(nodes)
    check_page(page, "recovery")
    plan = RecoveryPlan(
        keys=keys,
        value_bytes=value_bytes,
        rate=rate,
        missed_writes=missed_writes,
        window_s=window,
    )
    with cluster_of(nodes, partitions, directory, setting) as cluster:
        rows = uvloop.run(run_recovery(cluster, plan, list(scenarios or SCENARIOS)))
    keep(json, rows)
    if page:
        write_between_marks(page, "recovery", recovery_tables(rows))


def _needs_a_majority(nodes: int) -> None:
    if nodes < 3:
        raise click.UsageError("--nodes: give 3 or more, so that a majority is left")
