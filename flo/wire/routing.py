"""Where a key lives: a pure function of namespace, key and partition count.

Servers and clients must agree on it forever: the partition count is fixed when a cluster is
founded, and a change here would orphan every stored key. The golden values in the tests pin it.
"""

from __future__ import annotations

from hashlib import blake2b


def routing_part(key: bytes) -> bytes:
    """The part of a key that decides its partition, so that related keys live together.

    The text between the first `{` and the next `}` when it is not empty; else the first two
    segments of three or more that `:` separates; else the whole key.
    """
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            return key[opening + 1 : closing]
    first = key.find(b":")
    if first >= 0:
        second = key.find(b":", first + 1)
        if second >= 0:
            return key[:second]
    return key


def partition_of(namespace: bytes, key: bytes, partition_count: int) -> int:
    """The partition, 0 to `partition_count` - 1, that holds a key of a namespace."""
    digest = blake2b(namespace + b"\x00" + routing_part(key), digest_size=8).digest()
    return int.from_bytes(digest, "little") % partition_count
