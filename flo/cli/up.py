"""`flo up`: a local cluster as child processes of this one."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

import click

from flo.cli import cluster as views
from flo.cli.node import PEER_PORT_DISTANCE, STOP_TIMEOUT_S
from flo.cli.output import EXIT_FAILED, EXIT_OK
from flo.client import FloClient
from flo.exceptions import FloError

HOST = "127.0.0.1"
READY_TIMEOUT_S = 60.0
LEADERS_TIMEOUT_S = 60.0
_LOOK_INTERVAL_S = 0.5
_READY_LINE = b"flo node ready"


class UpError(Exception):
    """The local cluster does not work; the message says in one line why."""


class Child:
    """One node: its process, and the task that reads what it prints."""

    def __init__(self, node_id: int, base_port: int, data_dir: Path) -> None:
        self.node_id = node_id
        self.port = base_port + node_id - 1
        self.peer_port = self.port + PEER_PORT_DISTANCE
        self.data_dir = data_dir / f"node-{node_id}"
        self.log = data_dir / f"node-{node_id}.log"
        self.ready = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def start(self, arguments: list[str]) -> None:
        """Starts the process. It ends by itself when this process does."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flo.cli", "node", "--exit-with-parent"),
                *("--id", str(self.node_id), "--data-dir", str(self.data_dir)),
                *("--listen", self.address, "--peer-listen", f"{HOST}:{self.peer_port}"),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # Ctrl-C on the terminal is for this process, which stops the nodes in its turn.
                start_new_session=True,
            )

    async def watch(self, died: Callable[["Child"], None]) -> None:
        """Copies what the node prints to its log until it ends."""
        process = self._started()
        assert process.stdout is not None, "stdout is a pipe"
        with self.log.open("ab") as log:
            await _copy(process.stdout, log, self.ready)
        await process.wait()
        died(self)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help in time."""
        process = self._started()
        with suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()

    def last_words(self) -> str:
        """The end of its log, for a node that died."""
        lines = self.log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"

    def _started(self) -> asyncio.subprocess.Process:
        assert self.process is not None, "start comes first"
        return self.process


async def _copy(source: asyncio.StreamReader, log: IO[bytes], ready: asyncio.Event) -> None:
    while line := await source.readline():
        log.write(line)
        log.flush()
        if line.startswith(_READY_LINE):
            ready.set()


@click.command("up")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 99), metavar="N")
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
    type=click.IntRange(1024, 65_535 - PEER_PORT_DISTANCE - 99),
    metavar="PORT",
    help="Client port of the first node; the others count up, peer ports are 500 higher.",
)
@click.option(
    "--partitions",
    default=8,
    show_default=True,
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Number of partitions, fixed with the first start.",
)
def up_command(nodes: int, data_dir: Path, base_port: int, partitions: int) -> NoReturn:
    """Run a cluster on this machine until Ctrl-C.

    \b
    Example: flo up --nodes 3 --data-dir /tmp/flo
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        secret = _secret_file(data_dir)
        children = [Child(node_id, base_port, data_dir) for node_id in range(1, nodes + 1)]
        _check_ports(children)
        members = ",".join(f"{each.node_id}={HOST}:{each.peer_port}" for each in children)
        arguments = ["--cluster", members, "--partitions", str(partitions)]
        asyncio.run(_up(children, [*arguments, "--secret-file", str(secret)]))
    except (UpError, FloError, OSError) as error:
        click.echo(f"flo: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error
    raise SystemExit(EXIT_OK)


async def _up(children: list[Child], arguments: list[str]) -> None:
    """Runs until a signal comes. Raises UpError when the cluster does not start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    started: list[Child] = []
    news: asyncio.Queue[Child] = asyncio.Queue()
    try:
        async with asyncio.TaskGroup() as group:
            for child in children:
                await child.start(arguments)
                started.append(child)
            watchers = [group.create_task(each.watch(news.put_nowait)) for each in started]
            live = group.create_task(_live(children, news))
            await _first(group, live, stop)
            live.cancel()
            click.echo("stopping")
            await asyncio.gather(*(child.stop() for child in started))
            await asyncio.wait(watchers)
    except* (UpError, FloError) as errors:
        raise errors.exceptions[0] from None
    finally:
        await asyncio.gather(*(child.stop() for child in started))
