"""A configuration as TOML, each value with where it comes from."""

import json
from collections.abc import Mapping

from flo.cli.config import Configuration
from flo.cli.config_errors import ConfigurationError
from flo.cli.config_table import SETTINGS, TABLES, Kind, Setting, Value


def to_toml(chosen: Configuration, effective: Mapping[str, Value | None]) -> str:
    """The file that, read as configuration, means the same.

    effective: by place, what became of a value; for instance of one that was not given.
    """
    blocks: list[str] = []
    for table in TABLES:
        lines = [f"[{table}]"]
        for setting in SETTINGS:
            if setting.table == table:
                value, source = chosen[setting.place]
                value = effective.get(setting.place, value)
                lines.append(_line(setting, value, _comment(source)))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _line(setting: Setting, value: Value | None, source: str) -> str:
    if value is None:
        return f"# {setting.name} is not set: {setting.unset}"
    if setting.kind is Kind.LIST and "," in str(value):
        texts = [f"    {_text(setting, each.strip())}," for each in str(value).split(",")]
        return "\n".join([f"{setting.name} = [  # {source}", *texts, "]"])
    written = _text(setting, value) if isinstance(value, str) else str(value)
    return f"{setting.name} = {written}  # {source}"


def _text(setting: Setting, text: str) -> str:
    """A basic string. What JSON escapes is a part of what TOML does; only DEL is missing."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{setting.place} is not UTF-8, which a TOML file must be: it can only be given as"
            f" {setting.flag} or {setting.environment}"
        ) from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _comment(source: str) -> str:
    """A path may hold characters that a comment may not."""
    return "".join(each if each.isprintable() else "?" for each in source)
