"""`--stale` of `flo kv` reaches the node, and without it every read is linearizable."""

import pytest

from flo.wire import messages as wire
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_node import FakeCluster

READS = wire.KvGet | wire.KvMget | wire.KvExists | wire.KvScan


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize(
    "command", [("get", "key"), ("mget", "key", "key"), ("exists", "key"), ("list", "")]
)
def test_stale_is_said_to_the_node(
    run: Run, cluster: FakeCluster, command: tuple[str, ...], stale: bool
) -> None:
    assert run("kv", "set", "key", "value").exit_code == 0
    assert run("kv", *command, *(["--stale"] if stale else [])).exit_code == 0
    asked = [
        request.context for request in cluster.nodes[0].requests if isinstance(request.body, READS)
    ]
    assert asked
    assert all((context is not None and context.stale) is stale for context in asked)
