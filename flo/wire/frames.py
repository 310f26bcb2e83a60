"""Headers, checksums, and the bytes that are not yet a whole frame."""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from flo.wire.errors import LocalProtocolError
from flo.wire.status import Status

MAGIC = 0x004F4C46
MAGIC_BYTES = b"FLO\x00"
HEADER_BYTES = 32
# The one v2 table we speak: it stands in every v2 header, both ways.
TABLE_HASH = 0x2FBA7DD9AE941830
# Up to here the header is covered by the checksum, then comes the checksum, then the rest is
# covered.
CRC_AT = 16
CRC_END = 20

# magic, payload length, request id, CRC, op code, version, flags, table hash
REQUEST_HEADER = Struct("<IIQIHBBQ")
# magic, data length, request id, CRC, version, status, flags, padding, table hash
RESPONSE_HEADER = Struct("<IIQIBBBBQ")

_HEAD = Struct("<IIQ").pack
_CRC = Struct("<I").pack
_REQUEST_TAIL = Struct("<HBBQ").pack
_RESPONSE_TAIL = Struct("<BBHQ").pack

_HASH_OF_REVISION = (0, 0, TABLE_HASH)

# The twelve bytes after the checksum, per revision and status: there are only 24 of them.
_RESPONSE_TAILS = tuple(
    tuple(_RESPONSE_TAIL(revision, status, 0, _HASH_OF_REVISION[revision]) for status in Status)
    for revision in range(3)
)


def checksum(frame: memoryview) -> int:
    """The CRC-32 of one whole frame without the checksum field itself."""
    return crc32(frame[CRC_END:], crc32(frame[:CRC_AT]))


def request_frame(revision: int, request_id: int, code: int, payload: bytes) -> bytes:
    """A whole request frame. Raises `LocalProtocolError` for a payload of 4 GiB or more."""
    _check_payload(payload)
    head = _HEAD(MAGIC, len(payload), request_id)
    tail = _REQUEST_TAIL(code, revision, 0, _HASH_OF_REVISION[revision]) + payload
    return head + _CRC(crc32(tail, crc32(head))) + tail


def response_frame(revision: int, request_id: int, status: Status, data: bytes) -> bytes:
    """A whole response frame. Raises `LocalProtocolError` for data of 4 GiB or more."""
    _check_payload(data)
    head = _HEAD(MAGIC, len(data), request_id)
    tail = _RESPONSE_TAILS[revision][status] + data
    return head + _CRC(crc32(tail, crc32(head))) + tail


def _check_payload(payload: bytes) -> None:
    if len(payload) > 0xFFFF_FFFF:
        raise LocalProtocolError(f"{len(payload)} bytes do not fit a frame: it ends at 4 GiB")


class FrameBuffer:
    """Holds the beginning of a frame until the rest has come.

    Bytes are joined once per frame, however small the pieces: appending is amortized, and nothing
    is looked at again before the announced length is there. It never holds more than one frame's
    beginning, so at most the frame limit and one read.
    """

    __slots__ = ("_held", "_needed")

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = 0

    def __len__(self) -> int:
        return len(self._held)

    def join(self, data: bytes) -> bytes | None:
        """Everything there is to read now, or None when no frame can be complete yet."""
        if not self._held:
            return data
        self._held += data
        if len(self._held) < self._needed:
            return None
        joined = bytes(self._held)
        self._held = bytearray()
        return joined

    def keep(self, data: bytes, at: int, *, needed: int) -> None:
        """Keeps what follows `at`, to be read again when `needed` bytes are there."""
        self._held += memoryview(data)[at:]
        self._needed = needed
