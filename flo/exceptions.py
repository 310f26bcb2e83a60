"""Everything this package raises, as one tree under `FloError`.

Two facts help to decide what to do next. `outcome` says what is known about the call: with
"not_applied" it had no effect and never will; with "unknown" it may have had one, or may still have
one (a timeout, a lost connection after sending). `retryable` says whether the same call may succeed
later without any change. `code` is a stable name for logs and scripts.

Example:
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
import re
from typing import ClassVar, Literal, TypeAlias, TypeVar

from flo.types import TABLE_HASH, VERSION, Ran, Reason, StatusCode

Outcome: TypeAlias = Literal["not_applied", "unknown"]

_WORD_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])")

_E = TypeVar("_E", bound="FloError")


class FloError(Exception):
    """The base of all errors of this package. Errors can be copied and pickled."""

    retryable: bool = False
    outcome: Outcome = "not_applied"

    def __init__(
        self, *args: object, outcome: Outcome | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(*args)
        if outcome is not None:
            self.outcome = outcome
        if retryable is not None:
            self.retryable = retryable

    @property
    def code(self) -> str:
        """A stable name, such as NOT_CONNECTED: the class's, or the server's reason."""
        return _WORD_BREAK.sub("_", type(self).__name__.removesuffix("Error")).upper()

    def __reduce__(self) -> tuple[object, ...]:
        # The way of exceptions, calling the class with `args`, would ask each of them for a
        # constructor that takes a message and nothing else.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[_E], args: tuple[object, ...]) -> _E:
    error = kind.__new__(kind)
    error.args = args
    return error


class NonRetryableError(FloError):
    """Raised by a program's own handlers to say: do not run this again. Never by the client."""


class NotConnectedError(FloError):
    """The client is not open: call `connect()`, or use it in `async with`."""


class ConnectionFailedError(FloError):
    """No node could be reached: check the addresses, and that nodes run."""

    retryable = True


class InvalidEndpointError(FloError):
    """The endpoint cannot be understood: write `host:port`, several with commas between."""


class WrongLoopError(FloError):
    """The client was opened in another event loop, thread or process: open one in this one."""


class UnexpectedEofError(FloError):
    """The connection ended before the answer came, and no time or try was left for another."""

    retryable = True
    outcome: Outcome = "unknown"


class RequestTimeoutError(FloError, asyncio.TimeoutError):
    """No answer within the call's time: check the outcome, or allow more with `timeout_ms`."""

    retryable = True
    outcome: Outcome = "unknown"


class ProtocolError(FloError):
    """A node sent something that is not the protocol; its connection was dropped.

    Check that the address is the client port of a Flo node, and that versions fit.
    """

    retryable = True


class InvalidMagicError(ProtocolError):
    """The peer does not speak the Flo protocol: check that the address is a node's client port."""


class InvalidChecksumError(ProtocolError):
    """An answer was damaged on its way."""


class PayloadTooLargeError(ProtocolError):
    """An answer is longer than the client takes (64 MiB)."""


class IncompleteResponseError(ProtocolError):
    """An answer does not hold what the operation answers: node and client may not fit together."""


class TableMismatchError(ProtocolError):
    """The node has another version of the protocol: upgrade the client with the cluster."""

    retryable = False

    def __init__(
        self, server_version: int, server_table: int, *, outcome: Outcome | None = None
    ) -> None:
        super().__init__(
            f"the node speaks protocol {server_version} with table 0x{server_table:016x}, this"
            f" client {VERSION} with 0x{TABLE_HASH:016x}: upgrade the older one",
            outcome=outcome,
        )
        self.server_version = server_version
        self.server_table = server_table


class ValidationError(FloError):
    """An argument that no server would take; nothing was sent. The message says which."""


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
    reason: Reason = Reason.UNCLASSIFIED
    ran: Ran = Ran.UNKNOWN

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
        self.status_code: StatusCode = self.default_status if status_code is None else status_code
        self.reason = reason
        self.ran = ran

    @property
    def code(self) -> str:
        """The name of the server's reason, such as CAS_MISMATCH."""
        return self.reason.name


class NotFoundError(ServerError):
    """What the request names does not exist."""

    default_message = "Not found"
    default_status = StatusCode.NOT_FOUND


class NoSuchTransactionError(NotFoundError):
    """The transaction has ended, expired, or was lost with its leader: begin another one.

    Nothing of it was applied by this call; whether an earlier commit was, its keys say.
    """

    default_message = "No such transaction is open"


class BadRequestError(ServerError):
    """The request is outside the rules; the message says which. Change it, then try again."""

    default_message = "Bad request"
    default_status = StatusCode.BAD_REQUEST


class CrossShardError(BadRequestError):
    """The key does not live where the transaction is pinned; the transaction stays open.

    Give the keys of a transaction, and the routing key it begins with, one `{tag}` in common.
    """

    default_message = "The transaction would span partitions"


class TransactionTooLargeError(BadRequestError):
    """The transaction cannot hold this write too; it stays open, to commit or to roll back."""

    default_message = "The transaction is too large"


class TxnFinishedError(FloError):
    """The transaction was committed or rolled back: begin another one."""

    default_message = "The transaction has ended"


class TxnUnsupportedOpError(FloError):
    """This operation cannot be part of a transaction; the transaction stays open."""

    default_message = "This operation cannot be part of a transaction"


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

    default_message = "Generic error"


def is_connection_error(exc: BaseException) -> bool:
    """Whether the error is about the way to the cluster rather than about the request.

    Example:
        try:
            await client.kv.get("greeting")
        except FloError as error:
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
