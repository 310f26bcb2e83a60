"""Calls that wait and are refused for a moment, or end while they are tried: nothing is lost by it,
and nobody is tried who has no reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.config import Limits
from cluster.forwarding import FORWARD_REPLY
from cluster.raft.messages import MalformedMessageError
from flo.wire.group_messages import GroupCreate, GroupMode, GroupRead
from flo.wire.messages import KvGet
from flo.wire.queue_messages import (
    DELIVERY_CONSUME,
    QueueConfigure,
    QueueDequeue,
    QueueEnqueue,
    QueueEnqueueBatch,
    QueueItem,
    QueueMessages,
)
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import StreamAppend, StreamCreate, StreamItem, StreamRead
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
    wake_in_vain,
)
from tests.unit.node.small_cluster import Answers, SmallCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.partition import Partition

S, G = b"s", b"g"
_ARGUMENTS = 3
DEQUEUE_10_S = QueueDequeue(NS, Q, 1, 10_000)


@pytest.fixture
def cluster() -> SmallCluster:
    """With a session for a wait at each node, as the partition may be too busy to open one."""
    cluster = queue_cluster()
    cluster.run(QueueConfigure(NS, Q, DELIVERY_CONSUME))
    for node in (1, 2):
        enqueue(cluster, b"warm")
        assert start(cluster, QueueDequeue(NS, Q, 1, 1000), node).given
    return cluster


def counted(patched: pytest.MonkeyPatch, partition: Partition, name: str) -> list[object]:
    """What grows with every call of a method of the partition."""
    calls: list[object] = []
    method: Callable[..., None] = getattr(partition, name)

    def count(*args: object) -> None:
        calls.append(args)
        method(*args)

    patched.setattr(partition, name, count)
    return calls


def lose_link(cluster: SmallCluster) -> None:
    cluster.on_wire.clear()
    for node, other in ((1, 2), (2, 1)):
        cluster.nodes[node].forwarding.peer_lost(other)


def until_it_is_tried(cluster: SmallCluster, waiting: int) -> None:
    """One of those who wait was woken: its command is queued, and not yet in the log."""
    while len(leader(cluster).waiting) == waiting:
        cluster.nodes[1].callbacks.popleft()()


@both_nodes
class TestRefusedAtFirst:
    def test_it_is_tried_again_a_little_later(self, cluster: SmallCluster, node: int) -> None:
        leader(cluster).log_too_long = True
        answers = start(cluster, DEQUEUE_10_S, node)
        cluster.tick()
        assert not answers.given
        leader(cluster).log_too_long = False
        enqueue(cluster, b"m")
        cluster.tick()
        assert taken(answers.answer) == [b"m"]

    def test_who_comes_then_looks_for_itself(self, cluster: SmallCluster, node: int) -> None:
        """One that has not seen what is there must not stand in the way of others."""
        enqueue(cluster, b"0", b"1")
        leader(cluster).log_too_long = True
        first = start(cluster, DEQUEUE_10_S, node)
        leader(cluster).log_too_long = False
        second = start(cluster, DEQUEUE_10_S)
        assert taken(second.answer) == [b"0"]
        cluster.tick()
        assert taken(first.answer) == [b"1"]

    def test_its_time_ends(self, cluster: SmallCluster, node: int) -> None:
        leader(cluster).log_too_long = True
        answers = start(cluster, DEQUEUE_10_S, node)
        cluster.tick(10.1)
        assert isinstance(answers.answer, Refusal), "it has not seen whether there is something"
        assert (answers.answer.reason, answers.answer.ran) == (Reason.SHARD_BUSY, Ran.NO)

    def test_they_are_bounded(self, node: int) -> None:
        cluster = SmallCluster(owners=(1, 1, 1, 1), limits=Limits(partition_waiting_max=1))
        for _ in range(2):
            enqueue(cluster, b"warm")
        warm = [cluster.start(DEQUEUE_10_S, node=node) for _ in range(2)]
        cluster.settle()
        assert all(each.given for each in warm)
        leader(cluster).log_too_long = True
        first, second = start(cluster, DEQUEUE_10_S, node), start(cluster, DEQUEUE_10_S, node)
        assert not first.given
        assert isinstance(second.answer, Refusal)
        assert second.answer.ran is Ran.NO


class TestAfterALostAnswer:
    """Only a try can tell what an earlier one has taken."""

    @pytest.fixture
    def held(self, cluster: SmallCluster) -> Answers:
        """It has taken a message, and is refused when it asks again."""
        answers = wait(cluster, 2, wait_ms=10_000)
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        while not any(message[0] == FORWARD_REPLY for _, _, message in cluster.on_wire):
            assert cluster.step()
        lose_link(cluster)
        leader(cluster).log_too_long = True
        cluster.tick()
        cluster.tick()
        assert not answers.given
        return answers

    def test_it_is_asked_for_until_it_is_given(self, cluster: SmallCluster, held: Answers) -> None:
        other = start(cluster, DEQUEUE_10_S)
        leader(cluster).log_too_long = False
        cluster.tick()
        assert taken(held.answer) == [b"m"]
        assert not other.given

    def test_also_when_it_stops(self, cluster: SmallCluster, held: Answers) -> None:
        leader(cluster).log_too_long = False
        assert held.call is not None
        held.call.stop_waiting()
        cluster.settle()
        assert taken(held.answer) == [b"m"]

    def test_also_when_its_time_ends(self, cluster: SmallCluster, held: Answers) -> None:
        leader(cluster).log_too_long = False
        cluster.clock.advance(10.0)
        cluster.tick()
        assert taken(held.answer) == [b"m"]

    def test_nobody_knows_when_it_never_was(self, cluster: SmallCluster, held: Answers) -> None:
        cluster.tick(10.0)
        assert isinstance(held.answer, Refusal)
        assert (held.answer.reason, held.answer.ran) == (Reason.ANSWER_LOST, Ran.UNKNOWN)


@both_nodes
class TestEnds:
    """Of one that was woken, and whose command is queued."""

    def test_one_that_goes_away_takes_nothing(self, cluster: SmallCluster, node: int) -> None:
        first, second = wait(cluster, node), wait(cluster)
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        until_it_is_tried(cluster, 2)
        assert first.call is not None
        first.call.cancel()
        while cluster.on_wire:
            cluster.step()
        cluster.settle()
        cluster.tick()
        assert taken(second.answer) == [b"m"]
        assert stats(cluster) == (0, 0, 0, 0)
        assert leader(cluster).unanswered == 0

    def test_one_that_stops_and_is_refused_has_an_empty_answer(
        self, cluster: SmallCluster, node: int
    ) -> None:
        first, second = wait(cluster, node), wait(cluster)
        cluster.start(QueueEnqueue(NS, Q, b"m"))
        until_it_is_tried(cluster, 2)
        assert first.call is not None
        first.call.stop_waiting()
        while cluster.on_wire:
            cluster.step()
        leader(cluster).applying.disk_full = True
        cluster.settle()
        leader(cluster).applying.disk_full = False
        cluster.tick()
        assert first.answer == QueueMessages(())
        assert taken(second.answer) == [b"m"]

    def test_one_that_ends_while_others_are_woken_leaves_it_to_the_next(
        self, cluster: SmallCluster, node: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, third = wait(cluster), wait(cluster), wait(cluster, node)
        partition = leader(cluster)
        woken = partition.submit

        def submit_and_end(*args: object) -> None:
            if args[0] != 0 and first.call is not None and second.call is not None:
                second.call.cancel()
            woken(*args)  # type: ignore[arg-type]

        wake = partition.waiting.wake

        def wake_then(touched: dict[bytes, int]) -> None:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(partition, "submit", submit_and_end)
                wake(touched)

        with monkeypatch.context() as patched:
            patched.setattr(partition.waiting, "wake", wake_then)
            cluster.run(QueueEnqueueBatch(NS, Q, (QueueItem(b"0"), QueueItem(b"1"))))
        cluster.tick()
        assert taken(first.answer) == [b"0"]
        assert taken(third.answer) == [b"1"]


def test_only_reads_that_were_refused_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SmallCluster(owners=(1, 1, 1, 1), limits=Limits(partition_commands_max=256))
    cluster.run(StreamCreate(NS, S, 2))
    read = StreamRead(NS, S, tail=True, partition=0, wait_ms=300_000)
    for _ in range(260):
        cluster.start(read)
        cluster.settle()
    partition = cluster.nodes[1].partitions[partition_of(NS, S, 4)]
    tries = counted(monkeypatch, partition, "read")
    cluster.run(StreamAppend(NS, S, (StreamItem(b"r"),), partition=1))
    assert len(tries) == 260
    tries.clear()
    for _ in range(3):
        cluster.tick()
    assert len(tries) == 4


@pytest.mark.parametrize("mode", [GroupMode.KEY_SHARED, GroupMode.SHARED])
def test_a_refusal_wakes_nobody_else(mode: GroupMode, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = SmallCluster(owners=(1, 1, 1, 1))
    cluster.run(GroupCreate(NS, S, G, mode))
    for number in range(8):
        cluster.start(GroupRead(NS, S, G, b"c%d" % number, 1, 60_000))
        cluster.settle()
    partition = cluster.nodes[1].partitions[partition_of(NS, S, 4)]
    with monkeypatch.context() as patched:
        wake_in_vain(patched, partition)
        cluster.run(StreamAppend(NS, S, (StreamItem(b"r"),)))
    partition.log_too_long = True
    tries = counted(monkeypatch, partition, "submit")
    for _ in range(4):
        cluster.tick()
    assert len(tries) == 4


@pytest.mark.parametrize("content", [[], 7, [b"a", b"b", b"c", b"d"], [b"a", b"b", 1, 0]])
def test_arguments_that_wait_for_nothing_known_are_dropped(content: object) -> None:
    cluster = SmallCluster(owners=(2, 2, 2, 2))
    answers = cluster.start(KvGet(NS, b"k", 1000, wait_for_change=True))
    cluster.settle()
    call = answers.call
    assert call is not None
    before = call.args
    forwarding = cluster.nodes[1].forwarding
    with pytest.raises(MalformedMessageError):
        forwarding.receive(2, [FORWARD_REPLY, 0, call.forwarded_as, _ARGUMENTS, content])
    assert call.args == before
