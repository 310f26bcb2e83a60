"""From what came back for a request to the error its caller gets, in words that help."""

from flo._call import Call
from flo._transport import Lost
from flo.exceptions import (
    BadRequestError,
    ConflictError,
    ConnectionFailedError,
    CrossShardError,
    FloError,
    GenericServerError,
    InternalServerError,
    NoSuchTransactionError,
    NotFoundError,
    Outcome,
    OverloadedError,
    RateLimitedError,
    RequestTimeoutError,
    ServerError,
    TransactionTooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from flo.types import StatusCode
from flo.wire.status import Ran, Reason, Refusal, Status

# Subclasses of what their status gives.
_ERROR_OF_REASON: dict[Reason, type[ServerError]] = {
    Reason.NO_SUCH_TRANSACTION: NoSuchTransactionError,
    Reason.WRONG_ROUTING_KEY: CrossShardError,
    Reason.TXN_TOO_LARGE: TransactionTooLargeError,
}

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

_CHECK_FIRST = ". It may have been executed, or may still be: read before you repeat it"


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


def refusal_error(call: Call, refusal: Refusal) -> ServerError:
    """The exception for a refusal."""
    status = StatusCode(int(refusal.status))
    outcome = _outcome_of(call, refusal)
    message = f"{call}: {refusal.message or status.message()}"
    if is_of_the_node(refusal):
        message += f" ({call.effort()})"
    if outcome == "unknown":
        message += _CHECK_FIRST
    kind = _ERROR_OF_REASON.get(refusal.reason) or _ERROR_OF_STATUS.get(refusal.status)
    return (kind or GenericServerError)(
        message, status, reason=refusal.reason, ran=refusal.ran, outcome=outcome
    )


def _outcome_of(call: Call, refusal: Refusal) -> Outcome:
    if call.is_write and refusal.ran is not Ran.NO:
        return "unknown"
    return call.outcome if is_of_the_node(refusal) else "not_applied"


def lost_error(call: Call, lost: Lost) -> FloError:
    """The exception for an answer that will not come."""
    message = f"{call}: {lost.message} ({call.effort()})" + _advice(call)
    return lost.error(message, outcome=call.outcome)


def ended_error(call: Call, ended: Lost) -> FloError:
    """The exception for a call that the program itself put an end to."""
    return ended.error(f"{call}: {ended.message}{_advice(call)}", outcome=call.outcome)


def timeout_error(call: Call) -> FloError:
    """The exception for an answer that did not come in time."""
    advice = _advice(call) or ". Try again, or allow more with timeout_ms"
    message = f"{call}: no answer in time ({call.effort()}){advice}"
    return RequestTimeoutError(message, outcome=call.outcome)


def unreachable_error(call: Call, why: str) -> FloError:
    """The exception for a try that could not be sent within the call's time."""
    message = f"{call}: {why} ({call.effort()}){_advice(call)}"
    return ConnectionFailedError(message, outcome=call.outcome)


def slots_error(call: Call, in_flight_max: int) -> FloError:
    """The exception for a call that never got its turn."""
    return OverloadedError(
        f"{call}: {in_flight_max} calls of this client were under way for the whole"
        f" {call.budget_s * 1000:g} ms: make fewer at a time, or raise in_flight_max",
        reason=Reason.TOO_MANY_PROPOSALS,
        ran=Ran.NO,
    )


def _advice(call: Call) -> str:
    return _CHECK_FIRST if call.outcome == "unknown" else ""
