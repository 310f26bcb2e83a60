"""Everything this package raises, as one tree under `FloError`.

Two facts help to decide what to do next. `outcome` says what is known about the call: with
"not_applied" it had no effect and never will; with "unknown" it may have had one, or may still have
one (a timeout, a lost connection after sending). `retryable` says whether the same call may succeed
later without any change.

    try:
        await client.kv.put("order:7", b"paid")
    except FloError as error:
        if error.outcome == "unknown":
            ...  # read the key, or repeat the put if repeating it does no harm
        elif error.retryable:
            ...  # try again later
        else:
            raise
"""

import asyncio
from typing import ClassVar, Literal, TypeAlias

from flo.types import StatusCode
from flo.wire.status import Ran, Reason

Outcome: TypeAlias = Literal["not_applied", "unknown"]


class FloError(Exception):
    """The base of all errors of this package."""

    retryable: bool = False
    outcome: Outcome = "not_applied"

    def __init__(
        self, message: str = "", *, outcome: Outcome | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        if outcome is not None:
            self.outcome = outcome
        if retryable is not None:
            self.retryable = retryable


class NotConnectedError(FloError):
    """The client is not open: call `connect()`, or use it in `async with`."""


class ConnectionFailedError(FloError):
    """No node could be reached: check the addresses, and that nodes run."""

    retryable = True


class InvalidEndpointError(FloError):
    """The endpoint cannot be understood: write `host:port`, several with commas between."""


class UnexpectedEofError(FloError):
    """The connection ended before the answer came, and no time or try was left for another."""

    retryable = True


class RequestTimeoutError(FloError, asyncio.TimeoutError):
    """No answer within the call's time."""

    retryable = True


class ProtocolError(FloError):
    """A node sent something that is not the protocol; its connection was dropped."""

    retryable = True


# Other clients tell these apart; here whatever is wrong with a frame is one error, and handlers
# written for any of the names see it.
InvalidMagicError = ProtocolError
InvalidChecksumError = ProtocolError
PayloadTooLargeError = ProtocolError
IncompleteResponseError = ProtocolError
TableMismatchError = ProtocolError


class ValidationError(FloError):
    """An argument that no server would take; nothing was sent."""


class NamespaceTooLargeError(ValidationError):
    """The namespace is longer than 63 bytes."""


class KeyTooLargeError(ValidationError):
    """The key is longer than 4095 bytes less its namespace."""


class ValueTooLargeError(ValidationError):
    """The value is longer than 16 MiB."""


class BlockTooLongError(ValidationError):
    """A wait longer than 300000 ms."""


class ServerError(FloError):
    """A node refused the request. `status_code`, `reason` and `ran` are what it said."""

    default_message: ClassVar[str] = "The server refused the request"
    default_status: ClassVar[StatusCode] = StatusCode.ERROR_GENERIC

    def __init__(
        self,
        message: str = "",
        status_code: StatusCode | None = None,
        *,
        reason: Reason = Reason.UNCLASSIFIED,
        ran: Ran = Ran.UNKNOWN,
        outcome: Outcome | None = None,
        retryable: bool | None = None,
    ) -> None:
        if outcome is None:
            outcome = "not_applied" if ran is Ran.NO else "unknown"
        super().__init__(message or self.default_message, outcome=outcome, retryable=retryable)
        self.status_code = self.default_status if status_code is None else status_code
        self.reason = reason
        self.ran = ran


class NotFoundError(ServerError):
    """What the request names does not exist."""

    default_message = "Not found"
    default_status = StatusCode.NOT_FOUND


class BadRequestError(ServerError):
    """The request is outside the rules; the message says which. Change it, then try again."""

    default_message = "Bad request"
    default_status = StatusCode.BAD_REQUEST


class ConflictError(ServerError):
    """The version or condition that the write requires does not hold: read again, then decide."""

    default_message = "Conflict"
    default_status = StatusCode.CONFLICT


class UnauthorizedError(ServerError):
    """The key is reserved, or the caller may not do this."""

    default_message = "Unauthorized"
    default_status = StatusCode.UNAUTHORIZED


class OverloadedError(ServerError):
    """The node has too much to do: try again later, with fewer requests at a time."""

    retryable = True
    default_message = "Server overloaded"
    default_status = StatusCode.OVERLOADED


class UnavailableError(ServerError):
    """No leader was found in time, or the partition takes no writes now: try again later."""

    retryable = True
    default_message = "Unavailable: no leader, or no writes are taken"
    default_status = StatusCode.UNAVAILABLE


class RateLimitedError(ServerError):
    """Too many requests per second: slow down."""

    retryable = True
    default_message = "Request rate limit exceeded"
    default_status = StatusCode.RATE_LIMITED


class InternalServerError(ServerError):
    """Something is wrong in the node; its log says what."""

    default_message = "Internal server error"
    default_status = StatusCode.INTERNAL_ERROR


class GenericServerError(ServerError):
    """A refusal with a status that has no class of its own; see `status_code`."""


def is_connection_error(exc: BaseException) -> bool:
    """Whether the error is about the way to the cluster rather than about the request.

    if is_connection_error(error):
        await client.reconnect()
    """
    return isinstance(
        exc,
        (
            UnexpectedEofError,
            NotConnectedError,
            ConnectionFailedError,
            RequestTimeoutError,
            OSError,
        ),
    )
