"""`flo cluster`, and what all commands have in common."""

import json

import click
import pytest
from click.testing import CliRunner

from flo import __version__
from flo.cli import main
from flo.cli.cluster import Views, partitions
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_node import FakeCluster


def _row(partition: int, leader: int, role: str, *, commit: int, applied: int) -> dict[str, object]:
    return {
        "partition": partition,
        "replicas": [1, 2],
        "leader": leader,
        "term": 4,
        "role": role,
        "commit_index": commit,
        "applied_index": applied,
        "last_index": commit,
    }


def _status(cluster: FakeCluster) -> dict[str, object]:
    node = {"zone": "", "peer_address": "127.0.0.1:9500", "connected": True}
    return {
        "cluster_id": "c1",
        "node_id": 1,
        "partition_count": 1,
        "replication": 2,
        "nodes": [
            {**node, "id": 1, "client_address": cluster.endpoints, "self": True},
            {**node, "id": 2, "client_address": None, "self": False},
        ],
        "partitions": [_row(0, 1, "leader", commit=9, applied=9)],
    }


def test_status_as_text(run: Run, cluster: FakeCluster) -> None:
    cluster.nodes[0].status = _status(cluster)
    printed = run("cluster", "status")
    assert printed.exit_code == 0
    lines = [line.split() for line in printed.stdout.splitlines()]
    assert ["1", "-", cluster.endpoints, "127.0.0.1:9500", "up"] in lines
    assert ["2", "-", "-", "127.0.0.1:9500", "unreachable"] in lines
    assert ["0", "1", "leader", "4", "9", "9", "0"] in lines
    assert ["0", "2", "unreachable", "-", "-", "-", "-"] in lines


def test_status_as_json(run: Run, cluster: FakeCluster) -> None:
    cluster.nodes[0].status = _status(cluster)
    document = json.loads(run("cluster", "status", "--format", "json").stdout)
    assert document["node_count"] == 2
    assert document["nodes"][0]["reachable"]
    assert not document["nodes"][1]["reachable"]
    assert "address" in document["nodes"][1]["error"]
    assert document["partitions"] == [
        {
            "partition": 0,
            "leader": 1,
            "term": 4,
            "missing": [2],
            "replicas": [
                {
                    "node": 1,
                    "role": "leader",
                    "term": 4,
                    "commit_index": 9,
                    "applied_index": 9,
                    "last_index": 9,
                    "lag": 0,
                }
            ],
        }
    ]


def test_a_document_of_another_kind_is_refused(run: Run, cluster: FakeCluster) -> None:
    cluster.nodes[0].status = {"nodes": "none"}
    refused = run("cluster", "status")
    assert refused.exit_code == 3
    assert "nodes" in refused.stderr


def test_lag_and_leader_come_from_all_views() -> None:
    leader = {"partitions": [_row(0, 1, "leader", commit=9, applied=8)]}
    behind = {"partitions": [{**_row(0, 0, "follower", commit=5, applied=4), "term": 3}]}
    (partition,) = partitions(Views(behind, {2: behind, 1: leader}, {}))
    assert (partition.leader, partition.term, partition.missing) == (1, 4, ())
    assert {each.node: partition.lag(each) for each in partition.replicas} == {1: 1, 2: 5}


def test_version() -> None:
    printed = CliRunner().invoke(main, ["--version"], prog_name="flo")
    assert printed.stdout == f"flo {__version__}\n"


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()] if not path else []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
        else:
            found.append((*path, name))
    return found


@pytest.mark.parametrize("path", _commands(main), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(main, [*path, "--help"])
    assert printed.exit_code == 0
    assert "Example: flo" in printed.stdout
