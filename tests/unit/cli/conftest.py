"""The command line against a fake cluster."""

from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from flo.cli import main
from tests.unit.cli.served import ServedCluster
from tests.unit.client.fake_node import FakeCluster

Run = Callable[..., Result]


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with ServedCluster() as served:
        yield served.cluster


@pytest.fixture
def run(cluster: FakeCluster) -> Run:
    """Runs `flo ARGUMENTS` against the fake cluster."""

    def run_flo(*arguments: str, stdin: bytes = b"") -> Result:
        host = ("--host", cluster.endpoints)
        return CliRunner().invoke(main, [*host, *arguments], input=stdin, prog_name="flo")

    return run_flo
