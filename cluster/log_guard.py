"""What keeps a log from growing without end while nothing can be let go of it.

Compaction keeps the log at its bound. It cannot while a snapshot takes long, or finds no space, or
while a partition holds the log back: one that has stopped, or has no majority. Past three times the
bound this node, where it leads, takes no more writes. Raft's own entries, and what others lead, go
on: so what was taken is committed and applied, and a snapshot can follow.

Past four times the bound nothing is taken from other leaders either, but only while a snapshot is
being made or put in place. That comes to an end by itself, whatever the others do; anything else
might wait for the very entries that are refused.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.partition import Partition
    from cluster.storage.wal import Wal

logger = logging.getLogger("flo.snapshot")

REFUSE_AT = 3
HOLD_BACK_AT = 4
"""Times the bound."""
_ROOM_BYTES = 1 << 20
"""A log with less room is full: about the largest batch of one message."""


class LogGuard:
    """Looks at the size of a node's log and tells its partitions."""

    def __init__(self, wal: "Wal", partitions: "dict[int, Partition]", bound: int) -> None:
        self.bound = bound
        """Bytes; as compaction found it last."""
        self._wal = wal
        self._partitions = partitions
        self._refuses = False

    def look(self, *, busy: bool) -> None:
        """`busy`: a snapshot is being made or installed, or segments are being let go.

        Raises WalFailed.
        """
        wal = self._wal
        in_use = wal.bytes_in_use
        wal.holds_back = busy and in_use > HOLD_BACK_AT * self.bound
        refuses = in_use > REFUSE_AT * self.bound
        if refuses != self._refuses:
            self._refuses = refuses
            self._tell(in_use, busy=busy)
        full = not wal.holds_back and not wal.has_room(_ROOM_BYTES)
        for partition in self._partitions.values():
            partition.log_too_long = refuses
            partition.log_full = full

    def _tell(self, in_use: int, *, busy: bool) -> None:
        if not self._refuses:
            logger.warning("the log is at %d bytes: writes are taken again", in_use)
            return
        logger.error(
            "the log has %d bytes, over %d times its bound of %d: this node takes no writes where"
            " it leads, until part of the log can be let go. %s",
            *(in_use, REFUSE_AT, self.bound, self._why(busy=busy)),
        )

    def _why(self, *, busy: bool) -> str:
        needed = {number: self._wal.group(number).needed_sequence for number in self._partitions}
        oldest = min(filter(None, needed.values()), default=0)
        holding = [number for number, sequence in needed.items() if sequence == oldest]
        stopped = [number for number in holding if self._partitions[number].broken]
        if stopped:
            return f"Partitions that have stopped hold it: {stopped}. Repair this node"
        if busy:
            return "A snapshot is being made: is the disk slow?"
        return (
            f"Partitions {holding} hold it: they lack a majority, or space for a snapshot; other"
            " messages say which"
        )
