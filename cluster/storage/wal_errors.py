"""What the log raises beside the `OSError` of the disk."""

from __future__ import annotations


class WalDamaged(Exception):
    """Bytes that were synced are missing or changed. Nothing was deleted or rewritten.

    `file` and `offset` name the first place that is wrong. The replica must not serve or vote.
    """

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(
            f"the log is damaged in {file} at byte {offset}: {reason}. Nothing was changed. Keep a "
            f"copy of the directory and let this replica be rebuilt from the others"
        )
        self.file = file
        self.offset = offset
        self.reason = reason


class WalFull(OSError):
    """There was no space for a batch. Nothing is lost: the same ticket may be given again."""


class WalFailed(Exception):
    """The disk refused a sync before, so nobody knows what it holds: the log takes no more calls.

    Only a restart, which reads back what is there, may go on.
    """

    def __init__(self) -> None:
        super().__init__("an earlier sync of the log failed: check the disk, then restart the node")
