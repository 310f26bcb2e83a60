"""The way of an embedded node's client: as a connection would do it, without one."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from cluster.config import Limits
from cluster.local_channel import LocalChannel, LocalConnector
from cluster.router import Router
from flo._endpoints import Endpoint
from flo._transport import Channel, Lost, Reply
from flo.exceptions import NotConnectedError, ValidationError
from flo.wire import messages as wire
from flo.wire.connection import Rejected, ServerConnection, encode_request
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.gateway_kit import ScriptedRouter, echo

HERE = Endpoint("127.0.0.1", 9000)
CONTEXT = wire.CallContext(deadline_ms=1000)
GET = wire.KvGet(b"default", b"a")
VALUE_MAX = 100
STOPPING = Refusal(Reason.SHARD_BUSY, Ran.NO, "the node is stopping")
FAILED = Refusal(Reason.INTERNAL, Ran.NO, "the node had to stop")


@dataclass
class Way:
    """A channel to a router that the test plays."""

    router: ScriptedRouter
    connector: LocalConnector
    lost: list[Channel] = field(default_factory=list[Channel])

    async def connect(self) -> LocalChannel:
        return cast(LocalChannel, await self.connector.connect(HERE, self.lost.append))


def way(**limits: int) -> Way:
    router = ScriptedRouter()
    bounds = Limits(value_bytes_max=VALUE_MAX, **limits)
    return Way(router, LocalConnector(HERE, cast(Router, router), bounds, partition_count=4))


async def answer_of(reply: asyncio.Future[Reply]) -> Reply:
    async with asyncio.timeout(10):
        return await reply


async def test_a_request_is_run_and_answered() -> None:
    node = way()
    channel = await node.connect()
    reply = channel.send(GET, CONTEXT)
    request = node.router.waiting[0][0]
    assert (request.revision, request.op.name, request.body) == (1, "kv.get", GET)
    assert request.context == CONTEXT
    assert request.extended
    node.router.answer_all()
    assert await answer_of(reply) == wire.Value(1, b"a")


async def test_no_answer_comes_before_the_loop_had_its_turn() -> None:
    node = way()
    node.router.answer = echo
    channel = await node.connect()
    replies = [channel.send(GET, CONTEXT), channel.send(wire.PartitionTableRequest(), CONTEXT)]
    assert not any(reply.done() for reply in replies)
    assert await answer_of(replies[0]) == wire.Value(1, b"a")


async def test_every_partition_is_reached_here() -> None:
    node = way()
    channel = await node.connect()
    table = await answer_of(channel.send(wire.PartitionTableRequest(), CONTEXT))
    assert isinstance(table, wire.PartitionTable)
    assert [row.leader for row in table.partitions] == ["127.0.0.1:9000"] * 4
    assert not any(row.replicas for row in table.partitions)
    assert node.router.seen == 0


async def test_no_other_node_is_reached() -> None:
    with pytest.raises(OSError, match="that node only"):
        await way().connector.connect(Endpoint("127.0.0.1", 9001), print)


@pytest.mark.parametrize(
    "body",
    [
        wire.KvPut(b"default", b"a", bytes(VALUE_MAX + 1)),
        wire.KvPut(b"default", b"", b"1"),
        wire.KvPut(b"default", b"a\x00b", b"1"),
        wire.KvPut(b"n" * 64, b"a", b"1"),
        wire.KvPut(b"n\x00", b"a", b"1"),
        wire.KvPut(b"default", b"a", b"1", ttl_ms=1 << 60),
        wire.KvGet(b"default", b"k" * 5000),
        wire.KvGet(b"default", b"a", wait_ms=1 << 30),
        wire.KvMget(b"default", (b"a",) * 257),
        wire.KvMget(b"default", (b"a", b"")),
        wire.KvScan(b"default", b"", limit=1001),
        wire.KvScan(b"default", b"", cursor=bytes(5000)),
    ],
    ids=lambda body: type(body).__name__,
)
async def test_what_the_wire_refuses_is_refused_alike(body: wire.Body) -> None:
    frame = encode_request(1, 1, OP_OF_REQUEST[type(body)], body, CONTEXT)
    over_tcp = ServerConnection(max_value_bytes=VALUE_MAX).receive(frame)[0]
    assert isinstance(over_tcp, Rejected)
    node = way()
    channel = await node.connect()
    assert await answer_of(channel.send(body, CONTEXT)) == over_tcp.refusal
    assert node.router.seen == 0


async def test_what_the_wire_cannot_say_is_an_error_of_the_caller() -> None:
    node = way(connection_requests_max=1)
    channel = await node.connect()
    with pytest.raises(ValidationError):
        channel.send(wire.KvPut(b"default", b"a", b"1", cas=-1), CONTEXT)
    assert node.router.seen == 0
    assert not channel.congested


async def test_too_many_unanswered_requests_congest_it() -> None:
    node = way(connection_requests_max=2)
    channel = await node.connect()
    first = channel.send(GET, CONTEXT)
    assert not channel.congested
    channel.send(GET, CONTEXT)
    assert channel.congested
    waiting = asyncio.ensure_future(channel.writable())
    await asyncio.sleep(0)
    assert not waiting.done()
    request, done = node.router.waiting[0]
    done(echo(request))
    await waiting
    assert not channel.congested
    assert first.done()


async def test_an_abandoned_request_counts_until_the_node_has_answered() -> None:
    node = way(connection_requests_max=1)
    channel = await node.connect()
    channel.send(GET, CONTEXT).cancel()
    assert channel.congested
    node.router.answer_all()
    assert not channel.congested


async def test_what_is_unanswered_at_the_end_is_lost() -> None:
    node = way()
    channel = await node.connect()
    replies = [channel.send(GET, CONTEXT) for _ in range(3)]
    drained = asyncio.ensure_future(channel.drained())
    channel.close("of the test")
    channel.close("again")
    assert not node.lost
    assert channel.unanswered == 3
    await channel.wait_closed()
    assert channel.unanswered == 0
    assert "of the test" in channel.end_reason
    for reply in [*replies, channel.send(GET, CONTEXT)]:
        lost = await answer_of(reply)
        assert isinstance(lost, Lost)
        assert lost.error is NotConnectedError
        assert "of the test" in lost.message
    assert node.lost == [channel]
    await drained
    await channel.writable()
    node.router.answer_all()
    assert node.router.seen == 3


async def test_a_node_that_stops_answers_what_runs_and_takes_nothing_else() -> None:
    node = way()
    channel = await node.connect()
    running = channel.send(GET, CONTEXT)
    node.connector.refuse(STOPPING)
    assert await answer_of(channel.send(GET, CONTEXT)) == STOPPING
    drained = asyncio.ensure_future(node.connector.drained())
    await asyncio.sleep(0)
    assert not drained.done()
    node.router.answer_all()
    await drained
    assert await answer_of(running) == wire.Value(1, b"a")


async def test_nobody_knows_about_what_ran_when_a_node_failed() -> None:
    node = way()
    channel = await node.connect()
    running = channel.send(GET, CONTEXT)
    node.connector.abandon(FAILED)
    assert await answer_of(running) == FAILED._replace(ran=Ran.UNKNOWN)
    assert await answer_of(channel.send(GET, CONTEXT)) == FAILED
    node.router.answer_all()
    await node.connector.drained()


async def test_without_a_channel_there_is_nothing_to_wait_for() -> None:
    node = way()
    node.connector.refuse(STOPPING)
    node.connector.abandon(FAILED)
    await node.connector.drained()
