"""Every operation that is served: one row each, and nothing about an operation anywhere else.

The rows of queues and streams are in modules of their own.

Numbers are the protocol's, or ours from 0xF000 up; a number is never reused for something else.
"""

from __future__ import annotations

from flo.wire import kv_history, kv_json, kv_v1, kv_v2, own_ops, queue_ops, stream_ops, txn
from flo.wire.kv_messages import (
    History,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
    TxnBegin,
    TxnBegun,
    TxnCommit,
    TxnCommitted,
    TxnRollback,
)
from flo.wire.messages import (
    Body,
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
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    SessionOpened,
    Stored,
    Value,
    Values,
)
from flo.wire.op import KEY_READ, KEY_WRITE, NODE, TXN_END, Op, Traits, messages, row

# Operations that v2 carries as two names and a body. Ping alone keeps the v1 payload there.
V2_TABLE_CODES = frozenset(
    (*range(0x100, 0x106), *range(0x10B, 0x10F), *range(0x110, 0x114), 0x115, 0x302, 0x323)
)

_ROWS = (
    row(0x000, "ping", NODE, messages(Ping, Pong, own_ops.PING, own_ops.PING)),
    row(0x100, "kv.put", KEY_WRITE, messages(KvPut, Stored, kv_v1.PUT, kv_v2.SET)),
    row(0x101, "kv.get", KEY_READ, messages(KvGet, Value, kv_v1.GET, kv_v2.GET)),
    row(
        0x102,
        "kv.mget",
        Traits("read", "keys", True),
        messages(KvMget, Values, kv_v1.MGET, kv_v2.MGET),
    ),
    row(0x103, "kv.delete", KEY_WRITE, messages(KvDelete, Deleted, kv_v1.DELETE, kv_v2.DELETE)),
    row(
        0x104,
        "kv.scan",
        Traits("read", "all", True),
        messages(KvScan, Page, kv_v1.SCAN, kv_v2.SCAN),
    ),
    row(
        0x105,
        "kv.history",
        KEY_READ,
        messages(KvHistory, History, kv_history.V1, kv_history.V2),
    ),
    row(0x10B, "kv.incr", KEY_WRITE, messages(KvIncr, Counter, kv_v1.INCR, kv_v2.INCR)),
    row(
        0x10C,
        "kv.json_get",
        KEY_READ,
        messages(KvJsonGet, Value, kv_json.GET_V1, kv_json.GET_V2),
    ),
    row(
        0x10D,
        "kv.json_set",
        KEY_WRITE,
        messages(KvJsonSet, Stored, kv_json.SET_V1, kv_json.SET_V2),
    ),
    row(
        0x10E,
        "kv.json_delete",
        KEY_WRITE,
        messages(KvJsonDelete, Stored, kv_json.DELETE_V1, kv_json.DELETE_V2),
    ),
    row(
        0x110,
        "kv.txn_begin",
        # Begun twice, the first is never used and ends.
        Traits("write", "routing_key", True),
        messages(TxnBegin, TxnBegun, txn.BEGIN_V1, txn.BEGIN_V2),
    ),
    row(
        0x111,
        "kv.txn_commit",
        TXN_END,
        messages(TxnCommit, TxnCommitted, txn.COMMIT_V1, txn.COMMIT_V2),
    ),
    row(
        0x112,
        "kv.txn_rollback",
        TXN_END,
        messages(TxnRollback, Done, txn.ROLLBACK_V1, txn.ROLLBACK_V2),
    ),
    row(0x113, "kv.expire", KEY_WRITE, messages(KvExpire, Done, kv_v1.TOUCH, kv_v2.EXPIRE)),
    # v2 says kv.expire with 0 instead.
    row(0x114, "kv.persist", KEY_WRITE, messages(KvExpire, Done, kv_v1.PERSIST, None)),
    row(0x115, "kv.exists", KEY_READ, messages(KvExists, Exists, kv_v1.EXISTS, kv_v2.EXISTS)),
    *stream_ops.STREAM_ROWS,
    *stream_ops.GROUP_ROWS,
    *queue_ops.ROWS,
    row(
        0xF000,
        "cluster.partition_table",
        NODE,
        messages(PartitionTableRequest, PartitionTable, own_ops.PARTITION_TABLE, None),
    ),
    row(
        0xF001,
        "cluster.open_session",
        # Opened twice, the first is never used and expires.
        Traits("write", "partition", True),
        messages(OpenSession, SessionOpened, own_ops.OPEN_SESSION, None),
    ),
    row(
        0xF003,
        "cluster.status",
        NODE,
        messages(ClusterStatusRequest, ClusterStatus, own_ops.CLUSTER_STATUS, None),
    ),
    row(
        0xF004,
        "cluster.cancel_wait",
        NODE,
        messages(CancelWait, Done, own_ops.CANCEL_WAIT, None),
    ),
)

OPS: dict[int, Op] = {op.code: op for op in _ROWS}

# What to send for a request. Of two rows with the same request type (expire, persist) the first.
OP_OF_REQUEST: dict[type[Body], Op] = {op.request: op for op in reversed(_ROWS)}
