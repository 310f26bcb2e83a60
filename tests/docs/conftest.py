"""The cluster that the documentation talks to, as if it were at ports 9000 to 9002."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import pytest

from bench.local_cluster import LocalCluster, free_ports
from flo import FloClient
from tests.docs.pages import ROOT
from tests.led_cluster import led_cluster

DOCUMENTED_PORTS: tuple[int, ...] = (9000, 9001, 9002)
_ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):(\d{4,5})\b")


@dataclass(frozen=True)
class Site:
    """Where the documentation is tried: a running cluster, an empty directory, and programs."""

    cluster_ports: tuple[int, ...]
    directory: Path
    programs: Path

    @property
    def endpoints(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.cluster_ports)

    def translate(self, text: str) -> str:
        """The text with the cluster's real ports in the place of those it has in the pages."""
        ports = dict(zip(DOCUMENTED_PORTS, self.cluster_ports, strict=True))
        return _with_ports(text, ports)

    def translate_code(self, text: str) -> str:
        """The same; and programs that listen themselves get free ports in the place of theirs."""
        ports: dict[int, int] = {}
        if "NodeConfig(" not in text:
            ports.update(zip(DOCUMENTED_PORTS, self.cluster_ports, strict=True))
        named = {int(found[2]) for found in _ADDRESS.finditer(text)} - ports.keys()
        ports.update(zip(sorted(named), free_ports(len(named)), strict=True))
        return _with_ports(text, ports)

    def translate_back(self, text: str) -> str:
        """What a program printed, with the ports of the documentation."""
        for real, documented in zip(self.cluster_ports, DOCUMENTED_PORTS, strict=True):
            text = re.sub(rf":{real}\b", f":{documented}", text)
        return text

    def environment(self) -> dict[str, str]:
        """For commands: `flo` is on the PATH, and finds the cluster where it looks unasked."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLO_")}
        return {
            **kept,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FLO_HOST": f"127.0.0.1:{self.cluster_ports[0]}",
        }


def _with_ports(text: str, ports: dict[int, int]) -> str:
    def translated(found: re.Match[str]) -> str:
        port = ports.get(int(found[2]))
        # "localhost" may mean ::1 first, where somebody else could listen.
        return found[0] if port is None else f"127.0.0.1:{port}"

    return _ADDRESS.sub(translated, text)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three node processes, once for each worker."""
    with led_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the PATH, with what an installation has in its own."""
    directory = tmp_path_factory.mktemp("bin")
    for name, arguments in (("flo", "-m flo.cli"), ("python", "")):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {quote(sys.executable)} {arguments} "$@"\n')
        program.chmod(0o755)
    return directory


@pytest.fixture
def site(
    cluster: LocalCluster, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    """A fresh start: an empty directory, which is the current one, and nothing in the cluster."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(_delete_all(cluster.endpoints))
    return Site(tuple(cluster.client_ports.values()), tmp_path, programs)


@pytest.fixture
def new_site(programs: Path, tmp_path: Path) -> Iterator[Site]:
    """A cluster that nobody has used, so that also the versions are those of the page."""
    (tmp_path / "here").mkdir()
    with led_cluster(tmp_path) as running:
        yield Site(tuple(running.client_ports.values()), tmp_path / "here", programs)


async def _delete_all(endpoints: str) -> None:
    async with FloClient(endpoints, timeout_ms=30_000) as client:
        page = await client.kv.scan()
        while True:
            await asyncio.gather(*(client.kv.delete(name) for name in page.names))
            if not page.has_more:
                break
            page = await client.kv.scan()
        for stream in (await client.stream.list()).streams:
            await client.stream.delete(stream.name, force=True)
        for queue in (await client.queue.list()).queues:
            await client.queue.purge(queue.name)
            await client.queue.dlq_purge(queue.name)
