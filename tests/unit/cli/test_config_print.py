"""What `--print-config` prints is TOML, names sources, and means the same when read again."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flo.cli import main
from flo.cli.config import Chosen, Given, load
from flo.cli.config_errors import ConfigurationError
from flo.cli.config_print import to_toml
from flo.cli.config_table import SETTINGS, TABLES

THREE = "1=10.0.0.1:9500,2=10.0.0.2:9500@b,3=[::1]:9501@c"


def printed(*arguments: str, **environment: str) -> str:
    done = CliRunner().invoke(main, ["node", *arguments, "--print-config"], env=environment)
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def source_of(text: str, name: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith(f"{name} ="))
    return line.partition("# ")[2]


def test_every_setting_is_printed_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "flo.toml"
    file.write_text('[node]\nrequest_timeout_ms = "2s"\n[client]\nnamespace = "shop"\n')
    arguments = ("--config", str(file), "--listen", "127.0.0.1:9100")
    text = printed(*arguments, FLO_LIMITS_CALLS_MAX="7", FLO_PARTITIONS="16")
    document = tomllib.loads(text)
    given = {f"{table}.{name}" for table in TABLES for name in document[table]}
    unset = {"node.advertise", "node.secret_file"}
    assert given == {setting.place for setting in SETTINGS} - unset
    for name, value, source in (
        ("listen", '"127.0.0.1:9100"', "--listen"),
        ("partitions", "16", "FLO_PARTITIONS"),
        ("request_timeout_ms", "2000", f"{file}, line 2"),
        ("namespace", '"shop"', f"{file}, line 4"),
        ("calls_max", "7", "FLO_LIMITS_CALLS_MAX"),
        ("connection_stall_s", "30.0", "default"),
        # What follows from other settings.
        ("peer_listen", '"127.0.0.1:9600"', "default"),
    ):
        assert f"{name} = {value}  # {source}\n" in text
    assert "# secret_file is not set: local peers only\n" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--id", "2", "--cluster", THREE, "--listen", "0.0.0.0:9000", "--replication", "2"],
        ["--advertise", "flo.example:1", "--secret-file", "no such file", "--data-dir", 'a "b"\\c'],
    ],
)
def test_what_is_printed_means_the_same_when_it_is_read(
    tmp_path: Path, arguments: list[str]
) -> None:
    first = printed(*arguments)
    file = tmp_path / "flo.toml"
    file.write_text(first)
    second = printed("--config", str(file))
    assert tomllib.loads(second) == tomllib.loads(first)
    for name in ("id", "data_dir", "partitions", "cluster"):
        assert source_of(second, name).startswith(f"{file}, line ")


def test_members_stand_one_on_a_line() -> None:
    document = tomllib.loads(printed("--cluster", THREE, "--id", "1"))
    assert document["node"]["cluster"] == THREE.split(",")


def test_a_secret_is_not_printed_nor_needed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("5ec3e7" * 8)
    text = printed("--secret-file", str(secret))
    assert "5ec3e7" not in text
    assert tomllib.loads(text)["node"]["secret_file"] == str(secret)


def test_print_config_refuses_what_a_start_refuses(tmp_path: Path) -> None:
    for arguments in (
        ["--replication", "2"],
        ["--listen", "nowhere"],
    ):
        done = CliRunner().invoke(main, ["node", *arguments, "--print-config"])
        assert (done.exit_code, done.stdout) == (2, "")
    environment = {"FLO_HOST": "nowhere"}
    done = CliRunner().invoke(main, ["node", "--print-config"], env=environment)
    assert "[client.host: FLO_HOST]" in done.stderr


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(max_size=20))
def test_any_text_and_any_source_is_valid_toml(text: str, source: str) -> None:
    chosen = dict(load(TABLES, Given({}, {}, None)))
    chosen["client.namespace"] = Chosen(text, source)
    assert tomllib.loads(to_toml(chosen, {}))["client"]["namespace"] == text


def test_a_path_that_is_not_utf8_cannot_be_printed() -> None:
    chosen = dict(load(TABLES, Given({}, {}, None)))
    chosen["node.data_dir"] = Chosen("data-\udcff", "--data-dir")
    with pytest.raises(ConfigurationError, match=r"node.data_dir is not UTF-8"):
        to_toml(chosen, {})
