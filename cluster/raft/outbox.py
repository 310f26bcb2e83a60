"""What a replica promises, and when the promise may leave.

Early: messages that promise nothing about this node's disk. Everything else waits until the
records it speaks of are synced: an acknowledgement, a vote, and a vote request, which carries
the candidate's own vote (DESIGN.md rows 5, 6 and 35).
"""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from cluster.raft.types import Outgoing

if TYPE_CHECKING:
    from cluster.storage.group_log import GroupLog


class SyncedLog(Protocol):
    """What a group needs to know of the node's write-ahead log."""

    @property
    def lsn(self) -> int:
        """Records buffered so far, by all groups."""
        ...

    @property
    def durable_lsn(self) -> int:
        """Records covered by a sync that returned."""
        ...

    def has_room(self, nbytes: int) -> bool:
        """Whether so many bytes may be appended now; false while the disk is full."""
        ...


class Outbox:
    """Messages of one group on their way out, in the order they were made."""

    def __init__(self, wal: SyncedLog, log: "GroupLog") -> None:
        self._wal = wal
        self._log = log
        self._early: list[Outgoing] = []
        self._gated: deque[tuple[int, Outgoing]] = deque()

    def send_early(self, outgoing: Outgoing) -> None:
        self._early.append(outgoing)

    def send_entries(self, outgoing: list[Outgoing]) -> None:
        """append_entries: early when the leader's own term is durable, which it nearly always is.

        A term that a crash could forget must not be led (the vote for oneself is part of it).
        """
        if self._log.hard_state_durable:
            self._early.extend(outgoing)
        else:
            for each in outgoing:
                self.send_synced(each)

    def send_synced(self, outgoing: Outgoing) -> None:
        """Leaves once everything this group has buffered until now is synced."""
        log = self._log
        unsynced = log.durable_index < log.last_index or not log.hard_state_durable
        self._gated.append((self._wal.lsn if unsynced else 0, outgoing))

    def take_early(self) -> list[Outgoing]:
        early, self._early = self._early, []
        return early

    def take_synced(self) -> list[Outgoing]:
        released: list[Outgoing] = []
        durable = self._wal.durable_lsn
        while self._gated and self._gated[0][0] <= durable:
            released.append(self._gated.popleft()[1])
        return released
