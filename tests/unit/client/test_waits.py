"""Calls that wait at a node: for how long, and what becomes of a wait that is given up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from flo import (
    DequeueOptions,
    DequeueResult,
    RequestTimeoutError,
    StreamGroupReadOptions,
    StreamReadOptions,
)
from flo._call import Call, Era
from flo.wire import messages as base
from flo.wire.group_messages import GroupRead
from flo.wire.messages import CancelWait
from flo.wire.queue_messages import QueueDequeue, QueueList, QueueMessages
from flo.wire.stream_messages import Records, StreamRead
from tests.unit.client.fake_node import Action, Hold, Lose
from tests.unit.client.scripted import Scripted, scripted

DEQUEUE = QueueDequeue(b"default", b"mail", 1, wait_ms=30_000)


@pytest.fixture
async def there() -> AsyncIterator[Scripted]:
    async with scripted() as there:
        yield there


def call_of(body: base.Body, *, timeout_s: float, wait_s: float = 0.0) -> Call:
    return Call(body, 0, 100.0, timeout_s + wait_s, Era(), is_write=False, wait_s=wait_s)


class TestTheTimeOfATry:
    def test_the_first_one_waits_for_the_whole_wait(self) -> None:
        call = call_of(DEQUEUE, timeout_s=5.0, wait_s=30.0)
        assert call.request(34.999) == DEQUEUE
        # The node keeps a margin of the call's own time alone, so it can answer when the wait ends.
        assert call.context(35.0).deadline_ms == 34_800

    def test_a_later_one_waits_for_the_rest(self) -> None:
        call = call_of(DEQUEUE, timeout_s=5.0, wait_s=30.0)
        assert call.request(20.0) == DEQUEUE._replace(wait_ms=15_000)

    def test_one_after_the_wait_still_asks_the_same_question(self) -> None:
        call = call_of(DEQUEUE, timeout_s=5.0, wait_s=30.0)
        assert call.request(4.0) == DEQUEUE._replace(wait_ms=1)
        assert call.context(4.0).deadline_ms == 3_800

    def test_a_short_time_out_leaves_the_wait_whole(self) -> None:
        call = call_of(DEQUEUE, timeout_s=0.001, wait_s=30.0)
        assert call.context(30.001).deadline_ms == 30_001

    def test_a_call_that_waits_for_nothing(self) -> None:
        body = base.KvGet(b"default", b"key")
        call = call_of(body, timeout_s=5.0)
        assert call.request(1.0) is body
        assert call.context(1.0).deadline_ms == 900


async def test_the_wait_comes_on_top_of_the_time_out(there: Scripted) -> None:
    client = there.client
    there.answers |= {
        QueueDequeue: QueueMessages(()),
        StreamRead: Records(()),
        GroupRead: Records(()),
    }
    taken = await client.queue.dequeue(
        "mail", 1, DequeueOptions(block_ms=60_000), timeout_ms=30_000
    )
    assert taken == DequeueResult([])
    await client.stream.read("events", StreamReadOptions(block_ms=60_000), timeout_ms=30_000)
    await client.stream.group_read(
        "events", "billing", "me", StreamGroupReadOptions(block_ms=60_000), timeout_ms=30_000
    )
    for kind in (QueueDequeue, StreamRead, GroupRead):
        (request,) = there.node.of_type(kind)
        assert request.context is not None
        assert request.context.deadline_ms is not None
        assert 60_000 < request.context.deadline_ms <= 90_000


async def test_after_a_lost_connection_it_waits_for_the_rest(there: Scripted) -> None:
    actions: list[Action] = [Lose(executed=False), QueueMessages(())]
    there.answers[QueueDequeue] = lambda _: actions.pop(0)
    await there.client.queue.dequeue("mail", 1, DequeueOptions(block_ms=60_000))
    first, second = there.bodies(QueueDequeue)
    assert isinstance(first, QueueDequeue)
    assert isinstance(second, QueueDequeue)
    assert 1 < second.wait_ms < first.wait_ms <= 60_000


async def test_a_cancelled_wait_is_taken_back(there: Scripted) -> None:
    """Else the node might give a message to nobody."""
    there.answers[QueueDequeue] = Hold()
    options = DequeueOptions(block_ms=60_000)
    waiting = asyncio.create_task(there.client.queue.dequeue("mail", 1, options))
    await there.node.until(lambda node: bool(node.of_type(QueueDequeue)))
    waiting.cancel()
    await there.node.until(lambda node: bool(node.of_type(CancelWait)))
    (request,) = there.node.of_type(QueueDequeue)
    assert there.last() == CancelWait(request.request_id)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_so_is_one_that_took_too_long(there: Scripted) -> None:
    there.answers[QueueDequeue] = Hold()
    with pytest.raises(RequestTimeoutError, match=r"queue\.dequeue of 'mail'"):
        await there.client.queue.dequeue("mail", 1, DequeueOptions(block_ms=1), timeout_ms=1)
    await there.node.until(lambda node: bool(node.of_type(CancelWait)))


async def test_a_call_that_does_not_wait_is_not_taken_back(there: Scripted) -> None:
    """It runs, whatever its caller does."""
    there.answers[QueueDequeue] = Hold()
    busy = asyncio.create_task(there.client.queue.dequeue("mail"))
    await there.node.until(lambda node: bool(node.of_type(QueueDequeue)))
    busy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await busy
    after = asyncio.create_task(there.client.ping())
    await there.node.until(lambda node: bool(node.of_type(base.Ping)))
    after.cancel()
    assert not there.bodies(CancelWait)


async def test_nor_is_one_that_was_answered(there: Scripted) -> None:
    there.answers[QueueDequeue] = QueueMessages(())
    await there.client.queue.dequeue("mail", 1, DequeueOptions(block_ms=5))
    await there.client.ping()
    assert not there.bodies(CancelWait)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (DEQUEUE, "queue.dequeue of 'mail'"),
        (StreamRead(b"shop", b"events"), "stream.read of 'events' in namespace 'shop'"),
        (
            GroupRead(b"default", b"events", b"billing", b"me"),
            "stream.group_read of 'events' by group 'billing'",
        ),
        (QueueList(b"default", b"ma"), "queue.list of 'ma'"),
        (base.KvGet(b"default", b"key"), "kv.get of 'key'"),
        (base.Ping(), "ping"),
    ],
)
def test_a_call_in_words(body: base.Body, text: str) -> None:
    assert str(call_of(body, timeout_s=1.0)) == text
