"""What became of the transactions that were committed lately."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.checksum import seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.store import ReadTransaction, WriteTransaction

OUTCOME_MS = 600_000
"""How long the outcome of a commit is remembered, by the applied stamp."""
PURGE_OUTCOMES_MAX = 64
"""Outcomes that one entry may forget, beside one for each that it adds."""

_KEY = Struct(">Q")
_ROW = Struct("<QQH")
_NEVER_MS = 2**64


class Outcome(NamedTuple):
    """A commit that was made."""

    stamp_ms: int
    revision: int
    operations: int


def read_outcome(txn: ReadTransaction, txn_id: int) -> Outcome | None:
    """What became of a transaction that was committed. Raises `CorruptState`."""
    key = _KEY.pack(txn_id)
    row = txn.get(Table.TXNS, key)
    return None if row is None else Outcome(*_ROW.unpack(unseal(Table.TXNS, key, row)))


class Outcomes:
    """The TXNS table. Ids grow with time, so what is old stands in front."""

    __slots__ = ("_oldest_ms",)

    def __init__(self) -> None:
        self._oldest_ms = _NEVER_MS  # of the row in front, or a lower bound

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds. Raises `CorruptState`."""
        self._oldest_ms = _NEVER_MS
        for key, row in txn.scan(Table.TXNS, b""):
            self._oldest_ms = _ROW.unpack(unseal(Table.TXNS, key, row))[0]
            break

    def keep(self, txn: WriteTransaction, txn_id: int, outcome: Outcome) -> None:
        """Remembers an outcome."""
        key = _KEY.pack(txn_id)
        txn.put(Table.TXNS, key, seal(key, _ROW.pack(*outcome)))
        self._oldest_ms = min(self._oldest_ms, outcome.stamp_ms)

    def purge(self, txn: WriteTransaction, stamp_ms: int, commands: int) -> None:
        """Forgets what is old, in an entry of so many commands."""
        if stamp_ms - OUTCOME_MS < self._oldest_ms:
            return
        old: list[bytes] = []
        self._oldest_ms = _NEVER_MS
        for key, row in txn.scan(Table.TXNS, b""):
            kept_ms = _ROW.unpack(unseal(Table.TXNS, key, row))[0]
            if kept_ms > stamp_ms - OUTCOME_MS or len(old) == PURGE_OUTCOMES_MAX + commands:
                self._oldest_ms = kept_ms
                break
            old.append(key)
        for key in old:
            txn.delete(Table.TXNS, key)
