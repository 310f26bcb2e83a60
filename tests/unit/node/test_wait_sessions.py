"""Dequeues that wait have a session each: a message that was taken for one is given to it, though
the answer is lost or it stops in that moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.forwarding import FORWARD_REPLY
from cluster.state.sessions import SESSION_IDLE_MS
from cluster.state.store import Table
from flo.wire.queue_messages import (
    DELIVERY_CONSUME,
    QueueConfigure,
    QueueDequeue,
    QueueEnqueue,
)
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Refusal
from tests.unit.node.kit import TIMEOUT_MS
from tests.unit.node.queue_kit import (
    NS,
    Q,
    both_nodes,
    enqueue,
    leader,
    queue_cluster,
    start,
    stats,
    taken,
    wait,
)

if TYPE_CHECKING:
    from cluster.raft.types import NodeId
    from tests.unit.node.small_cluster import Answers, SmallCluster


@pytest.fixture
def cluster() -> SmallCluster:
    return queue_cluster()


class TestLostAnswers:
    """A message that was taken for a client that is there is given to it."""

    @pytest.fixture
    def consuming(self, cluster: SmallCluster) -> SmallCluster:
        cluster.run(QueueConfigure(NS, Q, DELIVERY_CONSUME))
        return cluster

    def until_the_answer_travels(self, cluster: SmallCluster) -> None:
        while not any(message[0] == FORWARD_REPLY for _, _, message in cluster.on_wire):
            assert cluster.step()

    def test_one_that_stops_while_its_answer_travels_gets_it(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        consuming.start(QueueEnqueue(NS, Q, b"m"))
        self.until_the_answer_travels(consuming)
        assert answers.call is not None
        answers.call.stop_waiting()
        consuming.settle()
        assert taken(answers.answer) == [b"m"]

    @pytest.mark.parametrize("node", [1, 2])
    def test_one_that_stops_while_it_is_tried_gets_it(
        self, consuming: SmallCluster, node: int
    ) -> None:
        answers = wait(consuming, node)
        partition = leader(consuming)
        consuming.start(QueueEnqueue(NS, Q, b"m"))
        while len(partition.waiting):
            consuming.nodes[1].callbacks.popleft()()
        assert answers.call is not None
        answers.call.stop_waiting()
        consuming.settle()
        assert taken(answers.answer) == [b"m"]

    def test_one_that_stops_and_hears_nothing_ends_in_time(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        assert answers.call is not None
        answers.call.stop_waiting()
        consuming.on_wire.clear()
        consuming.tick(TIMEOUT_MS / 1000 + 0.1)
        assert isinstance(answers.answer, Refusal)
        assert answers.answer.ran is Ran.UNKNOWN

    def test_a_lost_answer_is_asked_for_again(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        consuming.start(QueueEnqueue(NS, Q, b"m"))
        self.until_the_answer_travels(consuming)
        self.lose_link(consuming)
        consuming.tick()
        consuming.tick()
        assert taken(answers.answer) == [b"m"]

    def test_also_by_one_that_stops_meanwhile(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        consuming.start(QueueEnqueue(NS, Q, b"m"))
        self.until_the_answer_travels(consuming)
        self.lose_link(consuming)
        assert answers.call is not None
        answers.call.stop_waiting()
        consuming.settle()
        assert not answers.given
        consuming.tick()
        assert taken(answers.answer) == [b"m"]

    def test_also_when_others_wait_by_then(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        consuming.start(QueueEnqueue(NS, Q, b"m"))
        self.until_the_answer_travels(consuming)
        self.lose_link(consuming)
        other = wait(consuming, 1)
        consuming.tick()
        consuming.tick()
        assert taken(answers.answer) == [b"m"]
        assert not other.given

    def test_one_that_waits_when_the_link_is_lost_goes_on(self, consuming: SmallCluster) -> None:
        answers = wait(consuming, 2)
        self.lose_link(consuming)
        consuming.tick()
        consuming.tick()
        assert not answers.given
        enqueue(consuming, b"m", b"other")
        assert taken(answers.answer) == [b"m"]
        assert stats(consuming) == (1, 0, 0, 0)

    def lose_link(self, cluster: SmallCluster) -> None:
        cluster.on_wire.clear()
        for node, other in ((1, 2), (2, 1)):
            cluster.nodes[node].forwarding.peer_lost(other)


class TestSessionsOfWaits:
    """Each waiting dequeue has a session for itself, and leaves it to the next."""

    def count(self, cluster: SmallCluster, table: Table) -> int:
        with leader(cluster).replica.view() as (txn, _):
            return sum(1 for _ in txn.scan(table, b""))

    @both_nodes
    def test_one_after_the_other_has_the_same(self, cluster: SmallCluster, node: int) -> None:
        enqueue(cluster, b"0", b"1", b"2")
        before = self.count(cluster, Table.SESSIONS)
        for payload in (b"0", b"1", b"2"):
            answers = start(cluster, QueueDequeue(NS, Q, 1, 1000), node)
            assert taken(answers.answer) == [payload]
        assert self.count(cluster, Table.SESSIONS) == before + 1

    @both_nodes
    def test_a_long_wait_holds_up_no_other(self, cluster: SmallCluster, node: int) -> None:
        """Or all results that came after it would have to be kept."""
        other = b"other"
        while partition_of(NS, other, 4) != partition_of(NS, Q, 4):
            other += b"."
        waiting = wait(cluster, node)
        for _ in range(5):
            cluster.run(QueueEnqueue(NS, other, b"m"), node=node)
            start(cluster, QueueDequeue(NS, other, 1, 1000), node)
        assert self.count(cluster, Table.RESULTS) <= self.count(cluster, Table.SESSIONS)
        assert not waiting.given

    @both_nodes
    def test_one_that_expired_is_replaced(self, cluster: SmallCluster, node: int) -> None:
        enqueue(cluster, b"0", b"1")
        start(cluster, QueueDequeue(NS, Q, 1, 1000, 3_600_000), node)
        cluster.tick(SESSION_IDLE_MS / 1000 + 1)
        answers = start(cluster, QueueDequeue(NS, Q, 1, 1000), node)
        assert taken(answers.answer) == [b"1"]

    def idle_consumers(self, cluster: SmallCluster, node: int) -> list[Answers]:
        """Two who wait again and again, for much longer than a session lives. As there is always
        one who waits already, no try of theirs reaches their sessions. The first in line first."""
        waiting = [wait(cluster, node)]
        cluster.tick(30.0)
        waiting.append(wait(cluster, node))
        for _ in range(60):
            cluster.tick(30.1)
            assert waiting.pop(0).given
            waiting.append(wait(cluster, node))
        return waiting

    @both_nodes
    def test_that_of_one_who_only_stands_in_line_does_not_expire(
        self, cluster: SmallCluster, node: int
    ) -> None:
        first, second = self.idle_consumers(cluster, node)
        enqueue(cluster, b"m")
        assert taken(first.answer) == [b"m"]
        assert not second.given

    def test_nor_does_it_when_the_link_is_lost_meanwhile(self, cluster: SmallCluster) -> None:
        waiting = self.idle_consumers(cluster, 2)
        cluster.on_wire.clear()
        for node, other in ((1, 2), (2, 1)):
            cluster.nodes[node].forwarding.peer_lost(other)
        cluster.tick()
        cluster.tick()
        assert not any(each.given for each in waiting)

    @both_nodes
    def test_who_gets_another_one_has_its_turn(self, cluster: SmallCluster, node: int) -> None:
        first, second = wait(cluster, node), wait(cluster)
        cluster.clock.wall_now_ms += SESSION_IDLE_MS
        enqueue(cluster, b"m")
        assert taken(first.answer) == [b"m"]
        assert not second.given

    @both_nodes
    def test_as_many_are_kept_as_wait_at_once(self, cluster: SmallCluster, node: int) -> None:
        before = self.count(cluster, Table.SESSIONS)
        for _ in range(3):
            waiting = [wait(cluster, node) for _ in range(5)]
            for each in waiting:
                assert each.call is not None
                each.call.stop_waiting()
            cluster.settle()
        assert self.count(cluster, Table.SESSIONS) == before + 5

    @both_nodes
    def test_one_that_opens_for_nobody_is_kept(self, cluster: SmallCluster, node: int) -> None:
        before = self.count(cluster, Table.SESSIONS)
        for _ in range(5):
            answers = cluster.start(QueueDequeue(NS, Q, 1, 60_000), node=node)
            assert answers.call is not None
            answers.call.cancel()
            cluster.settle()
        assert self.count(cluster, Table.SESSIONS) == before + 1

    def test_a_wait_outlives_the_time_to_open_one(
        self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = cluster.nodes[2]

        def nobody(_node: NodeId) -> bool:
            return False

        with monkeypatch.context() as patched:
            patched.setattr(node, "connected", nobody)
            answers = start(cluster, QueueDequeue(NS, Q, 1, 60_000), 2)
            for _ in range(12):
                cluster.tick(1.0)
        cluster.tick(1.0)
        cluster.tick(1.0)
        assert not answers.given
        enqueue(cluster, b"m")
        assert taken(answers.answer) == [b"m"]
