"""The seam between the log and a disk: one flat directory of files, and the real one.

The log uses nothing of an operating system but these two small interfaces, so that a simulation can
put `memory_files.MemoryStorage` in their place and decide what survives a crash.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Protocol

LOCK_NAME = "LOCK"

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Bytes = bytes | bytearray | memoryview


class File(Protocol):
    """One open file. Every method but `close` may raise `OSError`; after `close` all of them do."""

    def write_at(self, offset: int, data: Bytes) -> None:
        """Write all of `data` at `offset`; the file grows, with zero bytes in a gap, when needed.

        Durable only after the next `sync`. After an `OSError` any part may have been written.
        """
        ...

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Read up to `nbytes` from `offset`; shorter only where the file ends."""
        ...

    def size(self) -> int:
        """Return the length in bytes."""
        ...

    def sync(self) -> None:
        """Return once every write made so far, and the length, would survive a power cut.

        After an `OSError` the unsynced writes may be lost even if a later `sync` succeeds.
        """
        ...

    def close(self) -> None:
        """Release the handle. Syncs nothing."""
        ...


class Storage(Protocol):
    """One directory of files, without sub-directories. Every method may raise `OSError`.

    `create`, `rename` and `remove` are durable only after `sync_directory`.
    """

    def open(self, name: str) -> File:
        """Open a file for reading and writing; `FileNotFoundError` when there is none."""
        ...

    def create(self, name: str) -> File:
        """Create an empty file; an existing one is emptied."""
        ...

    def list(self) -> list[str]:
        """Return the names of all files, sorted."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing `new` if it exists; `FileNotFoundError` without `old`."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; `FileNotFoundError` when there is none."""
        ...

    def sync_directory(self) -> None:
        """Return once every `create`, `rename` and `remove` so far would survive a power cut."""
        ...


class SyncFailed(Exception):
    """A sync failed: what it was to keep may be lost, and a second one could lie. Stop the node."""

    def __init__(self, path: str | os.PathLike[str], error: OSError) -> None:
        super().__init__(
            f"{os.fspath(path)} could not be synced: {error.strerror or error}."
            " Check the disk, then restart the node"
        )


def sync_path(path: str | os.PathLike[str]) -> None:
    """Sync a file or a directory by its name.

    Raises `SyncFailed`; `OSError` when it cannot be opened, and for want of space: what is written
    anew then may be synced again.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        raise SyncFailed(path, error) from error
    finally:
        os.close(descriptor)


class DirectoryInUse(Exception):
    """Another process, or another object of this one, holds the lock of the directory."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"directory {directory} is in use by another process: stop that one first, "
            f"or choose another directory"
        )
        self.directory = directory


class DiskFile:
    """A `File` on a POSIX file system."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write_at(self, offset: int, data: Bytes) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        if written == len(data):
            return
        # A nearly full disk or a signal cuts a write short; only the next call says which.
        rest = memoryview(data)[written:]
        while rest:
            offset += written
            written = os.pwrite(self._descriptor, rest, offset)
            rest = rest[written:]

    def read_at(self, offset: int, nbytes: int) -> bytes:
        data = os.pread(self._descriptor, nbytes, offset)
        if len(data) == nbytes:
            return data
        pieces: list[bytes] = []
        while data:
            pieces.append(data)
            offset += len(data)
            nbytes -= len(data)
            data = os.pread(self._descriptor, nbytes, offset)
        return b"".join(pieces)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        if self._descriptor < 0:  # the only call here that would raise ValueError for it
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            # The number may be given out again: -1 makes a late call fail, not hit another file.
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class DiskStorage:
    """A `Storage` on a POSIX directory, for the exclusive use of one object.

    The directory is created if missing. Raises `DirectoryInUse` while another object, in this
    process or another, holds it; `close` or the end of the process releases it.
    """

    def __init__(self, directory: str) -> None:
        self._create_directory(directory)
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._lock_fd = os.open(
            LOCK_NAME, os.O_RDWR | os.O_CREAT, mode=0o600, dir_fd=self._directory_fd
        )
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise DirectoryInUse(directory) from error

    @staticmethod
    def _create_directory(directory: str) -> None:
        if os.path.isdir(directory):
            return
        os.makedirs(directory)
        # The new name is an entry of the parent: without this a power cut takes the whole log away.
        parent = os.open(os.path.dirname(os.path.abspath(directory)), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def open(self, name: str) -> DiskFile:
        return DiskFile(os.open(name, os.O_RDWR, dir_fd=self._directory_fd))

    def create(self, name: str) -> DiskFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        return DiskFile(os.open(name, flags, mode=0o600, dir_fd=self._directory_fd))

    def list(self) -> list[str]:
        return sorted(name for name in os.listdir(self._directory_fd) if name != LOCK_NAME)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd)

    def remove(self, name: str) -> None:
        os.remove(name, dir_fd=self._directory_fd)

    def sync_directory(self) -> None:
        os.fsync(self._directory_fd)

    def close(self) -> None:
        """Release the directory. Files opened through it stay open."""
        if self._directory_fd >= 0:
            os.close(self._lock_fd)
            os.close(self._directory_fd)
            self._directory_fd = self._lock_fd = -1
