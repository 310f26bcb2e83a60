"""What the runs need of this machine, and small programs on a disk whose power can be cut."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.power import PowerDisk, build_shim, find_compiler

Execute = Callable[[str], None]

_ROOT = Path(__file__).parents[2]
_HELPERS = """
import os

def write(name, offset, data, sync=True):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, data, offset)
    if sync:
        os.fdatasync(fd)
    os.close(fd)

def sync_directory():
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)
"""


@pytest.fixture(scope="session")
def any_shim(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The library for power cuts; None without a C compiler."""
    compiler = find_compiler()
    return None if compiler is None else build_shim(compiler, tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shim(any_shim: Path | None) -> Path:
    """The same, for tests that are nothing without it."""
    if any_shim is None:
        pytest.skip("there is no C compiler (gcc or cc)")
    return any_shim


@pytest.fixture
def disk(tmp_path: Path, shim: Path) -> PowerDisk:
    return PowerDisk(shim, tmp_path / "data")


@pytest.fixture
def execute(tmp_path: Path, disk: PowerDisk) -> Execute:
    """Runs a program in the data directory, which ends as if killed."""

    def run(program: str) -> None:
        disk.before_start()
        subprocess.run(
            [sys.executable, "-c", f"{_HELPERS}\n{program}\nos._exit(0)"],
            env={**disk.environment(), "PYTHONPATH": os.fspath(_ROOT)},
            cwd=tmp_path / "data",
            check=True,
        )

    return run
