"""A disk that fills up and gets room again: writes are refused meanwhile, nothing is lost."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def may_mount(directory: Path) -> bool:
    """Whether this user may make a mount namespace and mount a small file system in it."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_refuses_writes_and_recovers(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("needs the right to mount a tmpfs (root)")
    scenario = [sys.executable, "-m", "tests.integration.full_disk_scenario", str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--mount", *scenario], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "writes kept" in done.stdout
