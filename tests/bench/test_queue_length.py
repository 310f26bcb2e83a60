"""Short queues measured as long ones are."""

from pathlib import Path

import pytest

from bench.dialogues import RanDryError
from bench.measured_cluster import MeasuredCluster
from bench.queue_length import QueueLengthPlan, Row, comparison, run_queue_length
from flo import FloClient

LENGTHS = (300, 1_500)


def plan(*lengths: int, outstanding: int, seconds: float) -> QueueLengthPlan:
    return QueueLengthPlan(
        lengths, outstanding=outstanding, warmup_s=0.0, seconds=seconds, repetitions=2
    )


async def test_queues_stay_as_long_as_they_are_said_to_be(tmp_path: Path) -> None:
    with MeasuredCluster(3, 3, tmp_path, keep=True) as cluster:
        rows = await run_queue_length(cluster, plan(*LENGTHS, outstanding=4, seconds=0.3))
        async with FloClient(cluster.endpoints, namespace="bench") as client:
            queues = (await client.queue.list()).queues
    measured = [(row["operation"], row["in_queue"], row["beside"]) for row in rows]
    assert measured == [
        ("dequeue", 300, 0),
        ("dequeue10", 300, 0),
        ("dequeue", 300, 1_500),
        ("dequeue", 1_500, 300),
        ("dequeue10", 300, 1_500),
        ("dequeue10", 1_500, 300),
    ]
    assert not any(row["errors"] for row in rows)
    assert all(len(row["messages_s_reps"]) == 2 for row in rows)
    for row in rows:
        # What was taken last is put back before the next repetition.
        assert all(0 < ready <= row["in_queue"] for ready in row["found_ready"])
    assert {queue.leased for queue in queues} == {0}


async def test_one_that_is_too_short_says_so(tmp_path: Path) -> None:
    with MeasuredCluster(3, 3, tmp_path, keep=True) as cluster, pytest.raises(RanDryError):
        await run_queue_length(cluster, plan(8, outstanding=64, seconds=60.0))


def row(in_queue: int, beside: int, *, messages_s: float, p50_ms: float) -> Row:
    return {
        "operation": "dequeue10",
        "in_queue": in_queue,
        "beside": beside,
        "outstanding": 64,
        "messages_s": messages_s,
        "messages_s_reps": [round(messages_s)],
        "p50_ms": p50_ms,
        "p99_ms": 2 * p50_ms,
        "max_ms": 3 * p50_ms,
        "errors": 0,
        "server_cpu_s_per_kmessage": 0.2,
        "found_ready": [in_queue],
    }


def test_the_long_queue_is_held_against_the_short_one_beside_it() -> None:
    rows = [
        row(1_000, 0, messages_s=9_999.0, p50_ms=1.0),
        row(1_000, 1_000_000, messages_s=8_000.0, p50_ms=2.0),
        row(1_000_000, 1_000, messages_s=6_000.0, p50_ms=3.0),
    ]
    assert comparison(rows) == (
        "dequeue10: 1000000 against 1000 messages in the queue: messages/s 0.75, p50 1.50,"
        " p99 1.50 times"
    )
    assert comparison(rows[:1]) == ""
