"""Keys of any length, in exact byte order, over tables whose own keys end at 511 bytes.

A full key is `namespace + 0x00 + key`. While at least 480 bytes are left, a piece of 480 bytes
becomes an *inner* node, whose value is the id of a child; the final piece (0 to 479 bytes) is
*terminal* and holds the record. The first piece lives in KV under itself, deeper ones in LONG under
the child's id and themselves. So a piece of 480 bytes is always inner and a shorter one always
terminal: nothing else tells them apart, and byte order over the pieces is byte order over the keys.

An inner node always has something below it; the last removal takes it away. Child ids are never
reused, so damage cannot make an old piece appear under a new key.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction

PIECE_BYTES = 480

# checksum (see `seal`), version, expires_at_ms, created_ms, writes; the value follows
_RECORD = Struct("<IQQQQ")
_BODY = Struct("<QQQQ")  # the same without the checksum
_CHILD = Struct(">Q")
_CHILD_ROW = b"child"
_unpack_record = _RECORD.unpack_from
_pack_body = _BODY.pack
_HEADER_BYTES = _RECORD.size

_KV = Table.KV
_LONG = Table.LONG


class Record(NamedTuple):
    """What a key holds. `expires_at_ms` is 0 for a key that does not expire.

    `created_ms` is when this version was written, and `writes` how often the key was, this time
    included; objects that are no keys of users have neither.
    """

    version: int
    expires_at_ms: int
    value: bytes
    created_ms: int = 0
    writes: int = 0


def get(txn: ReadTransaction, full: bytes) -> Record | None:
    """The record of a full key, whatever its time. Raises `CorruptState`."""
    row = txn.get(_KV, full) if len(full) < PIECE_BYTES else _get_long(txn, full)
    return None if row is None else _decode(full, row)


def put(txn: WriteTransaction, full: bytes, record: Record) -> None:
    """Sets the record of a full key."""
    version, expires_at_ms, value, created_ms, writes = record
    body = _pack_body(version, expires_at_ms, created_ms, writes) + value
    row = seal(full, body)
    if len(full) < PIECE_BYTES:
        txn.put(_KV, full, row)
    else:
        txn.put(_LONG, _make_path(txn, full), row)


def delete(txn: WriteTransaction, full: bytes) -> bool:
    """Removes a full key, and the inner nodes that only it needed; says whether it was there."""
    if len(full) < PIECE_BYTES:
        return txn.delete(_KV, full)
    path = _find_path(txn, full)
    if path is None or not txn.delete(_LONG, path[-1][1]):
        return False
    # From the deepest inner node up: each one goes when nothing is left under its child id.
    for level in range(len(path) - 2, -1, -1):
        head = path[level + 1][1][: _CHILD.size]
        if any(key.startswith(head) for key, _ in _first(txn, _LONG, head)):
            break
        txn.delete(*path[level])
    return True


def scan(txn: ReadTransaction, prefix: bytes, after: bytes) -> Iterator[tuple[bytes, Record]]:
    """Full keys that start with `prefix` and sort after `after`, with their records, in byte order.

    `after` may be any bytes; `b""` is the beginning. Raises `CorruptState`.
    """
    start = max(prefix, after + b"\x00") if after else prefix
    for full, row in _walk(txn, _KV, b"", b"", start):
        if not full.startswith(prefix):
            return
        yield full, _decode(full, row)


def _decode(full: bytes, row: bytes) -> Record:
    if len(row) < _HEADER_BYTES:
        raise corrupt(_table_of(full), full, f"a record of {len(row)} bytes")
    crc, version, expires_at_ms, created_ms, writes = _unpack_record(row)
    if crc != crc32(row[4:], crc32(full)):
        raise corrupt(_table_of(full), full, "the checksum does not match")
    return Record(version, expires_at_ms, row[_HEADER_BYTES:], created_ms, writes)


def _table_of(full: bytes) -> Table:
    return _KV if len(full) < PIECE_BYTES else _LONG


def _walk(
    txn: ReadTransaction, table: Table, head: bytes, path: bytes, start: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Terminal rows below one child id (`head`), whose rest of the key is `start` or more.

    `path` is the part of the full key above. The depth is that of the longest key in pieces.
    """
    skip = len(head)
    for key, row in txn.scan(table, head + start[:PIECE_BYTES]):
        if not key.startswith(head):
            return
        piece = key[skip:]
        if len(piece) < PIECE_BYTES:
            yield path + piece, row
        else:
            # `start` reaches below this piece only when it begins with it.
            rest = start[PIECE_BYTES:] if start.startswith(piece) else b""
            yield from _walk(txn, _LONG, unseal(table, key, row), path + piece, rest)


def _get_long(txn: ReadTransaction, full: bytes) -> bytes | None:
    path = _find_path(txn, full)
    return None if path is None else txn.get(*path[-1])


def _find_path(txn: ReadTransaction, full: bytes) -> list[tuple[Table, bytes]] | None:
    """Table and key of each piece of a long key; None when an inner node is missing."""
    path: list[tuple[Table, bytes]] = []
    table, head = _KV, b""
    for at in range(0, len(full) - PIECE_BYTES + 1, PIECE_BYTES):
        key = head + full[at : at + PIECE_BYTES]
        path.append((table, key))
        row = txn.get(table, key)
        if row is None:
            return None
        head, table = unseal(table, key, row), _LONG
    path.append((table, head + full[len(path) * PIECE_BYTES :]))
    return path


def _make_path(txn: WriteTransaction, full: bytes) -> bytes:
    """The LONG key of the terminal piece; inner nodes that are missing are made."""
    table, head = _KV, b""
    inner_bytes = len(full) - len(full) % PIECE_BYTES
    for at in range(0, inner_bytes, PIECE_BYTES):
        key = head + full[at : at + PIECE_BYTES]
        row = txn.get(table, key)
        if row is None:
            head = _new_child(txn)
            txn.put(table, key, seal(key, head))
        else:
            head = unseal(table, key, row)
        table = _LONG
    return head + full[inner_bytes:]


def _new_child(txn: WriteTransaction) -> bytes:
    row = txn.get(Table.META, _CHILD_ROW)
    last = 0 if row is None else _CHILD.unpack(unseal(Table.META, _CHILD_ROW, row))[0]
    child = _CHILD.pack(last + 1)
    txn.put(Table.META, _CHILD_ROW, seal(_CHILD_ROW, child))
    return child


def _first(txn: ReadTransaction, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    for row in txn.scan(table, start):
        yield row
        return
