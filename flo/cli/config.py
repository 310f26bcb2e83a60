"""The one loader of settings: defaults, then the file, then the environment, then flags."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from flo.cli.config_errors import ConfigurationError
from flo.cli.config_table import CONFIG_ENVIRONMENT, CONFIG_FLAG, SETTINGS, Setting, Value
from flo.cli.config_values import ValueProblemError, from_text, from_toml

if TYPE_CHECKING:
    from flo.cli.config_file import InFile

DEFAULT = "default"


class Chosen(NamedTuple):
    """The value that counts, and where it stands: "--listen", "FLO_LISTEN", "flo.toml, line 3"."""

    value: Value | None
    source: str


Configuration: TypeAlias = Mapping[str, Chosen]
"""By place, such as "node.listen"."""


class Given(NamedTuple):
    """What may hold settings, besides the file that these name."""

    flags: Mapping[str, str | None]
    """By place; None was not given."""
    environment: Mapping[str, str]
    config_file: str | None
    """What --config says."""


def load(tables: Iterable[str], given: Given) -> Configuration:
    """The settings of these tables. The names in the whole file are checked.

    An empty environment variable counts as none. Raises ConfigurationError.
    """
    in_file = _read_file(given)
    return {
        setting.place: _choose(setting, given, in_file.get(setting.place))
        for setting in settings_of(tables)
    }


def _choose(setting: Setting, given: Given, in_file: "InFile | None") -> Chosen:
    """What is given later wins; what is wrong is refused although something else wins."""
    chosen = Chosen(setting.default, DEFAULT)
    flag = given.flags.get(setting.place)
    variable = given.environment.get(setting.environment)
    name = ""
    try:
        if in_file is not None:
            name = f"{in_file.where}: {setting.place}"
            chosen = Chosen(from_toml(setting, in_file.value), in_file.where)
        if variable:
            name = setting.environment
            chosen = Chosen(from_text(setting, variable), name)
        if flag is not None:
            name = setting.flag
            chosen = Chosen(from_text(setting, flag), name)
    except ValueProblemError as error:
        raise ConfigurationError(f"{name} {error}") from error
    return chosen


def settings_of(tables: Iterable[str]) -> list[Setting]:
    """The rows of these tables."""
    wanted = set(tables)
    return [setting for setting in SETTINGS if setting.table in wanted]


def _read_file(given: Given) -> "Mapping[str, InFile]":
    path, named_by = given.config_file, CONFIG_FLAG
    if path is None:
        path, named_by = given.environment.get(CONFIG_ENVIRONMENT), CONFIG_ENVIRONMENT
        if not path:
            return {}
    from flo.cli.config_file import read_file

    return read_file(path, named_by)


def unknown_variables(environment: Iterable[str], *, near_only: bool) -> list[str]:
    """A warning for each variable FLO_... that is no setting; or only for what looks misspelt.

    They are no errors: other programs, and Kubernetes for a service named flo, set such names too.
    """
    known = {setting.environment for setting in SETTINGS} | {CONFIG_ENVIRONMENT}
    unknown = sorted(name for name in environment if name.startswith("FLO_") and name not in known)
    if not unknown:
        return []
    import difflib

    warnings: list[str] = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if near:
            warnings.append(f"{name} is no setting: did you mean {near[0]}?")
        elif not near_only:
            warnings.append(f"{name} is no setting, it has no effect")
    return warnings
