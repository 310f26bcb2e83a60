"""Client commands take their settings from options, environment and file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flo.cli import main
from flo.wire.messages import KvIncr
from tests.unit.client.fake_node import FakeCluster


@pytest.fixture
def file(tmp_path: Path, cluster: FakeCluster) -> Path:
    path = tmp_path / "flo.toml"
    path.write_text(
        f'[client]\nhost = ["{cluster.endpoints}"]\nnamespace = "filed"\nformat = "json"\n'
        '[limits]\nvalue_bytes_max = "1 KiB"\n'
    )
    return path


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment, prog_name="flo")


def test_a_command_reads_the_file_that_is_named(cluster: FakeCluster, file: Path) -> None:
    command = ("kv", "incr", "key")
    for done in (
        invoke("--config", str(file), *command),
        invoke(*command, "--config", str(file)),
        invoke(*command, FLO_CONFIG=str(file)),
    ):
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["key"] == "key"
    assert cluster.store.executed == [KvIncr(b"filed", b"key")] * 3


def test_environment_wins_over_the_file_and_options_over_both(
    cluster: FakeCluster, file: Path
) -> None:
    command = ("--config", str(file), "kv", "incr", "key")
    assert invoke(*command, FLO_FORMAT="text", FLO_NAMESPACE="set").stdout == "1\n"
    typed = ("-n", "typed", "--format", "text")
    assert invoke(*command, *typed, FLO_FORMAT="json", FLO_NAMESPACE="set").stdout == "2\n"
    assert cluster.store.executed == [KvIncr(b"set", b"key"), KvIncr(b"typed", b"key")]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FLO_TIMEOUT_MS": "soon"}, "FLO_TIMEOUT_MS must be a number of milliseconds"),
        ({"FLO_TIMEOUT_MS": "0s"}, 'FLO_TIMEOUT_MS must be 1 to 86400000, not "0s"'),
        ({"FLO_FORMAT": "xml"}, "FLO_FORMAT must be text or json"),
        ({"FLO_HOST": "nowhere"}, "[client.host: FLO_HOST]"),
        ({"FLO_CONFIG": "missing.toml"}, "cannot read the configuration missing.toml"),
    ],
)
def test_a_wrong_setting_is_wrong_usage(environment: dict[str, str], says: str) -> None:
    refused = invoke("kv", "get", "key", **environment)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_wrong_setting_is_json_when_that_is_asked_for() -> None:
    refused = invoke("--format", "json", "--timeout", "x", "kv", "get", "key")
    assert refused.exit_code == 2
    assert "--timeout must be" in json.loads(refused.stderr)["error"]["message"]


def test_only_a_misspelt_variable_is_warned_of(cluster: FakeCluster) -> None:
    command = ("--host", cluster.endpoints, "kv", "incr", "key")
    done = invoke(*command, FLO_SERVICE_PORT="9000", FLO_NAMESPCE="x")
    assert done.exit_code == 0
    assert done.stderr == (
        "flo: warning: FLO_NAMESPCE is no setting: did you mean FLO_NAMESPACE?\n"
    )


def test_a_client_command_imports_neither_the_server_nor_the_reader_of_files() -> None:
    program = (
        "import sys\n"
        "from flo.cli import main\n"
        "try:\n"
        "    main(['--host', 'nowhere', 'kv', 'get', 'x'])\n"
        "except SystemExit:\n"
        "    print(sorted({'cluster', 'tomllib', 'uvloop'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
