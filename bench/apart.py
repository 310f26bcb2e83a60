"""Packages installed apart from the project's environment, for a program of their own.

The official SDK is imported by the same name as ours, so the two never share an environment.
"""

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

OFFICIAL_SDK = "flo-python==0.1.2"
REDIS = "redis==5.2.1"

_PARENT = Path(__file__).parents[1] / ".apart"
_PIP_TIMEOUT_S = 300


class NotInstalledError(Exception):
    """The package could not be installed; the message says why."""


def installed(requirement: str) -> Path:
    """The directory with a package, for PYTHONPATH; installs it the first time.

    Processes that ask at the same time install it once. Raises NotInstalledError.
    """
    _PARENT.mkdir(exist_ok=True)
    with (_PARENT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = _PARENT / requirement.replace("==", "-")
        if not target.is_dir():
            _install(requirement, target)
        return target


def run_apart(paths: Sequence[Path], *arguments: str) -> "subprocess.Popen[str]":
    """Starts Python, which imports from `paths` and from the standard library alone."""
    search = ":".join(map(str, paths))
    # -S leaves out the packages beside this interpreter, -P the directory of the program.
    python = [sys.executable, "-S", "-P", *arguments]
    return subprocess.Popen(
        ["env", f"PYTHONPATH={search}", *python],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _install(requirement: str, target: Path) -> None:
    # Renamed when complete: an installation that was cut short is not taken for one.
    with tempfile.TemporaryDirectory(dir=_PARENT) as unfinished:
        made = Path(unfinished) / "packages"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        command = [*pip, "--target", str(made), requirement]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotInstalledError(f"{requirement}: pip took over {_PIP_TIMEOUT_S} s") from None
        if ended.returncode:
            said = ended.stderr.strip().splitlines() or ["pip failed"]
            raise NotInstalledError(f"{requirement}: {said[-1]}")
        shutil.move(made, target)
