"""What every client command needs to know, and the options that say it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast

import click

from flo._endpoints import parse_endpoints
from flo.cli.config import Configuration, Given, load, settings_of, unknown_variables
from flo.cli.config_errors import ConfigurationError
from flo.cli.config_table import CONFIG_ENVIRONMENT, CONFIG_FLAG, Setting
from flo.exceptions import InvalidEndpointError

Format: TypeAlias = Literal["text", "json"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_C = TypeVar("_C", bound=Callable[..., object])
_SHORT = {"--namespace": "-n"}


@dataclass(slots=True)
class Settings:
    """The global options: first as they were given, then, for the command, what counts."""

    host: str = ""
    namespace: str = ""
    timeout_ms: float = 0
    output_format: Format = "text"
    flags: dict[str, str | None] = field(default_factory=dict[str, str | None])
    config_file: str | None = None

    def given(self, flags: dict[str, str | None] | None = None) -> Given:
        """What the loader of settings reads; with the flags of a command of its own."""
        return Given({**self.flags, **(flags or {})}, os.environ, self.config_file)


def global_options(command: _C) -> _C:
    """The global options, for the top group and for each command: nearer to the end wins."""
    for setting in reversed(settings_of(["client"])):
        command = option_of(setting, expose_value=False, callback=_keep(setting))(command)
    return config_option(command)


def config_option(command: _C) -> _C:
    """`--config`; it counts for the command it stands at, and for those inside."""
    return click.option(
        CONFIG_FLAG,
        metavar="FILE",
        type=click.Path(readable=False),
        expose_value=False,
        callback=_keep_config,
        help=f"File with settings, as flo.toml. [{CONFIG_ENVIRONMENT}]",
    )(command)


def option_of(
    setting: Setting,
    *,
    expose_value: bool = True,
    callback: Callable[[click.Context, click.Parameter, str | None], str | None] | None = None,
) -> Callable[[_C], _C]:
    """The option of a setting. It is only text here: the loader understands it."""
    kinds: dict[str, click.ParamType[str]] = {
        "DIR": click.Path(file_okay=False, readable=False),
        "FILE": click.Path(readable=False),
    }
    choice = click.Choice(setting.choices) if setting.choices else click.STRING
    default = setting.unset if setting.default is None else setting.default
    short = [_SHORT[setting.flag]] if setting.flag in _SHORT else []
    return click.option(
        *short,
        setting.flag,
        setting.name,
        metavar=setting.metavar,
        type=kinds.get(setting.metavar, choice),
        expose_value=expose_value,
        callback=callback,
        help=f"{setting.help} [{default}; {setting.environment}]",
    )


def pass_settings(
    command: Callable[Concatenate[Settings, _P], _R],
) -> Callable[_P, _R]:
    """Gives a command its settings, from options, environment, file and defaults."""

    @wraps(command)
    def with_settings(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        settings = click.get_current_context().ensure_object(Settings)
        _resolve(settings)
        return command(settings, *args, **kwargs)

    return with_settings


def _resolve(settings: Settings) -> None:
    chosen = load(["client"], settings.given())
    for warning in unknown_variables(os.environ, near_only=True):
        click.echo(f"flo: warning: {warning}", err=True)
    settings.host = str(chosen["client.host"].value)
    settings.namespace = str(chosen["client.namespace"].value)
    settings.timeout_ms = float(chosen["client.timeout_ms"].value or 0)
    settings.output_format = cast(Format, chosen["client.format"].value)
    check_host(chosen)


def check_host(chosen: Configuration) -> None:
    """Raises ConfigurationError. The client refuses a wrong address too, not knowing its source."""
    host, source = chosen["client.host"]
    try:
        parse_endpoints(str(host))
    except InvalidEndpointError as error:
        if source != "--host":
            raise ConfigurationError(f"{error} [client.host: {source}]") from error


def _keep(
    setting: Setting,
) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is None:
            return
        settings = ctx.ensure_object(Settings)
        settings.flags[setting.place] = value
        if setting.name == "format":
            # What is wrong with the command itself is printed in this format too.
            settings.output_format = cast(Format, value)

    return keep


def _keep_config(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Settings).config_file = value
