"""`flo cluster`: the state of the nodes and partitions."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, cast

import click

from flo.cli import output
from flo.cli.output import EXIT_OK
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.exceptions import FloError, ProtocolError

Object: TypeAlias = Mapping[str, object]


class Replica(NamedTuple):
    """One replica of a partition, as its node says. `lag` is in log entries behind the leader."""

    node: int
    role: str
    term: int
    commit_index: int
    applied_index: int
    last_index: int


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


class Views(NamedTuple):
    """What the nodes that answered say, by node id, and why others did not."""

    first: Object
    documents: dict[int, Object]
    errors: dict[int, str]


@click.group("cluster")
def cluster_group() -> None:
    """Look at the cluster."""


@cluster_group.command("status")
@global_options
@pass_settings
def status(settings: Settings) -> None:
    """Print nodes and partitions: leaders, terms, commit and applied index, lag.

    Asks every node it can reach; what only an unreachable node knows is left out.

    \b
    JSON: {"cluster_id", "node_count", "partition_count", "replication",
      "nodes": [{"id", "zone", "client_address", "peer_address", "reachable", "error"}],
      "partitions": [{"partition", "leader", "term", "missing": [ids],
        "replicas": [{"node", "role", "term", "commit_index", "applied_index",
          "last_index", "lag"}]}]}

    \b
    Example: flo cluster status
    """

    async def work(client: FloClient) -> int:
        views = await ask_all(client)
        if settings.output_format == "json":
            output.print_json(_document(views))
        else:
            _print(views)
        return EXIT_OK

    output.with_client(settings, work)


async def ask_all(client: FloClient) -> Views:
    """The views of all nodes that can be reached. Raises FloError when none answers."""
    first = await client.cluster_status()
    views = Views(first, {}, {})
    addresses = {_number(node, "id"): node.get("client_address") for node in _nodes(first)}
    async with asyncio.TaskGroup() as group:
        for node_id, address in addresses.items():
            group.create_task(_ask(client, node_id, address, views))
    return views


async def _ask(client: FloClient, node_id: int, address: object, views: Views) -> None:
    if not isinstance(address, str) or not address:
        views.errors[node_id] = "its client address is not known"
        return
    try:
        views.documents[node_id] = await client.cluster_status(address)
    except FloError as error:
        views.errors[node_id] = str(error)


def partitions(views: Views) -> list[Partition]:
    """Every partition, put together from what each replica says about itself."""
    replica_ids: dict[int, tuple[int, ...]] = {}
    leaders: dict[int, tuple[int, int]] = {}
    replicas: dict[int, list[Replica]] = {}
    for node_id, document in (*views.documents.items(), (0, views.first)):
        for row in _objects(document, "partitions"):
            number = _number(row, "partition")
            ids = cast(list[int], row.get("replicas", []))
            replica_ids[number] = tuple(ids)
            known = (_number(row, "term"), _number(row, "leader"))
            leaders[number] = max(leaders.get(number, (0, 0)), known)
            if node_id in ids:
                replicas.setdefault(number, []).append(_replica(node_id, row))
    return [
        Partition(
            number,
            leader=leaders[number][1],
            term=leaders[number][0],
            replicas=tuple(replicas.get(number, ())),
            missing=tuple(
                each for each in ids if each not in {r.node for r in replicas.get(number, ())}
            ),
        )
        for number, ids in sorted(replica_ids.items())
    ]


def _replica(node_id: int, row: Object) -> Replica:
    return Replica(
        node_id,
        str(row.get("role", "unknown")),
        _number(row, "term"),
        _number(row, "commit_index"),
        _number(row, "applied_index"),
        _number(row, "last_index"),
    )


def _document(views: Views) -> Object:
    nodes = _nodes(views.first)
    return {
        "cluster_id": views.first.get("cluster_id"),
        "node_count": len(nodes),
        "partition_count": views.first.get("partition_count"),
        "replication": views.first.get("replication"),
        "nodes": [
            {
                "id": node.get("id"),
                "zone": node.get("zone"),
                "client_address": node.get("client_address"),
                "peer_address": node.get("peer_address"),
                "reachable": node.get("id") in views.documents,
                "error": views.errors.get(_number(node, "id")),
            }
            for node in nodes
        ],
        "partitions": [
            {
                "partition": each.number,
                "leader": each.leader,
                "term": each.term,
                "missing": list(each.missing),
                "replicas": [
                    {**replica._asdict(), "lag": each.lag(replica)} for replica in each.replicas
                ],
            }
            for each in partitions(views)
        ],
    }


def _print(views: Views) -> None:
    first = views.first
    click.echo(
        f"cluster {first.get('cluster_id')}: {first.get('partition_count')} partitions,"
        f" replication {first.get('replication')}"
    )
    click.echo()
    output.print_table(
        ("NODE", "ZONE", "CLIENT", "PEER", "STATE"),
        [
            (
                node.get("id"),
                node.get("zone") or "-",
                node.get("client_address") or "-",
                node.get("peer_address") or "-",
                "unreachable" if _number(node, "id") in views.errors else "up",
            )
            for node in _nodes(first)
        ],
        align=(">", "<", "<", "<", "<"),
    )
    click.echo()
    output.print_table(
        ("PARTITION", "NODE", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG"),
        [row for each in partitions(views) for row in _rows(each)],
        align=(">", ">", "<", ">", ">", ">", ">"),
    )


def _rows(partition: Partition) -> list[tuple[object, ...]]:
    """One line per replica, the leader's first."""
    replicas = sorted(
        partition.replicas, key=lambda each: (each.node != partition.leader, each.node)
    )
    rows: list[tuple[object, ...]] = [
        (
            partition.number,
            each.node,
            each.role,
            each.term,
            each.commit_index,
            each.applied_index,
            partition.lag(each),
        )
        for each in replicas
    ]
    rows += [
        (partition.number, node, "unreachable", "-", "-", "-", "-") for node in partition.missing
    ]
    return rows


def _nodes(document: Object) -> list[Object]:
    return _objects(document, "nodes")


def _objects(document: Object, name: str) -> list[Object]:
    found = document.get(name)
    if not isinstance(found, list):
        raise ProtocolError(
            f"the cluster status has no list {name!r}: is the node of this version?"
        )
    return [cast(Object, each) for each in cast(list[object], found) if isinstance(each, dict)]


def _number(document: Object, name: str) -> int:
    found = document.get(name)
    if not isinstance(found, int):
        raise ProtocolError(
            f"the cluster status has no number {name!r}: is the node of this version?"
        )
    return found
