"""The command line. `main` is the console script `flo`."""

import click

from flo._version import __version__
from flo.cli.cluster import cluster_group
from flo.cli.kv import kv_group
from flo.cli.node import node_command
from flo.cli.settings import global_options
from flo.cli.up import up_command

__all__ = ["main"]


def _main() -> None:
    """Flo: key-value, queues and streams on a replicated cluster.

    Exit codes: 0 success, 1 "no" or not found, 2 wrong usage, 3 the server refused or could not be
    reached. Results go to stdout, messages to stderr.

    \b
    Example: flo --host localhost:9000 kv set greeting hello
    """


main = click.group(name="flo")(
    click.version_option(__version__, prog_name="flo", message="%(prog)s %(version)s")(
        global_options(_main, environment=True)
    )
)

for _command in (kv_group, cluster_group, node_command, up_command):
    main.add_command(_command)
