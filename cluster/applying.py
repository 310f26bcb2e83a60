"""Committed entries on their way into a replica, and what it holds on its way to the store."""

import logging
from typing import TYPE_CHECKING

from cluster.state.errors import StoreFull

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.raft.group import RaftGroup
    from cluster.replica import Replica
    from cluster.state.commands import Result
    from cluster.storage.group_log import GroupLog
    from cluster.storage.records import Entry

logger = logging.getLogger("flo.partition")

_APPLY_S = 0.02
"""How long one turn applies: heartbeats and other partitions wait meanwhile."""
_AGAIN_S = 0.5
"""How long to wait before a state that found no space is stored again."""


class Applying:
    """Of one partition. While its disk is full nothing is applied, and nothing is lost."""

    disk_full = False
    """The state cannot be stored: committed entries wait to be applied."""
    _again_at = 0.0

    def __init__(
        self,
        partition_id: int,
        *,
        group: "RaftGroup",
        log: "GroupLog",
        replica: "Replica",
        clock: "Clock",
        limits: "Limits",
    ) -> None:
        self._partition_id = partition_id
        self._group = group
        self._log = log
        self._replica = replica
        self._clock = clock
        self._bytes_max = limits.apply_bytes_per_turn

    def run(self) -> "Sequence[tuple[Entry, list[Result]]]":
        """Applies as many of the committed entries as a turn has time for; their results."""
        if self._must_wait:
            return ()
        entries = self._group.take_committed(self._bytes_max)
        if not entries:
            return ()
        until = self._clock.monotonic() + _APPLY_S
        try:
            if self.disk_full:
                self._replica.store()
            results = self._replica.apply(
                entries, self._log.durable_index, lambda: self._clock.monotonic() < until
            )
        except StoreFull as error:
            # Nothing of it was applied; it is tried again when the timer comes round.
            self._note_full(error)
            return ()
        self._note_space()
        self._group.note_applied(self._replica.applied_index)
        return list(zip(entries, results, strict=False))

    def store(self) -> None:
        """Brings what was applied to the store, unless the disk was full a moment ago."""
        if self._must_wait:
            return
        try:
            self._replica.store()
        except StoreFull as error:
            self._note_full(error)
        else:
            self._note_space()

    @property
    def _must_wait(self) -> bool:
        return self.disk_full and self._clock.monotonic() < self._again_at

    def _note_full(self, error: StoreFull) -> None:
        if not self.disk_full:
            logger.error("partition %d stops applying: %s", self._partition_id, error)
        self.disk_full = True
        self._again_at = self._clock.monotonic() + _AGAIN_S

    def _note_space(self) -> None:
        if self.disk_full:
            logger.info("partition %d applies again", self._partition_id)
        self.disk_full = False
