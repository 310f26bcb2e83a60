"""From what a person typed to a value: types, units, bounds, and what is wrong with it."""

import re
from typing import cast

from flo.cli.config_table import COUNT_MAX, Kind, Setting, Value

_NUMBER = re.compile(r"(-?[0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", re.ASCII)
_TIME_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
_UNITS: dict[Kind, dict[str, float]] = {
    Kind.BYTES: {"": 1, **_BYTES},
    Kind.MILLISECONDS: {"": 1, **_TIME_MS},
    Kind.SECONDS: {"": 1, **{unit: ms / 1_000 for unit, ms in _TIME_MS.items()}},
    Kind.WHOLE: {"": 1},
}
_SHOWN_LENGTH_MAX = 60


class ValueProblemError(ValueError):
    """A value that cannot be meant; the message goes on from the name of the setting."""


def from_text(setting: Setting, text: str) -> Value:
    """The value of an option or of an environment variable. Raises ValueProblemError."""
    return _checked(setting, text, text if _is_text(setting) else _number(setting, text))


def from_toml(setting: Setting, given: object) -> Value:
    """The value that stands in the file. Raises ValueProblemError."""
    if _is_text(setting):
        text = _joined(given) if setting.kind is Kind.LIST else given
        if isinstance(text, str):
            return _checked(setting, given, text)
    elif isinstance(given, str) and setting.kind is not Kind.WHOLE:
        return _checked(setting, given, _number(setting, given))
    elif isinstance(given, int | float) and not isinstance(given, bool):
        return _checked(setting, given, given)
    raise _unexpected(setting, given)


def _joined(given: object) -> object:
    """An array of texts as one text, else what is given."""
    if not isinstance(given, list):
        return given
    items = cast("list[object]", given)
    texts = [each for each in items if isinstance(each, str)]
    return ",".join(texts) if len(texts) == len(items) else items


def _is_text(setting: Setting) -> bool:
    return setting.kind in (Kind.TEXT, Kind.LIST)


def _number(setting: Setting, text: str) -> int | float:
    found = _NUMBER.fullmatch(text.strip())
    unit = _UNITS[setting.kind].get(found[2]) if found else None
    if found is None or unit is None:
        raise _unexpected(setting, text)
    # Whole numbers stay exact; 0.3 s is 300 ms, and not a hair more.
    return round(float(found[1]) * unit, 6) if "." in found[1] else int(found[1]) * unit


def _checked(setting: Setting, given: object, value: Value) -> Value:
    if isinstance(value, str):
        if setting.choices and value not in setting.choices:
            raise ValueProblemError(f"must be {' or '.join(setting.choices)}, not {_shown(given)}")
        if not value or "\0" in value:
            raise ValueProblemError(f"must be text that is not empty, not {_shown(given)}")
        return value
    # Written so that "not a number" is refused too.
    if not setting.least <= value <= setting.most:
        raise ValueProblemError(f"must be {_bounds(setting, value)}, not {_shown(given)}")
    if setting.kind is Kind.SECONDS:
        return float(value)
    if value != int(value):
        raise _unexpected(setting, given)
    return int(value)


def _bounds(setting: Setting, value: float) -> str:
    if setting.most < COUNT_MAX:
        return f"{setting.least} to {setting.most}"
    return f"at most {COUNT_MAX}" if value > COUNT_MAX else f"at least {setting.least}"


def _unexpected(setting: Setting, given: object) -> ValueProblemError:
    units = _UNITS.get(setting.kind, {})
    hint = ""
    if isinstance(given, str) and len(units) > 1:
        hint = f" (units: {', '.join(unit for unit in units if unit)})"
    return ValueProblemError(f"must be {setting.kind.value}, not {_shown(given)}{hint}")


def _shown(given: object) -> str:
    """As it would stand in the file, and not too long."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, dict):
        return "a table"
    text = f'"{given}"' if isinstance(given, str) else str(given)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}..."
