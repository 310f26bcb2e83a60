"""Queue operations, as they travel and come back."""

from collections.abc import AsyncIterator

import pytest

from flo import (
    AckOptions,
    BlockTooLongError,
    Delivery,
    DequeueOptions,
    DequeueResult,
    DlqListOptions,
    DlqRequeueOptions,
    EnqueueOptions,
    KeyTooLargeError,
    Message,
    NackOptions,
    PeekOptions,
    QueueConfigureOptions,
    QueueInfo,
    QueueItem,
    QueueListOptions,
    QueueListResult,
    QueueTouchOptions,
    ValidationError,
    ValueTooLargeError,
)
from flo._batches import BATCH_BYTES_MAX, BATCH_ITEMS_MAX, PAYLOAD_BYTES_MAX
from flo.wire import messages as base
from flo.wire import queue_messages as wire
from tests.unit.client.scripted import Scripted, scripted

SPACE, MAIL = b"default", b"mail"
ANSWER = wire.QueueMessages((wire.QueueMessage(7, b"to Ada", 1700, 2, 5),))
TAKEN = DequeueResult([Message(7, b"to Ada", 1700, 2, 5)])


@pytest.fixture
async def there() -> AsyncIterator[Scripted]:
    async with scripted() as there:
        yield there


def numbered(body: base.Body) -> wire.EnqueuedBatch:
    assert isinstance(body, wire.QueueEnqueueBatch)
    return wire.EnqueuedBatch(tuple(int(item.payload[:4]) for item in body.items))


async def test_enqueue(there: Scripted) -> None:
    there.answers[wire.QueueEnqueue] = wire.Enqueued(7)
    assert await there.client.queue.enqueue("mail", b"to Ada") == 7
    assert there.last() == wire.QueueEnqueue(SPACE, MAIL, b"to Ada")
    assert there.last_is_exactly_once
    options = EnqueueOptions("other", 3, 1500, "ä")
    await there.client.queue.enqueue("mail", bytearray(b"x"), options)
    assert there.last() == wire.QueueEnqueue(b"other", MAIL, b"x", 3, 1500, "ä".encode())


async def test_a_batch_is_sent_in_as_few_steps_as_it_may(there: Scripted) -> None:
    there.answers[wire.QueueEnqueueBatch] = numbered
    enqueue = there.client.queue.enqueue_batch
    items: list[bytes | QueueItem] = [b"0001", QueueItem(b"0002", 9, 10, b"key")]
    assert await enqueue("mail", items, EnqueueOptions(priority=4)) == [1, 2]
    assert there.last() == wire.QueueEnqueueBatch(
        SPACE, MAIL, (wire.QueueItem(b"0001", 4), wire.QueueItem(b"0002", 9, 10, b"key"))
    )
    assert await enqueue("mail", []) == []
    many = [f"{number:04}".encode() for number in range(BATCH_ITEMS_MAX + 1)]
    assert await enqueue("mail", many) == list(range(len(many)))
    large = [b"%04d" % number + bytes(BATCH_BYTES_MAX // 2) for number in range(3)]
    assert await enqueue("mail", large) == [0, 1, 2]
    sizes = [
        len(body.items)
        for body in there.bodies(wire.QueueEnqueueBatch)
        if isinstance(body, wire.QueueEnqueueBatch)
    ]
    assert sizes == [2, BATCH_ITEMS_MAX, 1, 1, 1, 1]


async def test_dequeue(there: Scripted) -> None:
    there.answers[wire.QueueDequeue] = ANSWER
    assert await there.client.queue.dequeue("mail", 5) == TAKEN
    assert there.last() == wire.QueueDequeue(SPACE, MAIL, 5)
    assert there.last_is_exactly_once, "a lost answer is given again"
    await there.client.queue.dequeue("mail", options=DequeueOptions("other", 2000, 60_000))
    assert there.last() == wire.QueueDequeue(b"other", MAIL, 1, 2000, 60_000)
    assert not there.last_is_exactly_once
    there.answers[wire.QueueDequeue] = wire.QueueMessages(())
    assert await there.client.queue.dequeue("mail", 1) == DequeueResult([])


async def test_consume_goes_on_for_ever(there: Scripted) -> None:
    answers = [wire.QueueMessages(()), ANSWER, ANSWER]
    there.answers[wire.QueueDequeue] = lambda _: answers.pop(0)
    messages = there.client.queue.consume("mail", 3, DequeueOptions("other"))
    assert [await anext(messages), await anext(messages)] == TAKEN.messages * 2
    await messages.aclose()
    assert not answers
    assert set(there.bodies(wire.QueueDequeue)) == {
        wire.QueueDequeue(b"other", MAIL, 3, 30_000, None)
    }


async def test_what_becomes_of_messages(there: Scripted) -> None:
    queue = there.client.queue
    kinds = (wire.QueueAck, wire.QueueNack, wire.QueueTouch, wire.QueueDlqRequeue)
    there.answers |= dict.fromkeys(kinds, base.Done())
    await queue.ack("mail", [7, 8], AckOptions("other"))
    assert there.last() == wire.QueueAck(b"other", MAIL, (7, 8))
    await queue.nack("mail", [7], NackOptions(to_dlq=True))
    assert there.last() == wire.QueueNack(SPACE, MAIL, (7,), True)
    await queue.touch("mail", [7], QueueTouchOptions(extend_ms=9000))
    assert there.last() == wire.QueueTouch(SPACE, MAIL, (7,), 9000)
    await queue.dlq_requeue("mail", [7], DlqRequeueOptions("other"))
    assert there.last() == wire.QueueDlqRequeue(b"other", MAIL, (7,))
    assert there.last_is_exactly_once


async def test_looking_on(there: Scripted) -> None:
    there.answers |= dict.fromkeys((wire.QueuePeek, wire.QueueDlqList), ANSWER)
    assert await there.client.queue.peek("mail", 3, PeekOptions("other")) == TAKEN
    assert there.last() == wire.QueuePeek(b"other", MAIL, 3)
    assert await there.client.queue.dlq_list("mail") == TAKEN
    assert there.last() == wire.QueueDlqList(SPACE, MAIL, 100)
    await there.client.queue.dlq_list("mail", DlqListOptions("other", 1000))
    assert there.last() == wire.QueueDlqList(b"other", MAIL, 1000)
    assert not there.last_is_exactly_once


async def test_purging(there: Scripted) -> None:
    there.answers |= dict.fromkeys((wire.QueuePurge, wire.QueueDlqPurge), wire.Purged(4))
    assert await there.client.queue.purge("mail", namespace="other") == 4
    assert there.last() == wire.QueuePurge(b"other", MAIL)
    assert await there.client.queue.dlq_purge("mail") == 4
    assert there.last() == wire.QueueDlqPurge(SPACE, MAIL)


async def test_numbers_and_names(there: Scripted) -> None:
    summary = wire.QueueSummary("größe".encode(), 1, 2, 3, 4, wire.DELIVERY_CONSUME)
    info = QueueInfo("größe", 1, 2, 3, 4, Delivery.CONSUME)
    there.answers[wire.QueueStats] = summary
    assert await there.client.queue.info("größe") == info
    there.answers[wire.QueueList] = wire.QueueListing((summary,), b"on")
    page = await there.client.queue.list()
    assert page == QueueListResult([info], b"on")
    assert page.has_more
    assert there.last() == wire.QueueList(SPACE, b"", 100, b"")
    await there.client.queue.list(QueueListOptions("other", "gr", 5, b"on"))
    assert there.last() == wire.QueueList(b"other", b"gr", 5, b"on")


async def test_configure(there: Scripted) -> None:
    there.answers[wire.QueueConfigure] = base.Done()
    options = QueueConfigureOptions("other", Delivery.CONSUME, 1000, 3)
    await there.client.queue.configure("mail", options)
    assert there.last() == wire.QueueConfigure(b"other", MAIL, wire.DELIVERY_CONSUME, 1000, 3)
    await there.client.queue.configure("mail", QueueConfigureOptions())
    assert there.last() == wire.QueueConfigure(SPACE, MAIL)


async def test_what_no_server_takes_is_not_sent(there: Scripted) -> None:
    queue = there.client.queue
    before = len(there.node.requests)
    for count in (0, 101):
        with pytest.raises(ValidationError, match="1 to 100"):
            await queue.dequeue("mail", count)
        with pytest.raises(ValidationError, match="1 to 100"):
            await queue.peek("mail", count)
    with pytest.raises(BlockTooLongError):
        await queue.dequeue("mail", 1, DequeueOptions(block_ms=300_001))
    with pytest.raises(ValidationError, match="negative"):
        await queue.dequeue("mail", 1, DequeueOptions(block_ms=-1))
    with pytest.raises(ValidationError, match="visibility_ms"):
        await queue.dequeue("mail", 1, DequeueOptions(visibility_ms=0))
    with pytest.raises(ValidationError, match="queue name is empty"):
        await queue.enqueue("", b"")
    with pytest.raises(KeyTooLargeError, match="queue name"):
        await queue.enqueue("q" * 5000, b"")
    for options, why in (
        (EnqueueOptions(priority=256), "priority"),
        (EnqueueOptions(delay_ms=-1), "delay_ms"),
        (EnqueueOptions(dedup_key="k" * 256), "dedup_key"),
        (EnqueueOptions(dedup_key="\ud800"), "dedup_key"),
    ):
        with pytest.raises(ValidationError, match=why):
            await queue.enqueue("mail", b"", options)
    with pytest.raises(ValueTooLargeError):
        await queue.enqueue("mail", bytes(PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(ValidationError, match="encode it to bytes"):
        await queue.enqueue("mail", "text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValidationError, match=r"give a list, as \[7\]"):
        await queue.ack("mail", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert len(there.node.requests) == before
