"""Ping, and the operations that only our own client and nodes use (v1 frames).

    partition table  value   empty
                     answer  table_version:u64 partitions:u16, and for each partition
                             ?leader:b16 replicas:u8 (address:b16)*
    open session     value   partition:u16
                     answer  session:u64
    cancel wait      value   request_id:u64
                     answer  empty
    cluster status   value   ?partition:u16 digest:u8
                     answer  the JSON document, to the end

Addresses are UTF-8 "host:port" of the client port.
"""

from __future__ import annotations

from flo.wire.codec import Codec
from flo.wire.errors import unreadable
from flo.wire.fields import Reader, b16, flag, optional_b16, optional_u16, u8, u16, u64
from flo.wire.messages import (
    CancelWait,
    ClusterStatus,
    ClusterStatusRequest,
    Done,
    OpenSession,
    PartitionRow,
    PartitionTable,
    PartitionTableRequest,
    Ping,
    Pong,
    SessionOpened,
)
from flo.wire.payload import EMPTY_PAYLOAD, Payload


def _decode_ping(_payload: Payload, _value_bytes_max: int) -> Ping:
    return Ping()


def _encode_empty(_request: Ping | PartitionTableRequest) -> Payload:
    return EMPTY_PAYLOAD


def _encode_pong(_pong: Pong) -> bytes:
    return b""


def _decode_pong(_data: bytes, _ping: Ping) -> Pong:
    return Pong()


def _decode_table_request(payload: Payload, _value_bytes_max: int) -> PartitionTableRequest:
    Reader(payload.value).finish()
    return PartitionTableRequest()


def _encode_table(table: PartitionTable) -> bytes:
    parts = [u64(table.table_version), u16(len(table.partitions))]
    for leader, replicas in table.partitions:
        parts.append(optional_b16(None if leader is None else leader.encode()))
        parts.append(u8(len(replicas)))
        parts += [b16(address.encode()) for address in replicas]
    return b"".join(parts)


def _decode_table(data: bytes, _request: PartitionTableRequest) -> PartitionTable:
    reader = Reader(data)
    version, count = reader.u64(), reader.u16()
    table = PartitionTable(version, tuple(_read_row(reader) for _ in range(count)))
    reader.finish()
    return table


def _read_row(reader: Reader) -> PartitionRow:
    leader = reader.optional_b16()
    replicas = tuple(_address(reader.b16()) for _ in range(reader.u8()))
    return PartitionRow(None if leader is None else _address(leader), replicas)


def _address(encoded: bytes) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise unreadable(f"an address of {len(encoded)} bytes is not UTF-8") from error


def _decode_open_session(payload: Payload, _value_bytes_max: int) -> OpenSession:
    reader = Reader(payload.value)
    request = OpenSession(reader.u16())
    reader.finish()
    return request


def _encode_open_session(request: OpenSession) -> Payload:
    return EMPTY_PAYLOAD._replace(value=u16(request.partition))


def _encode_session(opened: SessionOpened) -> bytes:
    return u64(opened.session)


def _decode_session(data: bytes, _request: OpenSession) -> SessionOpened:
    reader = Reader(data)
    opened = SessionOpened(reader.u64())
    reader.finish()
    return opened


def _decode_cancel(payload: Payload, _value_bytes_max: int) -> CancelWait:
    reader = Reader(payload.value)
    request = CancelWait(reader.u64())
    reader.finish()
    return request


def _encode_cancel(request: CancelWait) -> Payload:
    return EMPTY_PAYLOAD._replace(value=u64(request.request_id))


def _encode_done(_done: Done) -> bytes:
    return b""


def _decode_done(_data: bytes, _request: CancelWait) -> Done:
    return Done()


def _decode_status_request(payload: Payload, _value_bytes_max: int) -> ClusterStatusRequest:
    reader = Reader(payload.value)
    request = ClusterStatusRequest(reader.optional_u16(), reader.flag())
    reader.finish()
    return request


def _encode_status_request(request: ClusterStatusRequest) -> Payload:
    value = optional_u16(request.partition) + flag(request.digest)
    return EMPTY_PAYLOAD._replace(value=value)


def _encode_status(status: ClusterStatus) -> bytes:
    return status.document


def _decode_status(data: bytes, _request: ClusterStatusRequest) -> ClusterStatus:
    return ClusterStatus(data)


PING = Codec(_decode_ping, _encode_empty, _encode_pong, _decode_pong)
PARTITION_TABLE = Codec(_decode_table_request, _encode_empty, _encode_table, _decode_table)
OPEN_SESSION = Codec(_decode_open_session, _encode_open_session, _encode_session, _decode_session)
CANCEL_WAIT = Codec(_decode_cancel, _encode_cancel, _encode_done, _decode_done)
CLUSTER_STATUS = Codec(
    _decode_status_request, _encode_status_request, _encode_status, _decode_status
)
