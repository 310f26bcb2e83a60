"""What every `Storage` must do, as one check for all implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.storage.files import File, Storage


def check_storage(storage: Storage) -> None:
    """Run an empty `storage` through each promise of the interface; raises `AssertionError`."""
    assert storage.list() == [], "check_storage needs an empty directory"
    _check_reading_and_writing(storage)
    _check_two_handles(storage)
    _check_directory(storage)
    _check_missing_names(storage)
    _check_closed_file(storage)


def _check_reading_and_writing(storage: Storage) -> None:
    file = storage.create("data")
    assert file.size() == 0
    assert file.read_at(0, 10) == b""
    file.write_at(0, b"abcdef")
    file.write_at(2, bytearray(b"XY"))
    file.write_at(8, memoryview(b"--gap--")[2:5])
    assert file.size() == 11, "a gap counts"
    assert file.read_at(0, 100) == b"abXYef\0\0gap", "a gap reads as zero bytes"
    assert file.read_at(9, 1) == b"a"
    assert file.read_at(11, 1) == b"", "nothing after the end"
    file.sync()
    assert file.read_at(0, 6) == b"abXYef", "sync changes nothing that is read"
    file.close()


def _check_two_handles(storage: Storage) -> None:
    one, other = storage.open("data"), storage.open("data")
    one.write_at(0, b"seen by both")
    assert other.read_at(0, 12) == b"seen by both", "before any sync"
    one.close()
    assert other.read_at(0, 4) == b"seen", "closing one handle leaves the other open"
    other.close()


def _check_directory(storage: Storage) -> None:
    storage.create("b").close()
    storage.create("a").close()
    assert storage.list() == ["a", "b", "data"]
    storage.rename("data", "b")
    storage.sync_directory()
    assert storage.list() == ["a", "b"]
    kept = storage.open("b")
    assert kept.read_at(0, 4) == b"seen", "rename replaces the target"
    kept.close()
    emptied = storage.create("b")
    assert emptied.size() == 0, "create empties"
    emptied.close()
    storage.remove("a")
    storage.remove("b")
    storage.sync_directory()
    assert storage.list() == []


def _check_missing_names(storage: Storage) -> None:
    assert _raises(FileNotFoundError, lambda: storage.open("none"))
    assert _raises(FileNotFoundError, lambda: storage.remove("none"))
    assert _raises(FileNotFoundError, lambda: storage.rename("none", "other"))


def _check_closed_file(storage: Storage) -> None:
    file: File = storage.create("closed")
    file.close()
    file.close()
    for call in (
        lambda: file.write_at(0, b"x"),
        lambda: file.read_at(0, 1),
        file.size,
        file.sync,
    ):
        assert _raises(OSError, call), "a closed file refuses"
    storage.remove("closed")


def _raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False
