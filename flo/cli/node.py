"""`flo node`: one node in the foreground."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypedDict, Unpack

import click

from flo.cli.output import EXIT_FAILED

if TYPE_CHECKING:
    from cluster.config import NodeConfig

STOP_TIMEOUT_S = 10.0
_STDIN = 0


class NodeOptions(TypedDict):
    """The options of `flo node` that say what the node is."""

    node_id: int | None
    listen: str
    advertise: str | None
    peer_listen: str | None
    data_dir: Path
    cluster: str | None
    partitions: int
    replication: int | None
    secret_file: Path | None


@click.command("node")
@click.option(
    "--id",
    "node_id",
    type=click.IntRange(1, 65_535),
    envvar="FLO_NODE_ID",
    metavar="N",
    help="Id of this node, one of those in --cluster. [default: 1 without --cluster]",
)
@click.option(
    "--listen",
    default="127.0.0.1:9000",
    show_default=True,
    envvar="FLO_LISTEN",
    metavar="H:P",
    help="Where clients connect.",
)
@click.option(
    "--advertise",
    envvar="FLO_ADVERTISE",
    metavar="H:P",
    help="Where clients reach this node, when that is not where it listens.",
)
@click.option(
    "--peer-listen",
    envvar="FLO_PEER_LISTEN",
    metavar="H:P",
    help="Where other nodes connect. [default: the host of --listen with the port that --cluster"
    " names, else the client port + 500]",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("flo-data"),
    show_default=True,
    envvar="FLO_DATA_DIR",
    help="Where the node keeps its data; created if missing.",
)
@click.option(
    "--cluster",
    envvar="FLO_CLUSTER",
    metavar="1=H:P[@ZONE],...",
    help="Peer addresses of all founding nodes, this one included. [default: this node alone]",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    envvar="FLO_PARTITIONS",
    metavar="N",
    help="Number of partitions, fixed when the cluster is founded.",
)
@click.option(
    "--replication",
    type=click.IntRange(1),
    envvar="FLO_REPLICATION",
    metavar="N",
    help="Replicas of each partition. [default: 3, or the number of nodes if less]",
)
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="FLO_SECRET_FILE",
    help="File with the secret that all nodes of the cluster share.",
)
@click.option("--exit-with-parent", is_flag=True, hidden=True)
def node_command(*, exit_with_parent: bool, **options: Unpack[NodeOptions]) -> NoReturn:
    """Run one node in the foreground until SIGTERM or Ctrl-C.

    \b
    Example: flo node --id 1 --listen 10.0.0.1:9000 --data-dir /var/lib/flo \\
        --cluster 1=10.0.0.1:9500,2=10.0.0.2:9500,3=10.0.0.3:9500
    """
    config = build_config(options)
    from cluster.node import run

    if exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    raise SystemExit(run(config))


def build_config(options: NodeOptions) -> "NodeConfig":
    """The node's configuration. Raises click.UsageError for what cannot be meant."""
    from cluster.addresses import AddressError
    from cluster.config import ConfigError, NodeConfig

    members, node_id = options["cluster"], options["node_id"]
    if members and node_id is None:
        raise click.UsageError("--cluster needs --id: which of its nodes is this one?")
    try:
        return NodeConfig(
            options["data_dir"],
            node_id=node_id,
            listen=options["listen"],
            peer_listen=options["peer_listen"],
            advertise=options["advertise"],
            members=members or "",
            partition_count=options["partitions"],
            replication=options["replication"],
            secret=_secret(options["secret_file"]),
        )
    except (AddressError, ConfigError) as error:
        raise click.UsageError(str(error)) from error


def _secret(path: Path | None) -> bytes | None:
    from cluster.peers.secret import SecretError, load_secret

    if path is None:
        return None
    try:
        return load_secret(path)
    except SecretError as error:
        click.echo(f"flo: {error}", err=True)
        raise SystemExit(EXIT_FAILED) from error


def _stop_at_end_of_input() -> None:
    """Stops this process when whoever started it is gone and its end of the pipe with it."""
    # Not sys.stdin: its lock, held here for ever, would not let the interpreter end.
    while os.read(_STDIN, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os.kill(os.getpid(), signal.SIGKILL)
