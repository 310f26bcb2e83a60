"""Types, units and bounds of settings, and what is said of a value that does not fit."""

import pytest

from flo.cli.config_table import COUNT_MAX, SETTINGS, Setting
from flo.cli.config_values import ValueProblemError, from_text, from_toml

ROWS = {setting.place: setting for setting in SETTINGS}
ID = ROWS["node.id"]
LISTEN = ROWS["node.listen"]
CLUSTER = ROWS["node.cluster"]
SIZE = ROWS["limits.value_bytes_max"]
TIME = ROWS["client.timeout_ms"]
SECONDS = ROWS["limits.connection_stall_s"]
FORMAT = ROWS["client.format"]


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (SIZE, "4096", 4096),
        (SIZE, "4096B", 4096),
        (SIZE, "64 KiB", 65_536),
        (SIZE, "64MiB", 64 << 20),
        (SIZE, "1.5 GiB", 3 << 29),
        (SIZE, "2 kB", 2_000),
        (SIZE, "2 MB", 2_000_000),
        (SIZE, "2GB", 2_000_000_000),
        (TIME, "250", 250),
        (TIME, "250ms", 250),
        (TIME, "0.3 s", 300),
        (TIME, "1.1s", 1_100),
        (TIME, "2m", 120_000),
        (TIME, "2 min", 120_000),
        (TIME, "1h", 3_600_000),
        (SECONDS, "500ms", 0.5),
        (SECONDS, "30", 30.0),
        (SECONDS, "1.5 m", 90.0),
    ],
)
def test_units(setting: Setting, text: str, value: float) -> None:
    for found in (from_text(setting, text), from_toml(setting, text)):
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "given", "value"),
    [
        (ID, 7, 7),
        (SIZE, 4096, 4096),
        (SIZE, 4096.0, 4096),
        (SECONDS, 2, 2.0),
        (SECONDS, 2.5, 2.5),
        (LISTEN, "a:1", "a:1"),
        (CLUSTER, "1=a:1,2=b:1", "1=a:1,2=b:1"),
        (CLUSTER, ["1=a:1", "2=b:1@z"], "1=a:1,2=b:1@z"),
        (FORMAT, "json", "json"),
    ],
)
def test_values_of_the_file(setting: Setting, given: object, value: object) -> None:
    found = from_toml(setting, given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "given", "problem"),
    [
        (ID, "1", 'must be a whole number, not "1"'),
        (ID, True, "must be a whole number, not true"),
        (ID, 1.5, "must be a whole number, not 1.5"),
        (ID, 0, "must be 1 to 65535, not 0"),
        (ID, 10**400, "must be 1 to 65535, not 1000"),
        (ID, [1], r"must be a whole number, not \[1\]"),
        (LISTEN, 9000, "must be text in quotes, not 9000"),
        (LISTEN, ["a:1"], "must be text in quotes, not"),
        (LISTEN, "", 'must be text that is not empty, not ""'),
        (LISTEN, "a\0b", "must be text that is not empty"),
        (LISTEN, {"a": 1}, "must be text in quotes, not a table"),
        (CLUSTER, ["1=a:1", 2], "must be text in quotes, or an array of such texts, not"),
        (CLUSTER, [], "must be text that is not empty"),
        (SIZE, "64 mb", r'such as "64 MiB", not "64 mb" \(units: B, kB, MB,'),
        (SIZE, "64 MiB of it", "64 MiB of it"),
        (SIZE, "0.1 B", "must be at least 1, not"),
        (SIZE, "1.5 B", "must be a whole number of bytes"),
        (SIZE, -1, "must be at least 1, not -1"),
        (SIZE, COUNT_MAX + 1, f"must be at most {COUNT_MAX}, not"),
        (SIZE, float("nan"), "must be at least 1, not nan"),
        (SIZE, float("inf"), "must be at most"),
        (SECONDS, float("nan"), "must be 0.001 to 86400, not nan"),
        (SECONDS, float("inf"), "must be 0.001 to 86400, not inf"),
        (SECONDS, 0, "must be 0.001 to 86400, not 0"),
        (TIME, "5 sec", r'such as "5s", not "5 sec" \(units: ms, s, m, min, h\)'),
        (TIME, 0.5, "must be 1 to 86400000, not 0.5"),
        (FORMAT, "xml", 'must be text or json, not "xml"'),
        (FORMAT, "x" * 500, "x{50}[.]{3}$"),
    ],
)
def test_what_cannot_be_meant(setting: Setting, given: object, problem: str) -> None:
    with pytest.raises(ValueProblemError, match=problem):
        from_toml(setting, given)


@pytest.mark.parametrize("text", ["", " ", "x", "1x", "+1", "1_000", "0x10", "1e3", "٣", "9" * 30])
def test_texts_that_are_no_numbers(text: str) -> None:
    for setting in (ID, SIZE, TIME, SECONDS):
        with pytest.raises(ValueProblemError, match="must be"):
            from_text(setting, text)
