"""The golden vectors, and what they say in our own types.

`requests.jsonl` and `responses.jsonl` are the official SDKs' bytes, with the SDKs' names for
fields; the `own` files hold our extensions, written from the layouts and not by the codec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from flo.wire import (
    OPS,
    Body,
    CallContext,
    CancelWait,
    ClusterStatus,
    ClusterStatusRequest,
    Counter,
    Deleted,
    Done,
    Exists,
    KvDelete,
    KvExists,
    KvExpire,
    KvGet,
    KvIncr,
    KvMget,
    KvPut,
    KvScan,
    OpenSession,
    Page,
    PageEntry,
    PartitionRow,
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    Ran,
    Reason,
    Refusal,
    Result,
    SessionOpened,
    Status,
    Stored,
    Value,
    ValueEntry,
    Values,
)
from tests.unit.wire import vectors_group, vectors_kv, vectors_queue, vectors_stream
from tests.unit.wire.vector_files import (
    TXN,
    TXN_ROUTING_KEY,
    Args,
    Json,
    Vector,
    as_bytes,
    as_dict,
    as_integer,
    as_list,
    load,
    not_found,
)

RequestOf: TypeAlias = Callable[[Vector], Body]
ResultOf: TypeAlias = Callable[[Vector, Json], Result | Refusal]

# By the operation's name: what is not mapped below.
MORE_REQUESTS: dict[str, RequestOf] = {
    **vectors_kv.REQUESTS,
    **vectors_queue.REQUESTS,
    **vectors_stream.REQUESTS,
    **vectors_group.REQUESTS,
}
MORE_RESULTS: dict[str, ResultOf] = {
    **vectors_kv.RESULTS,
    **vectors_queue.RESULTS,
    **vectors_stream.RESULTS,
    **vectors_group.RESULTS,
}

REQUESTS = load("requests.jsonl", {})
# Of all operations, also of those that are not served yet: their answers wait for them here.
CODES = {op.name: op.code for op in OPS.values()} | {
    v.op_name.split(" ")[0]: v.code for v in REQUESTS if v.revision > 0 and v.code is not None
}
RESPONSES = load("responses.jsonl", CODES)
OWN = [
    *load("own.jsonl", CODES),
    *load("own_queues.jsonl", CODES),
    *load("own_streams.jsonl", CODES),
]
OWN_REQUESTS = [vector for vector in OWN if vector.row["kind"] == "request"]
OWN_RESPONSES = [vector for vector in OWN if vector.row["kind"] == "response"]
SERVED_REQUESTS = [v for v in REQUESTS if v.revision > 0 and v.code in OPS]
OTHER_REQUESTS = [v for v in REQUESTS if v.revision > 0 and v.code not in OPS]
# What an SDK makes of bytes that no server may send is not among the answers of an operation.
SERVED_RESPONSES = [
    v for v in RESPONSES if v.code in OPS and v.op_name not in ("error", "bad frame")
]


def _ttl_ms(args: Args) -> int | None:
    seconds = as_integer(args, "ttl_seconds")
    return as_integer(args, "ttl_ms") if seconds is None else seconds * 1000


def context_of(vector: Vector) -> CallContext | None:
    args = vector.args
    if not {"session", "stale", "deadline_ms"} & set(args):
        return None
    return CallContext(
        as_integer(args, "session"),
        as_integer(args, "sequence"),
        as_integer(args, "floor"),
        args.get("stale") is True,
        as_integer(args, "deadline_ms"),
    )


def request_of(vector: Vector) -> Body:
    """The request that the arguments of a call stand for, as its sender builds it."""
    args = vector.args
    namespace = as_bytes(args.get("namespace", "default"))
    key = as_bytes(args.get("key", "k"))
    routing = args.get("routing_key")
    routing_key = TXN_ROUTING_KEY if vector.in_txn else as_bytes(routing) if routing else None
    txn = TXN if vector.in_txn else as_integer(args, "txn")
    cas = as_integer(args, "cas_version", "if_match")
    match vector.op.name:
        case "ping":
            return Ping()
        case "kv.put":
            return KvPut(
                namespace,
                key,
                as_bytes(args["value"]),
                _ttl_ms(args),
                args.get("nx") is True or args.get("condition") == "IF_ABSENT",
                args.get("xx") is True or args.get("condition") == "IF_PRESENT",
                cas,
                routing_key,
                txn,
            )
        case "kv.get":
            change = args.get("wait_for") == "CHANGE" or args.get("wait_for_change") is True
            wait_ms = as_integer(args, "wait_ms", "block_ms") or 0
            return KvGet(namespace, key, wait_ms, change, routing_key, txn)
        case "kv.mget":
            keys = [as_bytes(name) for name in as_list(args["keys"])]
            keys = keys[1:] if "2 of 2" in vector.op_name else keys
            return KvMget(namespace, tuple(keys), routing_key)
        case "kv.delete":
            return KvDelete(namespace, key, cas, routing_key, txn)
        case "kv.scan":
            return _scan_of(vector, namespace)
        case "kv.incr":
            delta = as_integer(args, "delta")
            return KvIncr(namespace, key, 1 if delta is None else delta, routing_key, txn)
        case "kv.expire" | "kv.persist":
            return KvExpire(namespace, key, _ttl_ms(args) or 0, cas, routing_key, txn)
        case "kv.exists":
            return KvExists(namespace, key, routing_key, txn)
        case "cluster.partition_table":
            return PartitionTableRequest()
        case "cluster.open_session":
            return OpenSession(as_integer(args, "partition") or 0)
        case "cluster.cancel_wait":
            return CancelWait(as_integer(args, "request_id") or 0)
        case "cluster.status":
            return ClusterStatusRequest(as_integer(args, "partition"), args["digest"] is True)
        case name:
            return MORE_REQUESTS[name](vector)


def _scan_of(vector: Vector, namespace: bytes) -> KvScan:
    args = vector.args
    limit = as_integer(args, "limit")
    v2 = vector.revision == 2
    return KvScan(
        namespace,
        as_bytes(args["prefix"]),
        1024 if v2 and limit is None else limit,
        as_bytes(args.get("cursor")),
        v2 or args.get("keys_only") is True,
    )


def decoded_request_of(vector: Vector) -> Body:
    """The same as a server shall see it: a TTL of 0 is none."""
    request = request_of(vector)
    if isinstance(request, KvPut) and request.ttl_ms == 0:
        return request._replace(ttl_ms=None)
    return request


def answer_of(vector: Vector) -> Result | Refusal:
    """The result or refusal that an SDK shall see in a response vector."""
    if "raises" in vector.row:
        return _raised(vector, as_dict(vector.row["raises"]))
    if "refused" in vector.row:
        reason, ran, message = (str(part) for part in as_list(vector.row["refused"]))
        return Refusal(Reason[reason], Ran[ran], message)
    return _result(vector, vector.row["ok"])


def _raised(vector: Vector, raises: Args) -> Refusal:
    if "reason" not in raises and vector.revision == 2:
        # The SDK fails over the words of "not found", which it takes for a result.
        return Refusal(Reason.NOT_FOUND, Ran.NO, vector.frame[35:].decode())
    if vector.revision == 2:
        reason = Reason[str(raises["reason"])]
        refusal = Refusal(reason, Ran[str(raises["ran"])], str(raises["message"]))
        status = Status(as_integer(raises, "status") or 0)
        return refusal if refusal.status is status else refusal._replace(wire_status=status)
    status = Status(as_integer(raises, "server_error_status") or 0)
    return Refusal(Reason.UNCLASSIFIED, Ran.NO, vector.frame[32:].decode(), status)


def _result(vector: Vector, ok: Json) -> Result | Refusal:
    args = vector.args
    fields = {name.lower(): value for name, value in ok.items()} if isinstance(ok, dict) else {}
    version = as_integer(fields, "version") or 0
    match vector.op.name:
        case "ping":
            return Pong()
        case "kv.put":
            return Stored(version or None)
        case "kv.get":
            if ok is None:
                return not_found(vector)
            return Value(version, as_bytes(fields["value"]))
        case "kv.mget":
            return Values(tuple(_entry(as_dict(entry)) for entry in as_list(ok)))
        case "kv.delete":
            return _deleted(vector, ok)
        case "kv.scan":
            return _page(fields)
        case "kv.incr":
            return _counter(vector, ok)
        case "kv.expire" | "kv.persist":
            return not_found(vector) if args["key"] == "missing" else Done()
        case "kv.exists":
            return Exists(ok is True, 0 if ok is False or vector.in_txn else 5)
        case "cluster.partition_table":
            return PartitionTable(
                as_integer(fields, "table_version") or 0,
                tuple(_row(as_dict(row)) for row in as_list(fields["partitions"])),
            )
        case "cluster.open_session":
            return SessionOpened(as_integer(fields, "session") or 0)
        case "cluster.cancel_wait":
            return Done()
        case "cluster.status":
            return ClusterStatus(as_bytes(fields["document"]))
        case name:
            return MORE_RESULTS[name](vector, ok)


def _entry(entry: Args) -> ValueEntry:
    fields = {name.lower(): value for name, value in entry.items()}
    return ValueEntry(
        as_bytes(fields["key"]),
        fields["found"] is True,
        as_integer(fields, "version") or 0,
        as_bytes(fields["value"]),
    )


def _deleted(vector: Vector, ok: Json) -> Deleted:
    if vector.in_txn:
        return Deleted(None)
    if isinstance(ok, dict):
        return Deleted(ok["existed"] is True)
    # The v1 SDK says the same of a key that was there and one that was not.
    return Deleted(ok is True if vector.revision == 2 else vector.args["key"] != "missing")


def _page(fields: Args) -> Page:
    cursor = fields["cursor"]
    if "names" in fields:
        entries = [PageEntry(as_bytes(name), b"") for name in as_list(fields["names"])]
    else:
        rows = [as_dict(entry) for entry in as_list(fields["entries"])]
        entries = [PageEntry(as_bytes(row["Key"]), as_bytes(row["Value"])) for row in rows]
    return Page(tuple(entries), None if cursor is None else as_bytes(cursor))


def _counter(vector: Vector, ok: Json) -> Counter:
    if isinstance(ok, dict):
        return Counter(as_integer(ok, "version"), as_integer(ok, "value"))
    if vector.in_txn:
        return Counter(None, ok if isinstance(ok, int) else None)
    # The v1 SDK shows no version: it is 20 at the first increment and 21 at the second.
    assert isinstance(ok, int)
    return Counter(20 if ok == 1 else 21, ok)


def _row(row: Args) -> PartitionRow:
    leader = row["leader"]
    return PartitionRow(
        None if leader is None else str(leader),
        tuple(str(address) for address in as_list(row["replicas"])),
    )
