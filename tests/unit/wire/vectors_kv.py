"""What the vectors of history, JSON and transactions say in our own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flo.wire import (
    Body,
    Done,
    History,
    HistoryEntry,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    Ran,
    Reason,
    Refusal,
    Result,
    Stored,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnCommitted,
    TxnRollback,
    Value,
)
from tests.unit.wire.vector_files import (
    TXN_ROUTING_KEY,
    Args,
    Json,
    Vector,
    as_bytes,
    as_dict,
    as_integer,
    as_list,
    not_found,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_HISTORY_LIMIT_DEFAULT = 10


def _names(vector: Vector) -> tuple[bytes, bytes]:
    return as_bytes(vector.args.get("namespace", "default")), as_bytes(vector.args.get("key"))


def _routing_key(vector: Vector) -> bytes | None:
    routing = vector.args.get("routing_key")
    return as_bytes(routing) if routing else None


def _path(vector: Vector) -> bytes:
    """The v2 SDK writes the path that it takes for none."""
    return as_bytes(vector.args.get("path", "$" if vector.revision == 2 else ""))


def _number(fields: Args, name: str) -> int:
    number = as_integer(fields, name)
    assert number is not None
    return number


def _lower(ok: Json) -> Args:
    return {name.lower(): value for name, value in as_dict(ok).items()}


def _history(vector: Vector) -> Body:
    # As the path: the default is written.
    default = _HISTORY_LIMIT_DEFAULT if vector.revision == 2 else None
    limit = as_integer(vector.args, "limit")
    return KvHistory(*_names(vector), default if limit is None else limit, _routing_key(vector))


def _json_get(vector: Vector) -> Body:
    return KvJsonGet(*_names(vector), _path(vector), _routing_key(vector))


def _json_set(vector: Vector) -> Body:
    document = as_bytes(vector.args["json"])
    return KvJsonSet(*_names(vector), _path(vector), document, _routing_key(vector))


def _json_delete(vector: Vector) -> Body:
    return KvJsonDelete(*_names(vector), _path(vector), _routing_key(vector))


def _begin(vector: Vector) -> Body:
    return TxnBegin(_names(vector)[0], as_bytes(vector.args["routing_key"]))


def _ended(vector: Vector) -> tuple[bytes, bytes | None, int]:
    routing_key = TXN_ROUTING_KEY if vector.revision == 1 else None
    return _names(vector)[0], routing_key, _number(vector.args, "txn")


def _commit(vector: Vector) -> Body:
    return TxnCommit(*_ended(vector))


def _rollback(vector: Vector) -> Body:
    return TxnRollback(*_ended(vector))


def _history_result(vector: Vector, ok: Json) -> Result | Refusal:
    rows = [_lower(row) for row in as_list(ok)]
    if not rows:
        return not_found(vector)._replace(message="")
    return History(
        tuple(
            HistoryEntry(
                _number(row, "version"),
                _number(row, "at_ms" if vector.revision == 2 else "timestamp"),
                as_bytes(row["value"]),
            )
            for row in rows
        )
    )


def _json_value(vector: Vector, ok: Json) -> Result | Refusal:
    if ok is None:
        return not_found(vector)
    # The v2 SDK has parsed the document already: it is what follows version and length.
    value = vector.frame[44:] if vector.revision == 2 else as_bytes(as_dict(ok)["Value"])
    return Value(_number(_lower(ok), "version"), value)


def _json_stored(vector: Vector, ok: Json) -> Result | Refusal:
    if "not-found body" in str(vector.args.get("note")):
        return Refusal(Reason.NOT_FOUND, Ran.NO, "not found")
    return Stored(None if ok is None else _number(_lower(ok), "version") or None)


def _begun(_vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    txn = as_integer(fields, "id", "txn_id")
    assert txn is not None
    return TxnBegun(txn, _number(fields, "pinned_hash"))


def _committed(vector: Vector, ok: Json) -> Result:
    fields = as_dict(ok)
    if vector.revision == 2:
        return TxnCommitted(_number(fields, "commit_index"), _number(fields, "op_count"))
    return TxnCommitted(_number(fields, "CommitIndex"), _number(fields, "OpCount"))


def _done(_vector: Vector, _ok: Json) -> Result:
    return Done()


REQUESTS: dict[str, Callable[[Vector], Body]] = {
    "kv.history": _history,
    "kv.json_get": _json_get,
    "kv.json_set": _json_set,
    "kv.json_delete": _json_delete,
    "kv.txn_begin": _begin,
    "kv.txn_commit": _commit,
    "kv.txn_rollback": _rollback,
}

RESULTS: dict[str, Callable[[Vector, Json], Result | Refusal]] = {
    "kv.history": _history_result,
    "kv.json_get": _json_value,
    "kv.json_set": _json_stored,
    "kv.json_delete": _json_stored,
    "kv.txn_begin": _begun,
    "kv.txn_commit": _committed,
    "kv.txn_rollback": _done,
}
