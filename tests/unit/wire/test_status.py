"""The numbers that stand on the wire, and which status a reason gives."""

from __future__ import annotations

import pytest

from flo.wire import STATUS_OF_REASON, Ran, Reason, Refusal, Status


def test_every_reason_has_a_status() -> None:
    assert set(STATUS_OF_REASON) == set(Reason)
    assert [int(reason) for reason in Reason] == [*range(1, 29), 257]
    assert [int(status) for status in Status] == list(range(13))
    assert [int(ran) for ran in Ran] == [0, 1, 2]


@pytest.mark.parametrize(
    ("reason", "status", "v1_status"),
    [
        (Reason.UNKNOWN_OP, 3, 3),
        (Reason.LEADER_UNKNOWN, 12, 12),
        (Reason.SHARD_BUSY, 10, 10),
        (Reason.COMMITTED_NOT_APPLIED, 9, 9),
        (Reason.NOT_FOUND, 2, 2),
        (Reason.RESERVED_KEY, 7, 7),
        (Reason.CAS_MISMATCH, 8, 8),
        (Reason.NO_SUCH_TRANSACTION, 2, 5),
        (Reason.WRONG_ROUTING_KEY, 3, 4),
        (Reason.WORKER_DRAINING, 3, 3),
        (Reason.SESSION_UNKNOWN, 12, 12),
    ],
)
def test_status_of_a_refusal(reason: Reason, status: int, v1_status: int) -> None:
    refusal = Refusal(reason, Ran.NO, "")
    assert (refusal.status, refusal.v1_status) == (status, v1_status)


def test_unclassified_takes_the_status_it_is_given() -> None:
    refusal = Refusal(Reason.UNCLASSIFIED, Ran.NO, "slow down", Status.RATE_LIMITED)
    assert refusal.status is refusal.v1_status is Status.RATE_LIMITED
    assert Refusal(Reason.UNCLASSIFIED, Ran.UNKNOWN, "").status is Status.GENERIC_ERROR
