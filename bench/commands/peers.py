"""`python -m bench peers`."""

from itertools import product
from pathlib import Path

import click

from bench.beside import OPERATIONS, BesidePlan, Case, flo, run_beside
from bench.commands.options import (
    OUTSTANDING_MAX,
    chosen,
    cluster_options,
    keep,
    numbers,
    told_in_a_sentence,
    value_bytes_option,
    window_of,
    window_options,
)
from bench.peers import PEERS


@click.command("peers")
@click.option(
    "--systems",
    default="all",
    metavar="NAME,...",
    callback=chosen(list(PEERS)),
    help=f"Some of {', '.join(PEERS)}; all for those that are installed.",
)
@click.option(
    "--operations",
    default="all",
    metavar="NAME,...",
    callback=chosen(list(OPERATIONS)),
    help=f"Some of {', '.join(OPERATIONS)}; a system that has none like it is left out.",
)
@click.option(
    "--outstanding",
    default="1,64,512",
    metavar="N,...",
    callback=numbers(1, OUTSTANDING_MAX),
    help="Operations under way at a time, 1 to 4096; a row for each.",
)
@value_bytes_option
@window_options
@cluster_options
def peers(
    *,
    systems: tuple[str, ...],
    operations: tuple[str, ...],
    outstanding: tuple[int, ...],
    value_bytes: int,
    seconds: float,
    count: int | None,
    warmup: float,
    repetitions: int,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Measure Flo beside other systems.

    etcd, NATS JetStream, RabbitMQ and Redis, as far as they are installed. Each is started here, in
    its most durable form, and stopped again; bench/peers/README.md says how. Redis is a single
    node, which replicates nothing: an upper bound.
    """
    present = [PEERS[name] for name in systems if _is_installed(name)]
    plan = BesidePlan(
        (flo(nodes, partitions, setting), *present),
        tuple(Case(*each) for each in product(operations, outstanding)),
        value_bytes,
        repetitions,
        window_of(seconds, count, warmup),
        directory,
    )
    with told_in_a_sentence():
        keep(json, run_beside(plan, _complain))


def _is_installed(name: str) -> bool:
    reason = PEERS[name].missing()
    if reason:
        _complain(f"left out: {name}: {reason}")
    return reason is None


def _complain(text: str) -> None:
    click.echo(text, err=True)
