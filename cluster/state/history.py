"""Earlier versions of keys: for each a ring of the last 64, also for a while after it is gone.

HISTORY has rows of two kinds, both under a digest of the full key:

    digest + slot   a version that was overwritten; its number among the key's writes, mod 64
    digest          the head of a dead key, deleted or expired: its last version, and its grave

GRAVES has a row for each dead key, in the order in which they died. A key that comes back takes up
its ring again and loses its grave. Past a number and an age graves are emptied, with their rings.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from cluster.state.context import Context
    from cluster.state.keyspace import Record
    from cluster.state.store import ReadTransaction, WriteTransaction

RING = 64
"""Versions before the current one that a key keeps."""
DEAD_KEYS_MAX = 10_000
"""Dead keys whose history is kept."""
DEAD_MS = 3_600_000
"""How long it is kept at most, by the applied stamp."""
ROWS_PER_ENTRY = 256
ROWS_PER_GRAVE = RING + 2
"""Rows of graves that an entry removes: so many for itself, and so many for each grave that it has
added. That is as many as a grave can have, so what waits for removal does not grow."""
_COUNT_BYTES, _ENTRY_BYTES = 4, 20
"""What an answer takes beside the values: once, and for each of them."""

_NEVER_MS = 2**64
_DIGEST_BYTES = 16
_VERSION = Struct("<QQ")  # version, created_ms; the value follows
_HEAD = Struct("<QQQQ")  # writes, grave, version, created_ms; the value follows
_GRAVE_KEY = Struct(">Q")
_GRAVE = Struct("<Q16sQ")  # died_ms, digest, writes
_SLOTS = [bytes((slot,)) for slot in range(RING)]

_HISTORY = Table.HISTORY
_GRAVES = Table.GRAVES
_pack_version = _VERSION.pack


class Version(NamedTuple):
    """One version of a key; `created_ms` is the applied stamp at which it was written."""

    version: int
    created_ms: int
    value: bytes


class Graves:
    """The GRAVES table, with how many rows it has and a lower bound of when the next is due."""

    __slots__ = ("_added", "_due_ms", "count")

    def __init__(self) -> None:
        self._added = 0  # by the present entry
        self.count = 0
        """Dead keys. While there are none, a new key has no history to look for."""
        self._due_ms = _NEVER_MS

    @property
    def due_ms(self) -> int:
        """No grave is to be emptied before this time, unix milliseconds."""
        return 0 if self.count > DEAD_KEYS_MAX else self._due_ms

    def load(self, txn: ReadTransaction, count: int) -> None:
        """Starts over from what the store holds."""
        self.count = count
        self._added = 0
        self._due_ms = _NEVER_MS
        for key, row in txn.scan(_GRAVES, b""):
            self._due_ms = _GRAVE.unpack(unseal(_GRAVES, key, row))[0] + DEAD_MS
            break

    def add(
        self, txn: WriteTransaction, number: int, died_ms: int, dead: tuple[bytes, int]
    ) -> None:
        """A key has died: its digest, and how often it was written."""
        key = _GRAVE_KEY.pack(number)
        txn.put(_GRAVES, key, seal(key, _GRAVE.pack(died_ms, *dead)))
        self.count += 1
        self._added += 1
        self._due_ms = min(self._due_ms, died_ms + DEAD_MS)

    def remove(self, txn: WriteTransaction, number: int) -> None:
        """A key is dead no longer. Raises `CorruptState` when it has no grave."""
        key = _GRAVE_KEY.pack(number)
        if not txn.delete(_GRAVES, key):
            raise corrupt(_GRAVES, key, "the grave of a dead key is missing")
        self.count -= 1

    def collect(self, txn: WriteTransaction, stamp_ms: int) -> None:
        """Empties the oldest graves, those too many and those too old; once, at the end of an
        entry."""
        room = ROWS_PER_ENTRY + ROWS_PER_GRAVE * self._added
        self._added = 0
        if stamp_ms < self._due_ms and self.count <= DEAD_KEYS_MAX:
            return
        excess = self.count - DEAD_KEYS_MAX
        due: list[tuple[bytes, bytes, int]] = []
        self._due_ms = _NEVER_MS
        for key, row in txn.scan(_GRAVES, b""):
            died_ms, digest, writes = _GRAVE.unpack(unseal(_GRAVES, key, row))
            if room <= 0 or (len(due) >= excess and died_ms + DEAD_MS > stamp_ms):
                self._due_ms = died_ms + DEAD_MS
                break
            due.append((key, digest, writes))
            room -= 2 + min(writes - 1, RING)
        for key, digest, writes in due:
            _forget(txn, digest, writes)
            txn.delete(_GRAVES, key)
        self.count -= len(due)


def keep(txn: WriteTransaction, full: bytes, record: Record) -> None:
    """A key's version is about to be overwritten."""
    version, _, value, created_ms, writes = record
    key = digest_of(full) + _SLOTS[writes % RING]
    txn.put(_HISTORY, key, seal(key, _pack_version(version, created_ms) + value))


def bury(context: Context, full: bytes, record: Record) -> None:
    """A key is gone; `record` is the last that it held."""
    digest = digest_of(full)
    version, _, value, created_ms, writes = record
    number = context.new_id()
    body = _HEAD.pack(writes, number, version, created_ms) + value
    context.txn.put(_HISTORY, digest, seal(digest, body))
    context.graves.add(context.txn, number, context.stamp_ms, (digest, writes))


def revive(context: Context, full: bytes) -> int:
    """A key is about to be made; how often it was written before, 0 if nobody remembers."""
    digest = digest_of(full)
    txn = context.txn
    row = txn.get(_HISTORY, digest)
    if row is None:
        return 0
    writes, number, last = _decode_head(digest, row)
    key = digest + _SLOTS[writes % RING]
    txn.put(_HISTORY, key, seal(key, _pack_version(last.version, last.created_ms) + last.value))
    txn.delete(_HISTORY, digest)
    context.graves.remove(txn, number)
    return writes


def read_versions(
    txn: ReadTransaction, full: bytes, stored: Record | None, limit: int, max_bytes: int
) -> list[Version]:
    """The versions of a key that are remembered, newest first, the current one included.

    `stored` is what the key holds, even if its time has come. At most `limit`, and as many as fit
    in `max_bytes`, but one at least. Raises `CorruptState`.
    """
    digest = digest_of(full)
    if stored is not None:
        writes = stored.writes
        newest = Version(stored.version, stored.created_ms, stored.value)
    else:
        row = txn.get(_HISTORY, digest)
        if row is None:
            return []
        writes, _, newest = _decode_head(digest, row)
    versions = [newest]
    room = max_bytes - _COUNT_BYTES - len(newest.value) - _ENTRY_BYTES
    for number in range(writes - 1, max(0, writes - 1 - RING), -1):
        if len(versions) == limit:
            break
        earlier = _read(txn, digest, number)
        room -= len(earlier.value) + _ENTRY_BYTES
        if room < 0:
            break
        versions.append(earlier)
    return versions


def digest_of(full: bytes) -> bytes:
    """Where the history of a full key lies."""
    return blake2b(full, digest_size=_DIGEST_BYTES).digest()


def _read(txn: ReadTransaction, digest: bytes, number: int) -> Version:
    key = digest + _SLOTS[number % RING]
    row = txn.get(_HISTORY, key)
    if row is None:
        raise corrupt(_HISTORY, key, "an earlier version is missing")
    body = unseal(_HISTORY, key, row)
    version, created_ms = _VERSION.unpack_from(body)
    return Version(version, created_ms, body[_VERSION.size :])


def _decode_head(digest: bytes, row: bytes) -> tuple[int, int, Version]:
    """How often the key was written, its grave, its last version."""
    body = unseal(_HISTORY, digest, row)
    writes, number, version, created_ms = _HEAD.unpack_from(body)
    return writes, number, Version(version, created_ms, body[_HEAD.size :])


def _forget(txn: WriteTransaction, digest: bytes, writes: int) -> None:
    if not txn.delete(_HISTORY, digest):
        raise corrupt(_HISTORY, digest, "the head of a dead key is missing")
    for number in range(max(1, writes - RING), writes):
        txn.delete(_HISTORY, digest + _SLOTS[number % RING])
