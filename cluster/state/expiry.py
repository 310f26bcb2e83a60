"""Which key expires when, so that dead keys leave the store without anyone reading them.

An EXPIRY row is `expires_at_ms (8 bytes, big endian) + digest of the full key -> full key`. Every
key with a time has exactly one row, and there are no others: each change of a key's time moves its
row.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from cluster.state import history, keyspace
from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction, WriteTransaction

KEYS_PER_ENTRY = 64
KEYS_PER_COMMAND = 2
"""Keys that an entry may remove, so many for itself and so many for each of its commands: what one
entry costs stays bounded, whatever expires at once, and more goes than commands can bring."""

_NEVER_MS = 2**64
_TIME_BYTES = 8
_DIGEST_BYTES = 16


class ExpiryIndex:
    """The EXPIRY table, with the earliest time in it remembered so that most entries skip it."""

    __slots__ = ("_earliest_ms",)

    def __init__(self) -> None:
        self._earliest_ms = _NEVER_MS  # a lower bound: rows that go do not raise it

    @property
    def earliest_ms(self) -> int:
        """No key expires before this time, unix milliseconds; one may at it."""
        return self._earliest_ms

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds."""
        self._earliest_ms = _NEVER_MS
        for key, _ in txn.scan(Table.EXPIRY, b""):
            self._earliest_ms = _time_of(key)
            break

    def move(self, txn: WriteTransaction, full: bytes, *, old_ms: int, new_ms: int) -> None:
        """A key's time changes; 0 is none."""
        if old_ms == new_ms:
            return
        digest = blake2b(full, digest_size=_DIGEST_BYTES).digest()
        if old_ms:
            txn.delete(Table.EXPIRY, old_ms.to_bytes(_TIME_BYTES, "big") + digest)
        if new_ms:
            key = new_ms.to_bytes(_TIME_BYTES, "big") + digest
            txn.put(Table.EXPIRY, key, seal(key, full))
            self._earliest_ms = min(self._earliest_ms, new_ms)

    def purge(self, context: Context, commands: int) -> None:
        """Removes keys whose time has come, the longest expired first, in an entry of so many
        commands.

        Raises `CorruptState` when a row and its key do not agree.
        """
        if context.stamp_ms < self._earliest_ms:
            return
        txn = context.txn
        most = KEYS_PER_ENTRY + KEYS_PER_COMMAND * commands
        for key, full in self._collect_due(txn, context.stamp_ms, most):
            record = keyspace.get(txn, full)
            if record is None or record.expires_at_ms != _time_of(key):
                raise corrupt(Table.EXPIRY, key, f"key {full!r} does not expire at that time")
            keyspace.delete(txn, full)
            txn.delete(Table.EXPIRY, key)
            history.bury(context, full, record)

    def _collect_due(
        self, txn: ReadTransaction, stamp_ms: int, most: int
    ) -> list[tuple[bytes, bytes]]:
        due: list[tuple[bytes, bytes]] = []
        self._earliest_ms = _NEVER_MS
        for key, row in txn.scan(Table.EXPIRY, b""):
            if len(due) == most or _time_of(key) > stamp_ms:
                self._earliest_ms = _time_of(key)
                break
            due.append((key, unseal(Table.EXPIRY, key, row)))
        return due


def _time_of(key: bytes) -> int:
    return int.from_bytes(key[:_TIME_BYTES], "big")
