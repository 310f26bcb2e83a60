"""One connection over a transport made by the test: batching, bounds, and how it ends."""

import asyncio

import pytest

from flo._connection import UNANSWERED_MAX, UNSENT_BYTES_MAX, Connection
from flo._endpoints import Endpoint
from flo._transport import Channel, Lost
from flo.exceptions import InvalidMagicError, UnexpectedEofError, ValidationError
from flo.wire.client import ClientConnection
from flo.wire.connection import Rejected, Request, ServerConnection, encode_answer
from flo.wire.messages import CallContext, KvPut, Ping, Pong
from flo.wire.status import Ran, Reason, Refusal

CONTEXT = CallContext(deadline_ms=1000)
NODE = Endpoint("node", 9000)


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 9000)})
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Setup:
    """A connection that has just been made."""

    def __init__(self) -> None:
        self.lost: list[Channel] = []
        codec = ClientConnection(max_outstanding=UNANSWERED_MAX + 1)
        self.connection = Connection(NODE, codec, self.lost.append)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)
        self.server = ServerConnection()

    def requests(self) -> list[Request]:
        """What the server has not yet read of what was written."""
        data, self.transport.writes = b"".join(self.transport.writes), []
        items = self.server.receive(data)
        return [item for item in items if isinstance(item, Request)]

    def answer(self, requests: list[Request]) -> None:
        frames = [
            encode_answer(each.revision, each.request_id, each.op, Pong(), extended=each.extended)
            for each in requests
        ]
        self.connection.data_received(b"".join(frames))


async def test_requests_of_one_turn_are_one_write() -> None:
    setup = Setup()
    replies = [setup.connection.send(Ping(), CONTEXT) for _ in range(5)]
    assert not setup.transport.writes
    await asyncio.sleep(0)
    assert len(setup.transport.writes) == 1
    setup.answer(setup.requests())
    assert [reply.result() for reply in replies] == [Pong()] * 5


async def test_answers_may_come_in_any_order() -> None:
    setup = Setup()
    first, second = (setup.connection.send(Ping(), CONTEXT) for _ in range(2))
    await asyncio.sleep(0)
    requests = setup.requests()
    setup.answer(requests[1:])
    assert second.done()
    assert not first.done()
    setup.answer(requests[:1])
    assert first.result() == Pong()


async def test_knows_the_address_it_reached() -> None:
    setup = Setup()
    assert setup.connection.endpoint == NODE
    assert setup.connection.peer == Endpoint("10.0.0.1", 9000)


async def test_what_the_wire_cannot_carry_leaves_the_connection_usable() -> None:
    setup = Setup()
    with pytest.raises(ValidationError):
        setup.connection.send(KvPut(b"n", b"k" * 70_000, b""), CONTEXT)
    reply = setup.connection.send(Ping(), CONTEXT)
    await asyncio.sleep(0)
    setup.answer(setup.requests())
    assert reply.result() == Pong()


async def test_congested_by_what_is_not_sent() -> None:
    setup = Setup()
    setup.connection.send(KvPut(b"n", b"k", bytes(UNSENT_BYTES_MAX)), CONTEXT)
    assert setup.connection.congested
    waiting = asyncio.create_task(setup.connection.writable())
    await asyncio.sleep(0)
    await waiting
    assert not setup.connection.congested


async def test_congested_by_a_peer_that_does_not_read() -> None:
    setup = Setup()
    setup.connection.pause_writing()
    waiting = asyncio.create_task(setup.connection.writable())
    await asyncio.sleep(0)
    assert setup.connection.congested
    assert not waiting.done()
    setup.connection.resume_writing()
    await waiting


async def test_congested_by_what_is_not_answered() -> None:
    setup = Setup()
    for _ in range(UNANSWERED_MAX):
        # Nobody waits for the answer any more, and still the request counts.
        setup.connection.send(Ping(), CONTEXT).cancel()
    assert setup.connection.congested
    waiting = asyncio.create_task(setup.connection.writable())
    await asyncio.sleep(0)
    setup.answer(setup.requests()[:1])
    await waiting
    assert not setup.connection.congested


async def test_silence_counts_only_while_answers_are_owed() -> None:
    setup = Setup()
    now = asyncio.get_running_loop().time() + 100
    assert setup.connection.silence_s(now) == 0.0
    setup.connection.send(Ping(), CONTEXT)
    await asyncio.sleep(0)
    assert setup.connection.silence_s(now) > 50
    setup.answer(setup.requests())
    assert setup.connection.silence_s(now) == 0.0


async def test_a_lost_connection_loses_what_was_not_answered() -> None:
    setup = Setup()
    reply = setup.connection.send(Ping(), CONTEXT)
    waiting = asyncio.create_task(setup.connection.writable())
    setup.connection.connection_lost(ConnectionResetError("reset"))
    lost = reply.result()
    assert isinstance(lost, Lost)
    assert lost.error is UnexpectedEofError
    assert "node:9000" in lost.message
    assert "reset" in lost.message
    assert setup.lost == [setup.connection]
    await waiting
    await setup.connection.wait_closed()
    assert setup.connection.send(Ping(), CONTEXT).result() == lost


async def test_garbage_is_told_from_an_end() -> None:
    setup = Setup()
    reply = setup.connection.send(Ping(), CONTEXT)
    setup.connection.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    assert setup.transport.aborted
    setup.connection.connection_lost(None)
    lost = reply.result()
    assert isinstance(lost, Lost)
    assert lost.error is InvalidMagicError


async def test_close_says_why() -> None:
    setup = Setup()
    reply = setup.connection.send(Ping(), CONTEXT)
    setup.connection.close("enough")
    assert setup.transport.aborted
    setup.connection.connection_lost(None)
    lost = reply.result()
    assert isinstance(lost, Lost)
    assert "enough" in lost.message


async def test_a_frame_too_long_is_refused_as_the_longest_request() -> None:
    """The server refuses it unread, without its id; the others may well succeed elsewhere."""
    setup = Setup()
    short = setup.connection.send(Ping(), CONTEXT)
    long = setup.connection.send(KvPut(b"n", b"k", bytes(2 << 20)), CONTEXT)
    longest = setup.connection.send(KvPut(b"n", b"k", bytes(3 << 20)), CONTEXT)
    await asyncio.sleep(0)
    refusal = Rejected(
        1, 0, Refusal(Reason.FIELD_TOO_LONG, Ran.NO, "payload of 3 MiB: at most 1"), close=True
    )
    setup.connection.data_received(refusal.encode())
    reply = await longest
    assert isinstance(reply, Refusal)
    assert (reply.reason, reply.ran) == (Reason.FIELD_TOO_LONG, Ran.NO)
    assert reply.message == "payload of 3 MiB: at most 1"
    assert setup.transport.aborted
    setup.connection.connection_lost(None)
    assert isinstance(await short, Lost)
    assert isinstance(await long, Lost)


async def test_a_connection_that_is_turned_away_is_not_blamed_for_its_manners() -> None:
    setup = Setup()
    refusal = Refusal(Reason.SHARD_BUSY, Ran.NO, "this node has too many connections")
    setup.connection.data_received(Rejected(2, 0, refusal, close=True).encode())
    assert "ended the connection" in setup.connection.end_reason
    assert "too many connections" in setup.connection.end_reason
    assert "broke the protocol" not in setup.connection.end_reason
    setup.connection.connection_lost(None)
