"""What all commands have in common: help, typing errors, wrong usage."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from flo import __version__
from flo.cli import main
from tests.unit.cli.conftest import Run


def test_version() -> None:
    printed = CliRunner().invoke(main, ["--version"], prog_name="flo")
    assert printed.stdout == f"flo {__version__}\n"


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [path]
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
        else:
            found.append((*path, name))
    return found


ALL = _commands(main)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(main, [*path, "--help"], prog_name="flo")
    assert printed.exit_code == 0
    assert f"Example: {' '.join(('flo', *path))}" in printed.stdout or path in ((), ("completion",))
    assert "Example:" in printed.stdout


GROUPS = {path[:-1] for path in ALL if path}


@pytest.mark.parametrize(
    "path", [path for path in ALL if len(path) >= 2 and path not in GROUPS], ids=" ".join
)
def test_every_command_that_prints_json_says_its_shape(path: tuple[str, ...]) -> None:
    assert "JSON: {" in CliRunner().invoke(main, [*path, "--help"]).stdout


@pytest.mark.parametrize("path", sorted(GROUPS), ids=" ".join)
def test_a_group_alone_prints_its_help(path: tuple[str, ...]) -> None:
    alone = CliRunner().invoke(main, path)
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert "Commands:" in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kv", "gett"], "No such command 'gett'. Did you mean 'get'?"),
        (["clustr"], "No such command 'clustr'. Did you mean 'cluster'?"),
        (["frobnicate"], "No such command 'frobnicate'."),
        (["kv", "get", "key", "--hots", "x:1"], "Did you mean '--host'?"),
        (["kv", "set", "key", "-5"], "flo kv set -- KEY -5"),
    ],
)
def test_typing_errors(arguments: list[str], message: str) -> None:
    refused = CliRunner().invoke(main, arguments, prog_name="flo")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert message.replace("'", "") in refused.stderr.replace("'", "")


def test_wrong_usage_as_json() -> None:
    refused = CliRunner().invoke(main, ["--format", "json", "kv", "touch", "key"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert json.loads(refused.stderr)["error"] == {
        "code": "WRONG_USAGE",
        "message": "Missing option '--ttl'.",
        "outcome": "not_applied",
        "retryable": False,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["kv", "get", "key", "--bogus"],
        ["kv", "get"],
        ["kv", "get", "one", "two"],
        ["kv", "get", ""],
        ["kv", "get", "a\0b"],
        ["kv", "get", "k" * 5000],
        ["kv", "mget"],
        ["kv", "set", "key"],
        ["kv", "set", "key", "1", "--ttl", "0"],
        ["kv", "set", "key", "1", "--ttl", "-1"],
        ["kv", "set", "key", "1", "--ttl", "nan"],
        ["kv", "set", "key", "1", "--ttl", "1e30"],
        ["kv", "set", "key", "1", "--ttl", "soon"],
        ["kv", "set", "key", "1", "--cas", "-1"],
        ["kv", "set", "key", "1", "--cas", str(1 << 70)],
        ["kv", "set", "key", "1", "--nx", "--xx"],
        ["kv", "set", "key", "--file", "no-such-file"],
        ["kv", "incr", "key", "--by", str(1 << 70)],
        ["kv", "touch", "key"],
        ["kv", "list", "--limit", "0"],
        ["cluster", "status", "extra"],
        ["completion", "tcsh"],
        ["--format", "xml", "kv", "get", "key"],
        ["--host", "nonsense", "kv", "get", "key"],
        ["-n", "n" * 64, "kv", "get", "key"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr


def test_a_client_command_loads_nothing_of_the_server() -> None:
    program = (
        "import sys\n"
        "from flo.cli import main\n"
        "try:\n    main(['kv', 'get', 'key', '--host', '127.0.0.1:1'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = ('cluster', 'rich', 'lmdb', 'uvloop', 'pysyncobj')\n"
        "print([name for name in sys.modules if name.split('.')[0] in heavy])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout == b"[]\n"


@pytest.mark.parametrize("module", ["flo", "flo.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("flo ")
