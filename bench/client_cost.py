"""What a call costs the process that makes it: CPU time of the client, in microseconds.

Each client does the same work in a process of its own, on the event loop of the standard library:
puts and gets of 128 bytes, from one task and from many. The servers are other processes and are not
counted. Ours and the official SDK talk to the same cluster, redis-py to a redis-server.
"""

import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import cost_program
from bench.apart import OFFICIAL_SDK, REDIS, NotInstalledError, installed, run_apart
from bench.cluster_view import wait_until_settled
from bench.local_cluster import LocalCluster, free_ports

_OURS = (Path(__file__).parents[1], Path(sysconfig.get_path("platlib")))
"""Our package, and what it needs: the blocking client brings its own event loop."""
_MANY = 64
_TITLE = (
    f"{'client':<24} {'operation':<10} {'tasks':>5} {'clients':>7} {'CPU us/op':>10}"
    f" {'ops/s':>8}  CPU us/op of each repetition"
)
_START_S = 10.0


class Contestant(NamedTuple):
    """One kind of client, and where its package and its server are."""

    name: str
    kind: str
    paths: tuple[Path, ...]
    endpoints: str
    clients: tuple[int, ...]
    """How many of them share the many tasks."""


def run_client_cost(
    cluster: LocalCluster, *, operations: int, repetitions: int
) -> list[dict[str, object]]:
    """Prints the table and returns its rows. A tenth of `operations` is made by a single task."""
    asyncio.run(wait_until_settled(cluster))
    rows: list[dict[str, object]] = []
    with _redis() as redis:
        contestants = list(_contestants(cluster, redis))
        print(_TITLE, flush=True)
        for operation in ("put", "get"):
            for concurrency in (1, _MANY):
                for each in contestants:
                    for clients in each.clients if concurrency > 1 else (1,):
                        count = operations if concurrency > 1 else operations // 10
                        work = cost_program.Work(operation, concurrency, clients, count)
                        row = _row(each, work, repetitions)
                        rows.append(row)
    return rows


def _contestants(cluster: LocalCluster, redis: str | None) -> Iterator[Contestant]:
    endpoints = cluster.endpoints
    yield Contestant("flo", "flo", _OURS, endpoints, (1,))
    yield Contestant("flo.sync (threads)", "sync", _OURS, endpoints, (1,))
    try:
        # It knows one node. Its calls on one client wait for each other.
        first = endpoints.split(",")[0]
        yield Contestant(OFFICIAL_SDK, "flo", (installed(OFFICIAL_SDK),), first, (1, _MANY))
    except NotInstalledError as error:
        print(f"left out: {error}")
    if redis is None:
        print("left out: redis-py, because there is no redis-server on this machine")
        return
    try:
        yield Contestant(REDIS, "redis", (installed(REDIS),), redis, (1,))
    except NotInstalledError as error:
        print(f"left out: {error}")


def _row(each: Contestant, work: cost_program.Work, repetitions: int) -> dict[str, object]:
    measured = [_run(each, work) for _ in range(repetitions)]
    row: dict[str, object] = {
        "client": each.name,
        **work._asdict(),
        "cpu_us_per_op": statistics.median(one.cpu_us for one in measured),
        "cpu_us_per_op_reps": [round(one.cpu_us, 1) for one in measured],
        "ops_s": statistics.median(one.per_second for one in measured),
    }
    print(
        f"{each.name:<24} {work.operation:<10} {work.concurrency:>5} {work.clients:>7}"
        f" {row['cpu_us_per_op']:>10.1f} {row['ops_s']:>8.0f}  {row['cpu_us_per_op_reps']}",
        flush=True,
    )
    return row


def _run(each: Contestant, work: cost_program.Work) -> cost_program.Measured:
    arguments = (each.kind, each.endpoints, *map(str, work))
    with run_apart(each.paths, cost_program.__file__, *arguments) as process:
        printed, complaints = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{each.name} failed: {complaints}")
    return cost_program.Measured(**json.loads(printed))


@contextmanager
def _redis() -> "Generator[str | None]":
    """The address of a redis-server that keeps everything in memory; None when there is none."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        process = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
        try:
            _wait_until_listening(port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _wait_until_listening(port: int) -> None:
    give_up_at = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)
        else:
            return
