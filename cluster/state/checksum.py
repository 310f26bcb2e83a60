"""The checksum in front of every stored value. It covers the key too, so a value found under
another key is damage as well."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from cluster.state.errors import CorruptState

if TYPE_CHECKING:
    from cluster.state.store import Table

_CRC = Struct("<I")
_pack_crc = _CRC.pack
_unpack_crc = _CRC.unpack_from


def seal(key: bytes, body: bytes) -> bytes:
    """The stored form of a value: CRC-32 of key and body, then the body."""
    return _pack_crc(crc32(body, crc32(key))) + body


def unseal(table: Table, key: bytes, stored: bytes) -> bytes:
    """The body of a stored value. Raises `CorruptState` naming table and key."""
    body = stored[4:]
    if len(stored) < 4 or _unpack_crc(stored)[0] != crc32(body, crc32(key)):
        raise corrupt(table, key, "the checksum does not match")
    return body


def corrupt(table: Table, key: bytes, what: str) -> CorruptState:
    """The error for damage found at a key of a table."""
    return CorruptState(
        f"table {table.name}, key {key!r}: {what}; remove this replica's state to rebuild it"
    )
