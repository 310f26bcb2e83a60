"""`python -m bench client-cost` and `queue-length`."""

from pathlib import Path

import click
import uvloop

from bench.client_cost import run_client_cost
from bench.commands.options import (
    OUTSTANDING_MAX,
    cluster_of,
    cluster_options,
    keep,
    numbers,
    repetitions_option,
    value_bytes_option,
)
from bench.queue_length import QueueLengthPlan, run_queue_length


@click.command("client-cost")
@click.option(
    "--operations",
    type=click.IntRange(10),
    default=10_000,
    metavar="N",
    help="Made by many tasks; a single task makes a tenth of them.",
)
@repetitions_option
@cluster_options
def client_cost(
    *,
    operations: int,
    repetitions: int,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Measure the CPU time of clients.

    Ours, beside the official SDK and redis-py: these are installed from PyPI, apart, the first
    time, and redis-py needs a redis-server.
    """
    with cluster_of(nodes, partitions, directory, setting) as cluster:
        rows = run_client_cost(cluster, operations=operations, repetitions=repetitions)
    keep(json, rows)


@click.command("queue-length")
@click.option(
    "--lengths",
    default="1000,1000000",
    metavar="N,...",
    callback=numbers(1, 100_000_000),
    help="Messages in the queues; the first alone, then all of them alternating.",
)
@click.option(
    "--outstanding",
    type=click.IntRange(1, OUTSTANDING_MAX),
    default=QueueLengthPlan.outstanding,
    metavar="N",
    help="Operations under way at a time.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=QueueLengthPlan.seconds,
    metavar="S",
    help="Of a measured window.",
)
@click.option(
    "--warmup",
    type=click.FloatRange(0),
    default=QueueLengthPlan.warmup_s,
    metavar="S",
    help="Seconds of load before it.",
)
@value_bytes_option
@repetitions_option
@cluster_options
def queue_length(
    *,
    lengths: tuple[int, ...],
    outstanding: int,
    seconds: float,
    warmup: float,
    value_bytes: int,
    repetitions: int,
    nodes: int,
    partitions: int,
    directory: Path | None,
    setting: tuple[str, ...],
    json: Path | None,
) -> None:
    """Hold long queues against short ones.

    Dequeues and acknowledges with so many messages in the queue, while as many are put back.
    """
    plan = QueueLengthPlan(
        lengths=lengths,
        payload_bytes=value_bytes,
        outstanding=outstanding,
        warmup_s=warmup,
        seconds=seconds,
        repetitions=repetitions,
    )
    with cluster_of(nodes, partitions, directory, setting) as cluster:
        rows = uvloop.run(run_queue_length(cluster, plan))
    keep(json, rows)
