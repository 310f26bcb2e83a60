"""Records on their way into the log: gathered from all groups, then given their place in it.

All of this runs on the loop thread and does no I/O. Where a batch will stand is decided here, in
the order of the batches, so the writer may follow in another thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.storage.records import COMMIT, COMMIT_KIND, HEAD, HEAD_KIND
from cluster.storage.wal_errors import WalFailed
from cluster.storage.wal_format import BATCH_HEADER, SEGMENT_HEADER, pack_segment_header
from cluster.storage.wal_index import Location

if TYPE_CHECKING:
    from cluster.storage.group_log import GroupLog
    from cluster.storage.wal_config import WalConfig

_ROOM_FOR_BATCH_HEADER = bytes(BATCH_HEADER.size)


class Position(NamedTuple):
    """Where the next batch goes. Before the first segment: sequence 0 without any capacity."""

    sequence: int
    offset: int
    capacity: int
    number: int


class Batch(NamedTuple):
    """One write: `parts` are the bytes, starting with room for the batch header."""

    number: int
    sequence: int
    offset: int
    previous_end: int
    opens_segment: bool
    parts: list[bytes]


class SyncTicket:
    """Batches of one seal, on their way to the disk."""

    __slots__ = ("batches", "groups", "lsn", "written")

    def __init__(self, batches: list[Batch], groups: list[GroupLog], lsn: int) -> None:
        self.batches = batches
        self.groups = groups
        self.lsn = lsn
        self.written = 0

    @property
    def is_synced(self) -> bool:
        """Whether every batch is written and synced."""
        return self.written == len(self.batches)


class LogBuffer:
    """The records not yet sealed, and the place where they will go."""

    def __init__(
        self,
        config: WalConfig,
        groups: dict[int, GroupLog],
        position: Position,
        ends: dict[int, int],
    ) -> None:
        self.lsn = 0
        self.durable_lsn = 0
        self.failed = False
        self.position = position
        self._config = config
        self._groups = groups
        self._ends = ends
        self._batch_bytes_max = config.batch_bytes_max
        self._parts: list[bytes] = [b""]  # the first is the room for headers
        self._bytes = 0
        self._closed: list[Batch] = []
        self._touched: list[GroupLog] = []
        self._noted: list[GroupLog] = []

    @property
    def has_unwritten(self) -> bool:
        return len(self._parts) > 1 or bool(self._closed)

    @property
    def free_bytes(self) -> int:
        """What the current segment can still take beside the records that wait."""
        return self.position.capacity - self.position.offset - BATCH_HEADER.size - self._bytes

    def check(self) -> None:
        """Raise `WalFailed` after a failed sync."""
        if self.failed:
            raise WalFailed

    def add(self, group: GroupLog, record: bytes, data: bytes = b"") -> None:
        """Buffer one record of `group`, which must not show its effect before this returns.

        Raises `WalFailed`, and `ValueError` for a record that no batch can hold.
        """
        if self.failed:
            raise WalFailed
        nbytes = len(record) + len(data)
        if self._bytes + nbytes > self._batch_bytes_max:
            self._make_room(nbytes)
        self._parts.append(record)
        if data:
            self._parts.append(data)
        self._bytes += nbytes
        self.lsn += 1
        if not group.touched:
            group.touched = True
            self._touched.append(group)

    def note_commit(self, group: GroupLog) -> None:
        """Record the commit index of `group` in the next batch that is written anyway."""
        if not group.commit_noted:
            group.commit_noted = True
            self._noted.append(group)

    def seal(self) -> SyncTicket | None:
        """Take all that is buffered; `None` when that is nothing."""
        if len(self._parts) > 1:
            self._close_batch()
        if not self._closed:
            return None
        ticket = SyncTicket(self._closed, self._touched, self.lsn)
        for group in self._touched:
            group.touched = False
            group.on_sealed()
        self._closed = []
        self._touched = []
        return ticket

    def _make_room(self, nbytes: int) -> None:
        if nbytes > self._batch_bytes_max:
            raise ValueError(
                f"a record of {nbytes} bytes is over batch_bytes_max {self._batch_bytes_max}"
            )
        self._close_batch()

    def _close_batch(self) -> None:
        parts, nbytes = self._parts, self._bytes + self._add_commits()
        self._parts, self._bytes = [b""], 0
        sequence, previous_end, capacity, number = self.position
        offset = previous_end
        opens_segment = offset + BATCH_HEADER.size + nbytes > capacity
        if opens_segment:
            heads = self._pack_heads()
            sequence, offset, capacity = (
                sequence + 1,
                SEGMENT_HEADER.size,
                self._config.segment_bytes,
            )
            parts[0] = pack_segment_header(sequence, number) + _ROOM_FOR_BATCH_HEADER + heads
            nbytes += len(heads)
        else:
            parts[0] = _ROOM_FOR_BATCH_HEADER
        location = Location(sequence, offset)
        for group in self._touched:
            group.on_placed(location)
        self._closed.append(Batch(number, sequence, offset, previous_end, opens_segment, parts))
        end = offset + BATCH_HEADER.size + nbytes
        self._ends[sequence] = end
        self.position = Position(sequence, end, capacity, number + 1)

    def _add_commits(self) -> int:
        if not self._noted:
            return 0
        for group in self._noted:
            self._parts.append(COMMIT.pack(COMMIT_KIND, group.group_id, group.hard_state.commit))
            group.commit_noted = False
            if not group.touched:
                group.touched = True
                self._touched.append(group)
        nbytes = len(self._noted) * COMMIT.size
        self._noted.clear()
        return nbytes

    def _pack_heads(self) -> bytes:
        # What the batches before say, not what is buffered: read from here on, this batch comes
        # next.
        pack = HEAD.pack
        heads = [group.head for group in self._groups.values()]
        return b"".join(pack(HEAD_KIND, *head) for head in heads if head is not None)
