"""The golden vectors, and what they say in our own types.

`requests.jsonl` and `responses.jsonl` are the official SDKs' bytes, with the SDKs' names for
fields; `own.jsonl` holds our extensions, written from the layouts and not by the codec.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from flo.wire import (
    OPS,
    Body,
    CallContext,
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
    Op,
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

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
TXN = 7
TXN_ROUTING_KEY = b"acct:1"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool | None"
Args: TypeAlias = dict[str, Json]


class Vector(NamedTuple):
    """One line of a vector file."""

    name: str
    revision: int
    op_name: str
    code: int | None
    args: Args
    frames: tuple[bytes, ...]
    row: Args

    @property
    def frame(self) -> bytes:
        """The only frame, or the last: what comes before it opens a transaction."""
        return self.frames[-1]

    @property
    def in_txn(self) -> bool:
        return "in txn" in self.op_name

    @property
    def op(self) -> Op:
        assert self.code is not None
        return OPS[self.code]


def load(name: str, codes: dict[str, int]) -> list[Vector]:
    """`codes` by the operations' names, for rows that tell the name alone."""
    vectors: list[Vector] = []
    for line in (VECTORS / name).read_text().splitlines():
        row = cast("Args", json.loads(line))
        hexes = row["hex"]
        frames = hexes if isinstance(hexes, list) else [hexes]
        op_name = str(row["op"])
        code = row.get("code", codes.get(op_name.split(" ")[0]))
        vectors.append(
            Vector(
                f"{name}:{row['n']}:{op_name}",
                int(str(row["wire"])[1:]),
                op_name,
                code if isinstance(code, int) else None,
                cast("Args", row["args"]),
                tuple(bytes.fromhex(str(frame)) for frame in frames),
                row,
            )
        )
    return vectors


REQUESTS = load("requests.jsonl", {})
# Of all operations, also of those that are not served yet: their answers wait for them here.
CODES = {op.name: op.code for op in OPS.values()} | {
    v.op_name.split(" ")[0]: v.code for v in REQUESTS if v.revision > 0 and v.code is not None
}
RESPONSES = load("responses.jsonl", CODES)
OWN = load("own.jsonl", CODES)
OWN_REQUESTS = [vector for vector in OWN if vector.row["kind"] == "request"]
OWN_RESPONSES = [vector for vector in OWN if vector.row["kind"] == "response"]
SERVED_REQUESTS = [v for v in REQUESTS if v.revision > 0 and v.code in OPS]
OTHER_REQUESTS = [v for v in REQUESTS if v.revision > 0 and v.code not in OPS]
# What an SDK makes of bytes that no server may send is not among the answers of an operation.
SERVED_RESPONSES = [
    v for v in RESPONSES if v.code in OPS and v.op_name not in ("error", "bad frame")
]


def _bytes(value: Json) -> bytes:
    """Text, `bytes:` and hex digits, or an object with hex digits."""
    if isinstance(value, dict):
        return bytes.fromhex(str(value["hex"]))
    text = "" if value is None else str(value)
    return bytes.fromhex(text[6:]) if text.startswith("bytes:") else text.encode()


def _integer(args: Args, *names: str) -> int | None:
    for name in names:
        value = args.get(name)
        if value is not None:
            assert isinstance(value, int)
            return value
    return None


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value


def _dict(value: Json) -> Args:
    assert isinstance(value, dict)
    return value


def _ttl_ms(args: Args) -> int | None:
    seconds = _integer(args, "ttl_seconds")
    return _integer(args, "ttl_ms") if seconds is None else seconds * 1000


def context_of(vector: Vector) -> CallContext | None:
    args = vector.args
    if not {"session", "stale", "deadline_ms"} & set(args):
        return None
    return CallContext(
        _integer(args, "session"),
        _integer(args, "sequence"),
        _integer(args, "floor"),
        args.get("stale") is True,
        _integer(args, "deadline_ms"),
    )


def request_of(vector: Vector) -> Body:
    """The request that the arguments of a call stand for, as its sender builds it."""
    args = vector.args
    namespace = _bytes(args.get("namespace", "default"))
    key = _bytes(args.get("key", "k"))
    routing = args.get("routing_key")
    routing_key = TXN_ROUTING_KEY if vector.in_txn else _bytes(routing) if routing else None
    txn = TXN if vector.in_txn else _integer(args, "txn")
    cas = _integer(args, "cas_version", "if_match")
    match vector.op.name:
        case "ping":
            return Ping()
        case "kv.put":
            return KvPut(
                namespace,
                key,
                _bytes(args["value"]),
                _ttl_ms(args),
                args.get("nx") is True or args.get("condition") == "IF_ABSENT",
                args.get("xx") is True or args.get("condition") == "IF_PRESENT",
                cas,
                routing_key,
                txn,
            )
        case "kv.get":
            change = args.get("wait_for") == "CHANGE" or args.get("wait_for_change") is True
            wait_ms = _integer(args, "wait_ms", "block_ms") or 0
            return KvGet(namespace, key, wait_ms, change, routing_key, txn)
        case "kv.mget":
            keys = [_bytes(name) for name in _list(args["keys"])]
            keys = keys[1:] if "2 of 2" in vector.op_name else keys
            return KvMget(namespace, tuple(keys), routing_key)
        case "kv.delete":
            return KvDelete(namespace, key, cas, routing_key, txn)
        case "kv.scan":
            return _scan_of(vector, namespace)
        case "kv.incr":
            delta = _integer(args, "delta")
            return KvIncr(namespace, key, 1 if delta is None else delta, routing_key, txn)
        case "kv.expire" | "kv.persist":
            return KvExpire(namespace, key, _ttl_ms(args) or 0, cas, routing_key, txn)
        case "kv.exists":
            return KvExists(namespace, key, routing_key, txn)
        case "cluster.partition_table":
            return PartitionTableRequest()
        case "cluster.open_session":
            return OpenSession(_integer(args, "partition") or 0)
        case "cluster.status":
            return ClusterStatusRequest(_integer(args, "partition"), args["digest"] is True)
        case name:
            raise AssertionError(f"{name} has no mapping from the vectors")


def _scan_of(vector: Vector, namespace: bytes) -> KvScan:
    args = vector.args
    limit = _integer(args, "limit")
    v2 = vector.revision == 2
    return KvScan(
        namespace,
        _bytes(args["prefix"]),
        1024 if v2 and limit is None else limit,
        _bytes(args.get("cursor")),
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
        return _raised(vector, _dict(vector.row["raises"]))
    if "refused" in vector.row:
        reason, ran, message = (str(part) for part in _list(vector.row["refused"]))
        return Refusal(Reason[reason], Ran[ran], message)
    return _result(vector, vector.row["ok"])


def _raised(vector: Vector, raises: Args) -> Refusal:
    if vector.revision == 2:
        reason = Reason[str(raises["reason"])]
        refusal = Refusal(reason, Ran[str(raises["ran"])], str(raises["message"]))
        status = Status(_integer(raises, "status") or 0)
        return refusal if refusal.status is status else refusal._replace(wire_status=status)
    status = Status(_integer(raises, "server_error_status") or 0)
    return Refusal(Reason.UNCLASSIFIED, Ran.NO, vector.frame[32:].decode(), status)


def _result(vector: Vector, ok: Json) -> Result | Refusal:
    args = vector.args
    fields = {name.lower(): value for name, value in ok.items()} if isinstance(ok, dict) else {}
    version = _integer(fields, "version") or 0
    match vector.op.name:
        case "ping":
            return Pong()
        case "kv.put":
            return Stored(version or None)
        case "kv.get":
            if ok is None:
                return _not_found(vector)
            return Value(version, _bytes(fields["value"]))
        case "kv.mget":
            return Values(tuple(_entry(_dict(entry)) for entry in _list(ok)))
        case "kv.delete":
            return _deleted(vector, ok)
        case "kv.scan":
            return _page(fields)
        case "kv.incr":
            return _counter(vector, ok)
        case "kv.expire" | "kv.persist":
            return _not_found(vector) if args["key"] == "missing" else Done()
        case "kv.exists":
            return Exists(ok is True, 0 if ok is False or vector.in_txn else 5)
        case "cluster.partition_table":
            return PartitionTable(
                _integer(fields, "table_version") or 0,
                tuple(_row(_dict(row)) for row in _list(fields["partitions"])),
            )
        case "cluster.open_session":
            return SessionOpened(_integer(fields, "session") or 0)
        case "cluster.status":
            return ClusterStatus(_bytes(fields["document"]))
        case name:
            raise AssertionError(f"{name} has no mapping from the vectors")


def _not_found(vector: Vector) -> Refusal:
    return Refusal(Reason.NOT_FOUND, Ran.NO, "no such key" if vector.revision == 2 else "")


def _entry(entry: Args) -> ValueEntry:
    fields = {name.lower(): value for name, value in entry.items()}
    return ValueEntry(
        _bytes(fields["key"]),
        fields["found"] is True,
        _integer(fields, "version") or 0,
        _bytes(fields["value"]),
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
        entries = [PageEntry(_bytes(name), b"") for name in _list(fields["names"])]
    else:
        rows = [_dict(entry) for entry in _list(fields["entries"])]
        entries = [PageEntry(_bytes(row["Key"]), _bytes(row["Value"])) for row in rows]
    return Page(tuple(entries), None if cursor is None else _bytes(cursor))


def _counter(vector: Vector, ok: Json) -> Counter:
    if isinstance(ok, dict):
        return Counter(_integer(ok, "version"), _integer(ok, "value"))
    if vector.in_txn:
        return Counter(None, ok if isinstance(ok, int) else None)
    # The v1 SDK shows no version: it is 20 at the first increment and 21 at the second.
    assert isinstance(ok, int)
    return Counter(20 if ok == 1 else 21, ok)


def _row(row: Args) -> PartitionRow:
    leader = row["leader"]
    return PartitionRow(
        None if leader is None else str(leader),
        tuple(str(address) for address in _list(row["replicas"])),
    )
