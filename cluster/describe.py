"""What a node says about itself and the cluster: the partition table and the status document."""

import json
from typing import TYPE_CHECKING

from flo.wire.messages import PartitionRow, PartitionTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.addresses import Member
    from cluster.dispatch import Dispatcher
    from cluster.forwarding import MessageSender
    from cluster.founding import FoundingConfig
    from cluster.partition import Partition
    from cluster.raft.types import NodeId


class NodeDescription:
    """Implements the router's `Describe`."""

    def __init__(
        self,
        *,
        node_id: "NodeId",
        client_address: str,
        members: "tuple[Member, ...]",
        founding: "FoundingConfig",
        partitions: "dict[int, Partition]",
        dispatcher: "Dispatcher",
        network: "MessageSender",
        takes_part: "Callable[[int], bool]",
    ) -> None:
        self._node_id = node_id
        self._members = members
        self._founding = founding
        self._partitions = partitions
        self._dispatcher = dispatcher
        self._network = network
        self._takes_part = takes_part
        self._table_version = 1
        self._last_leaders: list[NodeId] = []
        self._client_addresses = {node_id: client_address}

    def learn_address(self, node_id: "NodeId", client_address: str) -> None:
        """Where the clients of a peer connect, as it told when it connected."""
        if self._client_addresses.get(node_id) != client_address:
            self._client_addresses[node_id] = client_address
            self._table_version += 1

    def partition_table(self) -> PartitionTable:
        replicas = self._founding.replicas
        leaders = [self._dispatcher.leader_of(partition) for partition in range(len(replicas))]
        if leaders != self._last_leaders:
            self._last_leaders = leaders
            self._table_version += 1
        addresses = self._client_addresses
        rows = [
            PartitionRow(
                addresses.get(leader),
                tuple(addresses[node] for node in nodes if node in addresses),
            )
            for leader, nodes in zip(leaders, replicas, strict=True)
        ]
        return PartitionTable(self._table_version, tuple(rows))

    def status(self, partition: int | None, *, digest: bool) -> bytes:
        """The status document of this node; see docs/cluster-status.md for its fields.

        Digests read a whole partition and stop the node meanwhile, so they are only made for
        one partition at a time.
        """
        wanted = sorted(self._partitions) if partition is None else [partition]
        document = {
            "cluster_id": self._founding.cluster_id,
            "node_id": self._node_id,
            "partition_count": self._founding.partition_count,
            "replication": self._founding.replication,
            "nodes": [self._node(member) for member in self._members],
            "partitions": [
                self._replica(number, digest=digest and partition is not None)
                for number in wanted
                if number in self._partitions
            ],
        }
        return json.dumps(document).encode()

    def _node(self, member: "Member") -> dict[str, object]:
        own = member.node_id == self._node_id
        return {
            "id": member.node_id,
            "zone": member.zone,
            "peer_address": str(member.address),
            "client_address": self._client_addresses.get(member.node_id),
            "connected": own or self._network.connected(member.node_id),
            "self": own,
        }

    def _replica(self, number: int, *, digest: bool) -> dict[str, object]:
        partition = self._partitions[number]
        group = partition.group
        replica: dict[str, object] = {
            "partition": number,
            "replicas": list(group.config.replicas),
            "leader": group.leader,
            "term": group.term,
            "role": group.role.name.lower(),
            # False until enough other replicas have accepted this node's data directory.
            "takes_part": self._takes_part(number),
            # After a lost disk: it learns from the others, and neither votes nor acknowledges.
            "learning": group.learner is not None,
            "commit_index": group.commit_index,
            "applied_index": group.applied_index,
            "last_index": group.last_index,
            "waiting": partition.unanswered,
            "commands": partition.commands_applied,
            "reads": partition.reads_served,
            "disk_full": partition.disk_full or partition.log_full,
            "broken": partition.broken,
        }
        if digest:
            # A state that is being replaced by a snapshot is closed.
            usable = partition.broken is None
            replica["digest"] = partition.replica.digest() if usable else None
        return replica
