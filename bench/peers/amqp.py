"""The protocol of RabbitMQ, AMQP 0-9-1: methods to frames, and bytes to frames."""

from struct import Struct
from typing import NamedTuple

PREAMBLE = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY = 1, 2, 3
CHANNEL = 1
"""The only one that is used beside 0, which is the connection's own."""

CONNECTION_START, CONNECTION_START_OK = 0x000A000A, 0x000A000B
CONNECTION_TUNE, CONNECTION_TUNE_OK = 0x000A001E, 0x000A001F
CONNECTION_OPEN, CONNECTION_OPEN_OK = 0x000A0028, 0x000A0029
CONNECTION_CLOSE = 0x000A0032
CHANNEL_OPEN, CHANNEL_OPEN_OK, CHANNEL_CLOSE = 0x0014000A, 0x0014000B, 0x00140028
QUEUE_DECLARE, QUEUE_PURGE = 0x0032000A, 0x0032001E
BASIC_QOS, BASIC_CONSUME, BASIC_PUBLISH = 0x003C000A, 0x003C0014, 0x003C0028
BASIC_DELIVER, BASIC_ACK, BASIC_NACK = 0x003C003C, 0x003C0050, 0x003C0078
CONFIRM_SELECT = 0x0055000A

_ENVELOPE = Struct(">BHI")
_END = b"\xce"
_LONG, _LONG_LONG, _SHORT = Struct(">I"), Struct(">Q"), Struct(">H")
_ACKNOWLEDGEMENT = Struct(">BHIIQBB")
_ACKNOWLEDGEMENT_BYTES = 13
_MESSAGE_HEADER = Struct(">HHQHB")
_BASIC, _PERSISTENT, _DELIVERY_MODE_FLAG = 60, 2, 0x1000


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    channel: int
    payload: bytes


def cut_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """All whole frames, and the beginning of the next. Raises ValueError for other bytes."""
    frames: list[Frame] = []
    at, size = 0, len(data)
    while size - at >= _ENVELOPE.size:
        kind, channel, length = _ENVELOPE.unpack_from(data, at)
        begin = at + _ENVELOPE.size
        end = begin + length
        if end >= size:
            break
        if data[end] != _END[0]:
            raise ValueError("a frame of AMQP does not end where it says")
        frames.append(Frame(kind, channel, data[begin:end]))
        at = end + 1
    return frames, data[at:]


def method_of(frame: Frame) -> int:
    """Class and method in one number; 0 when it is no method."""
    return int(_LONG.unpack_from(frame.payload)[0]) if frame.kind == METHOD else 0


def method(number: int, *arguments: bytes, channel: int = CHANNEL) -> bytes:
    """A frame with a method."""
    return _frame(METHOD, channel, _LONG.pack(number) + b"".join(arguments))


def tag_of(frame: Frame) -> tuple[int, bool]:
    """The delivery tag of an ack or a nack, and whether it is of all before it too."""
    return int(_LONG_LONG.unpack_from(frame.payload, 4)[0]), bool(frame.payload[12] & 1)


def delivery_tag(frame: Frame) -> int:
    """Of a delivery: it stands behind the consumer's name."""
    return int(_LONG_LONG.unpack_from(frame.payload, 5 + frame.payload[4])[0])


def body_bytes(frame: Frame) -> int:
    """How long the body is that follows this header."""
    return int(_LONG_LONG.unpack_from(frame.payload, 4)[0])


def acknowledgement(tag: int) -> bytes:
    """The consumer's ack of one delivery."""
    return _ACKNOWLEDGEMENT.pack(
        METHOD, CHANNEL, _ACKNOWLEDGEMENT_BYTES, BASIC_ACK, tag, 0, _END[0]
    )


def publication(queue: bytes, payload: bytes, frame_bytes_max: int) -> bytes:
    """A persistent message to that queue: method, header and body, cut where it is too long."""
    parts = [
        method(BASIC_PUBLISH, short(0), short_string(b""), short_string(queue), b"\x00"),
        _frame(HEADER, CHANNEL, _message_header(len(payload))),
    ]
    room = frame_bytes_max - _ENVELOPE.size - 1
    parts += [_frame(BODY, CHANNEL, payload[at : at + room]) for at in range(0, len(payload), room)]
    return b"".join(parts)


def short(number: int) -> bytes:
    return _SHORT.pack(number)


def long(number: int) -> bytes:
    return _LONG.pack(number)


def short_string(text: bytes) -> bytes:
    """At most 255 bytes."""
    return bytes([len(text)]) + text


def long_string(text: bytes) -> bytes:
    return _LONG.pack(len(text)) + text


def table(fields: dict[bytes, bytes | int]) -> bytes:
    """Names and values, as queues and connections take them for arguments."""
    parts = [
        short_string(name)
        + (b"I" + _LONG.pack(value) if isinstance(value, int) else b"S" + long_string(value))
        for name, value in fields.items()
    ]
    return long_string(b"".join(parts))


def _message_header(size: int) -> bytes:
    """Of class basic; of its properties only the delivery mode."""
    return _MESSAGE_HEADER.pack(_BASIC, 0, size, _DELIVERY_MODE_FLAG, _PERSISTENT)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _ENVELOPE.pack(kind, channel, len(payload)) + payload + _END
