"""The settings of the log."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.storage.records import COMMIT, ENTRY, GROUP_ID_MAX, HEAD
from cluster.storage.wal_format import BATCH_HEADER, SEGMENT_HEADER

_SEGMENT_BYTES_MAX = 1 << 30  # offsets are stored in 32 bits


@dataclass(frozen=True, slots=True)
class WalConfig:
    """Sizes of the log; raises `ValueError` when they do not fit together."""

    segment_bytes: int = 32 << 20
    """Size of a new segment. Larger: fewer switches, but more to read at a start."""

    tail_bytes: int = 4 << 20
    """Memory for the newest entries of each group; older ones are read back from the segments."""

    warn_bytes: int = 10 << 30
    """When the log grows past this, a warning is logged: some partition lets no old segment go."""

    batch_bytes_max: int = 4 << 20
    """Most records, in bytes, in one write; so also the bound for one entry."""

    groups_max: int = 1024
    """Most groups on a node: the hard state of all of them opens each segment."""

    def __post_init__(self) -> None:
        if self.batch_bytes_max <= ENTRY.size + HEAD.size:
            raise ValueError(f"batch_bytes_max {self.batch_bytes_max} holds not even one entry")
        if not 1 <= self.groups_max <= GROUP_ID_MAX + 1:
            raise ValueError(f"groups_max {self.groups_max} is not in 1..{GROUP_ID_MAX + 1}")
        if self.tail_bytes < 0:
            raise ValueError(f"tail_bytes {self.tail_bytes} is negative")
        if self.segment_bytes > _SEGMENT_BYTES_MAX:
            raise ValueError(f"segment_bytes {self.segment_bytes} is over {_SEGMENT_BYTES_MAX}")
        if self.segment_bytes < self._segment_bytes_min():
            raise ValueError(
                f"segment_bytes {self.segment_bytes} is too small: a batch never spans two "
                f"segments, so batch_bytes_max {self.batch_bytes_max} and groups_max "
                f"{self.groups_max} need {self._segment_bytes_min()}"
            )

    def _segment_bytes_min(self) -> int:
        heads = self.groups_max * (HEAD.size + COMMIT.size)
        return SEGMENT_HEADER.size + BATCH_HEADER.size + heads + self.batch_bytes_max

    @property
    def entry_bytes_max(self) -> int:
        """The most data one entry can hold."""
        return self.batch_bytes_max - ENTRY.size
