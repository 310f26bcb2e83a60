"""The cluster as a whole, put together from what each node says about itself."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, cast

from flo.client import FloClient
from flo.exceptions import FloError, ProtocolError

Object: TypeAlias = Mapping[str, object]

UNKNOWN_ADDRESS = "its client address is not known: it has not been seen since the others started"


class Replica(NamedTuple):
    """One replica of a partition, as its node says. Counts are since that node started."""

    node: int
    role: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int
    takes_part: bool
    disk_full: bool
    broken: str | None
    commands: int
    reads: int


class Partition(NamedTuple):
    """One partition. Leader 0 when no node knows of one."""

    number: int
    leader: int
    term: int
    replicas: tuple[Replica, ...]
    missing: tuple[int, ...]

    def lag(self, replica: Replica) -> int:
        """How many committed entries the replica has not applied yet."""
        committed = max(each.commit_index for each in self.replicas)
        return committed - replica.applied_index

    @property
    def has_leader(self) -> bool:
        """Whether a leader is known and answers."""
        return self.leader != 0 and self.leader not in self.missing

    @property
    def majority(self) -> int:
        """How many replicas are needed."""
        return (len(self.replicas) + len(self.missing)) // 2 + 1


class Views(NamedTuple):
    """What the nodes that answered say, by node id, and why others did not."""

    first: Object
    documents: dict[int, Object]
    errors: dict[int, str]


async def ask_all(client: FloClient, *, timeout_ms: float) -> Views:
    """The views of all nodes that can be reached. Raises FloError when none answers."""
    first = await client.cluster_status()
    addresses = {number(node, "id"): node.get("client_address") for node in nodes(first)}
    documents, errors = await ask(client, addresses, timeout_ms=timeout_ms)
    return Views(first, documents, errors)


async def ask(
    client: FloClient, addresses: Mapping[int, object], *, timeout_ms: float
) -> tuple[dict[int, Object], dict[int, str]]:
    """What each node says within the time, or why it does not."""
    documents: dict[int, Object] = {}
    errors: dict[int, str] = {}

    async def ask_one(node_id: int, address: object) -> None:
        if not isinstance(address, str) or not address:
            errors[node_id] = UNKNOWN_ADDRESS
            return
        try:
            documents[node_id] = await client.cluster_status(address, timeout_ms=timeout_ms)
        except FloError as error:
            errors[node_id] = str(error)

    await asyncio.gather(*(ask_one(*each) for each in addresses.items()))
    return documents, errors


def partitions(views: Views) -> list[Partition]:
    """Every partition, put together from what each replica says about itself."""
    replica_ids: dict[int, tuple[int, ...]] = {}
    leaders: dict[int, tuple[int, int]] = {}
    replicas: dict[int, list[Replica]] = {}
    for node_id, document in (*views.documents.items(), (0, views.first)):
        for row in _objects(document, "partitions"):
            partition = number(row, "partition")
            replica_ids[partition] = tuple(cast(list[int], row.get("replicas", [])))
            known = (number(row, "term"), number(row, "leader"))
            leaders[partition] = max(leaders.get(partition, (0, 0)), known)
            if node_id in replica_ids[partition]:
                replicas.setdefault(partition, []).append(_replica(node_id, row))
    found: list[Partition] = []
    for partition, ids in sorted(replica_ids.items()):
        there = tuple(sorted(replicas.get(partition, ())))
        missing = set(ids) - {each.node for each in there}
        term, leader = leaders[partition]
        found.append(Partition(partition, leader, term, there, tuple(sorted(missing))))
    return found


def problems(views: Views, all_partitions: list[Partition]) -> list[str]:
    """What is wrong and why, one line each; empty when all is well."""
    lines = [f"node {node} is unreachable: {why}" for node, why in sorted(views.errors.items())]
    reasons: dict[str, list[int]] = {}
    for partition in all_partitions:
        for reason in _reasons(partition):
            reasons.setdefault(reason, []).append(partition.number)
    return lines + [f"{listed('partition', each)}: {why}" for why, each in reasons.items()]


def _reasons(partition: Partition) -> list[str]:
    reasons: list[str] = []
    if not partition.has_leader:
        reasons.append(f"no leader: {_no_leader(partition)}")
    for replica in partition.replicas:
        if replica.broken:
            reasons.append(f"the replica on node {replica.node} has stopped: {replica.broken}")
        if replica.disk_full:
            reasons.append(f"node {replica.node} takes no writes: its disk is full")
        if not replica.takes_part:
            reasons.append(
                f"node {replica.node} does not take part: not enough replicas have accepted its"
                " data directory (its log says why)"
            )
    return reasons


def _no_leader(partition: Partition) -> str:
    count = len(partition.replicas) + len(partition.missing)
    if len(partition.replicas) < partition.majority:
        are = "is" if len(partition.missing) == 1 else "are"
        return (
            f"{listed('node', partition.missing)} {are} unreachable,"
            f" {partition.majority} of {count} replicas are needed"
        )
    if partition.leader:
        return f"node {partition.leader} led it and is unreachable, the others elect a new one"
    return "an election is under way"


def listed(what: str, numbers: Sequence[int], *, most: int = 12) -> str:
    """`partition 3`, `partitions 1, 2 and 3`, `partitions 0, 1, 2 and 61 more`."""
    if len(numbers) == 1:
        return f"{what} {numbers[0]}"
    if len(numbers) > most:
        shown = ", ".join(map(str, numbers[:most]))
        return f"{what}s {shown} and {len(numbers) - most} more"
    return f"{what}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def nodes(document: Object) -> list[Object]:
    """The nodes that a document names. Raises ProtocolError for a document of another kind."""
    return _objects(document, "nodes")


def number(document: Object, name: str) -> int:
    """A number that has to be there. Raises ProtocolError."""
    found = document.get(name)
    if not isinstance(found, int):
        raise ProtocolError(
            f"the cluster status has no number {name!r}: is the node of this version?"
        )
    return found


def _replica(node_id: int, row: Object) -> Replica:
    broken = row.get("broken")
    return Replica(
        node_id,
        str(row.get("role", "unknown")),
        number(row, "term"),
        number(row, "commit_index"),
        number(row, "applied_index"),
        number(row, "last_index"),
        takes_part=row.get("takes_part") is not False,
        disk_full=row.get("disk_full") is True,
        broken=None if broken is None else str(broken),
        commands=number(row, "commands"),
        reads=number(row, "reads"),
    )


def _objects(document: Object, name: str) -> list[Object]:
    found = document.get(name)
    if not isinstance(found, list):
        raise ProtocolError(
            f"the cluster status has no list {name!r}: is the node of this version?"
        )
    return [cast(Object, each) for each in cast(list[object], found) if isinstance(each, dict)]
