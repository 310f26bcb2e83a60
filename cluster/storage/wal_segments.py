"""Segment files: filled with zero bytes ahead of time, so that a sync later is a pure data flush.

Real writes and not `fallocate`: the first write to an extent that was only allocated changes the
file system's metadata, and then each sync waits for its journal.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from cluster.storage.files import NO_SPACE
from cluster.storage.wal_format import UNFINISHED_SUFFIX, segment_name

if TYPE_CHECKING:
    from cluster.storage.files import File, Storage

_LOG = logging.getLogger("flo.storage")
_FILL_BYTES = 1 << 20
_ZEROS = bytes(_FILL_BYTES)

# More would keep space from the state machines; fewer would fill most new segments with zero bytes
# although old ones are let go.
_SPARES_MAX = 2

# While the disk is full, `wants_segment` says so only this often, so that asking each turn is no
# busy loop.
_ASKS_PER_RETRY = 64


class SegmentPool:
    """Makes segments, hands them to the writer, and takes them back when nobody needs them.

    `prepare`, `take` and `release` block and may run in any thread, also at the same time.
    """

    def __init__(
        self,
        storage: Storage,
        segment_bytes: int,
        *,
        oldest: int,
        spares: list[int],
        last: int,
        where: str,
    ) -> None:
        self.disk_full = False
        self._storage = storage
        self._segment_bytes = segment_bytes
        self._where = where
        self._spares = deque(spares)  # sequences of files that are ready and not in use
        self._oldest = oldest  # the lowest sequence that has a file
        self._last = last  # the highest
        self._given_up_before = oldest
        self._lock = threading.Lock()
        self._asked = 0

    @property
    def has_spare(self) -> bool:
        return bool(self._spares)

    def wants_segment(self) -> bool:
        """Whether `prepare` should be called: nothing is ready, and nobody is at it."""
        if self._spares or self._lock.locked():
            return False
        if not self.disk_full:
            return True
        self._asked += 1
        return self._asked % _ASKS_PER_RETRY == 0

    def prepare(self) -> None:
        """Make one segment ready unless one is. A full disk sets `disk_full` and raises nothing."""
        with self._lock:
            if self._spares:
                return
            try:
                self._create_next()
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise

    def take(self, sequence: int) -> File:
        """Return segment `sequence`, making it first if none is ready; a full disk raises."""
        with self._lock:
            if not self._spares:
                self._create_next()
            assert self._spares[0] == sequence, f"segment {self._spares[0]} is next, not {sequence}"
            file = self._storage.open(segment_name(sequence))
            self._spares.popleft()
            return file

    def give_up_before(self, sequence: int) -> bool:
        """Let `release` have the segments before `sequence`; return whether there are any."""
        self._given_up_before = sequence
        return self._oldest < sequence

    def release(self) -> None:
        """Recycle or remove what was given up, oldest first, so that no gap is ever left.

        Raises `OSError`; a full disk, which some file systems report here too, leaves the rest.
        """
        while self._release_oldest():
            pass
        if self.disk_full:
            self.prepare()

    def _release_oldest(self) -> bool:
        with self._lock:
            if self._oldest >= self._given_up_before:
                return False
            name = segment_name(self._oldest)
            recycles = len(self._spares) < _SPARES_MAX and self._has_present_size(name)
            try:
                if recycles:
                    self._storage.rename(name, segment_name(self._last + 1))
                else:
                    self._storage.remove(name)
            except OSError as error:
                if error.errno in NO_SPACE:
                    return False
                raise
            self._oldest += 1
            # Before the next one goes, and before any batch stands under the new name.
            self._storage.sync_directory()
            if recycles:
                self._last += 1
                self._spares.append(self._last)
            return True

    def _has_present_size(self, name: str) -> bool:
        file = self._storage.open(name)
        nbytes = file.size()
        file.close()
        return nbytes == self._segment_bytes

    def _create_next(self) -> None:
        try:
            create_segment(self._storage, self._last + 1, self._segment_bytes)
        except OSError as error:
            if error.errno in NO_SPACE and not self.disk_full:
                self.disk_full = True
                _LOG.error(
                    "no space in %s for the next %d bytes of the log: this node takes no more"
                    " writes. Free space on this disk; it goes on by itself then",
                    *(self._where, self._segment_bytes),
                )
            raise
        self._last += 1
        self._spares.append(self._last)
        if self.disk_full:
            _LOG.warning("there is space in %s again: writes are taken", self._where)
        self.disk_full = False


def create_segment(storage: Storage, sequence: int, segment_bytes: int) -> None:
    """Create a synced segment of zero bytes; it has its name only when it is whole."""
    name = segment_name(sequence)
    unfinished = name + UNFINISHED_SUFFIX
    file = storage.create(unfinished)
    try:
        fill_zeros(file, 0, segment_bytes)
        file.sync()
    except OSError:
        # What was written of it takes the space that the state machines need to go on.
        file.close()
        storage.remove(unfinished)
        raise
    file.close()
    storage.rename(unfinished, name)
    # Before any batch: else a power cut takes the file with everything synced into it.
    storage.sync_directory()


def fill_zeros(file: File, start: int, end: int) -> None:
    """Write zero bytes from `start` to `end`."""
    for offset in range(start, end, _FILL_BYTES):
        file.write_at(offset, _ZEROS[: min(_FILL_BYTES, end - offset)])
