"""`flo.toml`: read, with every name in it checked."""

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from flo.cli.config_errors import ConfigurationError
from flo.cli.config_table import SETTINGS, TABLES, Setting

_HEADER = re.compile(r"\s*\[{1,2}\s*([\w.-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*(?:\.\s*["']?([\w-]+)["']?\s*)?=""")


class InFile(NamedTuple):
    """What the file says for one setting, and where."""

    value: object
    where: str


def read_file(path: str, named_by: str) -> dict[str, InFile]:
    """The settings in the file by place, such as "node.listen". Raises ConfigurationError.

    named_by: the option or variable that holds the path.
    """
    text = _text(path, named_by)
    lines = _lines(text)

    def where(place: str) -> str:
        return f"{path}, line {lines[place]}" if place in lines else path

    found: dict[str, InFile] = {}
    for table, content in _parse(path, text).items():
        if not isinstance(content, dict) and table not in TABLES:
            raise ConfigurationError(f"{where(table)}: {_unknown(table)}")
        if table not in TABLES:
            near = difflib.get_close_matches(table, TABLES, n=1)
            meant = f"did you mean [{near[0]}]?" if near else f"there are [{'], ['.join(TABLES)}]"
            raise ConfigurationError(f"{where(table)}: unknown table [{table}]: {meant}")
        if not isinstance(content, dict):
            raise ConfigurationError(
                f"{where(table)}: {table} is a table: write [{table}], and its settings below it"
            )
        for name, value in cast("dict[str, object]", content).items():
            place = f"{table}.{name}"
            found[place] = InFile(value, where(place))
    _check_names(found)
    return found


def _text(path: str, named_by: str) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the configuration {path}: {error.strerror}. Correct {named_by}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the configuration {path} is not UTF-8 text: is it the file that {named_by} should"
            " name?"
        ) from error


def _parse(path: str, text: str) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(text)
    # Besides TOMLDecodeError, which is one, this is raised for a number with thousands of digits.
    except ValueError as error:
        # The line itself is not shown: the file may be the wrong one, with a secret in it.
        raise ConfigurationError(
            f"{path} is not valid TOML: {error}. Below [node], for instance, write"
            ' listen = "127.0.0.1:9000", with the quotes, and every setting once'
        ) from error


def _lines(text: str) -> dict[str, int]:
    """On which line each table and setting stands, as far as that can be seen at a glance."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header[1]
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            names = [name for name in (table, key[1], key[2]) if name]
            lines.setdefault(".".join(names), number)
            lines.setdefault(names[0], number)
    return lines


def _check_names(found: dict[str, InFile]) -> None:
    known = {setting.place for setting in SETTINGS}
    for place, given in found.items():
        if place not in known:
            raise ConfigurationError(f"{given.where}: {_unknown(place)}")


def _unknown(place: str) -> str:
    table, _, name = place.rpartition(".")
    same = [each for each in SETTINGS if name in (each.name, each.field)]
    near = same or _like(name, [each for each in SETTINGS if each.table == table])
    near = near or _like(name, SETTINGS)
    meant = f"did you mean {near[0].place}?" if near else "`flo node --print-config` prints all"
    return f"unknown setting {place}: {meant}"


def _like(name: str, settings: Sequence[Setting]) -> list[Setting]:
    near = difflib.get_close_matches(name, [each.name for each in settings], n=1)
    return [each for each in settings if each.name in near]
