"""Snapshots in memory: what a simulated disk keeps of a partition beside its log."""

from __future__ import annotations

import errno
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

from cluster.state.machine import read_applied_index
from cluster.state.memory_store import MemoryStore
from cluster.storage.snapshots import SnapshotDamaged, SnapshotInfo

if TYPE_CHECKING:
    from collections.abc import Callable


class MemorySnapshots:
    """`Snapshots` of what `state` gives. What is published survives every simulated crash."""

    def __init__(self, state: Callable[[], MemoryStore]) -> None:
        self._state = state
        self.latest: SnapshotInfo | None = None
        self.content = b""
        self.failures = 0
        """So many of the next operations find the disk full."""
        self.flips = 0
        """So many of the next pieces read have a bit turned over."""

    def take(self) -> MemoryCopy:
        self.use_disk()
        return MemoryCopy(self, self._state().dump())

    def open(self) -> MemorySource:
        assert self.latest is not None, "there is no snapshot"
        return MemorySource(self, self.latest, self.content)

    def receive(self, info: SnapshotInfo) -> MemoryIncoming:
        self.use_disk()
        return MemoryIncoming(self, info)

    def adopt(self, info: SnapshotInfo, content: bytes) -> None:
        """The newest snapshot."""
        self.latest, self.content = info, content

    def use_disk(self) -> None:
        """Raises OSError when it is to fail."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def restored(self) -> MemoryStore:
        """A state with the content of the newest one."""
        return MemoryStore.from_dump(self.content)


class MemoryCopy:
    """See `cluster.storage.snapshots.Copy`."""

    def __init__(self, snapshots: MemorySnapshots, content: bytes) -> None:
        self._snapshots = snapshots
        self._content = content
        self.applied_index = _applied_index(content)

    def publish(self, term: int) -> SnapshotInfo:
        self._snapshots.use_disk()
        content = self._content
        info = SnapshotInfo(self.applied_index, term, len(content), _digest(content))
        self._snapshots.adopt(info, content)
        return info

    def discard(self) -> None:
        """Nothing is left of it."""


class MemorySource:
    """See `cluster.storage.snapshots.Source`."""

    def __init__(self, snapshots: MemorySnapshots, info: SnapshotInfo, content: bytes) -> None:
        self.info = info
        self._snapshots = snapshots
        self._content = content

    def read(self, offset: int, count: int) -> bytes:
        piece = self._content[offset : offset + count]
        if self._snapshots.flips:
            self._snapshots.flips -= 1
            piece = bytes((piece[0] ^ 1,)) + piece[1:]
        return piece

    def close(self) -> None:
        """Nothing is open."""


class MemoryIncoming:
    """See `cluster.storage.snapshots.Incoming`."""

    def __init__(self, snapshots: MemorySnapshots, info: SnapshotInfo) -> None:
        self.info = info
        self._snapshots = snapshots
        self.content = b""

    @property
    def received(self) -> int:
        return len(self.content)

    def write(self, data: bytes) -> None:
        self._snapshots.use_disk()
        self.content += data

    def publish(self) -> None:
        self._snapshots.use_disk()
        if _digest(self.content) != self.info.digest:
            raise SnapshotDamaged("a received snapshot does not match its digest")
        if _applied_index(self.content) != self.info.last_index:
            raise SnapshotDamaged("a received snapshot is of another entry than it says")
        self._snapshots.adopt(self.info, self.content)

    def discard(self) -> None:
        """Nothing is left of it."""


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _applied_index(content: bytes) -> int:
    with MemoryStore.from_dump(content).read() as txn:
        return read_applied_index(txn)
