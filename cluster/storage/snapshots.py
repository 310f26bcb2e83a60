"""The snapshots of one partition: whole copies of its state, each at one applied index.

A snapshot is one file, an LMDB environment without free pages, whose name says all about it:

    <index>-<term>-<digest>.snapshot

It is made under another name, synced, renamed, and the directory synced, so a file with such a name
is whole. The newest one is kept: what lets the log forget its beginning, and what a replica far
behind receives.
"""

from __future__ import annotations

import logging
import os
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cluster.state.errors import CorruptState
from cluster.state.machine import read_applied_index
from cluster.storage.files import NO_SPACE, sync_path
from cluster.storage.lmdb_store import read_copy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger("flo.storage")

_DIGEST_BYTES = 16
_READ_BYTES = 1 << 20
_UNFINISHED = ".tmp"
_NAME = re.compile(r"^(\d{1,20})-(\d{1,20})-([0-9a-f]{32})\.snapshot$")


class SnapshotInfo(NamedTuple):
    """What a snapshot is: the state after entry `last_index`, which is of term `last_term`."""

    last_index: int
    last_term: int
    size: int
    digest: bytes


class SnapshotDamaged(Exception):
    """A snapshot does not match its digest; the message names the file."""


class Copy(Protocol):
    """A copy of a state that has no name yet."""

    @property
    def applied_index(self) -> int: ...

    def publish(self, term: int) -> SnapshotInfo:
        """Makes it the newest snapshot, synced; `term` is that of its last entry. Blocks."""
        ...

    def discard(self) -> None:
        """It is of no use."""
        ...


class Source(Protocol):
    """A snapshot that is being sent; it stays readable when a newer one replaces it."""

    @property
    def info(self) -> SnapshotInfo: ...

    def read(self, offset: int, count: int) -> bytes: ...

    def close(self) -> None: ...


class Incoming(Protocol):
    """A snapshot that is being received, in order."""

    @property
    def info(self) -> SnapshotInfo: ...

    @property
    def received(self) -> int:
        """Bytes so far."""
        ...

    def write(self, data: bytes) -> None:
        """The next bytes. Raises OSError."""
        ...

    def publish(self) -> None:
        """Makes the whole of it the newest snapshot, synced. Blocks.

        Raises SnapshotDamaged or OSError; it is of no use then.
        """
        ...

    def discard(self) -> None:
        """It will not be finished."""
        ...


class Snapshots(Protocol):
    """The snapshots of one partition."""

    @property
    def latest(self) -> SnapshotInfo | None:
        """The newest whole one."""
        ...

    def take(self) -> Copy:
        """Copies the state while it is being used. Blocks; any thread. Raises OSError."""
        ...

    def open(self) -> Source:
        """The newest one, for sending. Raises OSError."""
        ...

    def receive(self, info: SnapshotInfo) -> Incoming:
        """Begins to receive one. Raises OSError."""
        ...


class DiskSnapshots:
    """`Snapshots` in a folder. `copy_state` writes a copy of the state to a file descriptor."""

    def __init__(self, folder: Path, copy_state: Callable[[int], None]) -> None:
        self.folder = folder
        self._copy_state = copy_state
        _create_folder(folder)
        for path in folder.glob(f"*{_UNFINISHED}"):
            path.unlink()
        # A process that was killed may have renamed a file and not synced the folder. What counts
        # from here on has to survive a power cut: the log forgets what it holds.
        sync_path(folder)
        found = [info for path in folder.iterdir() if (info := _parse(path)) is not None]
        self.latest = max(found, default=None)

    def take(self) -> FileCopy:
        path = self.folder / f"copy{_UNFINISHED}"
        try:
            with path.open("wb") as file:
                self._copy_state(file.fileno())
            with read_copy(path) as txn:
                applied_index = read_applied_index(txn)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _named(error, path) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return FileCopy(self, path, applied_index)

    def open(self) -> FileSource:
        assert self.latest is not None, "there is no snapshot"
        return FileSource(self.path_of(self.latest), self.latest)

    def receive(self, info: SnapshotInfo) -> FileIncoming:
        return FileIncoming(self, self.folder / f"incoming{_UNFINISHED}", info)

    def path_of(self, info: SnapshotInfo) -> Path:
        return self.folder / f"{info.last_index}-{info.last_term}-{info.digest.hex()}.snapshot"

    def verified_path(self) -> Path:
        """The file of the newest one, all of it read and compared. Raises SnapshotDamaged."""
        assert self.latest is not None, "there is no snapshot"
        path = self.path_of(self.latest)
        if _digest(path) != self.latest.digest:
            raise SnapshotDamaged(
                f"{path} does not match the digest in its name: it was damaged on the disk, and the"
                " log no longer holds what it stood for"
            )
        return path

    def adopt(self, path: Path, info: SnapshotInfo) -> None:
        """Gives a synced file its name, which makes it the newest, and removes older ones."""
        path.rename(self.path_of(info))
        sync_path(self.folder)
        self.latest = info
        for other in self.folder.glob("*.snapshot"):
            if other != self.path_of(info):
                other.unlink()


class FileCopy:
    """See `Copy`."""

    def __init__(self, snapshots: DiskSnapshots, path: Path, applied_index: int) -> None:
        self._snapshots = snapshots
        self._path = path
        self.applied_index = applied_index

    def publish(self, term: int) -> SnapshotInfo:
        sync_path(self._path)
        size = self._path.stat().st_size
        info = SnapshotInfo(self.applied_index, term, size, _digest(self._path))
        self._snapshots.adopt(self._path, info)
        return info

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


class FileSource:
    """See `Source`."""

    def __init__(self, path: Path, info: SnapshotInfo) -> None:
        self.info = info
        self._file = path.open("rb", buffering=0)

    def read(self, offset: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), count, offset)

    def close(self) -> None:
        self._file.close()


class FileIncoming:
    """See `Incoming`."""

    def __init__(self, snapshots: DiskSnapshots, path: Path, info: SnapshotInfo) -> None:
        self.info = info
        self.received = 0
        self._snapshots = snapshots
        self.path = path
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes) -> None:
        try:
            self.received += os.pwrite(self._file.fileno(), data, self.received)
        except OSError as error:
            raise _named(error, self.path) from error

    def publish(self) -> None:
        self._file.close()
        sync_path(self.path)
        try:
            if _digest(self.path) != self.info.digest:
                raise SnapshotDamaged("a received snapshot does not match its digest")
            with read_copy(self.path) as txn:
                applied_index = read_applied_index(txn)
            if applied_index != self.info.last_index:
                raise SnapshotDamaged(
                    f"a received snapshot of entry {self.info.last_index} holds the state after"
                    f" entry {applied_index}"
                )
        except (SnapshotDamaged, CorruptState):
            self.path.unlink()
            raise
        self._snapshots.adopt(self.path, self.info)

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


def _parse(path: Path) -> SnapshotInfo | None:
    match = _NAME.match(path.name)
    if match is None:
        return None
    index, term, digest = match.groups()
    return SnapshotInfo(int(index), int(term), path.stat().st_size, bytes.fromhex(digest))


def _named(error: OSError, path: Path) -> OSError:
    """The same, saying which file it was, and what to do."""
    advice = "; free space on this disk" if error.errno in NO_SPACE else ""
    return OSError(error.errno, f"{error.strerror}{advice}", os.fspath(path))


def _digest(path: Path) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
    return digest.digest()


def _create_folder(folder: Path) -> None:
    """Durably: the log forgets what a snapshot in it holds."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        sync_path(path.parent)
