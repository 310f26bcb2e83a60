"""How much may wait in a partition: as much as it gets done within a bearable wait.

A bound in commands alone is too low for one machine and too high for another, where a command
would wait until nobody does any more. So the time that commands have waited is measured: what is
ahead of a command when it is proposed, divided by the time until it is done, is the pace. Reads
have a pace of their own.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.config import Limits

_COMMANDS_FIRST, _COMMANDS_LEAST = 4096, 256
_BYTES_FIRST, _BYTES_LEAST = 4 << 20, 1 << 20
"""Before anything is known, and however slow the partition is."""


class Pace:
    """What may wait in one partition. It stays within `commands_max` and `bytes_max`."""

    __slots__ = ("_bytes", "_bytes_max", "_commands", "_commands_max", "_wait_s")

    def __init__(self, *, commands_max: int, bytes_max: int, wait_s: float) -> None:
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._wait_s = wait_s
        self._commands = min(_COMMANDS_FIRST, commands_max)
        self._bytes = min(_BYTES_FIRST, bytes_max)

    @classmethod
    def of(cls, limits: "Limits") -> "Pace":
        """That of a partition."""
        return cls(
            commands_max=limits.partition_commands_max,
            bytes_max=limits.partition_bytes_max,
            wait_s=limits.partition_wait_s,
        )

    def allows(self, waiting: int, nbytes: int = 0) -> bool:
        """Whether another command may wait behind `waiting` ones; `nbytes` with its own."""
        return not waiting or (waiting < self._commands and nbytes <= self._bytes)

    def done(self, waiting: int, nbytes: int, seconds: float) -> None:
        """What waited when a command was proposed has taken so long until it was done."""
        share = self._wait_s / max(seconds, 0.001)
        most = max(_COMMANDS_LEAST, int(waiting * share))
        if share >= 1 and 2 * waiting <= self._commands:
            # Little waits: that teaches how much could at least, but not that more could not.
            most = max(self._commands, min(most, _COMMANDS_FIRST))
        self._commands = min(most, self._commands_max)
        most = max(_BYTES_LEAST, int(nbytes * share))
        if share >= 1 and 2 * nbytes <= self._bytes:
            most = max(self._bytes, min(most, _BYTES_FIRST))
        self._bytes = min(most, self._bytes_max)
