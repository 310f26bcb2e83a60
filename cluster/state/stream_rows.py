"""The rows of streams: a record for each, and where its records lie.

    STREAM_RECORDS   stream id, id -> ordinal, bytes before, partition, key hash, headers, payload
    STREAM_PARTS     stream id, partition, id -> nothing, of streams with several partitions

The *ordinal* of a record counts all that were ever appended before it, *bytes before* their
payloads. Records only ever leave at the front, so how many there are and how large they are is
known without a look at them, between any two; and where a bound is met can be searched by halving.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.store import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.state.store import ReadTransaction, WriteTransaction

STREAM_KIND = b"s"

Id: TypeAlias = tuple[int, int]
"""Milliseconds and sequence: the place of a record in its stream."""
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

FIRST_ID: Id = (0, 0)
LAST_ID: Id = (2**64 - 1, 2**64 - 1)

_STREAM = Struct("<QQQQQQQQQQIIQQQQ")
_RECORD = Struct("<QQHII")  # ordinal, bytes_before, partition, key_hash, bytes of the headers
_KEY = Struct(">QQQ")
_PART_KEY = Struct(">QHQQ")
_PART = Struct(">QH")
_ID = Struct(">QQ")
_TEXT = Struct("<I")
_pack_record = _RECORD.pack
_record_key = _KEY.pack
_WORD = 64


@dataclass(slots=True)
class Stream:
    """The record of a stream.

    Records before `first` are gone, whether their rows are or not. `partitions` is 0 as long as
    nobody has said or needed it: 1 for everybody. A retention of 0 is none. `age_timer_ms` is when
    its timer stands, 0 for none.
    """

    stream_id: int
    created_ms: int
    last_ms: int = 0
    last_sequence: int = 0
    first_ms: int = 0
    first_sequence: int = 0
    appended: int = 0
    appended_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    partitions: int = 0
    groups: int = 0
    max_len: int = 0
    max_age_ms: int = 0
    max_bytes: int = 0
    age_timer_ms: int = 0

    @property
    def last(self) -> Id:
        """The last id that was given."""
        return self.last_ms, self.last_sequence

    @property
    def first(self) -> Id:
        """No live record has an id before this one."""
        return self.first_ms, self.first_sequence

    @property
    def count(self) -> int:
        """Live records."""
        return self.appended - self.removed

    @property
    def payload_bytes(self) -> int:
        """Of the live records."""
        return self.appended_bytes - self.removed_bytes

    @property
    def partition_count(self) -> int:
        return self.partitions or 1

    def encode(self) -> bytes:
        return _STREAM.pack(
            *(self.stream_id, self.created_ms),
            *(self.last_ms, self.last_sequence, self.first_ms, self.first_sequence),
            *(self.appended, self.appended_bytes, self.removed, self.removed_bytes),
            *(self.partitions, self.groups),
            *(self.max_len, self.max_age_ms, self.max_bytes, self.age_timer_ms),
        )


def decode_stream(body: bytes) -> Stream:
    return Stream(*_STREAM.unpack(body))


class Row(NamedTuple):
    """A record as it is stored."""

    id: Id
    ordinal: int
    bytes_before: int
    partition: int
    key_hash: int
    """0: it was appended without a key."""
    headers: bytes
    payload: bytes


def stream_name(full: bytes) -> bytes:
    """The name in a full key: it comes after namespace and NUL."""
    return full[full.index(b"\x00", 2) + 1 :]


def topic_of(full: bytes) -> bytes:
    """What waits for records of a stream: its full key without the NUL in front."""
    return full[1:]


def key_hash_of(key: bytes) -> int:
    """What is kept of a partition key; never 0."""
    return crc32(key) or 1


def next_id(of: Id) -> Id:
    """The first id after another."""
    number = (of[0] << _WORD | of[1]) + 1
    return number >> _WORD, number & (1 << _WORD) - 1


def previous_id(of: Id) -> Id:
    """The last id before another, which is not 0-0."""
    number = (of[0] << _WORD | of[1]) - 1
    return number >> _WORD, number & (1 << _WORD) - 1


def pack_id(of: Id) -> bytes:
    return _ID.pack(*of)


def unpack_ids(packed: bytes) -> list[Id]:
    """Ids that were packed one after the other."""
    return [(ms, sequence) for ms, sequence in _ID.iter_unpack(packed)]


def records_prefix(stream_id: int) -> bytes:
    """What all keys of a stream begin with."""
    return stream_id.to_bytes(8, "big")


def record_key(stream_id: int, of: Id) -> bytes:
    return _record_key(stream_id, *of)


# --- records ---


def put_record(txn: WriteTransaction, stream: Stream, row: Row) -> None:
    """A new record, at the end."""
    key = _record_key(stream.stream_id, *row.id)
    _, ordinal, bytes_before, partition, key_hash, headers, payload = row
    head = _pack_record(ordinal, bytes_before, partition, key_hash, len(headers))
    txn.put(Table.STREAM_RECORDS, key, seal(key, head + headers + payload))
    if stream.partitions > 1:
        key = _PART_KEY.pack(stream.stream_id, partition, *row.id)
        txn.put(Table.STREAM_PARTS, key, seal(key, b""))


def find_record(txn: ReadTransaction, stream_id: int, of: Id) -> Row | None:
    """A record by its id; also one that was trimmed, as long as its row is there."""
    key = _record_key(stream_id, *of)
    row = txn.get(Table.STREAM_RECORDS, key)
    return None if row is None else _decode(key, row)


def get_record(txn: ReadTransaction, stream_id: int, of: Id) -> Row:
    """A record that is live. Raises `CorruptState`."""
    row = find_record(txn, stream_id, of)
    if row is None:
        key = _record_key(stream_id, *of)
        raise corrupt(Table.STREAM_RECORDS, key, "a live record is missing")
    return row


def scan_records(txn: ReadTransaction, stream: Stream, start: Id) -> Iterator[Row]:
    """The live records from `start` on, in order."""
    if not stream.count:
        return
    prefix = records_prefix(stream.stream_id)
    for key, row in txn.scan(
        Table.STREAM_RECORDS, record_key(stream.stream_id, max(start, stream.first))
    ):
        if not key.startswith(prefix):
            return
        yield _decode(key, row)


def scan_partition(
    txn: ReadTransaction, stream: Stream, partition: int, start: Id
) -> Iterator[Row]:
    """The same of one partition."""
    if partition >= stream.partition_count or not stream.count:
        return
    if stream.partitions <= 1:
        yield from scan_records(txn, stream, start)
        return
    prefix = _PART.pack(stream.stream_id, partition)
    begin = prefix + _ID.pack(*max(start, stream.first))
    for key, row in txn.scan(Table.STREAM_PARTS, begin):
        if not key.startswith(prefix):
            return
        unseal(Table.STREAM_PARTS, key, row)
        ms, sequence = _ID.unpack_from(key, len(prefix))
        yield get_record(txn, stream.stream_id, (ms, sequence))


def delete_record(txn: WriteTransaction, key: bytes, row: bytes) -> None:
    """Removes the row of a record that was trimmed."""
    txn.delete(Table.STREAM_RECORDS, key)
    drop_part(txn, key, row)


def drop_part(txn: WriteTransaction, key: bytes, row: bytes) -> None:
    """A record goes, and with it its place among those of its partition."""
    stream_id, ms, sequence = _KEY.unpack(key)
    partition = _RECORD.unpack_from(unseal(Table.STREAM_RECORDS, key, row))[2]
    txn.delete(Table.STREAM_PARTS, _PART_KEY.pack(stream_id, partition, ms, sequence))


def _decode(key: bytes, row: bytes) -> Row:
    body = unseal(Table.STREAM_RECORDS, key, row)
    _, ms, sequence = _KEY.unpack(key)
    ordinal, bytes_before, partition, key_hash, headers_bytes = _RECORD.unpack_from(body)
    end = _RECORD.size + headers_bytes
    headers = body[_RECORD.size : end]
    return Row((ms, sequence), ordinal, bytes_before, partition, key_hash, headers, body[end:])


# --- headers, as they stand in a row: as many bytes as in an answer ---


def encode_headers(headers: Headers) -> bytes:
    if not headers:
        return b""
    return b"".join(
        _TEXT.pack(len(text)) + text for name_and_value in headers for text in name_and_value
    )


def decode_headers(packed: bytes) -> Headers:
    texts: list[bytes] = []
    at = 0
    while at < len(packed):
        end = at + _TEXT.size + _TEXT.unpack_from(packed, at)[0]
        texts.append(packed[at + _TEXT.size : end])
        at = end
    return tuple(zip(texts[::2], texts[1::2], strict=True))


# --- answers ---

_COUNT_BYTES = 4
_OVERHEAD_BYTES = 34
"""What an answer takes for a record beside its headers, payload and the name of its stream."""


def answer_bytes(name: bytes, row: Row) -> int:
    """What a record takes in an answer."""
    return _OVERHEAD_BYTES + len(name) + len(row.headers) + len(row.payload)


class Page:
    """The records of one answer: as many as fit, but one at least.

    One that alone is larger than the client can take is `refused`: there is no way past it.
    """

    __slots__ = ("_max_bytes", "_name", "_room", "rows")

    def __init__(self, name: bytes, max_bytes: int, page_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes - _COUNT_BYTES
        self._room = min(max_bytes, page_bytes) - _COUNT_BYTES
        self.rows: list[Row] = []

    def add(self, row: Row) -> bool:
        """Takes a record; false when it does not fit any more."""
        self._room -= answer_bytes(self._name, row)
        if self.rows and self._room < 0:
            return False
        self.rows.append(row)
        return True

    @property
    def refused(self) -> bytes | None:
        """Why not even the first record can be answered."""
        if not self.rows or answer_bytes(self._name, self.rows[0]) <= self._max_bytes:
            return None
        row = self.rows[0]
        return (
            f"record {row.id[0]}-{row.id[1]} has {len(row.headers) + len(row.payload)} bytes, more"
            f" than an answer to this client holds ({self._max_bytes}): read it with a client of"
            " protocol version 1"
        ).encode()
