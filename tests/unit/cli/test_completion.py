"""Shell completion: the scripts, and what the program answers them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flo.cli import main

BASH = shutil.which("bash")


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _flo_completion flo"),
        ("zsh", "#compdef flo"),
        ("fish", "complete --no-files --command flo"),
    ],
)
def test_scripts(shell: str, line: str) -> None:
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0
    assert line in printed.stdout
    assert f"_FLO_COMPLETE={shell}_complete" in printed.stdout


def _complete(*words: str) -> list[str]:
    """What fits in the place of the last word."""
    environment = {
        **os.environ,
        "_FLO_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    command = [sys.executable, "-m", "flo.cli"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [line.partition(",")[2] for line in asked.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert _complete("flo", "c") == ["cluster", "completion"]
    assert _complete("flo", "kv", "ge") == ["get"]
    assert _complete("flo", "queue", "dlq", "") == ["list", "purge", "requeue"]
    assert _complete("flo", "stream", "group", "re") == ["read"]
    assert _complete("flo", "stream", "group", "create", "s", "g", "--mode", "e") == ["exclusive"]
    assert _complete("flo", "kv", "set", "key", "value", "--t") == ["--ttl", "--txn", "--timeout"]
    assert _complete("flo", "--format", "j") == ["json"]
    assert _complete("flo", "completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    program = tmp_path / "flo"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flo.cli "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(flo completion bash)"\n'
        "COMP_WORDS=(flo kv ge)\n"
        "COMP_CWORD=2\n"
        "_flo_completion flo ge kv\n"
        'echo "found: ${COMPREPLY[*]}"\n'
    )
    ran = subprocess.run(
        [str(BASH), "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert (ran.stdout, ran.stderr) == ("found: get\n", "")
