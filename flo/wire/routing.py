"""Where a key lives: a pure function of namespace, key and partition count.

A queue lives where a key of its name does.

Servers and clients must agree on it forever: the partition count is fixed when a cluster is
founded, and a change here would orphan every stored key. The golden values in the tests pin it.
"""

from __future__ import annotations

from hashlib import blake2b

_DEAD_LETTER_SUFFIX = b".dlq"


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


def stream_home(stream: bytes) -> bytes:
    """The key that a stream lives at: `partition_of` takes it as the key of the stream.

    A stream of dead letters, `<stream>.dlq`, lives where its stream does, so that a record moves
    from one to the other in one step; so does one of that stream, and so on.
    """
    while stream.endswith(_DEAD_LETTER_SUFFIX) and len(stream) > len(_DEAD_LETTER_SUFFIX):
        stream = stream[: -len(_DEAD_LETTER_SUFFIX)]
    return stream


def partition_of(namespace: bytes, key: bytes, partition_count: int) -> int:
    """The partition, 0 to `partition_count` - 1, that holds a key of a namespace."""
    digest = blake2b(namespace + b"\x00" + routing_part(key), digest_size=8).digest()
    return int.from_bytes(digest, "little") % partition_count
