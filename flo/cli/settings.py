"""What every command needs to know, and the options that say it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast

import click

from flo._caller import TIMEOUT_MS_MAX

Format: TypeAlias = Literal["text", "json"]

_C = TypeVar("_C", bound=Callable[..., object])


@dataclass(slots=True)
class Settings:
    """The global options."""

    host: str = "localhost:9000"
    namespace: str = "default"
    timeout_ms: float = 5000
    output_format: Format = "text"


def _set_host(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).host = value


def _set_namespace(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).namespace = value


def _set_timeout(ctx: click.Context, _param: click.Parameter, value: float | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).timeout_ms = value


def _set_format(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).output_format = cast(Format, value)


def global_options(command: _C, *, environment: bool = False) -> _C:
    """The global options, for the top group and for each command: nearer to the end wins.

    Only the top group reads the environment, else it would win over what stands before the command.
    """
    options = (
        click.option(
            "--host",
            metavar="HOST:PORT",
            envvar="FLO_HOST" if environment else None,
            expose_value=False,
            callback=_set_host,
            help="Node to connect to, or several with commas between. [default: localhost:9000]",
        ),
        click.option(
            "-n",
            "--namespace",
            envvar="FLO_NAMESPACE" if environment else None,
            expose_value=False,
            callback=_set_namespace,
            help="Namespace of the keys. [default: default]",
        ),
        click.option(
            "--timeout",
            metavar="MS",
            type=click.FloatRange(0, TIMEOUT_MS_MAX, min_open=True),
            expose_value=False,
            callback=_set_timeout,
            help="Milliseconds for each request. [default: 5000]",
        ),
        click.option(
            "--format",
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=_set_format,
            help="How results and errors are printed. [default: text]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


pass_settings = click.make_pass_decorator(Settings, ensure=True)
