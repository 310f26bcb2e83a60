"""A `Storage` in memory that knows what a crash may take away.

Each file keeps two images: what a reader sees (the page cache) and what has reached the disk, with
the ordered list of writes between the two. `crash` decides how much of that list survives, so a
simulation explores in milliseconds what a power cut does to a real disk.
"""

from __future__ import annotations

import enum
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from random import Random

    from cluster.storage.files import Bytes

SECTOR_BYTES = 512


class Crash(enum.Enum):
    """What is left after a crash."""

    PROCESS = "process"  # the process dies, the machine does not: every write stays, still unsynced
    SYNCED = "synced"  # power cut: exactly what was synced
    SUBSET = "subset"  # power cut: also any of the unsynced writes, whole or torn


class Operation(enum.Enum):
    """What an injected failure counts."""

    WRITE = "write"
    SYNC = "sync"
    ANY = "any"  # whatever changes files or the directory


class _Write(NamedTuple):
    offset: int
    data: bytes


class _Inode:
    """One file: what a reader sees, what is on the disk, and the writes in between, in order."""

    __slots__ = ("cached", "on_disk", "unsynced")

    def __init__(self) -> None:
        self.cached = bytearray()
        self.on_disk = bytearray()
        self.unsynced: list[_Write] = []

    def write(self, offset: int, data: bytes) -> None:
        _apply(self.cached, offset, data)
        self.unsynced.append(_Write(offset, data))

    def sync(self) -> None:
        for write in self.unsynced:
            _apply(self.on_disk, write.offset, write.data)
        self.unsynced.clear()

    def lose_power(self, rng: Random, mode: Crash) -> None:
        if mode is Crash.SUBSET:
            for write in self.unsynced:
                _apply_some(self.on_disk, write, rng)
        self.unsynced.clear()
        self.cached = bytearray(self.on_disk)


def _apply(image: bytearray, offset: int, data: bytes) -> None:
    if offset > len(image):
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _apply_some(image: bytearray, write: _Write, rng: Random) -> None:
    """Apply nothing, everything, one end, or random sectors of a write."""
    offset, data = write
    kind = rng.randrange(5)
    cut = rng.randrange(len(data) + 1)
    if kind == 1:
        _apply(image, offset, data)
    elif kind == 2:
        _apply(image, offset, data[:cut])
    elif kind == 3:
        _apply(image, offset + cut, data[cut:])
    elif kind == 4:
        # A sector begins at a multiple of its size in the file, not in the write.
        start = -(offset % SECTOR_BYTES)
        for begin in range(start, len(data), SECTOR_BYTES):
            if rng.random() < 0.5:
                first = max(begin, 0)
                _apply(image, offset + first, data[first : begin + SECTOR_BYTES])


class MemoryFile:
    """A handle of a `MemoryStorage`; it dies with the process that `crash` ends."""

    __slots__ = ("_inode", "_lifetime", "_storage")

    def __init__(self, storage: MemoryStorage, inode: _Inode, lifetime: int) -> None:
        self._storage = storage
        self._inode: _Inode | None = inode
        self._lifetime = lifetime

    def _live(self) -> _Inode:
        if self._inode is None or self._lifetime != self._storage.lifetime:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._inode

    def write_at(self, offset: int, data: Bytes) -> None:
        inode = self._live()
        whole = bytes(data)
        code = self._storage.failure(Operation.WRITE)
        if code is not None:
            inode.write(offset, whole[: len(whole) // 2])
            raise OSError(code, os.strerror(code))
        allowed = self._storage.take_space(offset + len(whole) - len(inode.cached), len(whole))
        if allowed:
            inode.write(offset, whole[:allowed])
        if allowed < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read_at(self, offset: int, nbytes: int) -> bytes:
        return bytes(self._live().cached[offset : offset + nbytes])

    def size(self) -> int:
        return len(self._live().cached)

    def sync(self) -> None:
        inode = self._live()
        code = self._storage.failure(Operation.SYNC)
        if code is not None:
            # As Linux does: the pages count as clean from now on and never reach the disk.
            inode.unsynced.clear()
            raise OSError(code, os.strerror(code))
        inode.sync()

    def close(self) -> None:
        self._inode = None


class MemoryStorage:
    """A `Storage` in memory with crashes and injected failures. Not for use by several threads."""

    def __init__(self) -> None:
        self.lifetime = 0
        self.space_bytes: int | None = None
        """How far the files may still grow in total; `None` is without limit. Past it: ENOSPC."""
        self._names: dict[str, _Inode] = {}
        # The directory as it is on the disk, then after each operation not yet synced.
        self._images: list[dict[str, _Inode]] = [{}]
        self._failures: list[tuple[Operation, int, int]] = []

    def open(self, name: str) -> MemoryFile:
        return MemoryFile(self, self._inode(name), self.lifetime)

    def create(self, name: str) -> MemoryFile:
        self._check_directory_failure()
        inode = self._names[name] = _Inode()
        self._images.append(dict(self._names))
        return MemoryFile(self, inode, self.lifetime)

    def list(self) -> list[str]:
        return sorted(self._names)

    def rename(self, old: str, new: str) -> None:
        self._check_directory_failure()
        self._inode(old)
        self._names[new] = self._names.pop(old)
        self._images.append(dict(self._names))

    def remove(self, name: str) -> None:
        self._check_directory_failure()
        inode = self._inode(name)
        if self.space_bytes is not None:
            self.space_bytes += len(inode.cached)
        del self._names[name]
        self._images.append(dict(self._names))

    def sync_directory(self) -> None:
        code = self.failure(Operation.SYNC)
        if code is not None:
            raise OSError(code, os.strerror(code))
        self._images = [dict(self._names)]

    def crash(self, rng: Random, mode: Crash) -> None:
        """End the process that uses this storage: its handles die, armed failures are forgotten.

        A power cut leaves the synced bytes and, with `Crash.SUBSET`, any of the unsynced writes,
        and the directory after any number of its unsynced operations: those are journalled in
        order, so a later one never survives an earlier one.
        """
        self.lifetime += 1
        self._failures.clear()
        if mode is Crash.PROCESS:
            return
        survived = rng.randrange(len(self._images)) if mode is Crash.SUBSET else 0
        self._names = self._images[survived]
        self._images = [dict(self._names)]
        for inode in self._names.values():
            inode.lose_power(rng, mode)

    def fail(self, operation: Operation, *, after: int = 0, code: int = errno.EIO) -> None:
        """Let one `operation` fail with `code`, once, after `after` of them that succeed.

        A failing write leaves half of its bytes; a failing sync loses what was unsynced.
        """
        self._failures.append((operation, after, code))

    def failure(self, operation: Operation) -> int | None:
        """Count `operation`; return the error number it must fail with, if any."""
        code: int | None = None
        left: list[tuple[Operation, int, int]] = []
        for counted, after, armed in self._failures:
            if counted is not operation and counted is not Operation.ANY:
                left.append((counted, after, armed))
            elif after > 0:
                left.append((counted, after - 1, armed))
            else:
                code = armed
        self._failures = left
        return code

    def take_space(self, growth: int, nbytes: int) -> int:
        """Return how many of `nbytes` may be written when all of them grow a file by `growth`."""
        if self.space_bytes is None or growth <= 0:
            return nbytes
        missing = max(0, growth - self.space_bytes)
        self.space_bytes -= growth - min(missing, growth)
        return max(0, nbytes - missing)

    def _inode(self, name: str) -> _Inode:
        inode = self._names.get(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return inode

    def _check_directory_failure(self) -> None:
        code = self.failure(Operation.ANY)
        if code is not None:
            raise OSError(code, os.strerror(code))
