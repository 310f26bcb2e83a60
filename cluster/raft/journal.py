"""The consensus core's view of a group's log.

The core truncates on every append_entries whose previous entry is not our last one, even when
the entries agree (DESIGN.md row 2): a repeated heartbeat would erase entries this replica
has acknowledged. So a truncation only *hides* here: equal entries come into sight again, the
log is really cut at the first entry that differs, and `end_message` brings back whatever the
message did not contradict. While it runs, the core sees exactly what the message verified,
which is all it may acknowledge.
"""

from typing import TYPE_CHECKING

from pysyncobj.journal import Journal

from cluster.raft.types import InvariantBrokenError
from cluster.storage.records import HardState

if TYPE_CHECKING:
    from cluster.storage.group_log import GroupLog


class CoreJournal(Journal):
    """Adapts a `GroupLog` to the seam the core offers. The core sees terms, never payloads."""

    def __init__(self, log: "GroupLog", applied_index: int) -> None:
        self._log = log
        self._visible_last = log.last_index
        self.committed = max(log.hard_state.commit, applied_index)
        """What truncation must never reach; the group moves it forward."""
        if applied_index > log.last_index:
            raise InvariantBrokenError(
                f"the state has applied entry {applied_index}, the log ends at"
                f" {log.last_index}: the log has lost entries that were synced"
            )
        if applied_index < log.base_index:
            raise InvariantBrokenError(
                f"the state has applied entry {applied_index}, the log goes on after"
                f" {log.base_index}: the snapshot between them is missing. If it cannot be"
                " restored, start this node on an empty data directory with --repair"
            )

    def add(self, command: bytes, idx: int, term: int) -> None:
        log = self._log
        if idx != self._visible_last + 1:
            raise InvariantBrokenError(f"entry {idx} does not follow {self._visible_last}")
        if idx <= log.last_index:
            if log.term_at(idx) == term:
                self._visible_last = idx
                return
            if idx <= self.committed:
                raise InvariantBrokenError(
                    f"the leader of term {term} contradicts committed entry {idx}"
                )
            log.truncate_from(idx)
        log.append(idx, term, command)
        self._visible_last = idx

    def end_message(self) -> None:
        """The core has handled a message: what it did not contradict is back in sight."""
        self._visible_last = self._log.last_index

    def hide_unsynced(self) -> None:
        """Until `end_message` the core sees only what is durable here (row 6)."""
        self._visible_last = self._log.durable_index

    @property
    def _first(self) -> int:
        """Where the core's log begins: the entry that a snapshot ends with stands for all before.

        Only its term is known, which is all the core asks for.
        """
        return max(self._log.base_index, 1)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        self._visible_last = self._first + entryFrom - 1

    def __getitem__(self, item: int) -> tuple[bytes, int, int]:
        index = self._visible_last if item == -1 else self._first + item
        term = self._log.term_at(index)
        if term is None or not self._first <= index <= self._visible_last:
            raise IndexError(item)
        return b"", index, term

    def __len__(self) -> int:
        return self._visible_last - self._first + 1 if self._visible_last else 0

    def light_entries(self, first: int | None, count: int | None) -> list[tuple[bytes, int, int]]:
        """(b"", index, term) from `first`: at most `count`, and at most two without a count.

        The core asks without a count only to see whether an entry follows the previous one.
        """
        if first is None or first < self._first:
            return []
        stop = min(first + (2 if count is None else count), self._visible_last + 1)
        found: list[tuple[bytes, int, int]] = []
        for index in range(first, stop):
            term = self._log.term_at(index)
            if term is None:
                raise InvariantBrokenError(f"entry {index} is missing inside the log")
            found.append((b"", index, term))
        return found

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """The group records the commit index itself; the core's may go back for a moment."""

    def getRaftCommitIndex(self) -> int:
        """Entry 1 is the same on every replica, so it counts as committed from the start."""
        return min(max(self.committed, 1), self._log.last_index)

    def setCurrentTerm(self, term: int, votedForNodeId: int | None) -> None:
        state = HardState(term, votedForNodeId or 0, self.committed)
        self._log.set_hard_state(state)

    def getCurrentTerm(self) -> int:
        return self._log.hard_state.term

    def getVotedForNodeId(self) -> int | None:
        return self._log.hard_state.voted_for or None

    def _destroy(self) -> None:
        """The write-ahead log outlives the group and is closed by its owner."""
