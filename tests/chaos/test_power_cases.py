"""Losses that runs have found, each with the few steps that led to it."""

from tests.chaos.conftest import Execute
from tests.chaos.power import LosesAll, PowerDisk

_OPEN = """
from pathlib import Path
from cluster.storage import snapshots as module

snapshots = module.DiskSnapshots(Path("snapshots"), lambda _: None)
info = module.SnapshotInfo(5, 1, 7, bytes(16))
"""


def test_a_snapshot_that_a_start_finds_survives_a_power_cut(
    disk: PowerDisk, execute: Execute
) -> None:
    """A kill came between its rename and the sync of the folder. The next process let the log
    forget what it holds, and then a power cut took its name."""
    rename_and_die = """
write("snapshots/new.tmp", 0, b"content")
module._sync_directory = lambda _: os._exit(0)
snapshots.adopt(Path("snapshots/new.tmp"), info)
"""
    execute(_OPEN + "assert snapshots.latest is None")
    execute(_OPEN + rename_and_die)
    execute(_OPEN + "assert snapshots.latest == info")
    disk.cut(LosesAll(0))
    execute(_OPEN + "assert snapshots.latest == info")
