"""Frames on an authenticated link: length, CRC, and the packed messages of one turn. No I/O.

    length: u32 little-endian | crc32 of the payload: u32 | payload: msgpack array of messages

An empty array is a ping: it shows that the link is alive and carries nothing.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from zlib import crc32

from cluster.peers.packing import (
    ITEMS_MAX,
    Message,
    PackingError,
    array_header,
    unpack_messages,
)

DEFAULT_FRAME_BYTES_MAX = 16 << 20
"""Of a payload."""
FRAME_OVERHEAD_BYTES = 3
"""Of the payload, at most, for the array header; the rest is messages."""

_HEADER = Struct("<II")
_HEADER_BYTES = _HEADER.size
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from


class FrameError(Exception):
    """The peer sent something that is no frame; the link cannot be used any further."""


def encode_frame(messages: Sequence[bytes]) -> bytes:
    """One frame of packed messages; the caller has seen to the limits."""
    payload = b"".join((array_header(len(messages)), *messages))
    return _pack_header(len(payload), crc32(payload)) + payload


def split_messages(messages: Sequence[bytes], frame_bytes_max: int) -> Iterator[Sequence[bytes]]:
    """Parts of `messages`, in order, each fit for one frame. No single one may be too large."""
    room = frame_bytes_max - FRAME_OVERHEAD_BYTES
    start = size = 0
    for position, message in enumerate(messages):
        size += len(message)
        if size > room or position - start == ITEMS_MAX:
            yield messages[start:position]
            start, size = position, len(message)
    yield messages[start:]


PING = encode_frame(())


class FrameDecoder:
    """Bytes in, lists of messages out. Holds at most one incomplete frame."""

    __slots__ = ("_buffer", "_frame_bytes_max", "_wanted")

    def __init__(self, frame_bytes_max: int = DEFAULT_FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[list[Message]]:
        """The messages of each frame that `data` completes, pings left out.

        Raises FrameError; the decoder must not be used after that.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
            # Copied once per completed frame, and never what an earlier call copied before.
            data = bytes(buffer)
            buffer.clear()
        view = memoryview(data)
        end = len(data)
        position = 0
        wanted = _HEADER_BYTES
        received: list[list[Message]] = []
        while end - position >= _HEADER_BYTES:
            length, checksum = _unpack_header(data, position)
            if length > self._frame_bytes_max:
                raise FrameError(f"frame of {length} bytes, the limit is {self._frame_bytes_max}")
            start = position + _HEADER_BYTES
            stop = start + length
            if stop > end:
                wanted = _HEADER_BYTES + length
                break
            messages = _decode_payload(view[start:stop], checksum)
            if messages:
                received.append(messages)
            position = stop
        if position < end:
            buffer += view[position:]
            self._wanted = wanted
        return received


def _decode_payload(payload: memoryview, checksum: int) -> list[Message]:
    if crc32(payload) != checksum:
        raise FrameError("frame with a wrong checksum")
    try:
        return unpack_messages(payload)
    except PackingError as error:
        raise FrameError(f"frame with a bad payload: {error}") from error
