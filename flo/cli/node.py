"""`flo node`: one node in the foreground."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import click

from flo.cli.config import Configuration, load, settings_of, unknown_variables
from flo.cli.config_errors import ConfigurationError
from flo.cli.config_print import to_toml
from flo.cli.config_table import TABLES, Value
from flo.cli.output import EXIT_FAILED
from flo.cli.settings import Settings, check_host, config_option, option_of

if TYPE_CHECKING:
    from cluster.config import ConfigError, NodeConfig

STOP_TIMEOUT_S = 10.0
NODE_TABLES = ("node", "limits", "wal")
_STDIN = 0

_C = TypeVar("_C", bound=Callable[..., object])


def _node_options(command: _C) -> _C:
    for setting in reversed(settings_of(["node"])):
        if setting.flag:
            command = option_of(setting)(command)
    return command


@click.command("node")
@_node_options
@config_option
@click.option("--repair", is_flag=True, help="The data is lost: learn all anew from the others.")
@click.option("--print-config", is_flag=True, help="Print the settings as TOML, and do not start.")
@click.option("--exit-with-parent", is_flag=True, hidden=True)
@click.pass_context
def node_command(
    ctx: click.Context,
    /,
    *,
    repair: bool,
    print_config: bool,
    exit_with_parent: bool,
    **options: str | None,
) -> None:
    """Run one node in the foreground until SIGTERM or Ctrl-C.

    In brackets: the default, and the environment variable. Options win over variables, variables
    over the file. docs/configuration.md tells more, and what only the file has.

    \b
    Example: flo node --id 1 --listen 10.0.0.1:9000 --data-dir /var/lib/flo \\
        --cluster 1=10.0.0.1:9500,2=10.0.0.2:9500,3=10.0.0.3:9500
    """
    flags = {f"node.{name}": value for name, value in options.items()}
    given = ctx.ensure_object(Settings).given(flags)
    for warning in unknown_variables(given.environment, near_only=False):
        click.echo(f"flo node: warning: {warning}", err=True)
    if print_config:
        chosen = load(TABLES, given)
        check_host(chosen)
        click.echo(to_toml(chosen, _effective(chosen, build_config(chosen))), nl=False)
        return
    chosen = load(NODE_TABLES, given)
    config = build_config(chosen, secret=_secret(chosen), repair=repair)
    from cluster.process import run

    if exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    raise SystemExit(run(config, _typed(sys.argv[1:])))


def _typed(arguments: list[str]) -> str:
    """The command line that started this process, to be typed again."""
    return shlex.join(["flo", *(each for each in arguments if each != "--exit-with-parent")])


def build_config(
    chosen: Configuration, *, secret: bytes | None = None, repair: bool = False
) -> "NodeConfig":
    """The node's configuration. Raises ConfigurationError for what cannot work."""
    from cluster.config import ConfigError, Limits, NodeConfig
    from cluster.storage.wal_config import WalConfig

    # That the rows of each table fit the class is tested.
    limits = cast("Callable[..., Limits]", Limits)
    wal = cast("Callable[..., WalConfig]", WalConfig)
    node = cast("Callable[..., NodeConfig]", NodeConfig)
    try:
        return node(
            **_parameters(chosen, "node"),
            secret=secret,
            repair=repair,
            limits=limits(**_parameters(chosen, "limits")),
            wal=wal(**_parameters(chosen, "wal")),
        )
    except ConfigError as error:
        raise ConfigurationError(_with_sources(error, chosen)) from error


def _parameters(chosen: Configuration, table: str) -> dict[str, Value]:
    values = {row.field: chosen[row.place].value for row in settings_of([table])}
    # The node is given the secret itself.
    values.pop("secret_file", None)
    return {name: value for name, value in values.items() if value is not None}


def _with_sources(error: "ConfigError", chosen: Configuration) -> str:
    rows = [row for row in settings_of(NODE_TABLES) if row.field in error.settings]
    return f"{error} [{'; '.join(f'{row.place}: {chosen[row.place].source}' for row in rows)}]"


def _effective(chosen: Configuration, config: "NodeConfig") -> dict[str, Value | None]:
    """What became of the settings, also of those that were not given."""
    parts = {"node": config, "limits": config.limits, "wal": config.wal}
    found: dict[str, Value | None] = {}
    for row in settings_of(NODE_TABLES):
        value = getattr(parts[row.table], row.field, chosen[row.place].value)
        if row.field == "members":
            value = ",".join(
                f"{each.node_id}={each.address}{each.zone and f'@{each.zone}'}"
                for each in config.members
            )
        found[row.place] = value if isinstance(value, int | float | None) else str(value)
    return found


def _secret(chosen: Configuration) -> bytes | None:
    from cluster.peers.secret import SecretError, load_secret

    path, source = chosen["node.secret_file"]
    if path is None:
        return None
    try:
        return load_secret(Path(str(path)))
    except SecretError as error:
        click.echo(f"flo: {error} [node.secret_file: {source}]", err=True)
        raise SystemExit(EXIT_FAILED) from error


def _stop_at_end_of_input() -> None:
    """Stops this process when whoever started it is gone and its end of the pipe with it."""
    # Not sys.stdin: its lock, held here for ever, would not let the interpreter end.
    while os.read(_STDIN, 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os.kill(os.getpid(), signal.SIGKILL)
