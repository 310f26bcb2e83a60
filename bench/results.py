"""The file of a run: a header that says what was measured and on what, and the rows."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from flo import __version__

_ROOT = Path(__file__).parents[1]


class Machine(TypedDict):
    """Where it was measured."""

    cpu: str
    cores: int
    kernel: str
    python: str


class Header(TypedDict):
    """What was measured."""

    command: str
    """Of `python -m bench`."""
    begun: str
    """UTC."""
    flo: str
    commit: str | None
    """Of git, "-dirty" at its end when files had been changed; None outside a repository."""
    machine: Machine
    settings: dict[str, object]
    """The options of the command."""


class Results(TypedDict):
    """A whole file."""

    header: Header
    rows: Sequence[object]


class ResultsError(Exception):
    """A file is none that a bench wrote; the message names it."""


def header(command: str, settings: Mapping[str, object]) -> Header:
    """For results that are measured now."""
    return {
        "command": command,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "flo": __version__,
        "commit": _commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "settings": {name: _plain(value) for name, value in settings.items()},
    }


def save(path: Path, head: Header, rows: Sequence[object]) -> None:
    """Writes the file, in place of what was there."""
    path.write_text(json.dumps({"header": head, "rows": rows}, indent=1) + "\n")


def load(path: Path) -> Results:
    """What `save` wrote. Raises ResultsError."""
    try:
        content = cast(object, json.loads(path.read_text()))
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path} is no JSON: give a file that --json wrote") from error
    if not isinstance(content, dict) or not {"header", "rows"} <= content.keys():
        raise ResultsError(f"{path} has no header and rows: give a file that --json wrote")
    return cast(Results, content)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _commit() -> str | None:
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        ended = subprocess.run(
            [*command, "--abbrev=12"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() or None


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
