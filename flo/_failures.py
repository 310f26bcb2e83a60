"""From what came back for a request to the error its caller gets."""

from flo._transport import Lost
from flo.exceptions import (
    BadRequestError,
    ConflictError,
    FloError,
    GenericServerError,
    InternalServerError,
    NotFoundError,
    Outcome,
    OverloadedError,
    RateLimitedError,
    ServerError,
    UnauthorizedError,
    UnavailableError,
)
from flo.types import StatusCode
from flo.wire.status import Reason, Refusal, Status

_ERROR_OF_STATUS: dict[Status, type[ServerError]] = {
    Status.NOT_FOUND: NotFoundError,
    Status.BAD_REQUEST: BadRequestError,
    Status.CONFLICT: ConflictError,
    Status.UNAUTHORIZED: UnauthorizedError,
    Status.OVERLOADED: OverloadedError,
    Status.UNAVAILABLE: UnavailableError,
    Status.RATE_LIMITED: RateLimitedError,
    Status.INTERNAL: InternalServerError,
}

# Refusals that say something about the state of the node rather than about the request. They say
# nothing about an earlier copy of it; every other refusal is the request's result, the same for all
# copies.
_OF_THE_NODE = frozenset(
    (
        Status.UNAVAILABLE,
        Status.OVERLOADED,
        Status.RATE_LIMITED,
        Status.INTERNAL,
        Status.GENERIC_ERROR,
    )
)
_TRY_AGAIN = frozenset((Status.UNAVAILABLE, Status.OVERLOADED))
# The table that led the request there may be old.
_STALE_ROUTE = frozenset((Reason.LEADER_UNKNOWN, Reason.ANSWER_LOST))


def may_try_again(refusal: Refusal) -> bool:
    """Another try, there or elsewhere, may well succeed."""
    return refusal.status in _TRY_AGAIN


def is_stale_route(refusal: Refusal) -> bool:
    """The node asked is not, or no longer, the right one."""
    return refusal.reason in _STALE_ROUTE


def is_of_the_node(refusal: Refusal) -> bool:
    """It says nothing about an earlier copy of the request, which may have run."""
    # An older node may not know an operation that the one asked before has executed.
    return refusal.reason is Reason.UNKNOWN_OP or refusal.status in _OF_THE_NODE


def refusal_error(refusal: Refusal, outcome: Outcome) -> ServerError:
    """The exception for a refusal."""
    status = refusal.status
    make = _ERROR_OF_STATUS.get(status, GenericServerError)
    return make(
        refusal.message,
        StatusCode(int(status)),
        reason=refusal.reason,
        ran=refusal.ran,
        outcome=outcome,
    )


def lost_error(lost: Lost, outcome: Outcome) -> FloError:
    """The exception for an answer that will not come."""
    advice = "" if outcome == "not_applied" else "; the request may have been executed: check first"
    return lost.error(lost.message + advice, outcome=outcome)
