"""The operations on keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.operation import Operation, Placed, refusal_of, row
from cluster.queries import EXISTS, GET, HISTORY, JSON_GET, WAIT_GET, Result
from cluster.state import json_path
from cluster.state.commands import DELETE, EXPIRE, INCR, JSON_DELETE, JSON_SET, PUT
from flo.wire import messages as wire
from flo.wire.kv_messages import (
    History,
    HistoryEntry,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
)
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.operation import Arguments

RESERVED_PREFIXES = (b"_action:", b"_worker:", b"_sys:", b"_internal:", b"_flo:")

KeyBody: TypeAlias = (
    wire.KvPut | wire.KvGet | wire.KvDelete | wire.KvIncr | wire.KvExpire | wire.KvExists
)
JsonBody: TypeAlias = KvJsonGet | KvJsonSet | KvJsonDelete

_HISTORY_LIMIT_DEFAULT = 10


def _refuse_early(placed: Placed) -> Refusal | None:
    if cast("KeyBody", placed).key.startswith(RESERVED_PREFIXES):
        return Refusal(Reason.RESERVED_KEY, Ran.NO, "keys that begin with this are reserved")
    return None


def _refuse_json_early(placed: Placed) -> Refusal | None:
    body = cast("JsonBody", placed)
    refusal = _refuse_early(placed)
    if refusal is None:
        try:
            json_path.parse_path(body.path)
            if isinstance(body, KvJsonSet):
                json_path.read_document(body.document)
        except json_path.JsonError as error:
            return refusal_of(error.result)
    return refusal


def _txn(placed: Placed) -> int | None:
    return cast("KeyBody", placed).txn


def _key(body: KeyBody | KvHistory | JsonBody) -> bytes:
    return body.key


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


def _history_arguments(body: KvHistory) -> Arguments:
    return body.namespace, body.key, body.limit or _HISTORY_LIMIT_DEFAULT


def _path_arguments(body: KvJsonGet | KvJsonDelete) -> Arguments:
    return body.namespace, body.key, body.path


def _json_set_arguments(body: KvJsonSet) -> Arguments:
    return body.namespace, body.key, body.path, body.document


def _wait_arguments(body: wire.KvGet) -> Arguments:
    return body.namespace, body.key, body.wait_for_change, -1


def _wait_ms(placed: Placed) -> int:
    return cast("wire.KvGet", placed).wait_ms


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


def _history(result: Result) -> wire.Result:
    versions = cast("list[tuple[int, int, bytes]]", result[1])
    return History(tuple(HistoryEntry(*each) for each in versions))


def _json_stored(result: Result) -> wire.Result:
    if not isinstance(result[1], int):
        raise TypeError("no version")
    return wire.Stored(result[1])


def _json_deleted(result: Result) -> wire.Result:
    return wire.Stored(cast("int | None", result[1]))


def _stored_in_transaction(_result: Result) -> wire.Result:
    return wire.Stored(None)


def _deleted_in_transaction(_result: Result) -> wire.Result:
    return wire.Deleted(None)


def _counter_in_transaction(result: Result) -> wire.Result:
    return wire.Counter(None, cast(int, result[2]))


def _write(
    code: int,
    arguments: Callable[..., Arguments],
    answer: Callable[[Result], wire.Result],
) -> Operation:
    return row(code, _key, arguments, answer, is_write=True)._replace(
        early=_refuse_early, txn=_txn, in_transaction=_IN_TRANSACTION[code]
    )


def _read(
    code: int,
    arguments: Callable[..., Arguments],
    answer: Callable[[Result], wire.Result],
) -> Operation:
    return row(code, _key, arguments, answer, is_write=False)._replace(
        early=_refuse_early, txn=_txn, in_transaction=answer
    )


_IN_TRANSACTION: dict[int, Callable[[Result], wire.Result]] = {
    PUT: _stored_in_transaction,
    DELETE: _deleted_in_transaction,
    INCR: _counter_in_transaction,
    EXPIRE: _done,
}
_GET = _read(GET, _key_arguments, _value)._replace(
    wait_ms=_wait_ms,
    waiting=_read(WAIT_GET, _wait_arguments, _value)._replace(
        empty=Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")
    ),
)

_HISTORY = row(HISTORY, _key, _history_arguments, _history, is_write=False)
_JSON_GET = row(JSON_GET, _key, _path_arguments, _value, is_write=False)
_JSON_SET = row(JSON_SET, _key, _json_set_arguments, _json_stored, is_write=True)
_JSON_DELETE = row(JSON_DELETE, _key, _path_arguments, _json_deleted, is_write=True)

KV_OPERATIONS: dict[int, Operation] = {
    0x100: _write(PUT, _put_arguments, _stored),
    0x101: _GET,
    0x103: _write(DELETE, _delete_arguments, _deleted),
    0x105: _HISTORY._replace(early=_refuse_early, bounded=True),
    0x10B: _write(INCR, _incr_arguments, _counter),
    0x10C: _JSON_GET._replace(early=_refuse_json_early),
    0x10D: _JSON_SET._replace(early=_refuse_json_early, grows=True),
    0x10E: _JSON_DELETE._replace(early=_refuse_json_early),
    0x113: _write(EXPIRE, _expire_arguments, _done),
    0x114: _write(EXPIRE, _expire_arguments, _done),
    0x115: _read(EXISTS, _key_arguments, _exists),
}
"""By the wire's operation code."""
