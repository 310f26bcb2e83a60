"""What a node says about itself and the cluster."""

import json
from typing import TYPE_CHECKING, cast

from cluster.addresses import parse_members
from cluster.describe import NodeDescription
from cluster.founding import FoundingParameters, found_cluster
from flo.wire.messages import PartitionRow
from tests.unit.node.kit import Calls

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = parse_members("1=a:1@west,2=b:1@east,3=c:1@north")
FOUNDING = found_cluster(FoundingParameters(MEMBERS, replication=3, partition_count=2))


class Described:
    def __init__(self) -> None:
        self.calls = Calls(replicas=FOUNDING.replicas)
        self.describe = NodeDescription(
            node_id=1,
            client_address="a:9000",
            members=MEMBERS,
            founding=FOUNDING,
            partitions=vars(self.calls.dispatcher)["_partitions"],
            dispatcher=self.calls.dispatcher,
            network=self.calls.network,
            takes_part=lambda partition: partition == 0,
        )


def test_the_table_names_leaders_and_replicas() -> None:
    described = Described()
    described.calls.lead(2, partition=0)
    described.describe.learn_address(2, "b:9000")
    rows = described.describe.partition_table().partitions
    addresses = {1: "a:9000", 2: "b:9000"}
    expected = tuple(addresses[node] for node in FOUNDING.replicas[0] if node in addresses)
    assert rows[0] == PartitionRow("b:9000", expected)
    assert rows[1].leader is None


def test_the_table_gets_newer_when_a_leader_or_an_address_changes() -> None:
    described = Described()
    versions = [described.describe.partition_table().table_version]
    learn = described.describe.learn_address
    changes: list[Callable[[], None]] = [
        lambda: described.calls.lead(2),
        lambda: described.calls.lead(3),
        lambda: described.calls.lead(0),
        lambda: learn(2, "b:9000"),
        lambda: learn(2, "b:9001"),
    ]
    for change in changes:
        change()
        versions.append(described.describe.partition_table().table_version)
        described.describe.learn_address(1, "a:9000")
        assert described.describe.partition_table().table_version == versions[-1]
    assert versions == sorted(set(versions))


def test_the_status_is_a_document() -> None:
    described = Described()
    described.calls.network.peers.discard(3)
    document = cast(
        "dict[str, object]", json.loads(described.describe.status(7, digest=False).decode())
    )
    assert document["node_id"] == 1
    assert document["cluster_id"] == FOUNDING.cluster_id
    assert document["partitions"] == []
    nodes = cast("list[dict[str, object]]", document["nodes"])
    assert [(node["id"], node["connected"], node["self"]) for node in nodes] == [
        (1, True, True),
        (2, True, False),
        (3, False, False),
    ]
