"""The command line. `main` is the console script `flo`."""

import click

from flo._version import __version__
from flo.cli.groups import TopGroup
from flo.cli.settings import global_options

__all__ = ["main"]


def _main() -> None:
    """Flo: key-value, queues and streams on a replicated cluster.

    Exit codes: 0 success, 1 "no" or not found, 2 wrong usage, 3 the server refused or could not be
    reached. Results go to stdout, messages to stderr.

    \b
    Example: flo --host localhost:9000 kv set greeting hello
    """


main = click.group(name="flo", cls=TopGroup)(
    click.version_option(__version__, prog_name="flo", message="%(prog)s %(version)s")(
        global_options(_main)
    )
)

# Each command is imported when it is used: `flo kv get` needs nothing of the server.


def _cluster() -> click.Command:
    from flo.cli.cluster import cluster_group

    return cluster_group


def _completion() -> click.Command:
    from flo.cli.completion import completion_command

    return completion_command


def _kv() -> click.Command:
    from flo.cli.kv import kv_group

    return kv_group


def _node() -> click.Command:
    from flo.cli.node import node_command

    return node_command


def _queue() -> click.Command:
    from flo.cli.queue import queue_group

    return queue_group


def _stream() -> click.Command:
    from flo.cli.stream import streams

    return streams


def _up() -> click.Command:
    from flo.cli.up.command import up_command

    return up_command


main.loaders = {
    "cluster": _cluster,
    "completion": _completion,
    "kv": _kv,
    "node": _node,
    "queue": _queue,
    "stream": _stream,
    "up": _up,
}
