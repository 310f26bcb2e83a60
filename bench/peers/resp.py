"""The protocol of Redis: commands to bytes, and bytes to replies."""

from typing import TypeAlias


class RefusedError(Exception):
    """A reply that says what is wrong. It is handed on as a value, not raised."""


Reply: TypeAlias = "bytes | int | RefusedError | list[Reply] | None"

_CRLF = b"\r\n"
_SIMPLE, _REFUSED, _NUMBER, _BULK, _ARRAY = b"+-:$*"


def encode(*words: bytes) -> bytes:
    """One command."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def cut_replies(data: bytes) -> tuple[list[Reply], bytes]:
    """All whole replies, and the beginning of the next one. Raises ValueError for other bytes."""
    replies: list[Reply] = []
    at = 0
    while at < len(data):
        found = _reply(data, at)
        if found is None:
            break
        reply, at = found
        replies.append(reply)
    return replies, data[at:]


def _reply(data: bytes, at: int) -> tuple[Reply, int] | None:
    """The reply that begins there and where it ends; None when it is not whole."""
    end = data.find(_CRLF, at)
    if end < 0:
        return None
    kind, after = data[at], end + 2
    if kind == _BULK:
        return _bulk(data, after, int(data[at + 1 : end]))
    if kind == _SIMPLE:
        return data[at + 1 : end], after
    if kind == _NUMBER:
        return int(data[at + 1 : end]), after
    if kind == _REFUSED:
        return RefusedError(data[at + 1 : end].decode()), after
    if kind == _ARRAY:
        return _array(data, after, int(data[at + 1 : end]))
    raise ValueError(f"not a reply of Redis: {data[at : at + 20]!r}")


def _bulk(data: bytes, at: int, size: int) -> tuple[bytes | None, int] | None:
    if size < 0:
        return None, at
    end = at + size
    return (data[at:end], end + 2) if end + 2 <= len(data) else None


def _array(data: bytes, at: int, count: int) -> tuple[list[Reply] | None, int] | None:
    if count < 0:
        return None, at
    items: list[Reply] = []
    for _ in range(count):
        found = _reply(data, at)
        if found is None:
            return None
        item, at = found
        items.append(item)
    return items, at
