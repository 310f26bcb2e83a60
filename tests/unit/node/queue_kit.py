"""What tests of queues share: a small cluster, and short words for what clients do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flo.wire.queue_messages import (
    Enqueued,
    QueueBody,
    QueueDequeue,
    QueueEnqueue,
    QueueMessages,
    QueueStats,
    QueueSummary,
)
from flo.wire.routing import partition_of
from tests.unit.node.small_cluster import Answers, SmallCluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.operation import Answer
    from cluster.partition import Partition

NS = b"default"
Q = b"jobs"

both_nodes = pytest.mark.parametrize("node", [1, 2], ids=["at the leader", "at another node"])


def queue_cluster() -> SmallCluster:
    """Four partitions, led by nodes 1 and 2; node 1 leads that of the queue."""
    owners = [2, 2, 2, 2]
    owners[partition_of(NS, Q, 4)] = 1
    return SmallCluster(owners=(owners[0], owners[1], owners[2], owners[3]))


def leader(cluster: SmallCluster) -> Partition:
    """The replica that leads the partition of the queue."""
    return cluster.nodes[1].partitions[partition_of(NS, Q, 4)]


def taken(answer: Answer) -> list[bytes]:
    """The payloads of an answer."""
    assert isinstance(answer, QueueMessages), answer
    return [message.payload for message in answer.messages]


def start(cluster: SmallCluster, body: QueueBody, node: int = 1) -> Answers:
    answers = cluster.start(body, node=node)
    cluster.settle()
    return answers


def wait(cluster: SmallCluster, node: int = 1, *, count: int = 1, wait_ms: int = 60_000) -> Answers:
    """A dequeue that found nothing yet."""
    answers = start(cluster, QueueDequeue(NS, Q, count, wait_ms), node)
    assert not answers.given
    return answers


def enqueue(cluster: SmallCluster, *payloads: bytes) -> None:
    for payload in payloads:
        assert isinstance(cluster.run(QueueEnqueue(NS, Q, payload)), Enqueued)


def stats(cluster: SmallCluster) -> tuple[int, int, int, int]:
    answer = cluster.run(QueueStats(NS, Q))
    assert isinstance(answer, QueueSummary)
    return answer.ready, answer.delayed, answer.leased, answer.dead


def wake_in_vain(patched: pytest.MonkeyPatch, partition: Partition) -> None:
    """The leader takes no command in the moment it wakes those who wait."""
    wake = partition.waiting.wake

    def refuse_all(touched: Mapping[bytes, int]) -> None:
        partition.log_too_long = True
        wake(touched)
        partition.log_too_long = False

    patched.setattr(partition.waiting, "wake", refuse_all)
