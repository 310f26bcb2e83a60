"""The command line against a fake cluster, and against a small real one."""

import json
from collections.abc import Callable, Iterator
from typing import TypeAlias, cast
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from bench.local_cluster import LocalCluster
from flo.cli import connecting, main
from tests.led_cluster import led_cluster
from tests.unit.cli.served import ServedCluster
from tests.unit.client.fake_node import FakeCluster

Run = Callable[..., Result]
Document: TypeAlias = dict[str, object]

TIMEOUT_MS = "30000"
"""A machine with many tests may be slow; nothing here waits for this time to end."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "FIRST_ANSWER_MS", int(TIMEOUT_MS))


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with ServedCluster() as served:
        yield served.cluster


@pytest.fixture
def run(cluster: FakeCluster) -> Run:
    """Runs `flo ARGUMENTS` against the fake cluster."""

    def run_flo(*arguments: str, stdin: bytes = b"") -> Result:
        options = ("--host", cluster.endpoints, "--timeout", TIMEOUT_MS)
        return CliRunner().invoke(main, [*options, *arguments], input=stdin, prog_name="flo")

    return run_flo


class Live:
    """Runs `flo ARGUMENTS` against a real cluster, in a namespace of its own."""

    def __init__(self, endpoints: str) -> None:
        self.namespace = uuid4().hex
        self.options = ("--host", endpoints, "-n", self.namespace, "--timeout", TIMEOUT_MS)

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """What a command did."""
        return CliRunner().invoke(main, [*self.options, *arguments], input=stdin, prog_name="flo")

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """What a command printed that succeeded."""
        ran = self(*arguments, stdin=stdin)
        assert (ran.exit_code, ran.stderr) == (0, ""), ran.stderr
        return ran.stdout

    def json(self, *arguments: str, exit_code: int = 0, stdin: bytes = b"") -> Document:
        """The object that a command printed; nothing else may stand there."""
        ran = self("--format", "json", *arguments, stdin=stdin)
        assert (ran.exit_code, ran.stderr) == (exit_code, ""), ran.stderr
        assert ran.stdout.count("\n") == 1
        return cast(Document, json.loads(ran.stdout))

    def error(self, *arguments: str, exit_code: int = 1) -> Document:
        """The error as it stands in JSON; nothing was printed to stdout."""
        ran = self("--format", "json", *arguments)
        assert (ran.exit_code, ran.stdout) == (exit_code, ""), ran.stderr
        return cast(Document, json.loads(ran.stderr)["error"])


@pytest.fixture(scope="session")
def live_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three real nodes, once for each worker."""
    with led_cluster(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest.fixture
def live(live_cluster: LocalCluster) -> Live:
    return Live(live_cluster.endpoints)
