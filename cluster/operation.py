"""What one operation is to a node: from the wire's request to a command or a query, and from its
result back to the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar, cast

from cluster.state.commands import EMPTY, GROUP_LOCKED
from flo.wire.status import Ran, Reason, Refusal, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.queries import Result
    from flo.wire import messages as wire

Answer: TypeAlias = "wire.Result | Refusal"
Arguments: TypeAlias = "tuple[object, ...]"


class Placed(Protocol):
    """A request that lives in one namespace."""

    @property
    def namespace(self) -> bytes: ...


B = TypeVar("B", bound=Placed)


class Operation(NamedTuple):
    """An operation on one thing, which lives in the partition that its name hashes to."""

    code: int
    """Of the command in the log, or of the query."""
    is_write: bool
    name: Callable[[Placed], bytes]
    """What the request is about: a key, a queue, a stream."""
    arguments: Callable[[Placed], Arguments]
    answer: Callable[[Result], wire.Result]
    early: Callable[[Placed], Refusal | None] | None = None
    """What can be refused without asking the partition; nothing has run then."""
    wait_ms: Callable[[Placed], int] | None = None
    """How long the request waits for something to come; 0 does not."""
    waiting: Operation | None = None
    """What is done instead when it waits; without one, the same."""
    txn: Callable[[Placed], int | None] | None = None
    """The transaction that the request is part of."""
    in_transaction: Callable[[Result], wire.Result] | None = None
    """Its answer there; without it the operation cannot be part of one."""
    bounded: bool = False
    """How many bytes the answer may have is added to the arguments: it depends on the client."""
    grows: bool = False
    """How many bytes the value may have afterwards is added, for the same reason."""
    empty: wire.Result | Refusal | None = None
    """The answer when nothing was there, or came in time."""


def row(
    code: int,
    name: Callable[[B], bytes],
    arguments: Callable[[B], Arguments],
    answer: Callable[[Result], wire.Result],
    *,
    is_write: bool,
) -> Operation:
    """An operation from functions of its own request type."""
    # The wire registry pairs each code with its request type, so forgetting it here is safe.
    return Operation(
        code,
        is_write,
        cast("Callable[[Placed], bytes]", name),
        cast("Callable[[Placed], Arguments]", arguments),
        answer,
    )


def to_answer(operation: Operation, result: Result) -> Answer:
    """The wire's answer for a result of the state machine or of a query."""
    if result[0] == EMPTY and operation.empty is not None:
        return operation.empty
    if result[0] != 0:
        return refusal_of(result)
    try:
        return operation.answer(result)
    except (LookupError, TypeError, ValueError):
        # The result kept for this sequence is that of another kind of command.
        text = "this sequence of the session was used for another operation: use each once"
        return Refusal(Reason.CONFLICTING_FIELDS, Ran.NO, text)


def refusal_of(result: Result) -> Refusal:
    """A command that was refused by the state: it changed nothing.

    A text after the reason says why, where one reason has several.
    """
    code = cast(int, result[0])
    if code == GROUP_LOCKED:
        text = "the group is exclusive, and as many consumers stand by as it allows"
        return Refusal(Reason.UNCLASSIFIED, Ran.NO, text, Status.GROUP_LOCKED)
    if len(result) > 1 and type(result[1]) is bytes:
        return Refusal(Reason(code), Ran.NO, result[1].decode())
    message = _MESSAGES.get(code)
    if message is None:
        text = f"the leader answered with code {code}, which this node's version does not know"
        return Refusal(Reason.UNCLASSIFIED, Ran.UNKNOWN, text)
    return Refusal(Reason(code), Ran.NO, message(result))


def _cas_message(result: Result) -> str:
    return f"the version is {result[1]}" if result[1] else "there is no such key"


def _condition_message(result: Result) -> str:
    return "the key exists" if result[1] else "the key does not exist"


_MESSAGES: dict[int, Callable[[Result], str]] = {
    Reason.CAS_MISMATCH: _cas_message,
    Reason.CONDITION_FAILED: _condition_message,
    Reason.NOT_FOUND: lambda _: "no such key",
    Reason.WRONG_TYPE: lambda _: "the value is no counter: it is not 8 bytes long",
    Reason.OUT_OF_RANGE: lambda _: "the counter would leave the signed 64-bit range",
    Reason.NO_SUCH_TRANSACTION: lambda _: (
        "the transaction is not open: it ended, was idle for a minute, or its leader changed"
    ),
    Reason.TXN_TOO_LARGE: lambda _: (
        "a transaction has at most 256 operations, 1 MiB of keys and values, and writes 4 MiB of"
        " values, those that get another time to live included; it stays open without this one"
    ),
    Reason.TOO_MANY_TRANSACTIONS: lambda _: "this node has too many open transactions",
    Reason.INTERNAL: lambda _: "the node made a mistake; its log has the details",
}
