"""One loader: which source wins, and what is said about names that nobody knows."""

from pathlib import Path

import pytest

from flo.cli.config import Chosen, Configuration, Given, load, unknown_variables
from flo.cli.config_errors import ConfigurationError
from flo.cli.config_file import read_file
from flo.cli.config_table import SETTINGS, TABLES


def load_text(directory: Path, text: str, *tables: str) -> Configuration:
    path = directory / "flo.toml"
    path.write_text(text)
    return load(tables or TABLES, Given({}, {}, str(path)))


def refusal(directory: Path, text: str, *tables: str) -> str:
    """What is said about this file, which is called `flo.toml` in it."""
    with pytest.raises(ConfigurationError) as caught:
        load_text(directory, text, *tables)
    return caught.value.message.replace(f"{directory}/", "")


def test_without_anything_the_defaults_count() -> None:
    chosen = load(TABLES, Given({}, {}, None))
    assert chosen == {each.place: Chosen(each.default, "default") for each in SETTINGS}


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "flo.toml"
    path.write_text("[node]\npartitions = 1\n")
    flags: dict[str, str | None] = {"node.partitions": "3"}
    environment = {"FLO_PARTITIONS": "2"}
    cases = [
        (Given(flags, environment, str(path)), Chosen(3, "--partitions")),
        (Given({}, environment, str(path)), Chosen(2, "FLO_PARTITIONS")),
        (Given({}, {}, str(path)), Chosen(1, f"{path}, line 2")),
        (Given({"node.partitions": None}, {"FLO_PARTITIONS": ""}, None), Chosen(8, "default")),
    ]
    for given, expected in cases:
        assert load(["node"], given)["node.partitions"] == expected


def test_each_setting_can_be_given_in_each_place(tmp_path: Path) -> None:
    for setting in SETTINGS:
        default = "1=a:1" if setting.default is None else setting.default
        if setting.name in ("id", "replication"):
            default = 1
        text = str(default)
        quoted = f'"{default}"' if isinstance(default, str) else default
        found = load_text(tmp_path, f"[{setting.table}]\n{setting.name} = {quoted}\n")
        where = f"{tmp_path}/flo.toml, line 2"
        assert found[setting.place] == Chosen(default, where)
        variable = load(TABLES, Given({}, {setting.environment: text}, None))
        assert variable[setting.place] == Chosen(default, setting.environment)
        flag = load(TABLES, Given({setting.place: text}, {}, None))
        assert flag[setting.place] == Chosen(default, setting.flag)


def test_the_environment_names_the_file_and_the_option_wins(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[node]\nid = 1")
    two.write_text("[node]\nid = 2")
    environment = {"FLO_CONFIG": str(one)}
    assert load(["node"], Given({}, environment, None))["node.id"].value == 1
    assert load(["node"], Given({}, environment, str(two)))["node.id"].value == 2
    assert load(["node"], Given({}, {"FLO_CONFIG": ""}, None))["node.id"].value is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[node]\nlistne = "a:1"',
            "line 2: unknown setting node.listne: did you mean node.listen?",
        ),
        ("[limits]\n\ncalls = 1", "line 3: unknown setting limits.calls: did you mean"),
        # Also what belongs elsewhere, and the names that the server's own classes use.
        ("[node]\ncalls_max = 1", "did you mean limits.calls_max?"),
        ("[node]\nnode_id = 1", "did you mean node.id?"),
        ('listen = "a:1"', "line 1: unknown setting listen: did you mean node.listen?"),
        ('[node]\nsecret = "x"', "did you mean node.secret_file?"),
        ("[node]\nquite_else = 1", "unknown setting node.quite_else: `flo node --print-config`"),
        ("[shop]\nid = 1", "unknown table [shop]: there are [node], [limits], [wal], [client]"),
        ("[nodes]\nid = 1", "line 1: unknown table [nodes]: did you mean [node]?"),
        ("node = 1", "line 1: node is a table: write [node]"),
        ("[[node]]\nid = 1", "line 1: node is a table: write [node]"),
        ("[node.id]\nx = 1", "line 1: node.id must be a whole number, not a table"),
        ("node.partitions = 0", "line 1: node.partitions must be 1 to 1024, not 0"),
        ("node = { partitions = 0 }", "node.partitions must be 1 to 1024, not 0"),
        ('["node"]\n"partitions" = 0', "node.partitions must be 1 to 1024, not 0"),
        ("[node]\nlisten = 127.0.0.1:9000", "(at line 2, column 15)"),
        ("[node]\nlisten = 127.0.0.1:9000", 'write listen = "127.0.0.1:9000", with the quotes'),
        ("[node]\nid = 1\nid = 1", "is not valid TOML"),
        (f"[node]\nid = {'9' * 5000}", "is not valid TOML"),
        ("[node", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_line(
    tmp_path: Path, text: str, says: str
) -> None:
    said = refusal(tmp_path, text)
    assert said.startswith("flo.toml")
    assert says in said


def test_names_are_checked_in_all_tables_and_values_in_those_that_are_needed(
    tmp_path: Path,
) -> None:
    assert "unknown setting wal.x" in refusal(tmp_path, "[wal]\nx = 1", "client")
    assert load_text(tmp_path, "[wal]\nwarn_bytes = 0", "client")["client.format"].value == "text"


def test_a_file_that_is_not_valid_does_not_show_its_content(tmp_path: Path) -> None:
    assert "5ec3e7" not in refusal(tmp_path, "5ec3e7" * 10)


def test_what_was_typed_wrong_names_its_place() -> None:
    given = Given({"node.id": "x"}, {}, None)
    with pytest.raises(ConfigurationError, match=r'^--id must be a whole number, not "x"'):
        load(["node"], given)
    with pytest.raises(
        ConfigurationError, match=r'^FLO_LIMITS_CALLS_MAX must be at least 1, not "0"'
    ):
        load(["limits"], Given({}, {"FLO_LIMITS_CALLS_MAX": "0"}, None))
    with pytest.raises(ConfigurationError, match=r"^--cluster must be text that is not empty"):
        load(["node"], Given({"node.cluster": ""}, {}, None))


def test_what_is_wrong_is_refused_although_something_else_wins(tmp_path: Path) -> None:
    path = tmp_path / "flo.toml"
    path.write_text("[node]\nid = 0\n")
    with pytest.raises(ConfigurationError, match=r"line 2: node.id must be 1 to 65535"):
        load(["node"], Given({"node.id": "1"}, {"FLO_NODE_ID": "1"}, str(path)))
    with pytest.raises(ConfigurationError, match=r"^FLO_NODE_ID must be"):
        load(["node"], Given({"node.id": "1"}, {"FLO_NODE_ID": "x"}, None))


def test_a_file_that_cannot_be_read_says_who_named_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match=r"missing.toml: No such file.*Correct --config"):
        load(["node"], Given({}, {"FLO_CONFIG": "other"}, missing))
    with pytest.raises(ConfigurationError, match=r"No such file.*Correct FLO_CONFIG"):
        load(["node"], Given({}, {"FLO_CONFIG": missing}, None))
    with pytest.raises(ConfigurationError, match=r"Is a directory"):
        load(["node"], Given({}, {}, str(tmp_path)))
    with pytest.raises(ConfigurationError, match=r"cannot read"):
        load(["node"], Given({}, {"FLO_CONFIG": "other"}, ""))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary is not UTF-8 text"):
        load(["node"], Given({}, {}, str(tmp_path / "binary")))


def test_a_byte_order_mark_and_the_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "flo.toml"
    path.write_bytes(b"\xef\xbb\xbf[node]\r\nid = 3\r\n")
    assert read_file(str(path), "--config") == {"node.id": (3, f"{path}, line 2")}


def test_unknown_variables_are_warned_of() -> None:
    environment = ["FLO_HSOT", "FLO_DATADIR", "FLO_SERVICE_PORT", "FLO_CONFIG", "FLO_HOST", "HOME"]
    near = [
        "FLO_DATADIR is no setting: did you mean FLO_DATA_DIR?",
        "FLO_HSOT is no setting: did you mean FLO_HOST?",
    ]
    assert unknown_variables(environment, near_only=True) == near
    rest = ["FLO_SERVICE_PORT is no setting, it has no effect"]
    assert unknown_variables(environment, near_only=False) == near + rest
