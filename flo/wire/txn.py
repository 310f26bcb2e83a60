"""To begin, commit and roll back a transaction, in both revisions.

            v1                                              v2
begin       key and option: routing key                     key: routing key; body empty
            answer 0:u8 txn:u64 pinned:u64                  txn:u64 pinned:u64
commit      key and option: routing key; option txn         body txn:u64
            answer 1:u8 commit_index:u64 operations:u16     commit_index:u64 operations:u16
rollback    as commit; answer empty                         as commit; answer empty
"""

from __future__ import annotations

from typing import TypeVar

from flo.wire import tlv
from flo.wire.codec import Codec
from flo.wire.errors import refused, unreadable
from flo.wire.fields import Reader, u8, u16, u64
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted, TxnRollback
from flo.wire.limits import check_routing_key
from flo.wire.messages import Done
from flo.wire.payload import Payload
from flo.wire.status import Reason

_BEGUN, _COMMITTED = 0, 1
_OPTION_BYTES_MAX = 255

_E = TypeVar("_E", TxnCommit, TxnRollback)


def _begin(namespace: bytes, routing_key: bytes) -> TxnBegin:
    if not routing_key:
        raise refused(Reason.MALFORMED, "routing key is empty")
    check_routing_key(routing_key)
    return TxnBegin(namespace, routing_key)


# --- v1 ---


def _named(namespace: bytes, routing_key: bytes, txn: int | None) -> Payload:
    options: dict[int, bytes] = {}
    # It is the key already: one too long for an option stands there alone.
    if 0 < len(routing_key) <= _OPTION_BYTES_MAX:
        options[tlv.ROUTING_KEY] = routing_key
    if txn is not None:
        options[tlv.TRANSACTION] = u64(txn)
    return Payload(namespace, routing_key, b"", options)


def _routing_key(payload: Payload) -> bytes:
    return payload.key or payload.options.get(tlv.ROUTING_KEY, b"")


def _read_kind(reader: Reader, expected: int) -> None:
    kind = reader.u8()
    if kind != expected:
        raise unreadable(f"a transaction answer of kind {kind}: {expected} expected")


def _decode_begin_v1(payload: Payload, _value_bytes_max: int) -> TxnBegin:
    return _begin(payload.namespace, _routing_key(payload))


def _encode_begin_v1(begin: TxnBegin) -> Payload:
    return _named(begin.namespace, begin.routing_key, None)


def _encode_begun_v1(begun: TxnBegun) -> bytes:
    return u8(_BEGUN) + _encode_begun_v2(begun)


def _decode_begun_v1(data: bytes, _begin: TxnBegin) -> TxnBegun:
    reader = Reader(data)
    _read_kind(reader, _BEGUN)
    return TxnBegun(reader.u64(), reader.u64())


def _decode_end_v1(kind: type[_E], payload: Payload) -> _E:
    txn = tlv.integer_option(payload.options, tlv.TRANSACTION, 8)
    if txn is None:
        raise refused(Reason.MALFORMED, "no transaction is named: option 0x09 with 8 bytes does")
    return kind(payload.namespace, check_routing_key(_routing_key(payload)) or None, txn)


def _decode_commit_v1(payload: Payload, _value_bytes_max: int) -> TxnCommit:
    return _decode_end_v1(TxnCommit, payload)


def _decode_rollback_v1(payload: Payload, _value_bytes_max: int) -> TxnRollback:
    return _decode_end_v1(TxnRollback, payload)


def _encode_end_v1(end: TxnCommit | TxnRollback) -> Payload:
    return _named(end.namespace, end.routing_key or b"", end.txn)


def _encode_committed_v1(committed: TxnCommitted) -> bytes:
    return u8(_COMMITTED) + _encode_committed_v2(committed)


def _decode_committed_v1(data: bytes, _commit: TxnCommit) -> TxnCommitted:
    reader = Reader(data)
    _read_kind(reader, _COMMITTED)
    return TxnCommitted(reader.u64(), reader.u16())


def _encode_done(_done: Done) -> bytes:
    return b""


def _decode_done_v1(_data: bytes, _rollback: TxnRollback) -> Done:
    return Done()


# --- v2 ---


def _decode_begin_v2(payload: Payload, _value_bytes_max: int) -> TxnBegin:
    Reader(payload.value).finish()
    return _begin(payload.namespace, payload.key)


def _encode_begin_v2(begin: TxnBegin) -> Payload:
    return Payload(begin.namespace, begin.routing_key, b"")


def _encode_begun_v2(begun: TxnBegun) -> bytes:
    return u64(begun.txn) + u64(begun.pinned)


def _decode_begun_v2(data: bytes, _begin: TxnBegin) -> TxnBegun:
    reader = Reader(data)
    begun = TxnBegun(reader.u64(), reader.u64())
    reader.finish()
    return begun


def _read_txn(payload: Payload) -> int:
    reader = Reader(payload.value)
    txn = reader.u64()
    reader.finish()
    return txn


def _decode_commit_v2(payload: Payload, _value_bytes_max: int) -> TxnCommit:
    return TxnCommit(payload.namespace, None, _read_txn(payload))


def _decode_rollback_v2(payload: Payload, _value_bytes_max: int) -> TxnRollback:
    return TxnRollback(payload.namespace, None, _read_txn(payload))


def _encode_end_v2(end: TxnCommit | TxnRollback) -> Payload:
    return Payload(end.namespace, b"", u64(end.txn))


def _encode_committed_v2(committed: TxnCommitted) -> bytes:
    return u64(committed.commit_index) + u16(committed.operations)


def _decode_committed_v2(data: bytes, _commit: TxnCommit) -> TxnCommitted:
    reader = Reader(data)
    committed = TxnCommitted(reader.u64(), reader.u16())
    reader.finish()
    return committed


def _decode_done_v2(data: bytes, _rollback: TxnRollback) -> Done:
    Reader(data).finish()
    return Done()


BEGIN_V1 = Codec(_decode_begin_v1, _encode_begin_v1, _encode_begun_v1, _decode_begun_v1)
COMMIT_V1 = Codec(_decode_commit_v1, _encode_end_v1, _encode_committed_v1, _decode_committed_v1)
ROLLBACK_V1 = Codec(_decode_rollback_v1, _encode_end_v1, _encode_done, _decode_done_v1)
BEGIN_V2 = Codec(_decode_begin_v2, _encode_begin_v2, _encode_begun_v2, _decode_begun_v2)
COMMIT_V2 = Codec(_decode_commit_v2, _encode_end_v2, _encode_committed_v2, _decode_committed_v2)
ROLLBACK_V2 = Codec(_decode_rollback_v2, _encode_end_v2, _encode_done, _decode_done_v2)
