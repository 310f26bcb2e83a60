"""Connections of clients over real sockets: order, bounds, and how they end."""

import asyncio
import socket
from contextlib import suppress

import pytest

from cluster.config import Limits
from flo.wire.connection import Request, encode_request
from flo.wire.frames import checksum
from flo.wire.messages import KvPut, Stored, Value
from flo.wire.registry import OPS
from flo.wire.status import Status
from tests.unit.node.gateway_kit import Frame, echo, get, served, until


async def test_answers_leave_in_the_order_of_the_requests() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(*(get(number) for number in range(1, 51)))
        await node.waits_for(50)
        node.router.answer_all(backwards=True)
        assert await client.read_ids(50) == list(range(1, 51))


async def test_answers_of_our_own_client_leave_as_they_come() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(get(1), get(2, own=True), get(3), get(4, own=True))
        await node.waits_for(4)
        waiting, node.router.waiting = node.router.waiting, []
        for request, done in reversed(waiting[1:]):
            done(echo(request))
        assert await client.read_ids(2) == [4, 2]
        waiting[0][1](echo(waiting[0][0]))
        assert await client.read_ids(2) == [1, 3]


async def test_a_request_that_comes_byte_by_byte_is_one_request() -> None:
    async with served() as node:
        client = await node.connect()
        for byte in get(7) + get(8):
            client.send(bytes([byte]))
            await client.writer.drain()
        await node.waits_for(2)
        node.router.answer_all()
        assert await client.read_ids(2) == [7, 8]


async def test_both_revisions_share_a_connection() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(get(1), get(2, revision=2), get(3), get(4, revision=2))
        await node.waits_for(4)
        node.router.answer_all(backwards=True)
        frames = [await client.read() for _ in range(4)]
        assert [(frame.request_id, frame.revision) for frame in frames if frame] == [
            (1, 1),
            (2, 2),
            (3, 1),
            (4, 2),
        ]


def unknown_operation(request_id: int) -> bytes:
    """A frame that can be read, of an operation that is not served."""
    return _with_crc(_header(request_id, code=0x7777) + bytes(10))


def _header(request_id: int, *, code: int) -> bytes:
    frame = bytearray(get(request_id)[:32])
    frame[4:8] = (10).to_bytes(4, "little")
    frame[20:22] = code.to_bytes(2, "little")
    return bytes(frame)


def _with_crc(frame: bytes) -> bytes:
    return frame[:16] + checksum(memoryview(frame)).to_bytes(4, "little") + frame[20:]


BROKEN = get(9)[:-1] + b"?"


async def test_a_refused_request_is_answered_in_its_turn() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(get(1), unknown_operation(2), get(3))
        await node.waits_for(2)
        node.router.answer_all()
        frames = [await client.read() for _ in range(3)]
        assert [(frame.request_id, frame.status) for frame in frames if frame] == [
            (1, Status.OK),
            (2, Status.BAD_REQUEST),
            (3, Status.OK),
        ]


async def test_a_broken_frame_ends_the_connection_after_earlier_answers() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(get(1), get(2, own=True), get(3), BROKEN, get(4))
        await node.waits_for(3)
        await until(lambda: node.gateway.connection_count == 1)
        node.router.answer_all(backwards=True)
        ids = await client.read_all_ids()
        assert sorted(ids[:-1]) == [1, 2, 3]
        assert ids[-1] == 0
        assert node.router.seen == 3
        await until(lambda: node.gateway.connection_count == 0)


async def test_a_client_in_the_middle_of_a_frame_too_long_hears_why() -> None:
    """What it still sends must not reset the connection and take the answer with it."""
    async with served(Limits(connection_close_s=60.0)) as node:
        frame = get(1)
        too_long = frame[:4] + (64 << 20).to_bytes(4, "little") + frame[8:]

        def send_all_then_read() -> bytes:
            with socket.create_connection(("127.0.0.1", node.port)) as client:
                client.sendall(too_long + bytes(16 << 20))
                return client.recv(1000)

        answer = await asyncio.to_thread(send_all_then_read)
        assert b"at most" in answer
        await until(lambda: node.gateway.connection_count == 0)


async def test_a_client_of_the_oldest_protocol_is_turned_away_without_a_word() -> None:
    async with served() as node:
        client = await node.connect()
        oldest = bytearray(get(1)[:32])
        oldest[20:24] = b"\x01\x00\x00\x00"
        client.send(bytes(oldest))
        assert await client.read() is None


@pytest.mark.parametrize("requests_max", [2, 100])
@pytest.mark.parametrize("own", [False, True])
async def test_a_client_that_stopped_writing_gets_all_answers(requests_max: int, own: bool) -> None:
    async with served(Limits(connection_requests_max=requests_max)) as node:
        client = await node.connect()
        client.send(*(get(number, own=own) for number in range(1, 8)))
        client.writer.write_eof()
        while node.router.seen < 7:
            await until(lambda: bool(node.router.waiting))
            node.router.answer_all()
        node.router.answer_all()
        assert await client.read_all_ids() == list(range(1, 8))
        await until(lambda: node.gateway.connection_count == 0)


async def test_a_client_that_writes_and_stops_at_once_gets_its_answer() -> None:
    """The answer is there before it could leave, and the end of the requests comes between."""
    async with served() as node:
        node.router.answer = echo
        for own in (False, True):
            client = await node.connect()
            client.send(get(1, own=own))
            client.writer.write_eof()
            assert await client.read_all_ids() == [1]


async def test_requests_beyond_the_bound_wait_and_run_later() -> None:
    async with served(Limits(connection_requests_max=3)) as node:
        client = await node.connect()
        client.send(*(get(number) for number in range(1, 11)))
        found: list[int] = []
        while len(found) < 10:
            await until(lambda: bool(node.router.waiting))
            assert len(node.router.waiting) <= 3
            count = len(node.router.waiting)
            node.router.answer_all(backwards=True)
            found += await client.read_ids(count)
        assert found == list(range(1, 11))


async def test_connections_beyond_the_bound_are_told_why() -> None:
    async with served(Limits(connections_max=2, connection_close_s=0.01)) as node:
        first, second = await node.connect(), await node.connect()
        for client in (first, second):
            client.send(get(1))
        await node.waits_for(2)
        third = await node.connect()
        frame = await third.read()
        assert isinstance(frame, Frame)
        assert (frame.request_id, frame.status) == (0, Status.OVERLOADED)
        assert await third.read() is None
        assert node.gateway.connection_count == 2
        first.abort()
        await until(lambda: node.gateway.connection_count == 1)
        fourth = await node.connect()
        fourth.send(get(4))
        await node.waits_for(3)
        node.router.answer_all()
        assert await fourth.read_ids(1) == [4]


async def test_answers_for_a_client_that_is_gone_go_nowhere() -> None:
    async with served() as node:
        client = await node.connect()
        client.send(get(1), get(2, own=True))
        await node.waits_for(2)
        client.abort()
        await until(lambda: node.gateway.connection_count == 0)
        node.router.answer_all()
        other = await node.connect()
        other.send(get(3))
        await node.waits_for(1)
        node.router.answer_all()
        assert await other.read_ids(1) == [3]


# --- clients that do not read ---


def large(_request: Request) -> Value:
    return Value(1, bytes(50_000))


async def send_without_reading(port: int, frames: bytes) -> socket.socket:
    """A client that only writes, until nobody takes its bytes any more."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    # It may be cut off in the middle: that is what is waited for.
    with suppress(ConnectionError):
        await loop.sock_sendall(client, frames)
    return client


@pytest.mark.parametrize("own", [False, True])
async def test_a_client_that_never_reads_is_not_read_from_and_cut_off(own: bool) -> None:
    limits = Limits(
        connection_requests_max=8, connection_stall_s=0.05, connection_unsent_bytes_max=1 << 30
    )
    async with served(limits) as node:
        node.router.answer = large
        count = 20_000
        client = await send_without_reading(node.port, get(1, own=own) * count)
        with client:
            await until(lambda: node.router.seen > 0 and node.gateway.connection_count == 0)
        # What the sockets hold, and one round of requests: not what it asked for.
        assert node.router.seen * 50_000 < 40 << 20 < count * 50_000


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(connection_unsent_bytes_max=210_000, connection_close_s=0.01),
        Limits(answers_bytes_max=210_000, connection_close_s=0.01),
    ],
)
async def test_reads_are_refused_while_too_many_answers_are_unread(
    limits: Limits, own: bool
) -> None:
    """All of them are answered in one turn, before the client could read anything."""
    async with served(limits) as node:
        client = await node.connect()
        client.send(*(get(number, own=own) for number in range(1, 21)))
        await node.waits_for(20)
        waiting, node.router.waiting = node.router.waiting, []
        for request, done in waiting:
            done(large(request))
        frames = [await client.read() for _ in range(20)]
        statuses = [frame.status for frame in frames if frame]
        assert statuses == [Status.OK] * 4 + [Status.OVERLOADED] * 16
        client.send(get(21, own=own))
        await node.waits_for(1)
        ((request, done),) = node.router.waiting
        done(large(request))
        later = await client.read()
        assert later is not None
        assert later.status == Status.OK
        assert node.gateway.answers.taken <= 210_000


async def test_writes_are_answered_however_much_is_unread() -> None:
    limits = Limits(answers_bytes_max=1, connection_close_s=0.01)
    async with served(limits) as node:
        client = await node.connect()
        body = KvPut(b"default", b"key", b"value")
        client.send(encode_request(2, 1, OPS[0x100], body))
        await node.waits_for(1)
        node.router.waiting.pop()[1](Stored(7))
        frame = await client.read()
        assert frame is not None
        assert frame.status == Status.OK


async def test_a_client_that_reads_late_gets_everything() -> None:
    limits = Limits(connection_requests_max=4, connection_close_s=0.01)
    async with served(limits) as node:
        node.router.answer = large
        client = await node.connect()
        client.send(*(get(number) for number in range(1, 401)))
        await until(lambda: node.router.seen > 20)
        assert await client.read_ids(400) == list(range(1, 401))


# --- the node stops ---


async def test_a_node_that_stops_answers_what_runs() -> None:
    async with served(Limits(connection_close_s=60.0)) as node:
        busy, idle = await node.connect(), await node.connect()
        busy.send(get(1), get(2, own=True), get(3))
        idle.send(get(4))
        await node.waits_for(4)
        (last,) = (each for each in node.router.waiting if each[0].request_id == 4)
        node.router.waiting.remove(last)
        last[1](Value(1, b""))
        assert await idle.read_ids(1) == [4]
        closing = asyncio.ensure_future(node.gateway.close())
        assert await idle.read() is None
        busy.send(get(5))
        node.router.answer_all()
        assert sorted(await busy.read_all_ids()) == [1, 2, 3]
        await closing
        assert node.gateway.connection_count == 0
        with pytest.raises(ConnectionRefusedError):
            await node.connect()


async def test_a_node_that_stops_does_not_wait_for_ever() -> None:
    async with served(Limits(connection_close_s=0.01)) as node:
        client = await node.connect()
        client.send(get(1))
        await node.waits_for(1)
        await node.gateway.close()
        assert await client.read() is None
        await until(lambda: node.gateway.connection_count == 0)
        node.router.answer_all()
