"""What peers say, cut at its boundaries: whole, split at every byte, and byte by byte."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from bench.peers import amqp, http2
from bench.peers.nats_text import Event, Message, cut_events, publication, status_of
from bench.peers.protobuf import put_request, puts_request, range_request, varint
from bench.peers.resp import RefusedError, Reply, cut_replies, encode

T = TypeVar("T")
Cut = Callable[[bytes], tuple[list[T], bytes]]


def cut_all(cut: Cut[T], pieces: list[bytes]) -> list[T]:
    found: list[T] = []
    rest = b""
    for piece in pieces:
        more, rest = cut(rest + piece)
        found += more
    assert rest == b""
    return found


def check_every_split(cut: Cut[T], data: bytes, expected: list[T]) -> None:
    for at in range(len(data) + 1):
        assert repr(cut_all(cut, [data[:at], data[at:]])) == repr(expected)
    assert repr(cut_all(cut, [data[at : at + 1] for at in range(len(data))])) == repr(expected)


def test_replies_of_redis() -> None:
    data = (
        b"+OK\r\n$5\r\na\r\nbc\r\n$-1\r\n:42\r\n-ERR unknown command\r\n*-1\r\n$0\r\n\r\n"
        b"*1\r\n*2\r\n$6\r\nstream\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$2\r\nvv\r\n"
    )
    expected: list[Reply] = [
        b"OK",
        b"a\r\nbc",
        None,
        42,
        RefusedError("ERR unknown command"),
        None,
        b"",
        [[b"stream", [[b"1-0", [b"f", b"vv"]]]]],
    ]
    check_every_split(cut_replies, data, expected)


def test_what_redis_never_says() -> None:
    with pytest.raises(ValueError, match="not a reply"):
        cut_replies(b"HTTP/1.1 400\r\n")


def test_a_command_of_redis() -> None:
    assert encode(b"SET", b"key", b"") == b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n"


def test_events_of_nats() -> None:
    data = (
        b'INFO {"server_id":"x"}\r\nPING\r\n'
        b"MSG bench.records 1 $JS.ACK.bench.group.1.2.3 7\r\nab\r\ncd!\r\n"
        b"MSG _INBOX.x.4 1 0\r\n\r\n"
        b"HMSG _INBOX.x.5 1 30 33\r\nNATS/1.0\r\nNats-Sequence: 1\r\n\r\nabc\r\n"
        b"HMSG _INBOX.x.6 1 $JS.x 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n"
        b"-ERR 'Unknown Protocol Operation'\r\n"
    )
    expected: list[Event] = [
        b'INFO {"server_id":"x"}',
        b"PING",
        Message(b"bench.records", b"$JS.ACK.bench.group.1.2.3", b"", b"ab\r\ncd!"),
        Message(b"_INBOX.x.4", b"", b"", b""),
        Message(b"_INBOX.x.5", b"", b"NATS/1.0\r\nNats-Sequence: 1\r\n\r\n", b"abc"),
        Message(b"_INBOX.x.6", b"$JS.x", b"NATS/1.0 404 No Messages\r\n\r\n", b""),
        b"-ERR 'Unknown Protocol Operation'",
    ]
    check_every_split(cut_events, data, expected)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 200),
        (b"NATS/1.0\r\nNats-Sequence: 1\r\n\r\n", 200),
        (b"NATS/1.0 503\r\n\r\n", 503),
        (b"NATS/1.0 404 No Messages\r\n\r\n", 404),
    ],
)
def test_the_status_of_a_message(headers: bytes, status: int) -> None:
    assert status_of(Message(b"inbox", b"", headers, b"")) == status


def test_a_publication_to_nats() -> None:
    before, after = publication(b"bench.records", b"abc")
    assert before + b"_INBOX.1" + after == b"PUB bench.records _INBOX.1 3\r\nabc\r\n"


def test_frames_of_rabbitmq() -> None:
    ack = bytes.fromhex("01 0001 0000000d 003c0050 0000000000000007 01 ce")
    deliver = bytes.fromhex(
        "01 0001 00000018 003c003c 03 61 62 63 0000000000000009 00 00 05 62 65 6e 63 68 ce"
    )
    header = bytes.fromhex("02 0001 0000000f 003c 0000 0000000000000003 1000 02 ce")
    body = bytes.fromhex("03 0001 00000003 78 ce 7a ce")
    heartbeat = bytes.fromhex("08 0000 00000000 ce")
    frames = [
        amqp.Frame(1, 1, ack[7:-1]),
        amqp.Frame(1, 1, deliver[7:-1]),
        amqp.Frame(2, 1, header[7:-1]),
        amqp.Frame(3, 1, b"x\xcez"),
        amqp.Frame(8, 0, b""),
    ]
    check_every_split(amqp.cut_frames, ack + deliver + header + body + heartbeat, frames)
    assert [amqp.method_of(frame) for frame in frames] == [
        *(amqp.BASIC_ACK, amqp.BASIC_DELIVER, 0, 0, 0)
    ]
    assert amqp.tag_of(frames[0]) == (7, True)
    assert amqp.delivery_tag(frames[1]) == 9
    assert amqp.body_bytes(frames[2]) == 3


def test_a_frame_of_rabbitmq_with_another_end() -> None:
    with pytest.raises(ValueError, match="does not end"):
        amqp.cut_frames(bytes.fromhex("08 0000 00000000 cf"))


def test_what_rabbitmq_is_sent() -> None:
    assert amqp.acknowledgement(9) == bytes.fromhex(
        "01 0001 0000000d 003c0050 0000000000000009 00 ce"
    )
    assert amqp.table({b"a": b"bc", b"d": 3}) == bytes.fromhex(
        "00000010 01 61 53 00000002 6263 01 64 49 00000003"
    )
    assert amqp.publication(b"q", b"xyz", 4_096) == bytes.fromhex(
        "01 0001 0000000a 003c0028 0000 00 01 71 00 ce"
        "02 0001 0000000f 003c 0000 0000000000000003 1000 02 ce"
        "03 0001 00000003 78797a ce"
    )


def test_a_long_message_to_rabbitmq_is_cut() -> None:
    data = amqp.publication(b"q", b"x" * 250, 108)
    frames = cut_all(amqp.cut_frames, [data])
    assert [len(frame.payload) for frame in frames if frame.kind == amqp.BODY] == [100, 100, 50]


def test_frames_of_http2() -> None:
    settings = bytes.fromhex("000006 04 00 00000000 0005 00004000")
    headers = bytes.fromhex("000003 01 04 00000001 88 5f 00")
    data = bytes.fromhex("000007 00 00 00000001 00 00000002 0801")
    trailers = bytes.fromhex("000001 01 05 80000003 c0")
    expected: list[http2.Frame] = [
        (http2.SETTINGS, 0, 0, bytes.fromhex("000500004000")),
        (http2.HEADERS, http2.END_HEADERS, 1, b"\x88\x5f\x00"),
        (http2.DATA, 0, 1, bytes.fromhex("00000000020801")),
        (http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 3, b"\xc0"),
    ]
    check_every_split(http2.cut_frames, settings + headers + data + trailers, expected)
    assert http2.settings_of(expected[0][3]) == {http2.MAX_FRAME_SIZE: 16_384}
    assert http2.frame(http2.HEADERS, 4, 1, b"\x88\x5f\x00") == headers
    assert http2.settings({http2.MAX_FRAME_SIZE: 16_384}) == settings
    assert http2.frame(http2.DATA, 0, 1, b"x" * 70_000)[:9] == bytes.fromhex(
        "011170 00 00 00000001"
    )


def test_headers_of_calls() -> None:
    """RFC 7541: 6.2.1 keeps a literal (its name by number, or new), 6.1 names what was kept."""
    headers = http2.CallHeaders(b"/a/B", b"host")
    assert headers.first == (
        b"\x83\x86\x44\x04/a/B\x41\x04host\x5f\x10application/grpc\x40\x02te\x08trailers"
    )
    assert headers.next == bytes([0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62])
    assert b"\x44\x7f\x49" + b"p" * 200 in http2.CallHeaders(b"p" * 200, b"host").first


def test_messages_of_etcd() -> None:
    assert varint(300) == b"\xac\x02"
    put = b"\x0a\x01k\x12\x02vv"
    assert put_request(b"k", b"vv") == put
    assert range_request(b"k") == b"\x0a\x01k"
    assert (
        puts_request([(b"k", b"vv")] * 2) == b"\x12\x09\x12\x07" + put + b"\x12\x09\x12\x07" + put
    )
    assert http2.message(put) == b"\x00\x00\x00\x00\x07" + put
