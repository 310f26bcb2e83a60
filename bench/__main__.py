"""`python -m bench`: measures Flo on this machine, against a cluster that it starts."""

import click

from bench.commands.costs import client_cost, queue_length
from bench.commands.faults import endurance, failover, recovery
from bench.commands.files import compare, plot
from bench.commands.peers import peers
from bench.commands.run import run
from bench.commands.scaling import scaling
from bench.counters import counters
from flo.cli.groups import Group


@click.group(
    "python -m bench",
    cls=Group,
    context_settings={"show_default": True, "max_content_width": 100},
)
def main() -> None:
    """Measure Flo on this machine, against a cluster of real nodes that each command starts.

    \b
    A first look, a few minutes:
      python -m bench run
    Everything there is, with files to keep and to compare:
      python -m bench run --operations all --json new.json --plot new.svg
      python -m bench compare old.json new.json
    """


for _command in (
    run,
    compare,
    plot,
    peers,
    counters,
    failover,
    endurance,
    recovery,
    client_cost,
    queue_length,
    scaling,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
