"""One row per operation on a key: from the wire's request to a command or a query, and from its
result back to the wire.

The table is the only place in the node that knows an operation; gateway, router and forwarding
have no cases of their own.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar, cast

from cluster.queries import EXISTS, GET, Result
from cluster.state.commands import DELETE, EXPIRE, INCR, PUT
from flo.wire import messages as wire
from flo.wire.status import Ran, Reason, Refusal

Answer: TypeAlias = wire.Result | Refusal
Arguments: TypeAlias = tuple[object, ...]
KeyBody: TypeAlias = (
    wire.KvPut | wire.KvGet | wire.KvDelete | wire.KvIncr | wire.KvExpire | wire.KvExists
)

RESERVED_PREFIXES = (b"_action:", b"_worker:", b"_sys:", b"_internal:", b"_flo:")

_B = TypeVar("_B", bound=KeyBody)


class KeyOperation(NamedTuple):
    """An operation on one key, which lives in the partition that the key hashes to."""

    code: int
    """Of the command in the log, or of the query."""
    is_write: bool
    arguments: Callable[[KeyBody], Arguments]
    answer: Callable[[Result], wire.Result]


def refuse_early(body: KeyBody) -> Refusal | None:
    """What can be refused without asking the partition; nothing has run then."""
    if body.key.startswith(RESERVED_PREFIXES):
        return Refusal(Reason.RESERVED_KEY, Ran.NO, "keys that begin with this are reserved")
    if body.txn is not None:
        message = f"transaction {body.txn} is not open"
        return Refusal(Reason.NO_SUCH_TRANSACTION, Ran.NO, message)
    if isinstance(body, wire.KvGet) and body.wait_ms:
        return Refusal(Reason.UNKNOWN_OP, Ran.NO, "this version does not serve waiting gets")
    return None


def to_answer(operation: KeyOperation, result: Result) -> Answer:
    """The wire's answer for a result of the state machine or of a query."""
    if result[0] != 0:
        return refusal_of(result)
    try:
        return operation.answer(result)
    except (LookupError, TypeError, ValueError):
        # The result kept for this sequence is that of another kind of command.
        text = "this sequence of the session was used for another operation: use each once"
        return Refusal(Reason.CONFLICTING_FIELDS, Ran.NO, text)


def refusal_of(result: Result) -> Refusal:
    """A command that was refused by the state: it changed nothing."""
    code = cast(int, result[0])
    message = _MESSAGES.get(code)
    if message is None:
        text = f"the leader answered with code {code}, which this node's version does not know"
        return Refusal(Reason.UNCLASSIFIED, Ran.UNKNOWN, text)
    return Refusal(Reason(code), Ran.NO, message(result))


def _condition_message(result: Result) -> str:
    return "the key exists" if result[1] else "the key does not exist"


_MESSAGES: dict[int, Callable[[Result], str]] = {
    Reason.CAS_MISMATCH: lambda result: f"the version is {result[1]}",
    Reason.CONDITION_FAILED: _condition_message,
    Reason.NOT_FOUND: lambda _: "no such key",
    Reason.WRONG_TYPE: lambda _: "the value is no counter: it is not 8 bytes long",
    Reason.OUT_OF_RANGE: lambda _: "the counter would leave the signed 64-bit range",
    Reason.INTERNAL: lambda _: "the node made a mistake; its log has the details",
}


def _put_arguments(body: wire.KvPut) -> Arguments:
    flags = body.if_absent | body.if_present << 1
    return body.namespace, body.key, body.value, body.ttl_ms or 0, flags, body.cas


def _delete_arguments(body: wire.KvDelete) -> Arguments:
    return body.namespace, body.key, body.cas


def _incr_arguments(body: wire.KvIncr) -> Arguments:
    return body.namespace, body.key, body.delta


def _expire_arguments(body: wire.KvExpire) -> Arguments:
    return body.namespace, body.key, body.ttl_ms, body.cas


def _key_arguments(body: wire.KvGet | wire.KvExists) -> Arguments:
    return body.namespace, body.key


def _stored(result: Result) -> wire.Result:
    return wire.Stored(cast(int, result[1]))


def _value(result: Result) -> wire.Result:
    return wire.Value(cast(int, result[1]), cast(bytes, result[2]))


def _deleted(result: Result) -> wire.Result:
    return wire.Deleted(bool(result[1]))


def _counter(result: Result) -> wire.Result:
    return wire.Counter(cast(int, result[1]), cast(int, result[2]))


def _done(_result: Result) -> wire.Result:
    return wire.Done()


def _exists(result: Result) -> wire.Result:
    return wire.Exists(bool(result[1]), cast(int, result[2]))


def _row(
    code: int,
    arguments: Callable[[_B], Arguments],
    answer: Callable[[Result], wire.Result],
    *,
    is_write: bool,
) -> KeyOperation:
    # The wire registry pairs each code with its request type, so forgetting it here is safe.
    return KeyOperation(code, is_write, cast(Callable[[KeyBody], Arguments], arguments), answer)


KEY_OPERATIONS: dict[int, KeyOperation] = {
    0x100: _row(PUT, _put_arguments, _stored, is_write=True),
    0x101: _row(GET, _key_arguments, _value, is_write=False),
    0x103: _row(DELETE, _delete_arguments, _deleted, is_write=True),
    0x10B: _row(INCR, _incr_arguments, _counter, is_write=True),
    0x113: _row(EXPIRE, _expire_arguments, _done, is_write=True),
    0x114: _row(EXPIRE, _expire_arguments, _done, is_write=True),
    0x115: _row(EXISTS, _key_arguments, _exists, is_write=False),
}
"""By the wire's operation code."""
