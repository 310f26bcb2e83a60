"""msgpack as the peer network uses it: bounded, text keys only, no extension hooks."""

from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    # msgpack ships no types. These are the parts used here.
    class Packer:
        def pack(self, obj: object, /) -> bytes: ...

    class _Unpack(Protocol):
        def __call__(
            self, packed: bytes | memoryview, *, max_array_len: int, max_map_len: int
        ) -> object: ...

    unpackb: _Unpack
else:
    from msgpack import Packer, unpackb

ITEMS_MAX = 65_535
"""Of any array or map in a payload, the list of messages itself included. An array announces its
length before its items, and memory is taken for it at once."""

Message = list[object]
"""`[kind, ...]`, kind an int."""

_ARRAY_OF_16 = 0x90
_ARRAY_16 = 0xDC

_packer = Packer()


class PackingError(ValueError):
    """Bytes that are no list of messages."""


def pack_message(message: list[object] | tuple[object, ...]) -> bytes:
    """The bytes of one message, for `PeerNetwork.send_packed`."""
    return _packer.pack(message)


def array_header(count: int) -> bytes:
    """What stands before `count` packed messages to make them one array."""
    assert count <= ITEMS_MAX, count
    if count < 16:
        return bytes((_ARRAY_OF_16 | count,))
    return bytes((_ARRAY_16, count >> 8, count & 0xFF))


def unpack_messages(packed: bytes | memoryview) -> list[Message]:
    """The messages of one payload; raises PackingError."""
    try:
        messages = unpackb(packed, max_array_len=ITEMS_MAX, max_map_len=ITEMS_MAX)
    except ValueError as error:
        raise PackingError(f"not a msgpack value: {str(error) or type(error).__name__}") from error
    if type(messages) is not list:
        raise PackingError("not a list of messages")
    for message in cast("list[object]", messages):
        if type(message) is not list or not message or type(cast("Message", message)[0]) is not int:
            raise PackingError("a message is not a list that begins with its kind")
    return cast("list[Message]", messages)
