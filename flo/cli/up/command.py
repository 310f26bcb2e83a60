"""`flo up` itself: its options, the processes, and their end."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from cluster.config import PARTITIONS_MAX, PEER_PORT_DISTANCE
from flo.cli.output import EXIT_FAILED, EXIT_OK
from flo.cli.up import checks
from flo.cli.up.accompany import Company
from flo.cli.up.children import HOST, Child
from flo.cli.up.errors import UpError
from flo.cli.up.screens import PlainScreen, Screen, print_line
from flo.exceptions import FloError

NODES_MAX = 99


@click.command("up")
@click.option(
    "--nodes",
    type=click.IntRange(1, NODES_MAX),
    metavar="N",
    help="Number of nodes, fixed with the first start. [default: 3, or as the data has it]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".flo"),
    show_default=True,
    help="Where the nodes keep their data; starting again on it keeps it.",
)
@click.option(
    "--base-port",
    default=9000,
    show_default=True,
    type=click.IntRange(1024, 65_535 - PEER_PORT_DISTANCE - NODES_MAX),
    metavar="PORT",
    help="Client port of the first node; the others count up, peer ports are 500 higher.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, PARTITIONS_MAX),
    metavar="N",
    help="Number of partitions, fixed with the first start. [default: 8, or as the data has it]",
)
@click.option("--plain", is_flag=True, help="Print lines, no live table, also on a terminal.")
def up_command(
    nodes: int | None, data_dir: Path, base_port: int, partitions: int | None, plain: bool
) -> NoReturn:
    """Run a cluster on this machine until Ctrl-C.

    On a terminal a table shows the nodes as they are. LEADS: of how many of its partitions a node
    is the leader. LAG: committed log entries that it has not applied yet. WRITES/S and READS/S:
    what it did for the partitions it leads.

    \b
    Example: flo up --nodes 3 --data-dir /tmp/flo
    """
    try:
        with checks.own(data_dir):
            size = checks.size_of(data_dir, nodes, partitions)
            secret = checks.secret_file(data_dir).absolute()
            children = [Child(each, base_port, data_dir) for each in range(1, size.nodes + 1)]
            checks.check_ports(children)
            members = ",".join(f"{each.node_id}={HOST}:{each.peer_port}" for each in children)
            founding = ("--cluster", members, "--partitions", str(size.partitions))
            arguments = (*founding, "--secret-file", str(secret))
            asyncio.run(_up(children, arguments, plain=plain))
    except (UpError, FloError, OSError) as error:
        click.echo(f"flo: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error
    raise SystemExit(EXIT_OK)


async def _up(children: Sequence[Child], arguments: Sequence[str], *, plain: bool) -> None:
    """Runs until a signal comes. Raises UpError when the cluster does not work."""
    this = asyncio.current_task()
    assert this is not None, "a coroutine runs in a task"
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            this.cancel()
            return
        # Whoever asks twice does not want to wait.
        for child in children:
            if child.process is not None:
                child.kill()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await _run(children, arguments, plain=plain)
    except asyncio.CancelledError:
        print_line("stopped")


async def _run(children: Sequence[Child], arguments: Sequence[str], *, plain: bool) -> None:
    """Returns never. However it ends, no node is left and the terminal is as before."""
    screen = _screen(plain=plain)
    company = Company(children, screen)
    started: list[Child] = []
    watches: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    try:
        with screen:
            for child in children:
                await child.start(arguments)
                started.append(child)
                watches.append(loop.create_task(child.watch(company.news)))
            await company.run()
    except asyncio.CancelledError:
        print_line("stopping all nodes (Ctrl-C again kills them) ...")
        raise
    finally:
        await asyncio.gather(*(child.stop() for child in started), *watches)


def _screen(*, plain: bool) -> Screen:
    """A live table where somebody can see it."""
    dumb = os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    if plain or dumb or "CI" in os.environ or not sys.stdout.isatty():
        return PlainScreen()
    from flo.cli.up.live import LiveScreen

    return LiveScreen()
