"""`flo cluster`."""

import json

import pytest

from flo.cli.overview import Partition, Replica, Views, listed, partitions, problems
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
        "commands": 5,
        "reads": 6,
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
    assert ["1", "-", cluster.endpoints, "127.0.0.1:9500", "up", "1", "1", "0"] in lines
    assert ["2", "-", "-", "127.0.0.1:9500", "unreachable", "-", "-", "-"] in lines
    assert ["0", "1", "leader", "4", "9", "9", "0"] in lines
    assert ["0", "2", "unreachable", "-", "-", "-", "-"] in lines
    assert "problems:\n  node 2 is unreachable: its client address is not known" in printed.stdout


def test_status_as_json(run: Run, cluster: FakeCluster) -> None:
    cluster.nodes[0].status = _status(cluster)
    document = json.loads(run("cluster", "status", "--format", "json").stdout)
    why = "its client address is not known: it has not been seen since the others started"
    assert {name: document[name] for name in document if name != "partitions"} == {
        "cluster_id": "c1",
        "node_count": 2,
        "partition_count": 1,
        "replication": 2,
        "nodes": [
            {
                "id": 1,
                "zone": "",
                "client_address": cluster.endpoints,
                "peer_address": "127.0.0.1:9500",
                "reachable": True,
                "error": None,
            },
            {
                "id": 2,
                "zone": "",
                "client_address": None,
                "peer_address": "127.0.0.1:9500",
                "reachable": False,
                "error": why,
            },
        ],
        "problems": [f"node 2 is unreachable: {why}"],
    }
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
                    "takes_part": True,
                    "disk_full": False,
                    "broken": None,
                    "commands": 5,
                    "reads": 6,
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


def _replica(node: int, *, disk_full: bool = False, broken: str | None = None) -> Replica:
    return Replica(node, "follower", 3, 9, 9, 9, True, disk_full, broken, 0, 0)


def _problems(partition: Partition) -> list[str]:
    return problems(Views({}, {}, {}), [partition])


def test_a_healthy_partition_is_no_problem() -> None:
    assert _problems(Partition(3, 1, 3, (_replica(1), _replica(2)), (3,))) == []


@pytest.mark.parametrize(
    ("leader", "there", "missing", "why"),
    [
        (0, (1,), (2, 3), "nodes 2 and 3 are unreachable, 2 of 3 replicas are needed"),
        (1, (2,), (1,), "node 1 is unreachable, 2 of 2 replicas are needed"),
        (3, (1, 2), (3,), "node 3 led it and is unreachable, the others elect a new one"),
        (0, (1, 2), (3,), "an election is under way"),
    ],
)
def test_why_a_partition_has_no_leader(
    leader: int, there: tuple[int, ...], missing: tuple[int, ...], why: str
) -> None:
    replicas = tuple(_replica(node) for node in there)
    found = _problems(Partition(3, leader, 3, replicas, missing))
    assert found == [f"partition 3: no leader: {why}"]


def test_what_ails_a_replica_is_said() -> None:
    shut_out = _replica(3)._replace(takes_part=False)
    replicas = (_replica(1, broken="WalDamaged: record 7"), _replica(2, disk_full=True), shut_out)
    stopped, full, out = _problems(Partition(0, 2, 3, replicas, ()))
    assert stopped == "partition 0: the replica on node 1 has stopped: WalDamaged: record 7"
    assert full == "partition 0: node 2 takes no writes: its disk is full"
    assert out.startswith("partition 0: node 3 does not take part")


def test_partitions_with_one_trouble_share_a_line() -> None:
    ill = [Partition(number, 0, 3, (_replica(1),), (2, 3)) for number in range(20)]
    (line,) = problems(Views({}, {}, {}), ill)
    assert line.startswith("partitions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more: no leader")


def test_lists_read_as_sentences() -> None:
    assert listed("node", [4]) == "node 4"
    assert listed("node", (1, 2)) == "nodes 1 and 2"
    assert listed("node", [1, 2, 3]) == "nodes 1, 2 and 3"
