"""A sync that fails is not tried again, but one that only found no space."""

import errno
import os
from pathlib import Path

import pytest

from cluster.storage.files import SyncFailed, sync_path
from cluster.storage.memory_files import MemoryStorage, Operation
from cluster.storage.wal import Wal
from cluster.storage.wal_errors import WalFailed, WalFull
from tests.unit.storage.wal_kit import SMALL, append


def fail_with(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


def test_failed_sync_names_the_file_and_is_no_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be tried again with everything else that a disk refuses."""
    fail_with(errno.EIO, monkeypatch)
    with pytest.raises(SyncFailed, match=f"{tmp_path} could not be synced: Input/output error"):
        sync_path(tmp_path)


def test_sync_without_space_may_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(errno.ENOSPC, monkeypatch)
    with pytest.raises(OSError, match="No space"):
        sync_path(tmp_path)


def test_path_that_cannot_be_opened_was_not_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_path(tmp_path / "missing")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_failed_sync_of_the_log_is_its_end_and_names_the_directory(code: int) -> None:
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL, where="/data/wal")
    append(wal.group(1), 1)
    ticket = wal.seal()
    assert ticket is not None
    storage.fail(Operation.SYNC, code=code)
    with pytest.raises(OSError, match=r"could not be synced.*'/data/wal'") as failure:
        wal.write_and_sync(ticket)
    assert not isinstance(failure.value, WalFull), "also for want of space: the pages may be gone"
    with pytest.raises(WalFailed):
        wal.write_and_sync(ticket)
