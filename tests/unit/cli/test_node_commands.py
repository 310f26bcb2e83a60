"""`flo node`: what it makes of its options."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.addresses import Address, Member
from cluster.config import NodeConfig
from flo.cli import main
from flo.cli.config import Given, load
from flo.cli.config_table import SETTINGS
from flo.cli.node import NODE_TABLES, build_config

THREE = "1=10.0.0.1:9500,2=10.0.0.2:9500@b,3=10.0.0.3:9501"


def built(*, secret: bytes | None = None, **flags: str) -> NodeConfig:
    """The configuration from these options alone."""
    given = Given({f"node.{name}": value for name, value in flags.items()}, {}, None)
    return build_config(load(NODE_TABLES, given), secret=secret)


def test_alone_by_default() -> None:
    config = built()
    assert config.node_id == 1
    assert config.peer_listen == Address("127.0.0.1", 9500)
    assert config.members == (Member(1, Address("127.0.0.1", 9500), ""),)
    assert (config.partition_count, config.replication, config.secret) == (8, 1, None)
    assert config == NodeConfig("flo-data")


def test_one_of_three() -> None:
    config = built(id="3", cluster=THREE, listen="0.0.0.0:9000")
    assert config.peer_listen == Address("0.0.0.0", 9501)
    assert [member.node_id for member in config.members] == [1, 2, 3]
    assert config.replication == 3


def test_what_is_given_counts() -> None:
    config = built(
        id="2",
        cluster=THREE,
        peer_listen="127.0.0.1:7",
        partitions="4",
        replication="2",
        data_dir="elsewhere",
        secret_file="not read here",
        secret=b"secret",
    )
    assert config.peer_listen == Address("127.0.0.1", 7)
    assert (config.partition_count, config.replication) == (4, 2)
    assert (config.data_dir, config.secret) == (Path("elsewhere"), b"secret")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--cluster", THREE], "--id"),
        (["--cluster", THREE, "--id", "4"], "node id 4"),
        (["--cluster", "1=a", "--id", "1"], "port"),
        (["--listen", "nowhere"], "nowhere"),
        (["--listen", "127.0.0.1:0"], "--peer-listen"),
        (["--listen", "127.0.0.1:65400"], "--peer-listen"),
        (["--replication", "2"], "replication"),
        (["--id", "0"], "--id"),
        (["--partitions", "0"], "--partitions"),
        (["--cluster", THREE, "--id", "4"], "[node.id: --id; node.cluster: --cluster]"),
        (["--listen", "nowhere"], "[node.listen: --listen]"),
        (["--peer-listen", "a:x"], "[node.peer_listen: --peer-listen]"),
        (["--advertise", "a:0"], "[node.advertise: --advertise]"),
        (["--peer-listen", "127.0.0.1:9000"], "listen and peer_listen are both 127.0.0.1:9000"),
        (["--replication", "x"], "--replication must be a whole number"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_refuses_what_cannot_be_meant(arguments: list[str], names: str) -> None:
    refused = CliRunner().invoke(main, ["node", *arguments])
    assert refused.exit_code == 2
    assert names in refused.stderr


def test_environment_of_node() -> None:
    environment = {"FLO_CLUSTER": THREE, "FLO_NODE_ID": "9"}
    refused = CliRunner().invoke(main, ["node"], env=environment)
    assert refused.exit_code == 2
    assert "node id 9" in refused.stderr
    assert "[node.id: FLO_NODE_ID; node.cluster: FLO_CLUSTER]" in refused.stderr


def test_settings_that_contradict_each_other_are_named_with_their_sources(tmp_path: Path) -> None:
    file = tmp_path / "flo.toml"
    file.write_text("[limits]\npartition_bytes_max = 1000\n")
    refused = CliRunner().invoke(main, ["node", "--config", str(file)])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        "flo: batch_bytes_max (1048576) must not exceed partition_bytes_max (1000)"
        f" [limits.batch_bytes_max: default; limits.partition_bytes_max: {file}, line 2]\n"
    )


def test_an_unknown_variable_is_warned_of() -> None:
    environment = {"FLO_LISTNE": "a:1", "FLO_SOMETHING": "x"}
    done = CliRunner().invoke(main, ["node", "--print-config"], env=environment)
    assert done.exit_code == 0
    assert done.stderr == (
        "flo node: warning: FLO_LISTNE is no setting: did you mean FLO_LISTEN?\n"
        "flo node: warning: FLO_SOMETHING is no setting, it has no effect\n"
    )


def test_the_file_may_be_named_before_the_command(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[node]\npartitions = 1\n")
    two.write_text("[node]\npartitions = 2\n")
    before = ["--config", str(one), "node", "--print-config"]
    assert "partitions = 1  # " in CliRunner().invoke(main, before).stdout
    both = [*before, "--config", str(two)]
    assert "partitions = 2  # " in CliRunner().invoke(main, both).stdout


def test_help_names_defaults_and_variables() -> None:
    text = " ".join(CliRunner().invoke(main, ["node", "--help"]).stdout.split())
    for setting in SETTINGS:
        if setting.table == "node" and setting.flag:
            default = setting.unset if setting.default is None else setting.default
            assert f"[{default}; {setting.environment}]" in text.replace("flo- data", "flo-data")


def test_a_secret_that_cannot_be_used_is_exit_code_3(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    refused = CliRunner().invoke(main, ["node", "--secret-file", str(missing)])
    assert refused.exit_code == 3
    assert str(missing) in refused.stderr
    assert "[node.secret_file: --secret-file]" in refused.stderr


def test_a_node_advertises_what_it_is_told_to() -> None:
    assert str(built(advertise="flo.example:9001").client_address) == "flo.example:9001"
