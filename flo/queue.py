"""Queue operations, reached as `client.queue`.

A queue is there once something is put into it, and keeps its messages on a majority of replicas. A
message that is dequeued is leased: it is gone when it is acknowledged, and comes back when it is
not, in time. After five deliveries (a setting) it is put aside as a dead letter. Messages with the
lowest priority number come first, and of those the oldest.

Every operation may be given `timeout_ms`, else the client's counts. All raise `FloError`.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import cast

from flo._caller import Caller
from flo._checks import (
    block_ms_of,
    count_of,
    lease_ms_of,
    limit_of,
    options_of,
    seqs_of,
    within_if_given,
)
from flo._names import decode_key, encode_key, encode_namespace, encode_prefix
from flo._queue_items import item_of, steps_of
from flo.queue_types import (
    AckOptions,
    Delivery,
    DequeueOptions,
    DequeueResult,
    DlqListOptions,
    DlqRequeueOptions,
    EnqueueOptions,
    Message,
    NackOptions,
    PeekOptions,
    QueueConfigureOptions,
    QueueInfo,
    QueueItem,
    QueueListOptions,
    QueueListResult,
    QueueTouchOptions,
)
from flo.wire import queue_messages as wire
from flo.wire.limits import QUEUE_ATTEMPTS_MAX
from flo.wire.messages import Body, Result

_FOLLOW_BLOCK_MS = 30_000


class QueueOperations:
    """The queue operations of one client.

    Example:
        await client.queue.enqueue("mail", b"to Ada")
        taken = await client.queue.dequeue("mail")
        for message in taken.messages:
            await client.queue.ack("mail", [message.seq])
    """

    def __init__(self, caller: Callable[[], Caller], namespace: bytes) -> None:
        self._caller = caller
        self._default_namespace = namespace

    async def enqueue(
        self,
        queue: str,
        payload: bytes | bytearray | memoryview,
        options: EnqueueOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> int:
        """Puts a message into a queue, exactly once; returns its sequence number.

        Example:
            await client.queue.enqueue("mail", b"urgent", EnqueueOptions(priority=0))
            await client.queue.enqueue("mail", b"in a minute", EnqueueOptions(delay_ms=60_000))
        """
        options = options_of(options, EnqueueOptions)
        item = item_of(QueueItem(payload, options.priority, options.delay_ms, options.dedup_key))
        namespace, name = self._place(queue, options.namespace)
        body = wire.QueueEnqueue(namespace, name, *item)
        result = await self._write(body, name, timeout_ms)
        return cast(wire.Enqueued, result).sequence

    async def enqueue_batch(
        self,
        queue: str,
        items: Iterable[bytes | bytearray | memoryview | QueueItem],
        options: EnqueueOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[int]:
        """Puts many messages into a queue; returns their sequence numbers, in the same order.

        Up to 1,000 of them, and up to 512 KiB, are put there in one step, all or none; longer lists
        take several, and an error says nothing about the steps before. `options` hold for plain
        payloads.

        Example:
            await client.queue.enqueue_batch("mail", [b"to Ada", b"to Alan"])
        """
        plain = options_of(options, EnqueueOptions)
        namespace, name = self._place(queue, plain.namespace)
        encoded = [
            item_of(
                item
                if isinstance(item, QueueItem)
                else QueueItem(item, plain.priority, plain.delay_ms, plain.dedup_key)
            )
            for item in items
        ]
        sequences: list[int] = []
        for batch in steps_of(encoded):
            result = await self._write(
                wire.QueueEnqueueBatch(namespace, name, batch), name, timeout_ms
            )
            sequences += cast(wire.EnqueuedBatch, result).sequences
        return sequences

    async def dequeue(
        self,
        queue: str,
        count: int = 1,
        options: DequeueOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> DequeueResult:
        """Takes up to `count` messages, at most 100; waits for a first one when told to.

        Each is leased to the caller for its visibility time: acknowledge it when it is done. No
        messages is no error.

        Example:
            taken = await client.queue.dequeue("mail", 10, DequeueOptions(block_ms=5000))
            await client.queue.ack("mail", [message.seq for message in taken.messages])
        """
        options = options_of(options, DequeueOptions)
        wait_ms = block_ms_of(options.block_ms)
        namespace, name = self._place(queue, options.namespace)
        visibility_ms = lease_ms_of("visibility_ms", options.visibility_ms)
        body = wire.QueueDequeue(namespace, name, count_of(count), wait_ms, visibility_ms)
        caller = self._caller()
        result = await caller.call(
            body,
            partition=caller.partition_of(namespace, name),
            # One that waits is no write of a session: whatever its session did meanwhile would
            # have to be remembered. What a lost answer held comes back when its lease ends.
            is_write=not wait_ms,
            timeout_ms=timeout_ms,
            wait_ms=wait_ms,
        )
        return _messages(result)

    async def consume(
        self, queue: str, count: int = 10, options: DequeueOptions | None = None
    ) -> AsyncGenerator[Message, None]:
        """Messages as they come, for ever; up to `count` are taken at a time.

        Whoever iterates acknowledges each one. Messages that were taken but not yet seen when the
        iteration ends come back with the end of their lease.

        Example:
            await client.queue.enqueue("mail", b"to Ada")
            async for message in client.queue.consume("mail"):
                await client.queue.ack("mail", [message.seq])
                break
        """
        options = options_of(options, DequeueOptions)
        block_ms = options.block_ms or _FOLLOW_BLOCK_MS
        waiting = DequeueOptions(options.namespace, block_ms, options.visibility_ms)
        while True:
            for message in (await self.dequeue(queue, count, waiting)).messages:
                yield message

    async def ack(
        self,
        queue: str,
        seqs: Sequence[int],
        options: AckOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Removes leased messages: they are done. Others are left alone.

        Example:
            taken = await client.queue.dequeue("mail")
            await client.queue.ack("mail", [message.seq for message in taken.messages])
        """
        namespace, name = self._place(queue, options_of(options, AckOptions).namespace)
        await self._write(wire.QueueAck(namespace, name, seqs_of(seqs)), name, timeout_ms)

    async def nack(
        self,
        queue: str,
        seqs: Sequence[int],
        options: NackOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Gives leased messages back at once, or with `to_dlq` puts them to the dead letters.

        Example:
            taken = await client.queue.dequeue("mail")
            await client.queue.nack("mail", [message.seq for message in taken.messages])
        """
        options = options_of(options, NackOptions)
        namespace, name = self._place(queue, options.namespace)
        body = wire.QueueNack(namespace, name, seqs_of(seqs), options.to_dlq)
        await self._write(body, name, timeout_ms)

    async def touch(
        self,
        queue: str,
        seqs: Sequence[int],
        options: QueueTouchOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Keeps messages leased for longer, counted from now. Those not leased are left alone.

        Example:
            taken = await client.queue.dequeue("mail")
            leased = [message.seq for message in taken.messages]
            await client.queue.touch("mail", leased, QueueTouchOptions(extend_ms=60_000))
        """
        options = options_of(options, QueueTouchOptions)
        namespace, name = self._place(queue, options.namespace)
        extend_ms = lease_ms_of("extend_ms", options.extend_ms)
        body = wire.QueueTouch(namespace, name, seqs_of(seqs), extend_ms)
        await self._write(body, name, timeout_ms)

    async def peek(
        self,
        queue: str,
        count: int = 1,
        options: PeekOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> DequeueResult:
        """The messages that would come next, at most 100, without taking them.

        Example:
            print((await client.queue.peek("mail")).messages)
        """
        namespace, name = self._place(queue, options_of(options, PeekOptions).namespace)
        body = wire.QueuePeek(namespace, name, count_of(count))
        return _messages(await self._read(body, name, timeout_ms))

    async def dlq_list(
        self,
        queue: str,
        options: DlqListOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> DequeueResult:
        """The dead letters, the oldest first. A queue keeps the last 10,000.

        Example:
            for letter in (await client.queue.dlq_list("mail")).messages:
                print(letter.seq, letter.delivery_count)
        """
        options = options_of(options, DlqListOptions)
        namespace, name = self._place(queue, options.namespace)
        body = wire.QueueDlqList(namespace, name, limit_of(options.limit))
        return _messages(await self._read(body, name, timeout_ms))

    async def dlq_requeue(
        self,
        queue: str,
        seqs: Sequence[int],
        options: DlqRequeueOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Puts dead letters back into the queue, as if they had never been delivered.

        Example:
            letters = (await client.queue.dlq_list("mail")).messages
            await client.queue.dlq_requeue("mail", [letter.seq for letter in letters])
        """
        namespace, name = self._place(queue, options_of(options, DlqRequeueOptions).namespace)
        await self._write(wire.QueueDlqRequeue(namespace, name, seqs_of(seqs)), name, timeout_ms)

    async def dlq_purge(
        self, queue: str, *, namespace: str | None = None, timeout_ms: float | None = None
    ) -> int:
        """Throws the dead letters away; returns how many there were.

        Example:
            print(await client.queue.dlq_purge("mail"), "dead letters thrown away")
        """
        space, name = self._place(queue, namespace)
        result = await self._write(wire.QueueDlqPurge(space, name), name, timeout_ms)
        return cast(wire.Purged, result).removed

    async def purge(
        self, queue: str, *, namespace: str | None = None, timeout_ms: float | None = None
    ) -> int:
        """Throws all messages away but the dead letters, leased ones too; returns how many.

        Example:
            print(await client.queue.purge("mail"), "messages thrown away")
        """
        space, name = self._place(queue, namespace)
        result = await self._write(wire.QueuePurge(space, name), name, timeout_ms)
        return cast(wire.Purged, result).removed

    async def info(
        self, queue: str, *, namespace: str | None = None, timeout_ms: float | None = None
    ) -> QueueInfo:
        """How many messages of a queue are ready, delayed, leased and dead.

        Example:
            print((await client.queue.info("mail")).ready)
        """
        space, name = self._place(queue, namespace)
        result = await self._read(wire.QueueStats(space, name), name, timeout_ms)
        return _info(cast(wire.QueueSummary, result))

    async def list(
        self, options: QueueListOptions | None = None, *, timeout_ms: float | None = None
    ) -> QueueListResult:
        """The queues of a namespace with their numbers of messages, in the order of names.

        Example:
            for queue in (await client.queue.list()).queues:
                print(queue.name, queue.ready, queue.leased)
        """
        options = options_of(options, QueueListOptions)
        namespace = self._namespace(options.namespace)
        prefix = encode_prefix(namespace, options.prefix, "prefix")
        body = wire.QueueList(namespace, prefix, limit_of(options.limit), options.cursor or b"")
        result = await self._caller().call(body, timeout_ms=timeout_ms)
        listing = cast(wire.QueueListing, result)
        return QueueListResult([_info(queue) for queue in listing.queues], listing.cursor)

    async def configure(
        self,
        queue: str,
        options: QueueConfigureOptions,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Changes the settings of a queue; it need not exist yet.

        Example:
            await client.queue.configure("mail", QueueConfigureOptions(max_attempts=10))
        """
        namespace, name = self._place(queue, options.namespace)
        delivery = None if options.delivery is None else int(options.delivery)
        body = wire.QueueConfigure(
            namespace,
            name,
            delivery,
            lease_ms_of("visibility_ms", options.visibility_ms),
            within_if_given("max_attempts", options.max_attempts, 1, QUEUE_ATTEMPTS_MAX),
        )
        await self._write(body, name, timeout_ms)

    async def _write(self, body: Body, name: bytes, timeout_ms: float | None) -> Result:
        caller = self._caller()
        namespace = cast("wire.QueuePurge", body).namespace
        partition = caller.partition_of(namespace, name)
        return await caller.call(body, partition=partition, is_write=True, timeout_ms=timeout_ms)

    async def _read(self, body: Body, name: bytes, timeout_ms: float | None) -> Result:
        caller = self._caller()
        namespace = cast("wire.QueuePurge", body).namespace
        partition = caller.partition_of(namespace, name)
        return await caller.call(body, partition=partition, timeout_ms=timeout_ms)

    def _place(self, queue: str, override: str | None) -> tuple[bytes, bytes]:
        namespace = self._namespace(override)
        return namespace, encode_key(namespace, queue, "queue name")

    def _namespace(self, override: str | None) -> bytes:
        return self._default_namespace if override is None else encode_namespace(override)


def _messages(result: Result) -> DequeueResult:
    found = cast(wire.QueueMessages, result).messages
    return DequeueResult([Message(*message) for message in found])


def _info(queue: wire.QueueSummary) -> QueueInfo:
    name, ready, delayed, leased, dead, delivery = queue
    return QueueInfo(decode_key(name), ready, delayed, leased, dead, Delivery(delivery))
