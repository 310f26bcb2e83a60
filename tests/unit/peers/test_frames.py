"""Frames: limits, splits and damage."""

from struct import pack
from zlib import crc32

import pytest

from cluster.peers.frames import PING, FrameDecoder, FrameError, encode_frame, split_messages
from cluster.peers.packing import ITEMS_MAX, Message, array_header, pack_message

MESSAGES: list[Message] = [[1, "text", b"bytes"], [2, [3, None, True]], [300, {"a": -1}]]
PACKED = [pack_message(message) for message in MESSAGES]


def framed(payload: bytes) -> bytes:
    return pack("<II", len(payload), crc32(payload)) + payload


def test_golden_frame() -> None:
    assert encode_frame([pack_message([7, b"x"])]).hex() == "060000005fde8a80919207c40178"


def test_a_frame_is_one_list_of_messages() -> None:
    assert FrameDecoder().feed(encode_frame(PACKED)) == [MESSAGES]
    assert encode_frame(PACKED)[8:] == pack_message(list[object](MESSAGES))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 255, 256, ITEMS_MAX])
def test_array_headers_are_those_of_msgpack(count: int) -> None:
    assert array_header(count) + b"\xc0" * count == pack_message((None,) * count)


def test_frames_split_at_every_byte() -> None:
    stream = encode_frame(PACKED[:1]) + PING + encode_frame(PACKED[1:])
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == [
            MESSAGES[:1],
            MESSAGES[1:],
        ]


def test_frames_byte_by_byte() -> None:
    decoder = FrameDecoder()
    stream = (encode_frame(PACKED) + PING) * 3
    received = [decoder.feed(stream[i : i + 1]) for i in range(len(stream))]
    assert [frame for frames in received for frame in frames] == [MESSAGES] * 3


def test_a_ping_carries_nothing() -> None:
    assert FrameDecoder().feed(PING + PING) == []


def test_a_frame_at_the_limit_passes_and_one_above_does_not() -> None:
    frame = encode_frame(PACKED)
    limit = len(frame) - 8
    assert FrameDecoder(limit).feed(frame) == [MESSAGES]
    with pytest.raises(FrameError, match=f"frame of {limit} bytes, the limit is {limit - 1}"):
        FrameDecoder(limit - 1).feed(frame)


def test_a_frame_too_large_is_refused_by_its_header_alone() -> None:
    with pytest.raises(FrameError, match="frame of 4294967295 bytes"):
        FrameDecoder().feed(b"\xff\xff\xff\xff\x00\x00\x00\x00")


def test_every_flipped_bit_of_a_payload_is_noticed() -> None:
    frame = encode_frame(PACKED)
    for position in range(4, len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[position] ^= 1 << bit
            with pytest.raises(FrameError, match="wrong checksum"):
                FrameDecoder().feed(bytes(damaged))


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "not a msgpack value"),
        (b"\xc1", "not a msgpack value"),
        (b"\x91", "not a msgpack value"),
        (b"\x90\x90", "not a msgpack value"),
        (b"\x91" * 3000, "not a msgpack value"),
        (b"\x91\x92\x01\xa1\xff", "not a msgpack value"),
        (b"\x91\x92\x01\x81\x05\x05", "not a msgpack value"),
        (b"\xdd\x00\x01\x00\x00", "exceeds max_array_len"),
        (b"\x80", "not a list of messages"),
        (b"\x05", "not a list of messages"),
        (b"\x91\x05", "begins with its kind"),
        (b"\x91\x90", "begins with its kind"),
        (b"\x91\x91\xc3", "begins with its kind"),
        (b"\x91\x91\xa1x", "begins with its kind"),
    ],
)
def test_a_bad_payload_is_refused(payload: bytes, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        FrameDecoder().feed(framed(payload))


def test_messages_are_split_at_the_frame_limit() -> None:
    packed = [bytes([i]) * 10 for i in range(7)]
    assert list(split_messages(packed, 33)) == [packed[:3], packed[3:6], packed[6:]]
    assert list(split_messages(packed, 13)) == [[message] for message in packed]
    assert list(split_messages(packed, 1000)) == [packed]


def test_messages_are_split_at_the_limit_of_items() -> None:
    packed = [b"\x91\x01"] * (ITEMS_MAX + 1)
    parts = list(split_messages(packed, 1 << 20))
    assert [len(part) for part in parts] == [ITEMS_MAX, 1]
    decoder = FrameDecoder()
    received = [decoder.feed(encode_frame(part)) for part in parts]
    assert [len(frames[0]) for frames in received] == [ITEMS_MAX, 1]
