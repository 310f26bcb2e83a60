"""Frames: any messages in any chunks come through; any damage is a FrameError or still waiting."""

import tracemalloc
from struct import pack
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from cluster.peers.frames import FrameDecoder, FrameError, encode_frame, split_messages
from cluster.peers.packing import Message, pack_message

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def message(kind: int, values: list[object]) -> Message:
    return [kind, *values]


MESSAGES = st.builds(message, st.integers(0, 200), st.lists(VALUES, max_size=4))
TURNS = st.lists(st.lists(MESSAGES, min_size=1, max_size=4), max_size=4)


def encoded(turns: list[list[Message]]) -> bytes:
    return b"".join(encode_frame([pack_message(each) for each in turn]) for turn in turns)


@given(turns=TURNS, chunk_bytes=st.integers(1, 64))
def test_frames_come_through_in_any_chunks(turns: list[list[Message]], chunk_bytes: int) -> None:
    stream = encoded(turns)
    decoder = FrameDecoder()
    received: list[list[Message]] = []
    for start in range(0, len(stream), chunk_bytes):
        received += decoder.feed(stream[start : start + chunk_bytes])
    assert received == turns


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused_or_wait(data: bytes) -> None:
    try:
        assert FrameDecoder(150).feed(data) == [] or len(data) >= 8
    except FrameError:
        return


@given(payload=st.binary(max_size=200))
def test_random_payloads_with_a_true_checksum(payload: bytes) -> None:
    try:
        for messages in FrameDecoder().feed(pack("<II", len(payload), crc32(payload)) + payload):
            assert all(type(each[0]) is int for each in messages)
    except FrameError:
        return


@given(turns=TURNS, data=st.data())
def test_mutated_frames_never_deliver_something_else(
    turns: list[list[Message]], data: st.DataObject
) -> None:
    stream = bytearray(encoded([*turns, [[1, b"last"]]]))
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] ^= data.draw(st.integers(1, 255))
    decoder = FrameDecoder(1 << 16)
    try:
        received = decoder.feed(bytes(stream))
    except FrameError:
        return
    assert received == turns[: len(received)]


@given(sizes=st.lists(st.integers(2, 60), min_size=1, max_size=60), room=st.integers(64, 200))
def test_splitting_keeps_order_and_limit(sizes: list[int], room: int) -> None:
    packed = [bytes([index]) * size for index, size in enumerate(sizes)]
    parts = list(split_messages(packed, room))
    assert [each for part in parts for each in part] == packed
    assert all(part for part in parts)
    assert all(sum(map(len, part)) + 3 <= room for part in parts)


def test_a_header_that_promises_much_takes_no_memory() -> None:
    decoder = FrameDecoder()
    tracemalloc.start()
    decoder.feed(pack("<II", 16 << 20, 0) + b"x")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10_000
