"""`flo up`: a local cluster as child processes of this one."""

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from cluster.config import PARTITIONS_MAX, PEER_PORT_DISTANCE
from flo.cli import cluster as views
from flo.cli.node import STOP_TIMEOUT_S
from flo.cli.output import EXIT_FAILED, EXIT_OK
from flo.client import FloClient
from flo.exceptions import FloError

HOST = "127.0.0.1"
NODE_PROGRAM = (sys.executable, "-m", "flo.cli", "node", "--exit-with-parent")
READY_TIMEOUT_S = 600.0
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
        self.ready = False
        self.process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def start(self, arguments: list[str], *, program: tuple[str, ...] = NODE_PROGRAM) -> None:
        """Starts the process. A node ends by itself when this process does."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *program,
                *("--id", str(self.node_id), "--data-dir", str(self.data_dir)),
                *("--listen", self.address, "--peer-listen", f"{HOST}:{self.peer_port}"),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # Ctrl-C on the terminal is for this process, which stops the nodes in its turn.
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process is not None and self.process.returncode is not None

    async def watch(self, news: "asyncio.Queue[Child]") -> None:
        """Copies what the node prints to its log, and tells when it is ready and when it ends."""
        process = self._started()
        assert process.stdout is not None, "stdout is a pipe"
        with self.log.open("ab") as log:
            while line := await process.stdout.readline():
                log.write(line)
                log.flush()
                if line.startswith(_READY_LINE):
                    self.ready = True
                    news.put_nowait(self)
        await process.wait()
        news.put_nowait(self)

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

    def obituary(self) -> str:
        """That it ended, and the last thing it said."""
        code = self._started().returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"node {self.node_id} was killed by {name} (see {self.log})"
        lines = self.log.read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "it said nothing"
        return f"node {self.node_id} ended with exit code {code}: {last} (see {self.log})"

    def _started(self) -> asyncio.subprocess.Process:
        assert self.process is not None, "start comes first"
        return self.process


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
    type=click.IntRange(1, PARTITIONS_MAX),
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
    """Runs until a signal comes. Raises UpError when the cluster does not work."""
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None, "a coroutine runs in a task"
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, this.cancel)
    try:
        failure = await _run_children(children, arguments)
    except asyncio.CancelledError:
        click.echo("stopped")
        return
    raise UpError(failure)


async def _run_children(children: list[Child], arguments: list[str]) -> str:
    """Why they had to be stopped. However it ends, no child is left."""
    news: asyncio.Queue[Child] = asyncio.Queue()
    started: list[Child] = []
    async with asyncio.TaskGroup() as group:
        try:
            for child in children:
                await child.start(arguments)
                started.append(child)
                group.create_task(child.watch(news))
            failure = await _wait_ready(children, news)
            return failure or await _accompany(children, news)
        except FloError as error:
            return str(error)
        finally:
            await asyncio.gather(*(child.stop() for child in started))


async def _wait_ready(children: list[Child], news: asyncio.Queue[Child]) -> str:
    """Empty when every node is ready, else what is wrong."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not all(child.ready for child in children):
                child = await news.get()
                if child.ended:
                    return child.obituary()
    except TimeoutError:
        late = ", ".join(str(child.log) for child in children if not child.ready)
        return f"not all nodes were ready in {READY_TIMEOUT_S:g} s: see {late}"
    return ""


async def _accompany(children: list[Child], news: asyncio.Queue[Child]) -> str:
    """Prints what changes; returns, with what is wrong, when no node is left."""
    async with FloClient(",".join(child.address for child in children)) as client:
        leaders = await _wait_leaders(client)
        if not leaders:
            return f"not every partition had a leader in {LEADERS_TIMEOUT_S:g} s: see the logs"
        _print_welcome(children, leaders)
        while True:
            try:
                async with asyncio.timeout(_LOOK_INTERVAL_S):
                    child = await news.get()
                click.echo(child.obituary())
            except TimeoutError:
                leaders = await _print_moves(client, leaders)
            if all(child.ended for child in children):
                return "all nodes have ended"


async def _wait_leaders(client: FloClient) -> dict[int, int]:
    """The leader of each partition once all have one; empty when that takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEADERS_TIMEOUT_S):
            while True:
                leaders = await _leaders(client)
                if all(leaders.values()):
                    return leaders
                await asyncio.sleep(_LOOK_INTERVAL_S / 5)
    return {}


async def _leaders(client: FloClient) -> dict[int, int]:
    found = await views.ask_all(client)
    return {partition.number: partition.leader for partition in views.partitions(found)}


async def _print_moves(client: FloClient, before: dict[int, int]) -> dict[int, int]:
    try:
        now = await _leaders(client)
    except FloError as error:
        click.echo(f"no node answers: {error}")
        return before
    for partition, leader in now.items():
        if before.get(partition) != leader:
            old = before.get(partition) or "none"
            click.echo(f"partition {partition}: leader {old} -> {leader or 'none'}")
    return now


def _print_welcome(children: list[Child], leaders: dict[int, int]) -> None:
    for child in children:
        led = sum(leader == child.node_id for leader in leaders.values())
        click.echo(f"node {child.node_id}  {child.address}  leads {led} partitions  {child.log}")
    click.echo(
        f"ready: {len(children)} nodes, {len(leaders)} partitions. Try, in another terminal:"
    )
    click.echo(f"  flo --host {children[0].address} kv set greeting hello")
    click.echo(f"  flo --host {children[-1].address} kv get greeting")
    click.echo("Ctrl-C stops all nodes and keeps the data.")


def _secret_file(data_dir: Path) -> Path:
    from cluster.peers.secret import SecretError, create_secret_file

    path = data_dir / "secret"
    if not path.exists():
        try:
            create_secret_file(path)
        except SecretError as error:
            raise UpError(str(error)) from error
    return path


def _check_ports(children: list[Child]) -> None:
    for child in children:
        for port in (child.port, child.peer_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise UpError(
                        f"port {port} is taken: stop what uses it, or give another --base-port"
                    ) from error
