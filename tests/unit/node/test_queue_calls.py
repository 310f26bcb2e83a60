"""Queues, from a request to its answer: at the leader and through another node."""

from __future__ import annotations

from typing import cast

import pytest

from cluster.config import Limits
from cluster.state.queue_reads import PAGE_BYTES_MAX
from cluster.storage.wal_config import WalConfig
from flo.wire.answers import encode_answer
from flo.wire.limits import V2_ANSWER_BYTES_MAX
from flo.wire.messages import CallContext, Done, OpenSession, SessionOpened
from flo.wire.queue_messages import (
    DELIVERY_CONSUME,
    Enqueued,
    EnqueuedBatch,
    Purged,
    QueueAck,
    QueueBody,
    QueueConfigure,
    QueueDequeue,
    QueueDlqList,
    QueueDlqPurge,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueList,
    QueueListing,
    QueueMessage,
    QueueMessages,
    QueueNack,
    QueuePeek,
    QueuePurge,
    QueueStats,
    QueueSummary,
    QueueTouch,
)
from flo.wire.registry import OP_OF_REQUEST
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.node.queue_kit import NS, Q, both_nodes, enqueue, queue_cluster, start, taken, wait
from tests.unit.node.small_cluster import SmallCluster

LEASE_S = 30.0
FRAME_BYTES_MAX = 262_144


@pytest.fixture
def cluster() -> SmallCluster:
    return queue_cluster()


def stats(cluster: SmallCluster, queue: bytes = Q) -> tuple[int, int, int, int]:
    answer = cluster.run(QueueStats(NS, queue))
    assert isinstance(answer, QueueSummary)
    assert answer.name == queue
    return answer.ready, answer.delayed, answer.leased, answer.dead


@both_nodes
def test_the_life_of_messages(cluster: SmallCluster, node: int) -> None:
    now_ms = cluster.clock.wall_ms()
    assert cluster.run(QueueEnqueue(NS, Q, b"a", 7), node=node) == Enqueued(1)
    items = (QueueItem(b"b"), QueueItem(b"c", 1, 0, b"key"), QueueItem(b"d", 1, 0, b"key"))
    batch = cluster.run(QueueEnqueueBatch(NS, Q, items), node=node)
    assert batch == EnqueuedBatch((2, 3, 3))
    expected = (
        QueueMessage(2, b"b", now_ms, 0, 0),
        QueueMessage(3, b"c", now_ms, 0, 1),
        QueueMessage(1, b"a", now_ms, 0, 7),
    )
    assert cluster.run(QueuePeek(NS, Q, 10), node=node) == QueueMessages(expected)
    answer = cluster.run(QueueDequeue(NS, Q, 10), node=node)
    leased = tuple(message._replace(delivery_count=1) for message in expected)
    assert answer == QueueMessages(leased)
    assert cluster.run(QueueDequeue(NS, Q), node=node) == QueueMessages(())
    assert cluster.run(QueueTouch(NS, Q, (2,)), node=node) == Done()
    assert cluster.run(QueueAck(NS, Q, (2,)), node=node) == Done()
    assert cluster.run(QueueNack(NS, Q, (3,)), node=node) == Done()
    assert cluster.run(QueueNack(NS, Q, (1,), to_dead_letter=True), node=node) == Done()
    assert stats(cluster) == (1, 0, 0, 1)
    assert taken(cluster.run(QueueDlqList(NS, Q), node=node)) == [b"a"]
    assert cluster.run(QueueDlqRequeue(NS, Q, (1,)), node=node) == Done()
    assert taken(cluster.run(QueuePeek(NS, Q, 10), node=node)) == [b"c", b"a"]
    assert cluster.run(QueuePurge(NS, Q), node=node) == Purged(2)
    assert cluster.run(QueueDlqPurge(NS, Q), node=node) == Purged(0)
    assert stats(cluster) == (0, 0, 0, 0)


@both_nodes
def test_a_queue_that_consumes(cluster: SmallCluster, node: int) -> None:
    assert cluster.run(QueueConfigure(NS, Q, DELIVERY_CONSUME), node=node) == Done()
    enqueue(cluster, b"a", b"b")
    assert taken(cluster.run(QueueDequeue(NS, Q, 5), node=node)) == [b"a", b"b"]
    assert stats(cluster) == (0, 0, 0, 0)
    summary = cluster.run(QueueStats(NS, Q))
    assert isinstance(summary, QueueSummary)
    assert summary.delivery == DELIVERY_CONSUME


@pytest.mark.parametrize(
    "body",
    [
        QueueEnqueue(NS, b"_sys:q", b""),
        QueueDequeue(NS, b"_flo:q", wait_ms=1000),
        QueueAck(NS, b"_action:q", (1,)),
        QueuePeek(NS, b"_worker:q"),
        QueueStats(NS, b"_internal:q"),
        QueueConfigure(NS, b"_sys:q"),
    ],
)
def test_reserved_names_are_not_served(cluster: SmallCluster, body: QueueBody) -> None:
    answer = cluster.run(body)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.ran) == (Reason.RESERVED_KEY, Ran.NO)


class TestRetries:
    def context(self, cluster: SmallCluster) -> CallContext:
        opened = cluster.run(OpenSession(partition_of(NS, Q, 4)))
        assert isinstance(opened, SessionOpened)
        return CallContext(opened.session, 1, 1)

    def test_a_dequeue_that_is_sent_again_takes_nothing_more(self, cluster: SmallCluster) -> None:
        enqueue(cluster, b"a", b"b")
        context = self.context(cluster)
        first = cluster.run(QueueDequeue(NS, Q), context=context)
        assert taken(first) == [b"a"]
        assert cluster.run(QueueDequeue(NS, Q), node=2, context=context) == first
        assert stats(cluster) == (1, 0, 1, 0)

    def test_a_sequence_of_another_command_is_refused(self, cluster: SmallCluster) -> None:
        context = self.context(cluster)
        cluster.run(QueueEnqueueBatch(NS, Q, (QueueItem(b"a"),)), context=context)
        answer = cluster.run(QueueDequeue(NS, Q), context=context)
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.CONFLICTING_FIELDS
        assert stats(cluster) == (1, 0, 0, 0)


class TestTime:
    """Looks and housekeeping by the leader's clock, though no command carries it."""

    def test_a_look_sees_what_is_due(self, cluster: SmallCluster) -> None:
        cluster.run(QueueEnqueue(NS, Q, b"late", delay_ms=5000))
        enqueue(cluster, b"leased")
        cluster.run(QueueDequeue(NS, Q, visibility_ms=4000))
        cluster.clock.advance(3.999)
        assert stats(cluster) == (0, 1, 1, 0)
        cluster.clock.advance(0.001)
        assert taken(cluster.run(QueuePeek(NS, Q, 5))) == [b"leased"]
        cluster.clock.advance(1.0)
        assert stats(cluster) == (2, 0, 0, 0)
        listing = cluster.run(QueueList(NS))
        assert isinstance(listing, QueueListing)
        assert listing.queues == (QueueSummary(Q, 2, 0, 0, 0),)

    def test_a_dead_letter_is_seen_in_time(self, cluster: SmallCluster) -> None:
        cluster.run(QueueConfigure(NS, Q, max_attempts=1))
        enqueue(cluster, b"m")
        cluster.run(QueueDequeue(NS, Q))
        cluster.clock.advance(LEASE_S)
        assert taken(cluster.run(QueueDlqList(NS, Q))) == [b"m"]

    def test_a_stale_look_goes_by_what_is_applied(self, cluster: SmallCluster) -> None:
        cluster.run(QueueEnqueue(NS, Q, b"late", delay_ms=10))
        cluster.clock.advance(1.0)
        stale = CallContext(stale=True)
        assert taken(cluster.run(QueuePeek(NS, Q), context=stale)) == []

    def test_looks_do_not_wait_for_a_long_backlog(self, cluster: SmallCluster) -> None:
        """One entry runs a bounded number of timers; a look shows what it left, the next entry
        follows at once."""
        cluster.run(QueueEnqueueBatch(NS, Q, tuple(QueueItem(b"", 0, 10) for _ in range(1000))))
        cluster.clock.advance(0.5)
        ready, delayed, _, _ = stats(cluster)
        assert ready + delayed == 1000
        assert 0 < ready < 1000
        assert stats(cluster) == (1000, 0, 0, 0)

    def test_what_is_due_is_done_without_any_request(self, cluster: SmallCluster) -> None:
        cluster.run(QueueEnqueueBatch(NS, Q, tuple(QueueItem(b"", 0, 10) for _ in range(600))))
        cluster.tick(0.5)
        stale = CallContext(stale=True)
        assert taken(cluster.run(QueuePeek(NS, Q), context=stale)) == []
        cluster.tick(0.6)
        stale = CallContext(stale=True)
        answer = cluster.run(QueueStats(NS, Q), context=stale)
        assert isinstance(answer, QueueSummary)
        assert (answer.ready, answer.delayed) == (600, 0)


class TestSizes:
    @pytest.fixture
    def cluster(self) -> SmallCluster:
        """With a log that holds what a frame holds."""
        return SmallCluster(wal_config=WalConfig(segment_bytes=8 << 20, batch_bytes_max=4 << 20))

    def test_an_answer_fits_the_clients_frame(self, cluster: SmallCluster) -> None:
        enqueue(cluster, *(bytes(100_000) for _ in range(5)))
        op = OP_OF_REQUEST[QueueDequeue]
        answer = cluster.run(QueueDequeue(NS, Q, 5), revision=2)
        assert len(taken(answer)) == 2
        assert len(encode_answer(2, 1, op, answer)) <= FRAME_BYTES_MAX
        assert len(taken(cluster.run(QueuePeek(NS, Q, 5), revision=2))) == 2
        assert len(taken(cluster.run(QueueDequeue(NS, Q, 5)))) == 3

    def test_the_largest_that_fits_exactly(self, cluster: SmallCluster) -> None:
        enqueue(cluster, bytes(V2_ANSWER_BYTES_MAX - 29))
        answer = cluster.run(QueueDequeue(NS, Q, 5), revision=2)
        frame = encode_answer(2, 1, OP_OF_REQUEST[QueueDequeue], answer)
        assert len(frame) == FRAME_BYTES_MAX

    @pytest.mark.parametrize("wait_ms", [0, 1000])
    def test_a_message_that_no_frame_holds_stays_for_another_client(
        self, cluster: SmallCluster, wait_ms: int
    ) -> None:
        enqueue(cluster, bytes(V2_ANSWER_BYTES_MAX - 28))
        bodies: list[QueueBody] = [QueueDequeue(NS, Q, 1, wait_ms), QueuePeek(NS, Q)]
        for body in bodies:
            answer = cluster.run(body, revision=2)
            assert isinstance(answer, Refusal)
            assert (answer.reason, answer.ran) == (Reason.FIELD_TOO_LONG, Ran.NO)
        assert stats(cluster) == (1, 0, 0, 0)
        assert len(taken(cluster.run(QueueDequeue(NS, Q, 1)))) == 1

    def test_v1_answers_are_bounded_too(self, cluster: SmallCluster) -> None:
        enqueue(cluster, *(bytes(PAGE_BYTES_MAX // 2) for _ in range(3)))
        assert len(taken(cluster.run(QueueDequeue(NS, Q, 5)))) == 1
        enqueue(cluster, bytes(PAGE_BYTES_MAX + 100))
        assert len(taken(cluster.run(QueueDequeue(NS, Q, 1)))) == 1

    def test_a_batch_counts_with_all_it_carries(self) -> None:
        cluster = SmallCluster(limits=Limits(calls_bytes_max=1000))
        items = tuple(QueueItem(bytes(100)) for _ in range(20))
        answer = cluster.run(QueueEnqueueBatch(NS, Q, items))
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.SHARD_BUSY

    def test_one_that_cannot_take_it_lets_the_next_try(self, cluster: SmallCluster) -> None:
        refused = cluster.start(QueueDequeue(NS, Q, 1, 1000), revision=2)
        cluster.settle()
        answers = wait(cluster)
        enqueue(cluster, bytes(V2_ANSWER_BYTES_MAX))
        assert isinstance(refused.answer, Refusal)
        assert len(taken(answers.answer)) == 1


class TestListing:
    NAMES = tuple(b"queue-%02d" % number for number in range(20))

    @pytest.fixture
    def filled(self) -> SmallCluster:
        cluster = SmallCluster()
        assert len({partition_of(NS, name, 4) for name in self.NAMES}) == 4
        for name in reversed(self.NAMES):
            cluster.run(QueueEnqueue(NS, name, b"m"))
        cluster.run(QueueEnqueue(NS, b"other", b"m"))
        cluster.run(QueueEnqueue(b"elsewhere", b"queue-00", b"m"))
        return cluster

    def listing(self, cluster: SmallCluster, body: QueueList, node: int = 1) -> QueueListing:
        return cast(QueueListing, cluster.run(body, node=node))

    def test_it_merges_all_partitions_in_byte_order(self, filled: SmallCluster) -> None:
        listing = self.listing(filled, QueueList(NS, b"queue"))
        assert listing.queues == tuple(QueueSummary(name, 1, 0, 0, 0) for name in self.NAMES)
        assert listing.cursor is None

    def test_pages_continue_at_every_node(self, filled: SmallCluster) -> None:
        found: list[bytes] = []
        cursor: bytes | None = b""
        node = 1
        while cursor is not None:
            page = self.listing(filled, QueueList(NS, b"queue", 3, cursor), node)
            assert 0 < len(page.queues) <= 3
            found += [each.name for each in page.queues]
            cursor = page.cursor
            node = 3 - node
        assert tuple(found) == self.NAMES

    def test_a_page_is_bounded_in_bytes(self) -> None:
        cluster = SmallCluster(limits=Limits(scan_page_bytes_max=5000))
        for name in self.NAMES:
            cluster.run(QueueEnqueue(NS, name * 100, b"m"))
        page = self.listing(cluster, QueueList(NS))
        assert 5 <= len(page.queues) < 10
        assert page.cursor is not None

    def test_a_cursor_of_something_else_is_refused(self, filled: SmallCluster) -> None:
        answer = filled.run(QueueList(NS, cursor=b"?"))
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.MALFORMED

    def test_a_partition_without_a_leader_refuses_the_whole(self, filled: SmallCluster) -> None:
        filled.nodes[2].partitions[1].broken = "it"
        answers = start(filled, QueueList(NS))
        filled.tick(6.0)
        assert isinstance(answers.answer, Refusal)
        assert answers.answer.reason is Reason.LEADER_UNKNOWN
