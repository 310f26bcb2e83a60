"""How an answer went: status, reason, whether the command ran, and the refusal that carries them.

The numbers are the protocol's and never change. A v2 answer carries a reason and a `Ran`; a plain
v1 answer carries the status alone.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """The status byte of an answer. 0 is success, everything else a refusal."""

    OK = 0
    GENERIC_ERROR = 1
    NOT_FOUND = 2
    BAD_REQUEST = 3
    CROSS_SHARD_TRANSACTION = 4
    NO_ACTIVE_TRANSACTION = 5
    GROUP_LOCKED = 6
    UNAUTHORIZED = 7
    CONFLICT = 8
    INTERNAL = 9
    OVERLOADED = 10
    RATE_LIMITED = 11
    UNAVAILABLE = 12


class Reason(IntEnum):
    """Why a request was refused, finer than the status."""

    UNKNOWN_OP = 1
    MALFORMED = 2
    FIELD_TOO_LONG = 3
    OUT_OF_RANGE = 4
    LEADER_UNKNOWN = 5
    SHARD_BUSY = 6
    TABLE_MISMATCH = 7
    UNKNOWN_FLAG = 8
    INTERNAL = 9
    COMMITTED_NOT_APPLIED = 10
    ANSWER_LOST = 11
    UNCLASSIFIED = 12
    NOT_FOUND = 13
    RESERVED_KEY = 14
    CAS_MISMATCH = 15
    CONDITION_FAILED = 16
    NO_SUCH_TRANSACTION = 17
    WRONG_ROUTING_KEY = 18
    TXN_TOO_LARGE = 19
    TOO_MANY_WAITERS = 20
    CONFLICTING_FIELDS = 21
    WRITES_STOPPED = 22
    TOO_MANY_PROPOSALS = 23
    WRONG_TYPE = 24
    TOO_MANY_TRANSACTIONS = 25
    STALE_REPORT = 26
    WORKER_UNHEALTHY = 27
    WORKER_DRAINING = 28
    # Ours, in answers to our own client alone: official SDKs refuse reasons above 28.
    SESSION_UNKNOWN = 257


class Ran(IntEnum):
    """Whether a refused command took effect: no (safe to resend), yes, or nobody knows."""

    NO = 0
    YES = 1
    UNKNOWN = 2


STATUS_OF_REASON: dict[Reason, Status] = {
    Reason.UNKNOWN_OP: Status.BAD_REQUEST,
    Reason.MALFORMED: Status.BAD_REQUEST,
    Reason.FIELD_TOO_LONG: Status.BAD_REQUEST,
    Reason.OUT_OF_RANGE: Status.BAD_REQUEST,
    Reason.LEADER_UNKNOWN: Status.UNAVAILABLE,
    Reason.SHARD_BUSY: Status.OVERLOADED,
    Reason.TABLE_MISMATCH: Status.BAD_REQUEST,
    Reason.UNKNOWN_FLAG: Status.BAD_REQUEST,
    Reason.INTERNAL: Status.INTERNAL,
    Reason.COMMITTED_NOT_APPLIED: Status.INTERNAL,
    Reason.ANSWER_LOST: Status.UNAVAILABLE,
    Reason.UNCLASSIFIED: Status.GENERIC_ERROR,
    Reason.NOT_FOUND: Status.NOT_FOUND,
    Reason.RESERVED_KEY: Status.UNAUTHORIZED,
    Reason.CAS_MISMATCH: Status.CONFLICT,
    Reason.CONDITION_FAILED: Status.CONFLICT,
    Reason.NO_SUCH_TRANSACTION: Status.NOT_FOUND,
    Reason.WRONG_ROUTING_KEY: Status.BAD_REQUEST,
    Reason.TXN_TOO_LARGE: Status.BAD_REQUEST,
    Reason.TOO_MANY_WAITERS: Status.OVERLOADED,
    Reason.CONFLICTING_FIELDS: Status.BAD_REQUEST,
    Reason.WRITES_STOPPED: Status.UNAVAILABLE,
    Reason.TOO_MANY_PROPOSALS: Status.OVERLOADED,
    Reason.WRONG_TYPE: Status.BAD_REQUEST,
    Reason.TOO_MANY_TRANSACTIONS: Status.OVERLOADED,
    Reason.STALE_REPORT: Status.CONFLICT,
    Reason.WORKER_UNHEALTHY: Status.BAD_REQUEST,
    Reason.WORKER_DRAINING: Status.BAD_REQUEST,
    Reason.SESSION_UNKNOWN: Status.UNAVAILABLE,
}

# v1 has its own status for two transaction errors that v2 tells apart by the reason.
V1_STATUS_OF_REASON: dict[Reason, Status] = {
    **STATUS_OF_REASON,
    Reason.NO_SUCH_TRANSACTION: Status.NO_ACTIVE_TRANSACTION,
    Reason.WRONG_ROUTING_KEY: Status.CROSS_SHARD_TRANSACTION,
}


class Refusal(NamedTuple):
    """A request that was answered with anything but success.

    `wire_status` is set only where the status says more than the reason does (reason UNCLASSIFIED,
    and plain v1 answers, which carry no reason); everywhere else the reason fixes the status.
    """

    reason: Reason
    ran: Ran
    message: str
    wire_status: Status | None = None

    @property
    def status(self) -> Status:
        """The status that goes with the refusal in v2 (v1 differs for two transaction errors)."""
        return self.wire_status or STATUS_OF_REASON[self.reason]

    @property
    def v1_status(self) -> Status:
        """The status that goes with the refusal in v1."""
        return self.wire_status or V1_STATUS_OF_REASON[self.reason]
