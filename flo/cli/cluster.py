"""`flo cluster`: the state of the nodes and partitions."""

import click

from flo.cli import output, overview
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.output import EXIT_OK
from flo.cli.overview import Object, Partition, Views
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient

NODE_TIMEOUT_MS = 2000
"""For what one node says about itself: one that hangs must not hold up all the others."""


@click.group("cluster", cls=Group)
def cluster_group() -> None:
    """Look at the cluster.

    \b
    Example: flo cluster status
    """


@cluster_group.command("status")
@global_options
@pass_settings
def status(settings: Settings) -> None:
    """Print nodes and partitions: leaders, terms, commit and applied index, lag.

    Asks every node it can reach, and says what is wrong: nodes that do not answer, partitions
    without a leader. LAG is in committed log entries that a replica has not applied yet. The exit
    code is 0 whenever a node answered.

    \b
    JSON: {"cluster_id", "node_count", "partition_count", "replication",
      "nodes": [{"id", "zone", "client_address", "peer_address", "reachable", "error"}],
      "partitions": [{"partition", "leader", "term", "missing": [ids],
        "replicas": [{"node", "role", "term", "commit_index", "applied_index", "last_index",
          "takes_part", "disk_full", "broken", "commands", "reads", "lag"}]}],
      "problems": [texts]}

    \b
    Example: flo cluster status
    """

    async def work(client: FloClient) -> int:
        timeout_ms = min(NODE_TIMEOUT_MS, settings.timeout_ms)
        views = await overview.ask_all(client, timeout_ms=timeout_ms)
        partitions = overview.partitions(views)
        if settings.output_format == "json":
            output.print_json(_document(views, partitions))
        else:
            _print(views, partitions)
        return EXIT_OK

    with_client(settings, work)


def _document(views: Views, partitions: list[Partition]) -> Object:
    nodes = overview.nodes(views.first)
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
                "error": views.errors.get(overview.number(node, "id")),
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
            for each in partitions
        ],
        "problems": overview.problems(views, partitions),
    }


def _print(views: Views, partitions: list[Partition]) -> None:
    first, nodes = views.first, overview.nodes(views.first)
    click.echo(
        f"cluster {first.get('cluster_id')}: {len(nodes)} nodes,"
        f" {first.get('partition_count')} partitions, replication {first.get('replication')}\n"
    )
    output.print_table(
        ("NODE", "ZONE", "CLIENT", "PEER", "STATE", "LEADS", "REPLICAS", "LAG"),
        [_node_row(node, views, partitions) for node in nodes],
        align=(">", "<", "<", "<", "<", ">", ">", ">"),
    )
    click.echo()
    output.print_table(
        ("PARTITION", "NODE", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG"),
        [row for each in partitions for row in _replica_rows(each)],
        align=(">", ">", "<", ">", ">", ">", ">"),
    )
    found = overview.problems(views, partitions)
    if found:
        click.echo("\nproblems:")
    for problem in found:
        click.echo(f"  {problem}")


def _node_row(node: Object, views: Views, partitions: list[Partition]) -> tuple[object, ...]:
    node_id = overview.number(node, "id")
    own = [
        (each, replica)
        for each in partitions
        for replica in each.replicas
        if replica.node == node_id
    ]
    is_up = node_id not in views.errors
    return (
        node_id,
        node.get("zone") or "-",
        node.get("client_address") or "-",
        node.get("peer_address") or "-",
        "up" if is_up else "unreachable",
        sum(each.leader == node_id for each in partitions) if is_up else "-",
        len(own) if is_up else "-",
        sum(each.lag(replica) for each, replica in own) if is_up else "-",
    )


def _replica_rows(partition: Partition) -> list[tuple[object, ...]]:
    """One line per replica, the leader's first."""
    replicas = sorted(
        partition.replicas, key=lambda each: (each.node != partition.leader, each.node)
    )
    rows: list[tuple[object, ...]] = [
        (
            partition.number,
            each.node,
            each.role if each.takes_part else f"{each.role} (takes no part)",
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
