"""What happens when a time comes: rows in order of time, run by the applied stamp.

A TIMERS row is `at_ms (8 bytes, big endian) + kind (1 byte) + what -> nothing`. A kind has a
handler, which gets `what`; families keep their own rows about what is due, and move or remove the
timer whenever those change. Nothing is late or early by a replica's clock: time stands in entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction, WriteTransaction

TIMERS_PER_ENTRY = 256
"""What one entry costs stays bounded, whatever is due at once; the next entries go on."""

NEVER_MS = 2**64 - 1
_TIME_BYTES = 8


class Timers:
    """The TIMERS table, with the earliest time in it remembered so that most entries skip it."""

    __slots__ = ("_earliest_ms",)

    def __init__(self) -> None:
        self._earliest_ms = NEVER_MS

    @property
    def earliest_ms(self) -> int:
        """No timer is due before this time, unix milliseconds; one may be due at it."""
        return self._earliest_ms

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds."""
        self._earliest_ms = NEVER_MS
        for key, _ in txn.scan(Table.TIMERS, b""):
            self._earliest_ms = _time_of(key)
            break

    def add(self, txn: WriteTransaction, at_ms: int, kind: int, what: bytes) -> None:
        """Has the handler of `kind` called with `what` by the first entry stamped `at_ms` or later.

        The same time, kind and `what` is one timer. `what` is at most 400 bytes.
        """
        key = at_ms.to_bytes(_TIME_BYTES, "big") + bytes((kind,)) + what
        txn.put(Table.TIMERS, key, seal(key, b""))
        self._earliest_ms = min(self._earliest_ms, at_ms)

    def insert(self, txn: WriteTransaction, at_ms: int, kind: int, what: bytes) -> None:
        """The same as `add`, of a timer that there is not yet."""
        key = at_ms.to_bytes(_TIME_BYTES, "big") + bytes((kind,)) + what
        txn.insert(Table.TIMERS, key, seal(key, b""))
        if at_ms < self._earliest_ms:
            self._earliest_ms = at_ms

    def remove(self, txn: WriteTransaction, at_ms: int, kind: int, what: bytes) -> None:
        """Takes a timer back. Raises `CorruptState` when there is none: who adds must know."""
        key = at_ms.to_bytes(_TIME_BYTES, "big") + bytes((kind,)) + what
        if not txn.delete(Table.TIMERS, key):
            raise corrupt(Table.TIMERS, key, "a timer that should be there is missing")

    def run(
        self, context: Context, handlers: Mapping[int, Callable[[Context, bytes], None]]
    ) -> None:
        """Runs what is due at the applied stamp, earliest first, at most `TIMERS_PER_ENTRY`.

        A handler's timer is gone when it is called; it may add others, which run with a later entry
        even if they are due.
        """
        if context.stamp_ms < self._earliest_ms:
            return
        due = self._take_due(context.txn, context.stamp_ms)
        for key in due:
            handlers[key[_TIME_BYTES]](context, key[_TIME_BYTES + 1 :])

    def _take_due(self, txn: WriteTransaction, stamp_ms: int) -> list[bytes]:
        due: list[bytes] = []
        self._earliest_ms = NEVER_MS
        for key, row in txn.scan(Table.TIMERS, b""):
            if len(due) == TIMERS_PER_ENTRY or _time_of(key) > stamp_ms:
                self._earliest_ms = _time_of(key)
                break
            unseal(Table.TIMERS, key, row)
            due.append(key)
        for key in due:
            txn.delete(Table.TIMERS, key)
        return due


def discard_timer(txn: WriteTransaction, at_ms: int, kind: int, what: bytes) -> None:
    """Removes a timer that may have run, of something that is no more."""
    txn.delete(Table.TIMERS, at_ms.to_bytes(_TIME_BYTES, "big") + bytes((kind,)) + what)


def _time_of(key: bytes) -> int:
    return int.from_bytes(key[:_TIME_BYTES], "big")
