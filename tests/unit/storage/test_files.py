"""The directory of a disk, and that the fake keeps the same promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.storage.conformance import check_storage
from cluster.storage.files import DirectoryInUse, DiskStorage
from cluster.storage.memory_files import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path


def test_disk_storage_conforms(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    check_storage(storage)
    storage.close()


def test_memory_storage_conforms() -> None:
    check_storage(MemoryStorage())


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    first = DiskStorage(str(tmp_path))
    with pytest.raises(DirectoryInUse, match=str(tmp_path)):
        DiskStorage(str(tmp_path))
    first.close()
    DiskStorage(str(tmp_path)).close()


def test_the_directory_is_created_and_the_lock_is_no_file_of_it(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path / "new" / "log"))
    assert storage.list() == []
    assert (tmp_path / "new" / "log" / "LOCK").exists()
    storage.close()


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    storage = DiskStorage(str(tmp_path))
    storage.create("secret").close()
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0
    storage.close()
