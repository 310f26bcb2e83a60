"""Connections to peers without a peer: what they send, and what they count."""

import asyncio
from collections.abc import Iterator
from itertools import repeat
from struct import pack

import pytest

from bench.dialogues import RanDryError
from bench.peers import amqp, http2
from bench.peers.amqp_links import ConfirmLink, ConsumeLink, Deliveries
from bench.peers.call_link import CallLink, Method
from bench.peers.closed_loop import Link, LostError, close, connect, drive, send_all, shares
from bench.peers.nats_links import GroupLink, RequestReplyLink
from bench.peers.redis_links import CommandLink
from bench.peers.redis_links import GroupLink as RedisGroupLink
from bench.peers.resp import encode
from bench.window import Sample, Window


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


def wired(link: Link) -> Wire:
    wire = Wire()
    link.connection_made(wire)
    return wire


def answer(stream: int, message: bytes = b"\x00\x00\x00\x00\x02ok") -> bytes:
    """What a call that succeeds is answered."""
    return (
        http2.frame(http2.HEADERS, http2.END_HEADERS, stream, b"\x88")
        + http2.frame(http2.DATA, 0, stream, message)
        + http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, b"\xc0")
    )


def calls(requests: Iterator[bytes], *, answer_bytes_min: int = 1) -> tuple[CallLink, Wire]:
    link = CallLink(Sample(), requests, Method(b"/a/B", answer_bytes_min))
    wire = wired(link)
    assert wire.take().startswith(http2.PREFACE)
    link.data_received(http2.settings({}))
    assert link.ready.done()
    assert http2.cut_frames(wire.take())[0] == [(http2.SETTINGS, http2.ACK, 0, b"")]
    return link, wire


async def test_calls_follow_their_answers() -> None:
    link, wire = calls(repeat(b"body"))
    link.begin(2)
    frames = http2.cut_frames(wire.take())[0]
    assert [frame[:3] for frame in frames] == [(1, 4, 1), (0, 1, 1), (1, 4, 3), (0, 1, 3)]
    assert len(frames[2][3]) == 6 < len(frames[0][3])
    link.data_received(answer(3) + answer(1))
    assert [frame[2] for frame in http2.cut_frames(wire.take())[0]] == [5, 5, 7, 7]
    assert (len(link.sample.latencies), link.sample.errors) == (2, 0)


async def test_calls_that_fail_are_errors() -> None:
    link, wire = calls(repeat(b"body"), answer_bytes_min=7)
    link.begin(3)
    wire.take()
    only_headers = http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, b"\x88\xc1")
    reset = http2.frame(http2.RST_STREAM, 0, 3, pack(">I", 7))
    begun = answer(3)[: -len(http2.frame(http2.HEADERS, 0, 3, b"x"))]
    link.data_received(only_headers + begun + reset + answer(5, b"\x00\x00\x00\x00\x00"))
    assert (len(link.sample.latencies), link.sample.errors) == (0, 3)
    assert [frame[2] for frame in http2.cut_frames(wire.take())[0]] == [7, 7, 9, 9, 11, 11]


async def test_a_long_request_waits_for_windows() -> None:
    body = bytes(range(256)) * 400
    link, wire = calls(iter([body, b"short"]))
    link.begin(2)
    first = [frame for frame in http2.cut_frames(wire.take())[0] if frame[0] == http2.DATA]
    assert sum(len(frame[3]) for frame in first) == http2.WINDOW_BYTES
    assert {frame[2] for frame in first} == {1}
    link.data_received(http2.window_update(0, 100_000))
    assert [frame[2:] for frame in http2.cut_frames(wire.take())[0]] == [(3, b"short")]
    link.data_received(http2.settings({http2.INITIAL_WINDOW_SIZE: http2.WINDOW_BYTES + 1}))
    acknowledged, one = http2.cut_frames(wire.take())[0]
    assert acknowledged == (http2.SETTINGS, http2.ACK, 0, b"")
    assert one == (http2.DATA, 0, 1, body[http2.WINDOW_BYTES : http2.WINDOW_BYTES + 1])
    link.data_received(http2.window_update(1, 100_000))
    rest = [one] + [frame for frame in http2.cut_frames(wire.take())[0] if frame[0] == http2.DATA]
    assert b"".join(frame[3] for frame in first + rest) == body
    assert [frame[1] for frame in rest][-1] == http2.END_STREAM
    assert all(len(frame[3]) <= http2.FRAME_BYTES for frame in first + rest)


async def test_pings_are_answered_and_windows_refilled() -> None:
    link, wire = calls(repeat(b"body"))
    link.begin(1)
    wire.take()
    link.data_received(http2.frame(http2.PING, 0, 0, b"12345678"))
    assert wire.take() == http2.frame(http2.PING, http2.ACK, 0, b"12345678")
    long = http2.frame(http2.DATA, 0, 1, bytes(16_000_000))
    link.data_received(long)
    assert wire.take() == b""
    link.data_received(long)
    assert wire.take() == http2.window_update(0, 32_000_000)


async def test_a_server_that_goes_away_ends_the_link() -> None:
    link, wire = calls(repeat(b"body"))
    link.data_received(http2.frame(http2.GOAWAY, 0, 0, bytes(8) + b"too many"))
    assert wire.aborted
    assert isinstance(link.error, LostError)
    assert "too many" in str(link.error)


async def test_answers_of_nats_find_their_requests() -> None:
    link = RequestReplyLink(Sample(), repeat((b"PUB a ", b" 1\r\nx\r\n")))
    wire = wired(link)
    assert wire.take().endswith(b"PING\r\n")
    link.data_received(b"INFO {}\r\nPONG\r\nPING\r\n")
    assert link.ready.done()
    assert wire.take() == b"PONG\r\n"
    link.begin(3)
    inbox = link.inbox
    assert wire.take() == b"".join(b"PUB a %s%d 1\r\nx\r\n" % (inbox, each) for each in range(3))
    refused = b'{"error":{"code":503}}'
    link.data_received(
        b'MSG %s2 1 9\r\n{"seq":1}\r\n' % inbox
        + b"MSG %s0 1 %d\r\n%s\r\n" % (inbox, len(refused), refused)
        + b"HMSG %s1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" % inbox
    )
    assert (len(link.sample.latencies), link.sample.errors) == (1, 2)
    assert wire.take().count(b"PUB") == 3


async def test_a_batch_of_nats_is_pulled_acknowledged_and_confirmed() -> None:
    link = GroupLink(Sample(), b"bench.group")
    wire = wired(link)
    wire.take()
    link.begin(2)
    pull = (
        b'PUB $JS.API.CONSUMER.MSG.NEXT.bench.group %s0 32\r\n{"batch":2,"expires":2000000000}\r\n'
    )
    assert wire.take() == pull % link.inbox
    link.data_received(
        b"MSG bench.records 1 $JS.ACK.1 1\r\nx\r\nMSG bench.records 1 $JS.ACK.2 1\r\nx\r\n"
    )
    acks = [b"PUB $JS.ACK.%d %s%d 4\r\n+ACK\r\n" % (each, link.inbox, each) for each in (1, 2)]
    assert wire.take() == b"".join(acks)
    link.data_received(b"MSG %s2 1 0\r\n\r\n" % link.inbox)
    assert wire.take() == b""
    link.data_received(b"MSG %s1 1 0\r\n\r\n" % link.inbox)
    assert wire.take() == pull % link.inbox
    assert len(link.sample.latencies) == 2
    link.data_received(b"HMSG %s0 1 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n" % link.inbox)
    assert isinstance(link.error, RanDryError)


def set_up(link: ConfirmLink | ConsumeLink) -> Wire:
    wire = wired(link)
    assert wire.take() == amqp.PREAMBLE
    for number in (amqp.CONNECTION_START, amqp.CONNECTION_TUNE):
        link.data_received(amqp.method(number, bytes(8), channel=0))
    link.data_received(amqp.method(amqp.CONNECTION_OPEN_OK, b"\x00", channel=0))
    link.data_received(amqp.method(amqp.CHANNEL_OPEN_OK, bytes(4)))
    if isinstance(link, ConfirmLink):
        link.data_received(amqp.method(amqp.CONFIRM_SELECT + 1))
    assert link.ready.done()
    frames, rest = amqp.cut_frames(wire.take())
    assert rest == b""
    assert [amqp.method_of(frame) for frame in frames][:3] == [
        *(amqp.CONNECTION_START_OK, amqp.CONNECTION_TUNE_OK, amqp.CONNECTION_OPEN)
    ]
    return wire


def confirm(number: int, tag: int, multiple: bool) -> bytes:
    return amqp.method(number, tag.to_bytes(8), bytes([multiple]))


async def test_confirms_of_one_and_of_many() -> None:
    link = ConfirmLink(Sample(), repeat(b"message"))
    wire = set_up(link)
    link.begin(4)
    assert wire.take() == b"message" * 4
    link.data_received(confirm(amqp.BASIC_ACK, 3, multiple=False))
    assert wire.take() == b"message"
    link.data_received(confirm(amqp.BASIC_ACK, 2, multiple=True))
    assert wire.take() == b"message" * 2
    link.data_received(confirm(amqp.BASIC_NACK, 5, multiple=True))
    assert wire.take() == b"message" * 2
    assert (len(link.sample.latencies), link.sample.errors) == (3, 2)


async def test_deliveries_are_acknowledged_when_they_are_whole() -> None:
    link = ConsumeLink(Sample(), b"bench", Deliveries(2))
    wire = set_up(link)
    link.begin(1)
    frames, _ = amqp.cut_frames(wire.take())
    assert [amqp.method_of(frame) for frame in frames] == [amqp.BASIC_QOS, amqp.BASIC_CONSUME]
    deliver = amqp.method(amqp.BASIC_DELIVER, b"\x03abc", (9).to_bytes(8), b"\x00\x00\x05bench")
    message = deliver + amqp.publication(b"bench", b"x" * 150, 108).split(b"\xce", 1)[1]
    link.data_received(message[:-1])
    assert wire.take() == b""
    link.data_received(message[-1:])
    assert wire.take() == amqp.acknowledgement(9)
    assert len(link.sample.latencies) == 1
    link.data_received(message)
    assert isinstance(link.error, RanDryError)


async def test_rabbitmq_tells_why_it_closes() -> None:
    link = ConfirmLink(Sample(), repeat(b"message"))
    set_up(link)
    link.data_received(amqp.method(amqp.CHANNEL_CLOSE, b"\x01\x94\x09NOT_FOUND", bytes(4)))
    assert isinstance(link.error, LostError)
    assert "NOT_FOUND" in str(link.error)


async def test_commands_of_redis_and_their_replies() -> None:
    link = CommandLink(Sample(), iter([b"1", b"2", b"3", b"4"]))
    wire = wired(link)
    link.begin(3)
    assert wire.take() == b"123"
    link.data_received(b"+OK\r\n-ERR no\r\n$-1\r\n")
    assert wire.take() == b"4"
    assert (len(link.sample.latencies), link.sample.errors) == (1, 2)


async def test_a_list_of_redis_that_is_empty() -> None:
    link = CommandLink(Sample(), repeat(b"RPOP"), takes=True)
    wire = wired(link)
    link.begin(1)
    link.data_received(b"$-1\r\n")
    assert wire.aborted
    assert isinstance(link.error, RanDryError)


async def test_an_entry_of_redis_is_read_and_acknowledged() -> None:
    link = RedisGroupLink(Sample(), b"s", b"g")
    wire = wired(link)
    link.begin(1)
    read = wire.take()
    entry = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n7-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    link.data_received(entry)
    assert wire.take() == encode(b"XACK", b"s", b"g", b"7-1")
    assert link.sample.latencies == []
    link.data_received(b":1\r\n")
    assert wire.take() == read
    assert len(link.sample.latencies) == 1
    link.data_received(b"*-1\r\n")
    assert isinstance(link.error, RanDryError)


def test_shares_are_even() -> None:
    assert shares(10, 4) == [3, 3, 2, 2]


class Redis(asyncio.Protocol):
    """Answers each byte, or hangs up after so many."""

    def __init__(self, patience: int, reply: bytes = b"+OK\r\n") -> None:
        self._patience = patience
        self._reply = reply
        self._transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._patience -= len(data)
        if self._patience < 0:
            self._transport.abort()
        else:
            self._transport.write(self._reply * len(data))


async def test_a_window_is_measured() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Redis(10**9), "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        sample = Sample()
        links = await connect(port, [lambda: CommandLink(sample, repeat(b"x"))] * 2)
        seen = await drive(links, 5, Window(count=100, warmup_s=0.0), lambda: 7.0)
        assert len(seen.latencies) >= 100
        assert (seen.errors, seen.server_cpu_s) == (0, 0.0)
        assert all(link.lost.done() for link in links)


async def test_a_load_that_runs_dry_says_so() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Redis(9, b"$-1\r\n"), "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        links = await connect(port, [lambda: CommandLink(Sample(), repeat(b"x"), takes=True)])
        with pytest.raises(RanDryError):
            await drive(links, 2, Window(seconds=60.0), lambda: 0.0)


async def test_everything_is_sent_once() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Redis(1_000), "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        links = await connect(port, [lambda: CommandLink(Sample(), iter([b"x"] * 1_000))])
        await send_all(links, 1_000, 8)
        assert len(links[0].sample.latencies) == 1_000


async def test_a_server_that_hangs_up_is_an_error() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Redis(50), "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        links = await connect(port, [lambda: CommandLink(Sample(), repeat(b"x"))])
        with pytest.raises(LostError):
            await drive(links, 2, Window(seconds=60.0), lambda: 0.0)


async def test_a_connection_that_is_refused() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Redis(0), "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        with pytest.raises(LostError):
            await connect(port, [lambda: RequestReplyLink(Sample(), repeat((b"", b"")))])
        await close([])
