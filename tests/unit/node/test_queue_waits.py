"""Dequeues that wait: who gets what, and what is left when one goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.config import Limits
from flo.wire.messages import CallContext
from flo.wire.queue_messages import (
    QueueDequeue,
    QueueDlqRequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueMessages,
    QueueNack,
)
from tests.unit.node.queue_kit import (
    NS,
    Q,
    both_nodes,
    enqueue,
    leader,
    queue_cluster,
    stats,
    taken,
    wait,
    wake_in_vain,
)
from tests.unit.node.small_cluster import SmallCluster

if TYPE_CHECKING:
    from collections.abc import Mapping

LEASE_S = 30.0


@pytest.fixture
def cluster() -> SmallCluster:
    return queue_cluster()


@both_nodes
class TestWaiting:
    def test_it_is_woken_by_an_enqueue(self, cluster: SmallCluster, node: int) -> None:
        answers = wait(cluster, node)
        cluster.run(QueueEnqueue(NS, b"other", b"m"))
        assert not answers.given
        enqueue(cluster, b"m")
        assert taken(answers.answer) == [b"m"]

    def test_by_the_end_of_a_delay(self, cluster: SmallCluster, node: int) -> None:
        answers = wait(cluster, node)
        cluster.run(QueueEnqueue(NS, Q, b"m", delay_ms=500))
        cluster.tick(0.48)
        assert not answers.given
        cluster.tick(0.02)
        assert taken(answers.answer) == [b"m"]

    def test_by_the_end_of_a_lease(self, cluster: SmallCluster, node: int) -> None:
        enqueue(cluster, b"m")
        cluster.run(QueueDequeue(NS, Q))
        answers = wait(cluster, node)
        cluster.tick(LEASE_S - 1)
        assert not answers.given
        cluster.tick(1.0)
        assert taken(answers.answer) == [b"m"]

    def test_by_what_is_given_back(self, cluster: SmallCluster, node: int) -> None:
        enqueue(cluster, b"m")
        cluster.run(QueueDequeue(NS, Q))
        answers = wait(cluster, node)
        cluster.run(QueueNack(NS, Q, (1,), to_dead_letter=True))
        assert not answers.given
        cluster.run(QueueDlqRequeue(NS, Q, (1,)))
        assert taken(answers.answer) == [b"m"]

    def test_its_deadline_ends_it_with_an_empty_answer(
        self, cluster: SmallCluster, node: int
    ) -> None:
        context = CallContext(deadline_ms=500)
        answers = cluster.start(QueueDequeue(NS, Q, 1, 60_000), node=node, context=context)
        cluster.settle()
        cluster.tick(0.44)
        assert not answers.given
        cluster.tick(0.02)
        assert answers.answer == QueueMessages(()), "a little earlier, to arrive in time"

    def test_its_time_ends_with_an_empty_answer(self, cluster: SmallCluster, node: int) -> None:
        answers = wait(cluster, node, wait_ms=1000)
        cluster.tick(1.1)
        assert answers.answer == QueueMessages(())
        enqueue(cluster, b"m")
        assert stats(cluster) == (1, 0, 0, 0)

    def test_a_cancelled_one_takes_nothing(self, cluster: SmallCluster, node: int) -> None:
        answers, other = wait(cluster, node), wait(cluster, node)
        assert answers.call is not None
        answers.call.cancel()
        cluster.settle()
        enqueue(cluster, b"m")
        assert taken(other.answer) == [b"m"]
        assert not answers.given
        assert stats(cluster) == (0, 0, 1, 0)

    def test_those_who_came_first_are_served_first(self, cluster: SmallCluster, node: int) -> None:
        answers = [wait(cluster, node) for _ in range(4)]
        for number in range(4):
            enqueue(cluster, b"%d" % number)
            assert [bool(each.given) for each in answers] == [n <= number for n in range(4)]
        assert [taken(each.answer) for each in answers] == [[b"0"], [b"1"], [b"2"], [b"3"]]

    def test_a_batch_serves_as_many_as_it_can(self, cluster: SmallCluster, node: int) -> None:
        answers = [wait(cluster, node) for _ in range(6)]
        cluster.run(QueueEnqueueBatch(NS, Q, tuple(QueueItem(b"%d" % n) for n in range(4))))
        assert [taken(each.answer) for each in answers[:4]] == [[b"0"], [b"1"], [b"2"], [b"3"]]
        assert not answers[4].given
        assert not answers[5].given
        enqueue(cluster, b"4", b"5")
        assert [taken(each.answer) for each in answers[4:]] == [[b"4"], [b"5"]]

    def test_one_that_finds_nothing_keeps_its_place(self, cluster: SmallCluster, node: int) -> None:
        """The first takes both messages, so the second is woken for nothing."""
        greedy, second, third = wait(cluster, node, count=5), wait(cluster, node), wait(cluster)
        cluster.run(QueueEnqueueBatch(NS, Q, (QueueItem(b"0"), QueueItem(b"1"))))
        assert taken(greedy.answer) == [b"0", b"1"]
        enqueue(cluster, b"2")
        assert taken(second.answer) == [b"2"]
        assert not third.given

    def test_nobody_tries_without_a_reason(self, cluster: SmallCluster, node: int) -> None:
        waiting = [wait(cluster, node) for _ in range(20)]
        partition = leader(cluster)
        before = partition.commands_applied
        enqueue(cluster, b"m")
        opened, enqueued, dequeued = 1, 1, 1
        assert partition.commands_applied <= before + opened + enqueued + dequeued
        assert sum(len(each.given) for each in waiting) == 1
        before = partition.commands_applied
        cluster.tick()
        assert partition.commands_applied == before

    def test_one_who_comes_with_the_message_comes_after_those_who_wait(
        self, cluster: SmallCluster, node: int
    ) -> None:
        first = wait(cluster, node)
        warm = wait(cluster)
        enqueue(cluster, b"0", b"1")
        assert first.given
        assert warm.given
        first = wait(cluster, node)
        enqueued = cluster.start(QueueEnqueue(NS, Q, b"2"))
        newcomer = cluster.start(QueueDequeue(NS, Q, 1, 60_000))
        cluster.settle()
        assert enqueued.given
        assert taken(first.answer) == [b"2"]
        assert not newcomer.given
        enqueue(cluster, b"3")
        assert taken(newcomer.answer) == [b"3"]

    def test_one_who_does_not_wait_takes_what_is_there(
        self, cluster: SmallCluster, node: int
    ) -> None:
        first = wait(cluster, node)
        cluster.run(QueueDequeue(NS, Q))
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        hasty = cluster.start(QueueDequeue(NS, Q))
        cluster.settle()
        assert taken(hasty.answer) == [b"m"]
        assert not first.given

    def test_one_that_was_refused_for_a_moment_gets_it_a_little_later(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = wait(cluster, node), wait(cluster, node)
        with monkeypatch.context() as patched:
            wake_in_vain(patched, leader(cluster))
            enqueue(cluster, b"m")
            assert not first.given
            assert stats(cluster) == (1, 0, 0, 0)
        cluster.tick()
        assert taken(first.answer) == [b"m"]
        assert not second.given

    def test_one_that_goes_away_before_it_is_in_the_log_leaves_it_to_the_next(
        self, cluster: SmallCluster, node: int
    ) -> None:
        first, second = wait(cluster, node), wait(cluster, node)
        partition = leader(cluster)
        cluster.run(QueueEnqueue(NS, Q, b"a message that brings a session"))
        assert first.given
        third = wait(cluster, node)
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        while len(partition.waiting) == 2:
            cluster.nodes[1].callbacks.popleft()()
        assert second.call is not None
        second.call.cancel()
        while cluster.on_wire:
            cluster.step()
        partition.applying.disk_full = True
        cluster.settle()
        partition.applying.disk_full = False
        cluster.tick()
        assert taken(third.answer) == [b"m"]

    @pytest.mark.parametrize("ended", ["goes away", "stops", "has no time left"])
    def test_what_it_was_refused_is_for_the_next_when_it_waits_no_longer(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch, ended: str
    ) -> None:
        first, second = wait(cluster, node, wait_ms=1000), wait(cluster, node)
        with monkeypatch.context() as patched:
            wake_in_vain(patched, leader(cluster))
            enqueue(cluster, b"m")
        leader(cluster).log_too_long = True
        assert first.call is not None
        if ended == "goes away":
            first.call.cancel()
        elif ended == "stops":
            first.call.stop_waiting()
        cluster.settle()
        cluster.tick(0.02 if ended != "has no time left" else 1.1)
        cluster.tick()
        assert first.given or ended == "goes away"
        leader(cluster).log_too_long = False
        cluster.tick()
        assert taken(second.answer) == [b"m"]

    def test_one_that_leaves_for_another_leader_wakes_nobody_at_once(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Hundreds would end one within the other."""
        for _ in range(3):
            wait(cluster, node)
        partition = leader(cluster)
        with monkeypatch.context() as patched:
            patched.setattr(partition, "broken", "it")
            partition.waiting.wake({b"q" + NS + b"\x00" + Q: 1})
            assert len(partition.waiting) == 2

    def test_a_hand_over_that_fails_takes_no_place(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = wait(cluster, node), wait(cluster, node)
        partition = leader(cluster)
        wake = partition.waiting.wake

        def wake_while_it_moves(touched: Mapping[bytes, int]) -> None:
            with pytest.MonkeyPatch.context() as moving:
                moving.setattr(type(partition.group), "accepts_proposals", False)
                wake(touched)

        with monkeypatch.context() as patched:
            patched.setattr(partition.waiting, "wake", wake_while_it_moves)
            enqueue(cluster, b"m")
        assert not first.given
        cluster.tick()
        assert taken(first.answer) == [b"m"]
        assert not second.given

    def test_its_place_is_not_taken_while_it_is_tried(self, node: int) -> None:
        cluster = SmallCluster(owners=(1, 1, 1, 1), limits=Limits(partition_waiting_max=1))
        first = wait(cluster, node)
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        hasty = cluster.start(QueueDequeue(NS, Q))
        cluster.settle()
        assert taken(hasty.answer) == [b"m"]
        assert not first.given
        enqueue(cluster, b"m2")
        assert taken(first.answer) == [b"m2"]
