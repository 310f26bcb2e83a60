"""Transactions, queues, streams and workers against real nodes."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from cluster.testing import EmbeddedCluster
from flo import (
    ConflictError,
    CrossShardError,
    Delivery,
    DequeueOptions,
    EnqueueOptions,
    FloClient,
    GroupMode,
    NackOptions,
    NoSuchTransactionError,
    PutOptions,
    QueueConfigureOptions,
    QueueItem,
    StreamAppendOptions,
    StreamContext,
    StreamCreateOptions,
    StreamGroupCreateOptions,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamID,
    StreamReadOptions,
    StreamRecord,
    StreamTrimOptions,
    TransactionTooLargeError,
    sync,
)

# Far more than it takes: only for what never comes.
PATIENCE_S = 30
WAIT = DequeueOptions(block_ms=PATIENCE_S * 1000)
READ_WAIT = StreamGroupReadOptions(block_ms=PATIENCE_S * 1000)


@pytest.fixture(scope="module")
def nodes() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster() as nodes:
        yield nodes


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid4().hex}"


async def values_of(client: FloClient, *keys: str) -> list[bytes | None]:
    found = [await client.kv.get(key) for key in keys]
    return [None if each is None else each.value for each in found]


class TestTransactions:
    async def test_commit(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            await client.kv.put("{a}old", b"x")
            async with client.kv.transaction("{a}") as txn:
                await txn.put("{a}1", b"one")
                await txn.incr("{a}n", 4)
                await txn.incr("{a}n")
                await txn.delete("{a}old")
                found = await txn.get("{a}1")
                assert found is not None
                assert (found.value, found.version) == (b"one", 0)
                assert not await txn.exists("{a}old")
                assert await values_of(client, "{a}1", "{a}old") == [None, b"x"]
            number = (5).to_bytes(8, "little")
            assert await values_of(client, "{a}1", "{a}n", "{a}old") == [b"one", number, None]

    async def test_rollback(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:

            async def fail() -> None:
                async with client.kv.transaction("{a}") as txn:
                    await txn.put("{a}1", b"one")
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await fail()
            async with await client.kv.begin("{a}") as txn:
                await txn.put("{a}1", b"one")
            assert await values_of(client, "{a}1") == [None]
            with pytest.raises(NoSuchTransactionError):
                await client.kv.resume(txn.id).get("{a}1")

    async def test_conflict(self, nodes: EmbeddedCluster, namespace: str) -> None:
        """A condition that held when it was given is tested again at the commit."""
        async with nodes.client(namespace) as client:
            stored = await client.kv.put("{a}1", b"one")
            txn = await client.kv.begin("{a}")
            await txn.put("{a}2", b"two")
            await txn.put("{a}1", b"mine", PutOptions(cas_version=stored.version))
            with pytest.raises(ConflictError):
                await txn.put("{a}1", b"no", PutOptions(cas_version=stored.version + 1))
            await client.kv.put("{a}1", b"other")
            with pytest.raises(ConflictError):
                await txn.commit()
            assert await values_of(client, "{a}1", "{a}2") == [b"other", None]

    async def test_limits(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            async with client.kv.transaction("{a}") as txn:
                elsewhere = [txn.get(f"{{{number}}}b") for number in range(40)]
                found = await asyncio.gather(*elsewhere, return_exceptions=True)
                assert {type(each) for each in found} == {type(None), CrossShardError}
                for number in range(256):
                    await txn.put(f"{{a}}{number}", b"")
                with pytest.raises(TransactionTooLargeError):
                    await txn.put("{a}one-more", b"")
            assert await values_of(client, "{a}255", "{a}one-more") == [b"", None]

    async def test_blocking(self, nodes: EmbeddedCluster, namespace: str) -> None:
        def use() -> bytes | None:
            with sync.FloClient(nodes.endpoints, namespace=namespace) as client:
                with client.kv.transaction("{a}") as txn:
                    txn.put("{a}1", b"one")
                found = client.kv.get("{a}1")
                return None if found is None else found.value

        assert await asyncio.to_thread(use) == b"one"


class TestQueues:
    async def test_a_waiting_dequeue_is_woken(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            waiting = [asyncio.create_task(client.queue.dequeue("q", 1, WAIT)) for _ in range(3)]
            sequences = await client.queue.enqueue_batch("q", [b"a", b"b"])
            sequences.append(await client.queue.enqueue("q", b"c"))
            taken = [message for each in waiting for message in (await each).messages]
            assert sorted(message.seq for message in taken) == sorted(sequences)
            assert sorted(message.payload for message in taken) == [b"a", b"b", b"c"]

    async def test_a_lease_that_ends_brings_the_message_back(
        self, nodes: EmbeddedCluster, namespace: str
    ) -> None:
        async with nodes.client(namespace) as client:
            await client.queue.enqueue("q", b"a")
            short = DequeueOptions(visibility_ms=50)
            (first,) = (await client.queue.dequeue("q", 1, short)).messages
            (again,) = (await client.queue.dequeue("q", 1, WAIT)).messages
            assert (again.seq, first.delivery_count, again.delivery_count) == (first.seq, 1, 2)
            await client.queue.ack("q", [again.seq])
            info = await client.queue.info("q")
            assert (info.ready, info.leased, info.dead) == (0, 0, 0)

    async def test_order_delay_and_repetition(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            items = [
                QueueItem(b"late", priority=9),
                QueueItem(b"soon", priority=1),
                QueueItem(b"hidden", delay_ms=100),
            ]
            await client.queue.enqueue_batch("q", items)
            key = EnqueueOptions(priority=5, dedup_key="same")
            first = await client.queue.enqueue("q", b"once", key)
            assert await client.queue.enqueue("q", b"twice", key) == first
            seen: list[bytes] = []
            async for message in client.queue.consume("q", 2):
                await client.queue.ack("q", [message.seq])
                seen.append(message.payload)
                if len(seen) == 4:
                    break
            assert [each for each in seen if each != b"hidden"] == [b"soon", b"once", b"late"]

    async def test_dead_letters(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            queue = client.queue
            await queue.configure("q", QueueConfigureOptions(max_attempts=2))
            sequences = await queue.enqueue_batch("q", [b"a", b"b", b"c"])
            for _ in range(2):
                (message,) = (await queue.dequeue("q")).messages
                await queue.nack("q", [message.seq])
            (message,) = (await queue.dequeue("q")).messages
            await queue.nack("q", [message.seq], NackOptions(to_dlq=True))
            letters = (await queue.dlq_list("q")).messages
            assert [each.payload for each in letters] == [b"a", b"b"]
            await queue.dlq_requeue("q", sequences[:1])
            assert await queue.dlq_purge("q") == 1
            (message,) = (await queue.dequeue("q", 1)).messages
            assert (message.payload, message.delivery_count) == (b"a", 1)
            (listed,) = (await queue.list()).queues
            assert (listed.name, listed.ready, listed.leased, listed.dead) == ("q", 1, 1, 0)
            assert await queue.purge("q") == 2

    async def test_at_most_once(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            await client.queue.configure("q", QueueConfigureOptions(delivery=Delivery.CONSUME))
            await client.queue.enqueue("q", b"a")
            (message,) = (await client.queue.dequeue("q")).messages
            assert message.payload == b"a"
            assert (await client.queue.info("q")).leased == 0

    async def test_blocking(self, nodes: EmbeddedCluster, namespace: str) -> None:
        def use() -> list[bytes]:
            with sync.FloClient(nodes.endpoints, namespace=namespace) as client:
                client.queue.enqueue_batch("q", [b"a", b"b"])
                client.stream.append("s", b"c")
                messages, records = client.queue.consume("q"), client.stream.follow("s")
                return [
                    next(messages).payload,
                    next(messages).payload,
                    next(records).payload,
                ]

        assert await asyncio.to_thread(use) == [b"a", b"b", b"c"]


class TestStreams:
    async def test_follow_through_a_node_that_stops(
        self, nodes: EmbeddedCluster, namespace: str
    ) -> None:
        """Nothing is left out, and nothing comes twice."""
        async with nodes.client(namespace, timeout_ms=PATIENCE_S * 1000) as client:
            seen: list[StreamRecord] = []

            async def follow() -> None:
                async for record in client.stream.follow("s", StreamReadOptions(count=7)):
                    seen.append(record)
                    if len(seen) == 60:
                        return

            following = asyncio.create_task(follow())
            for number in range(20):
                await client.stream.append("s", b"%d" % number)
            try:
                for node in (1, 2):
                    await asyncio.to_thread(nodes.stop_node, node)
                    for number in range(20 * node, 20 * node + 20):
                        await client.stream.append("s", b"%d" % number)
                    await asyncio.to_thread(nodes.start_node, node)
                async with asyncio.timeout(PATIENCE_S):
                    await following
            finally:
                following.cancel()
                for node in (1, 2):
                    await asyncio.to_thread(nodes.start_node, node)
                await asyncio.to_thread(nodes.wait_ready)
            assert [int(record.payload) for record in seen] == list(range(60))
            ids = [record.id for record in seen]
            assert ids == sorted(set(ids))

    async def test_partitions_and_trimming(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            stream = client.stream
            await stream.create("s", StreamCreateOptions(partitions=3))
            for number in range(9):
                options = StreamAppendOptions(None, {"n": str(number)}, number % 3)
                await stream.append("s", b"%d" % number, options)
            everything = (await stream.read("s")).records
            assert [record.payload for record in everything] == [b"%d" % n for n in range(9)]
            assert everything[4].headers == {"n": "4"}
            second = (await stream.read("s", StreamReadOptions(partition=1))).records
            assert [record.payload for record in second] == [b"1", b"4", b"7"]
            trim = StreamTrimOptions(before=everything[3].id, dry_run=True)
            assert (await stream.trim("s", trim)).removed == 4
            trim.dry_run = False
            assert (await stream.trim("s", trim)).removed == 4
            info = await stream.info("s")
            assert (info.count, info.partition_count) == (5, 3)
            assert (info.first_id, info.last_id) == (everything[4].id, everything[8].id)
            (listed,) = (await stream.list()).streams
            assert (listed.name, listed.count) == ("s", 5)
            with pytest.raises(ConflictError, match="use force"):
                await stream.delete("s")
            assert await stream.delete("s", force=True)
            assert not await stream.delete("s")
            assert not (await stream.read("s")).records

    async def test_a_group_with_two_consumers(self, nodes: EmbeddedCluster, namespace: str) -> None:
        async with nodes.client(namespace) as client:
            stream = client.stream
            ids = await stream.append_batch("s", [b"%d" % number for number in range(4)])
            two = StreamGroupReadOptions(count=2)
            mine = (await stream.group_read("s", "g", "me", two)).records
            yours = (await stream.group_read("s", "g", "you", two)).records
            assert [record.id for record in mine + yours] == ids
            await stream.group_ack("s", "g", [ids[0]])
            pending = await stream.group_pending("s", "g")
            assert [(entry.id, entry.consumer) for entry in pending] == [
                (ids[1], "me"),
                (ids[2], "you"),
                (ids[3], "you"),
            ]
            await stream.group_nack("s", "g", [ids[2]], StreamGroupNackOptions(consumer="you"))
            (again,) = (await stream.group_read("s", "g", "me", READ_WAIT)).records
            assert again.id == ids[2]
            claimed = await stream.group_claim("s", "g", "me", 0)
            assert [record.id for record in claimed.records] == ids[1:3]
            assert claimed.done
            claimed = await stream.group_claim("s", "g", "me", 1, StreamID(), 10)
            assert claimed.records[-1].id == ids[3]
            info = await stream.group_info("s", "g")
            assert (info.mode, info.pending, info.lag) == (GroupMode.SHARED, 3, 0)
            assert sorted(member.name for member in info.consumers) == ["me", "you"]
            assert await stream.group_delete("s", "g")

    async def test_what_is_not_acknowledged_in_time_comes_again(
        self, nodes: EmbeddedCluster, namespace: str
    ) -> None:
        async with nodes.client(namespace) as client:
            stream = client.stream
            options = StreamGroupCreateOptions(ack_timeout_ms=50, max_deliver=2)
            await stream.append("s", b"a")
            await stream.group_create("s", "g", options)
            for _ in range(2):
                (record,) = (await stream.group_read("s", "g", "me", READ_WAIT)).records
                assert record.payload == b"a"
            dead = StreamReadOptions(block_ms=PATIENCE_S * 1000)
            (letter,) = (await stream.read("s.dlq", dead)).records
            assert letter.payload == b"a"


class TestWorkers:
    async def test_two_share_a_stream_through_a_node_that_stops(
        self, nodes: EmbeddedCluster, namespace: str
    ) -> None:
        """Each record is handled, those whose handler failed a second time."""
        handled: dict[bytes, int] = {}
        complete = asyncio.Event()
        count = 60

        async def handle(ctx: StreamContext) -> None:
            handled[ctx.payload] = handled.get(ctx.payload, 0) + 1
            if len(handled) == count:
                complete.set()
            if ctx.payload.endswith(b"7") and handled[ctx.payload] == 1:
                raise ValueError("once more")

        async with (
            nodes.client(namespace, timeout_ms=PATIENCE_S * 1000) as client,
            asyncio.TaskGroup() as tasks,
            client.new_stream_worker(stream="s", group="g", handler=handle) as first,
            client.new_stream_worker(
                stream="s", group="g", handler=handle, concurrency=3
            ) as second,
        ):
            for worker in (first, second):
                tasks.create_task(worker.start())
            await client.stream.append_batch("s", [b"%d" % n for n in range(count // 2)])
            await asyncio.to_thread(nodes.stop_node, 3)
            try:
                more = [b"%d" % n for n in range(count // 2, count)]
                await client.stream.append_batch("s", more)
            finally:
                await asyncio.to_thread(nodes.start_node, 3)
            async with asyncio.timeout(PATIENCE_S):
                await complete.wait()
                while await client.stream.group_pending("s", "g"):
                    continue
        assert len(handled) == count
        assert all(times >= 2 for payload, times in handled.items() if payload.endswith(b"7"))

    async def test_one_that_begins_again_takes_up_what_it_had(
        self, nodes: EmbeddedCluster, namespace: str
    ) -> None:
        async with nodes.client(namespace) as client:
            ids = await client.stream.append_batch("s", [b"a", b"b"])
            await client.stream.group_read("s", "g", "me", READ_WAIT)
            seen: list[StreamID] = []

            async def handle(ctx: StreamContext) -> None:
                seen.append(ctx.stream_id)
                if len(seen) == 2:
                    worker.stop()

            worker = client.new_stream_worker(stream="s", group="g", handler=handle, consumer="me")
            async with asyncio.timeout(PATIENCE_S):
                await worker.start()
            assert sorted(seen) == ids
            assert not await client.stream.group_pending("s", "g")
            assert not (await client.stream.group_info("s", "g")).consumers
