"""The bytes of a segment: its name, its header, and the batches in it.

    segment  header, batch, batch, ... and then zero bytes, or the leftovers of a former use
    batch    header, records; one batch is one write and one sync

A header has a checksum of its own. So a batch whose header is whole is known to have been begun,
however much of its payload a crash took, and that it was begun proves that every batch before it
was synced.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple
from zlib import crc32

FORMAT_VERSION = 1

SEGMENT_MAGIC = b"\xf1oSG"
BATCH_MAGIC = b"\xf1oBT"

_CHECKED_FROM = 8  # both headers: magic (4), checksum over the rest of the header (4), the rest

SEGMENT_HEADER = struct.Struct("<4sIHQQ")  # ..., version, sequence, number of the first batch
BATCH_HEADER = struct.Struct("<4sIQQIIII")  # ..., the fields of BatchHeader but the first
_BATCH_PREFIX = struct.Struct("<4sI")
_BATCH_REST = struct.Struct("<QQIIII")

_NAME = re.compile(r"wal-([0-9a-f]{16})\.segment")
UNFINISHED_SUFFIX = ".new"


class SegmentHeader(NamedTuple):
    """The first bytes of a segment in use; written together with its first batch."""

    version: int
    sequence: int
    first_number: int


class BatchHeader(NamedTuple):
    """What stands before the records of a batch.

    `sequence` is the segment it was written for and `previous_end` the offset at which the batch
    before ended: in the same segment that is its own offset, so bytes copied elsewhere are no
    batch. `previous_crc` is the `crc` of the batch before, which makes a chain of all batches.
    """

    crc: int
    number: int
    sequence: int
    previous_end: int
    payload_bytes: int
    payload_crc: int
    previous_crc: int


def segment_name(sequence: int) -> str:
    """Return the file name of a segment; names sort by sequence."""
    return f"wal-{sequence:016x}.segment"


def segment_sequence(name: str) -> int | None:
    """Return the sequence in a segment's file name, `None` for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1], 16) if match else None


def pack_segment_header(sequence: int, first_number: int) -> bytes:
    """Return the header of a segment whose first batch has this number."""
    header = bytearray(SEGMENT_HEADER.size)
    SEGMENT_HEADER.pack_into(header, 0, SEGMENT_MAGIC, 0, FORMAT_VERSION, sequence, first_number)
    crc = crc32(memoryview(header)[_CHECKED_FROM:])
    SEGMENT_HEADER.pack_into(header, 0, SEGMENT_MAGIC, crc, FORMAT_VERSION, sequence, first_number)
    return bytes(header)


def unpack_segment_header(segment: bytes) -> SegmentHeader | None:
    """Return the header of a segment, `None` when there is none or it is damaged."""
    if len(segment) < SEGMENT_HEADER.size:
        return None
    magic, crc, version, sequence, first_number = SEGMENT_HEADER.unpack_from(segment)
    rest = memoryview(segment)[_CHECKED_FROM : SEGMENT_HEADER.size]
    if magic != SEGMENT_MAGIC or crc != crc32(rest):
        return None
    return SegmentHeader(version, sequence, first_number)


def fill_batch_header(batch: bytearray, start: int, header: BatchHeader) -> int:
    """Write `header` at `start`, with the right checksums of what follows; return its `crc`."""
    payload = start + BATCH_HEADER.size
    with memoryview(batch) as view:
        _BATCH_REST.pack_into(
            batch,
            start + _CHECKED_FROM,
            header.number,
            header.sequence,
            header.previous_end,
            len(batch) - payload,
            crc32(view[payload:]),
            header.previous_crc,
        )
        crc = crc32(view[start + _CHECKED_FROM : payload])
    _BATCH_PREFIX.pack_into(batch, start, BATCH_MAGIC, crc)
    return crc


def unpack_batch_header(data: bytes, offset: int) -> BatchHeader | None:
    """Return the header of the batch at `offset` of `data`, `None` when there is no whole one."""
    end = offset + BATCH_HEADER.size
    if end > len(data) or data[offset : offset + 4] != BATCH_MAGIC:
        return None
    fields = BATCH_HEADER.unpack_from(data, offset)
    if fields[1] != crc32(memoryview(data)[offset + _CHECKED_FROM : end]):
        return None
    return BatchHeader(*fields[1:])


def batch_payload(data: bytes, start: int, header: BatchHeader) -> memoryview | None:
    """Return the payload at `start` of `data`, `None` when it is cut short or changed."""
    payload = memoryview(data)[start : start + header.payload_bytes]
    if len(payload) != header.payload_bytes or crc32(payload) != header.payload_crc:
        return None
    return payload


def find_batch(segment: bytes, start: int, *, sequence: int, number_above: int) -> int | None:
    """Return the offset of a batch header at or after `start` with a number over `number_above`.

    Only headers written for this segment and this place count: leftovers of a former use carry
    another sequence, and a stored value that looks like a batch another offset.
    """
    offset = segment.find(BATCH_MAGIC, start)
    while offset >= 0:
        header = unpack_batch_header(segment, offset)
        if (
            header is not None
            and header.sequence == sequence
            and header.number > number_above
            and (header.previous_end == offset or offset == SEGMENT_HEADER.size)
        ):
            return offset
        offset = segment.find(BATCH_MAGIC, offset + 1)
    return None
