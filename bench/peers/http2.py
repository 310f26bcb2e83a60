"""As much of HTTP/2 and gRPC as a load generator needs: unary calls of one method.

The headers of all calls are alike. The first call puts them into the server's table, and the next
ones name them by number. Of answers nothing is decoded: a unary call that succeeded has sent a
message, and one that failed has sent headers only.
"""

from struct import Struct

from bench.peers.protobuf import varint

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, HEADER_TABLE_SIZE = 4, 5, 1
WINDOW_BYTES = 65_535
"""How much may be sent before the other side says more, of a connection and of a stream."""
WINDOW_BYTES_MAX = 2**31 - 1
FRAME_BYTES = 16_384
"""The longest payload of a frame that every server takes."""

_HEADER_BYTES = 9
_HEAD = Struct(">HBBBI")
_SETTING = Struct(">HI")
_NUMBER = Struct(">I")
_MESSAGE_HEAD = Struct(">BI")
_STREAM_BITS = 2**31 - 1

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream and payload."""


def cut_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """All whole frames, and the beginning of the next one."""
    frames: list[Frame] = []
    at, size = 0, len(data)
    while size - at >= _HEADER_BYTES:
        high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
        begin = at + _HEADER_BYTES
        end = begin + (high << 8 | low)
        if end > size:
            break
        frames.append((kind, flags, stream & _STREAM_BITS, data[begin:end]))
        at = end
    return frames, data[at:]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """What we ask of the other side."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def settings_of(payload: bytes) -> dict[int, int]:
    """What the other side asks of us."""
    return dict(_SETTING.iter_unpack(payload))


def window_update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(size))


def number_of(payload: bytes) -> int:
    """Of a WINDOW_UPDATE, RST_STREAM: its first four bytes."""
    return int(_NUMBER.unpack_from(payload)[0])


def message(body: bytes) -> bytes:
    """How gRPC frames a message: not compressed, and its length."""
    return _MESSAGE_HEAD.pack(0, len(body)) + body


class CallHeaders:
    """The header blocks of calls of one method on one connection."""

    def __init__(self, path: bytes, authority: bytes) -> None:
        table = [
            _kept(4, b"", path),
            _kept(1, b"", authority),
            _kept(31, b"", b"application/grpc"),
            _kept(0, b"te", b"trailers"),
        ]
        self.first = _POST + _HTTP + b"".join(table)
        """Of the first call: the server keeps four of them, and the newest has the number 62."""
        newest = _STATIC_ENTRIES + 1
        self.next = _POST + _HTTP + bytes(0x80 | newest + age for age in reversed(range(4)))
        """Of all others."""


_STATIC_ENTRIES = 61
_POST, _HTTP = b"\x83", b"\x86"


def _kept(name_number: int, name: bytes, value: bytes) -> bytes:
    """A literal header that the other side puts into its table; the name may have a number."""
    head = bytes([0x40 | name_number])
    return head + (_literal(name) if name else b"") + _literal(value)


def _literal(text: bytes) -> bytes:
    """Not compressed. The length has a prefix of seven bits."""
    size = len(text)
    head = bytes([size]) if size < 0x7F else b"\x7f" + varint(size - 0x7F)
    return head + text
