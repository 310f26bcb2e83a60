"""Headers, checksums, and frames that come in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flo.wire import ClientConnection, KvGet, KvPut, Rejected, Request, ServerConnection
from flo.wire.frames import CRC_AT, CRC_END, HEADER_BYTES, checksum
from tests.unit.wire.vectors import OWN, REQUESTS, RESPONSES, SERVED_REQUESTS

if TYPE_CHECKING:
    from tests.unit.wire.vector_files import Vector

FRAMES = [
    pytest.param(frame, id=vector.name)
    for vector in (*REQUESTS, *RESPONSES, *OWN)
    if vector.revision > 0 and vector.args.get("what") != "bad crc"
    for frame in vector.frames
]
SOME_REQUESTS = SERVED_REQUESTS[::4]
BURST = b"".join(vector.frame for vector in SERVED_REQUESTS)


def ids(vector: Vector) -> str:
    return vector.name


def stored_crc(frame: bytes) -> int:
    return int.from_bytes(frame[CRC_AT:CRC_END], "little")


@pytest.mark.parametrize("frame", FRAMES)
def test_the_checksum_covers_every_bit_but_its_own(frame: bytes) -> None:
    assert checksum(memoryview(frame)) == stored_crc(frame)
    flipped = bytearray(frame)
    for at in range(len(frame)):
        if CRC_AT <= at < CRC_END:
            continue
        flipped[at] ^= 1 << at % 8
        assert checksum(memoryview(flipped)) != stored_crc(frame)
        flipped[at] = frame[at]


@pytest.mark.parametrize("vector", SOME_REQUESTS, ids=ids)
def test_no_flipped_bit_makes_a_request(vector: Vector) -> None:
    for bit in range(len(vector.frame) * 8):
        flipped = bytearray(vector.frame)
        flipped[bit // 8] ^= 1 << bit % 8
        items = ServerConnection().receive(bytes(flipped))
        assert not any(isinstance(item, Request) for item in items)


@pytest.mark.parametrize("vector", SOME_REQUESTS, ids=ids)
def test_a_cut_frame_waits_wherever_it_is_cut(vector: Vector) -> None:
    whole = ServerConnection().receive(vector.frame)
    for at in range(len(vector.frame)):
        server = ServerConnection()
        assert server.receive(vector.frame[:at]) == []
        assert server.buffered_bytes == at
        assert server.receive(vector.frame[at:]) == whole
        assert server.buffered_bytes == 0


@pytest.mark.parametrize("size", [1, 2, 7, 31, 33, 1000])
def test_pieces_of_any_size_mean_what_the_whole_means(size: int) -> None:
    server = ServerConnection()
    items: list[Request | Rejected] = []
    for at in range(0, len(BURST), size):
        items += server.receive(BURST[at : at + size])
    assert items == ServerConnection().receive(BURST)
    assert len(items) == len(SERVED_REQUESTS)


def test_answers_in_pieces_of_one_byte() -> None:
    (vector,) = (v for v in RESPONSES if v.name == "responses.jsonl:120:kv.get")
    client = ClientConnection()
    client.request(KvGet(b"default", b"greeting"))
    answers = [answer for byte in vector.frame for answer in client.receive(bytes((byte,)))]
    assert [answer.request_id for answer in answers] == [1]


def test_a_large_value_in_small_pieces_is_held_once() -> None:
    value = bytes(1 << 20)
    _, frame = ClientConnection().request(KvPut(b"default", b"k", value))
    server = ServerConnection()
    items: list[Request | Rejected] = []
    for at in range(0, len(frame), 4096):
        items += server.receive(frame[at : at + 4096])
        assert server.buffered_bytes <= len(frame)
    (item,) = items
    assert isinstance(item, Request)
    assert item.body == KvPut(b"default", b"k", value)
    assert server.buffered_bytes == 0


def test_the_header_is_32_bytes() -> None:
    _, frame = ClientConnection().request(KvGet(b"default", b"k"))
    assert len(frame) == HEADER_BYTES + 2 + 7 + 2 + 1 + 4 + 2
