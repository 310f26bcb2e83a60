"""Every operation that is served: one row each, and nothing about an operation anywhere else.

Numbers are the protocol's, or ours from 0xF000 up; a number is never reused for something else.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, TypeVar, cast

from flo.wire import kv_v1, kv_v2, own_ops
from flo.wire.codec import Codec
from flo.wire.messages import (
    Body,
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
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    Result,
    SessionOpened,
    Stored,
    Value,
    Values,
)

Kind: TypeAlias = Literal["read", "write", "node"]
Routing: TypeAlias = Literal["key", "keys", "all", "partition", "none"]
AnyCodec: TypeAlias = Codec[Body, Result]

# Operations that v2 carries as two names and a body. Ping alone keeps the v1 payload there.
V2_TABLE_CODES = frozenset(
    (*range(0x100, 0x106), *range(0x10B, 0x10F), *range(0x110, 0x114), 0x115, 0x302, 0x323)
)


class Op(NamedTuple):
    """One operation.

    `kind`: a read or write of a partition, or answered by the node itself. `routing`: by the
    request's key, each of its keys, all partitions, the partition it names, or none. `idempotent`:
    sending it again after an unknown outcome changes nothing, so it needs no session. A codec is
    None where the revision does not have the operation.
    """

    code: int
    name: str
    request: type[Body]
    result: type[Result]
    kind: Kind
    routing: Routing
    idempotent: bool
    v1: AnyCodec | None
    v2: AnyCodec | None


class _Traits(NamedTuple):
    kind: Kind
    routing: Routing
    idempotent: bool


_KEY_READ = _Traits("read", "key", True)
_KEY_WRITE = _Traits("write", "key", False)
_NODE = _Traits("node", "none", True)

_B = TypeVar("_B", bound=Body)
_R = TypeVar("_R", bound=Result)


class _Messages(NamedTuple):
    request: type[Body]
    result: type[Result]
    v1: AnyCodec | None
    v2: AnyCodec | None


def _messages(
    request: type[_B], result: type[_R], v1: Codec[_B, _R], v2: Codec[_B, _R] | None
) -> _Messages:
    # Whoever looks a row up by its code or request type hands it that request type again, so
    # forgetting the exact types is safe; the parameters are what checks that a row fits together.
    return _Messages(
        cast("type[Body]", request),
        cast("type[Result]", result),
        cast("AnyCodec", v1),
        None if v2 is None else cast("AnyCodec", v2),
    )


def _row(code: int, name: str, traits: _Traits, messages: _Messages) -> Op:
    return Op(
        code,
        name,
        messages.request,
        messages.result,
        traits.kind,
        traits.routing,
        traits.idempotent,
        messages.v1,
        messages.v2,
    )


_ROWS = (
    _row(0x000, "ping", _NODE, _messages(Ping, Pong, own_ops.PING, own_ops.PING)),
    _row(0x100, "kv.put", _KEY_WRITE, _messages(KvPut, Stored, kv_v1.PUT, kv_v2.SET)),
    _row(0x101, "kv.get", _KEY_READ, _messages(KvGet, Value, kv_v1.GET, kv_v2.GET)),
    _row(
        0x102,
        "kv.mget",
        _Traits("read", "keys", True),
        _messages(KvMget, Values, kv_v1.MGET, kv_v2.MGET),
    ),
    _row(0x103, "kv.delete", _KEY_WRITE, _messages(KvDelete, Deleted, kv_v1.DELETE, kv_v2.DELETE)),
    _row(
        0x104,
        "kv.scan",
        _Traits("read", "all", True),
        _messages(KvScan, Page, kv_v1.SCAN, kv_v2.SCAN),
    ),
    _row(0x10B, "kv.incr", _KEY_WRITE, _messages(KvIncr, Counter, kv_v1.INCR, kv_v2.INCR)),
    _row(0x113, "kv.expire", _KEY_WRITE, _messages(KvExpire, Done, kv_v1.TOUCH, kv_v2.EXPIRE)),
    # v2 says kv.expire with 0 instead.
    _row(0x114, "kv.persist", _KEY_WRITE, _messages(KvExpire, Done, kv_v1.PERSIST, None)),
    _row(0x115, "kv.exists", _KEY_READ, _messages(KvExists, Exists, kv_v1.EXISTS, kv_v2.EXISTS)),
    _row(
        0xF000,
        "cluster.partition_table",
        _NODE,
        _messages(PartitionTableRequest, PartitionTable, own_ops.PARTITION_TABLE, None),
    ),
    _row(
        0xF001,
        "cluster.open_session",
        # Opened twice, the first is never used and expires.
        _Traits("write", "partition", True),
        _messages(OpenSession, SessionOpened, own_ops.OPEN_SESSION, None),
    ),
    _row(
        0xF003,
        "cluster.status",
        _NODE,
        _messages(ClusterStatusRequest, ClusterStatus, own_ops.CLUSTER_STATUS, None),
    ),
)

OPS: dict[int, Op] = {op.code: op for op in _ROWS}

# What to send for a request. Of two rows with the same request type (expire, persist) the first.
OP_OF_REQUEST: dict[type[Body], Op] = {op.request: op for op in reversed(_ROWS)}
