"""The example of a web application: three workers in this process, and three real ones."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from cluster.testing import free_ports
from examples.webapp.app import create_app, node_config
from tests.integration.kit import eventually

ROOT = Path(__file__).parents[2]
WORKERS = (1, 2, 3)


class Workers:
    """The settings of three workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ports = free_ports(9)
        self.web_ports = dict(enumerate(ports[:3], start=1))
        self._ports = dict(enumerate(ports[3:6], start=1))
        peer_ports = enumerate(ports[6:], start=1)
        self._members = ",".join(f"{n}=127.0.0.1:{port}" for n, port in peer_ports)

    def environment(self, worker: int) -> dict[str, str]:
        return {
            "FLO_NODE_ID": str(worker),
            "FLO_CLUSTER": self._members,
            "FLO_LISTEN": f"127.0.0.1:{self._ports[worker]}",
            "FLO_DATA_DIR": str(self.directory / f"data-{worker}"),
        }


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[list[httpx.AsyncClient]]:
    """HTTP clients of three workers that run in this process."""
    workers = Workers(tmp_path)
    clients: list[httpx.AsyncClient] = []
    async with AsyncExitStack() as stack:
        for worker in WORKERS:
            app = create_app(node_config(workers.environment(worker)))
            await stack.enter_async_context(app.router.lifespan_context(app))
            http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web")
            clients.append(await stack.enter_async_context(http))
        yield clients


async def test_visits_are_counted_by_all_workers_together(web: list[httpx.AsyncClient]) -> None:
    answers = await asyncio.gather(*(each.post("/visits/home") for each in web * 10))
    assert sorted(answer.json()["visits"] for answer in answers) == list(range(1, 31))


async def test_a_profile_is_changed_by_who_has_seen_it_last(web: list[httpx.AsyncClient]) -> None:
    assert (await web[0].get("/profiles/ada")).status_code == 404
    created = await web[0].put("/profiles/ada", content="first")
    assert created.status_code == 200
    assert (await web[1].put("/profiles/ada", content="new?")).status_code == 412
    found = await web[1].get("/profiles/ada")
    assert found.json() == {"text": "first"}
    seen = {"If-Match": found.headers["ETag"]}
    assert (await web[2].put("/profiles/ada", content="second", headers=seen)).status_code == 200
    assert (await web[1].put("/profiles/ada", content="third", headers=seen)).status_code == 412
    assert (await web[0].get("/profiles/ada")).json() == {"text": "second"}
    odd = await web[0].put("/profiles/ada", content="x", headers={"If-Match": "*"})
    assert odd.status_code == 400


async def test_health_tells_when_a_worker_can_serve(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    apps = [create_app(node_config(workers.environment(worker))) for worker in WORKERS]
    async with AsyncExitStack() as stack:
        first = httpx.AsyncClient(transport=httpx.ASGITransport(apps[0]), base_url="http://web")
        http = await stack.enter_async_context(first)
        await stack.enter_async_context(apps[0].router.lifespan_context(apps[0]))
        lonely = await http.get("/health")
        assert (lonely.status_code, lonely.json()["ready"]) == (503, False)
        for app in apps[1:]:
            await stack.enter_async_context(app.router.lifespan_context(app))

        async def ready() -> bool:
            return (await http.get("/health")).status_code == 200

        await eventually("the first worker is ready", ready)


# --- real processes ---


class Processes:
    """The workers as a server runs them."""

    def __init__(self, directory: Path) -> None:
        self._workers = Workers(directory)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, worker: int) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "examples.webapp.app:create_app"]
        with (self._workers.directory / f"worker-{worker}.log").open("ab") as log:
            self._running[worker] = subprocess.Popen(
                [*command, "--port", str(self._workers.web_ports[worker])],
                cwd=ROOT,
                env={**os.environ, **self._workers.environment(worker)},
                stdout=log,
                stderr=log,
            )

    def kill(self, worker: int) -> None:
        process = self._running.pop(worker)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Ends all of them in an orderly way."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(30)

    def log(self, worker: int) -> str:
        return (self._workers.directory / f"worker-{worker}.log").read_text()

    def url(self, worker: int) -> str:
        return f"http://127.0.0.1:{self._workers.web_ports[worker]}"

    async def ready(self, http: httpx.AsyncClient, worker: int) -> None:
        async def healthy() -> bool:
            assert self._running[worker].poll() is None, "the worker ended"
            try:
                return (await http.get(f"{self.url(worker)}/health")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(f"worker {worker} is ready", healthy)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    try:
        yield processes
    finally:
        processes.stop()


async def test_real_workers_go_on_when_one_is_killed(processes: Processes) -> None:
    # No proxy of the machine may come between.
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        for worker in WORKERS:
            processes.start(worker)
        for worker in WORKERS:
            await processes.ready(http, worker)

        async def visit(worker: int) -> int:
            answer = await http.post(f"{processes.url(worker)}/visits/home")
            assert answer.status_code == 200, answer.text
            return int(answer.json()["visits"])

        assert [await visit(worker) for worker in WORKERS] == [1, 2, 3]
        processes.kill(2)
        visits = await asyncio.gather(*(visit(worker) for worker in [1, 3] * 10))
        assert sorted(visits) == list(range(4, 24))
        processes.start(2)
        await processes.ready(http, 2)
        assert await visit(2) == 24
    processes.stop()
    for worker in WORKERS:
        assert "Application shutdown complete" in processes.log(worker)
