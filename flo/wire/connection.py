"""The server's side of a connection without any I/O: bytes in, requests and rejections out.

The client's side is in `flo.wire.client`; both are exported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flo.wire.answers import encode_answer, encode_refusal
from flo.wire.client import Answer, ClientConnection, encode_request
from flo.wire.errors import ProtocolError, refused
from flo.wire.frames import (
    HEADER_BYTES,
    MAGIC,
    MAGIC_BYTES,
    REQUEST_HEADER,
    TABLE_HASH,
    FrameBuffer,
    checksum,
)
from flo.wire.limits import VALUE_BYTES_MAX_DEFAULT, check_namespace
from flo.wire.payload import EMPTY_PAYLOAD, split_payload, split_table_payload
from flo.wire.registry import OPS, V2_TABLE_CODES
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.tlv import has_own_tag, read_context

if TYPE_CHECKING:
    from flo.wire.messages import Body, CallContext
    from flo.wire.op import Op

__all__ = [
    "Answer",
    "ClientConnection",
    "Rejected",
    "Request",
    "ServerConnection",
    "encode_answer",
    "encode_request",
]

# Room for the largest value with the longest names and options.
REQUEST_BYTES_MAX_DEFAULT = VALUE_BYTES_MAX_DEFAULT + (128 << 10)

_PING = 0x000
# The oldest header has the version at byte 20, and flags (0) where later ones have the version.
_VERSION_AT = 22
_V0_VERSION_AT = 20
_VERSION_KNOWN_BYTES = 24


class Request(NamedTuple):
    """A request that is to be answered, with `encode_answer` and the same revision and id."""

    revision: int
    request_id: int
    op: Op
    body: Body
    context: CallContext | None

    @property
    def extended(self) -> bool:
        """It came from our own client, so its refusals carry reason and `ran` in v1 too."""
        return self.context is not None


class Rejected(NamedTuple):
    """A frame to be answered with a refusal, in its turn; after `close` the connection ends.

    The request id is 0 when the frame could not be read. Revision 0 means that the client could not
    read any answer: `encode` gives no bytes.
    """

    revision: int
    request_id: int
    refusal: Refusal
    close: bool
    extended: bool = False

    def encode(self) -> bytes:
        """The frame to send; empty when there is none to send."""
        if self.revision == 0:
            return b""
        return encode_refusal(self.revision, self.request_id, self.refusal, extended=self.extended)


class ServerConnection:
    """Reads requests of both revisions from one connection's bytes.

    It never raises for what comes from outside, and never holds more than the beginning of one
    frame: at most `max_frame_bytes` and one read. A frame announced longer is refused from its
    header.
    """

    __slots__ = ("_buffer", "_closed", "_payload_bytes_max", "_value_bytes_max")

    def __init__(
        self,
        *,
        max_frame_bytes: int = REQUEST_BYTES_MAX_DEFAULT,
        max_value_bytes: int = VALUE_BYTES_MAX_DEFAULT,
    ) -> None:
        self._buffer = FrameBuffer()
        self._closed = False
        self._payload_bytes_max = max_frame_bytes - HEADER_BYTES
        self._value_bytes_max = max_value_bytes

    @property
    def closed(self) -> bool:
        """A frame said `close`: further bytes are ignored."""
        return self._closed

    @property
    def buffered_bytes(self) -> int:
        """How much of an incomplete frame is held."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[Request | Rejected]:
        """Everything that these bytes complete, in order."""
        if self._closed:
            return []
        joined = self._buffer.join(data)
        if joined is None:
            return []
        items: list[Request | Rejected] = []
        view = memoryview(joined)
        size = len(joined)
        at = 0
        while size - at >= HEADER_BYTES:
            header = REQUEST_HEADER.unpack_from(joined, at)
            magic, length, _, crc, _, version, _, _ = header
            end = at + HEADER_BYTES + length
            if magic != MAGIC or not 1 <= version <= 2 or length > self._payload_bytes_max:
                return self._end(items, _no_frame(joined[at:end], self._payload_bytes_max))
            if end > size:
                self._buffer.keep(joined, at, needed=end - at)
                return items
            if checksum(view[at:end]) != crc:
                return self._end(items, _fatal(version, "the checksum does not match"))
            item = self._read(header, joined, at)
            if type(item) is Rejected and item.close:
                return self._end(items, item)
            items.append(item)
            at = end
        if at < size:
            part = joined[at:]
            if not _may_begin_frame(part):
                return self._end(items, _no_frame(part, self._payload_bytes_max))
            self._buffer.keep(joined, at, needed=0)
        return items

    def _end(self, items: list[Request | Rejected], rejected: Rejected) -> list[Request | Rejected]:
        self._closed = True
        items.append(rejected)
        return items

    def _read(self, header: tuple[int, ...], data: bytes, at: int) -> Request | Rejected:
        """The request in a frame whose length and checksum are good."""
        _, length, request_id, _, code, version, flags, table = header
        start = at + HEADER_BYTES
        end = start + length
        op = OPS.get(code)
        payload = EMPTY_PAYLOAD
        context: CallContext | None = None
        try:
            if flags or table != (TABLE_HASH if version == 2 else 0):
                raise _unknown_header(version, flags)
            codec = None if op is None else op.v1 if version == 1 else op.v2
            if version == 1:
                if length or code != _PING:
                    payload = split_payload(data, start, end)
                context = payload.context
                if payload.options:
                    context = read_context(payload.options)
            elif code in V2_TABLE_CODES:
                payload = split_table_payload(data, start, end)
            elif codec is not None and length:
                payload = split_payload(data, start, end)
            if op is None or codec is None:
                raise refused(
                    Reason.UNKNOWN_OP, f"operation 0x{code:04x} is not served in v{version}"
                )
            check_namespace(payload.namespace)
            body = codec.decode_request(payload, self._value_bytes_max)
        except ProtocolError as error:
            if error.closes:
                return Rejected(version, 0, error.refusal, close=True)
            extended = context is not None or (version == 1 and has_own_tag(payload.options))
            return Rejected(version, request_id, error.refusal, False, extended)
        return Request(version, request_id, op, body, context)


def _may_begin_frame(part: bytes) -> bool:
    """Bytes too few for a header may be enough to see that none will come."""
    if part[:4] != MAGIC_BYTES[: len(part)]:
        return False
    return len(part) < _VERSION_KNOWN_BYTES or part[_VERSION_AT] in (1, 2)


def _fatal(revision: int, message: str) -> Rejected:
    return Rejected(revision, 0, Refusal(Reason.MALFORMED, Ran.NO, message), close=True)


def _no_frame(part: bytes, payload_bytes_max: int) -> Rejected:
    """What to say of a header after which nothing can be read."""
    if part[:4] != MAGIC_BYTES[: len(part)]:
        return _fatal(2, "not the Flo protocol: a frame does not begin with its magic")
    version = part[_VERSION_AT]
    if version == 0 and part[_V0_VERSION_AT] == 1:
        return _fatal(0, "protocol version 0 is not served: upgrade the client")
    if version not in (1, 2):
        return _fatal(2, f"protocol version {version} is not served: 1 and 2 are")
    length = REQUEST_HEADER.unpack_from(part)[1]
    message = f"payload of {length} bytes: at most {payload_bytes_max}"
    return Rejected(version, 0, Refusal(Reason.FIELD_TOO_LONG, Ran.NO, message), close=True)


def _unknown_header(version: int, flags: int) -> ProtocolError:
    """A frame that can be read, but asks for a protocol we do not speak."""
    if version == 2 and not flags:
        return refused(Reason.TABLE_MISMATCH, f"only the v2 table 0x{TABLE_HASH:016x} is served")
    if flags:
        return refused(Reason.UNKNOWN_FLAG, f"header flags 0x{flags:02x}: none are served")
    return refused(Reason.MALFORMED, "bytes 24 to 31 of a v1 header are not zero")
