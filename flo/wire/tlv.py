"""The options field of a payload: `[tag:u8][length:u8][bytes]`, and our own tags in it.

The protocol's own tags follow the original's leniency: unknown tags, and integers of an unexpected
width, are ignored. Tags 0xE0 to 0xEF are ours; a known one of another width is refused. A request
that carries any of ours comes from our own client and is answered in the extended form (see
DESIGN.md).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import TypeAlias

from flo.wire.errors import LocalProtocolError, refused, unreadable
from flo.wire.fields import u8, u32, u64
from flo.wire.messages import CallContext
from flo.wire.status import Reason

Options: TypeAlias = Mapping[int, bytes]

NO_OPTIONS: Options = MappingProxyType({})

TTL_SECONDS = 0x01
EXPECTED_VERSION = 0x02
ONLY_IF_ABSENT = 0x03
ONLY_IF_PRESENT = 0x04
LIMIT = 0x05
KEYS_ONLY = 0x06
ROUTING_KEY = 0x08
TRANSACTION = 0x09
PRIORITY = 0x10
DELAY_MS = 0x11
VISIBILITY_MS = 0x12
DEDUP_KEY = 0x13
COUNT = 0x15
TO_DEAD_LETTER = 0x16
BLOCK_MS = 0x17
WAIT_FOR_CHANGE_MS = 0x18
STREAM_START = 0x21
STREAM_END = 0x22
TAIL = 0x23
PARTITION = 0x24
PARTITION_KEY = 0x25
TRIM_AGE_S = 0x26
TRIM_BYTES = 0x27
DRY_RUN = 0x28
RETAIN_LEN = 0x29
RETAIN_AGE_S = 0x2A
RETAIN_BYTES = 0x2B
FORCE = 0x2C
ACK_TIMEOUT_MS = 0x30
MAX_DELIVER = 0x31
GROUP_MODE = 0x32
REDELIVERY_DELAY_MS = 0x33
EXTEND_ACK_MS = 0x38
MAX_STANDBYS = 0x39
SLOTS = 0x3A

SESSION = 0xE0
SEQUENCE = 0xE1
FLOOR = 0xE2
CONSISTENCY = 0xE3
DEADLINE_MS = 0xE4
# A time to live that seconds cannot say; it counts when present, the seconds beside it are rounded
# up.
TTL_MS = 0xE5
# The value of an append is a batch of records, as it always is in v2.
BATCH = 0xE6

_OWN_FIRST = 0xE0
_OWN_LAST = 0xEF

# What our client's writes and reads end with, as one block each: four tags, and the last of them.
_WRITE_BLOCK = Struct("<HQHQHQHI")
_READ_BLOCK = Struct("<HI")
_SESSION_HEAD = SESSION | 8 << 8
_SEQUENCE_HEAD = SEQUENCE | 8 << 8
_FLOOR_HEAD = FLOOR | 8 << 8
_DEADLINE_HEAD = DEADLINE_MS | 4 << 8


def parse_options(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """The options between two offsets; of a repeated tag the last. Raises `ProtocolError`."""
    options: dict[int, bytes] = {}
    while at < end:
        if at + 2 > end:
            raise unreadable("an option without a length")
        stop = at + 2 + data[at + 1]
        if stop > end:
            raise unreadable(f"option 0x{data[at]:02x} is longer than the options field")
        options[data[at]] = data[at + 2 : stop]
        at = stop
    return options


def encode_options(options: Options) -> bytes:
    """The bytes of the options, in the mapping's order."""
    out = bytearray()
    for tag, value in options.items():
        if len(value) > 0xFF:
            raise LocalProtocolError(
                f"option 0x{tag:02x} of {len(value)} bytes: at most 255 fit; shorten the field"
            )
        out += bytes((tag, len(value)))
        out += value
    return bytes(out)


def integer_option(options: Options, tag: int, width: int) -> int | None:
    """An integer of the protocol's own tags: another width counts as absent."""
    value = options.get(tag)
    if value is None or len(value) != width:
        return None
    return int.from_bytes(value, "little")


def refuse_transaction(options: Options) -> None:
    """For operations that only exist outside of transactions: refuses a transaction id."""
    if integer_option(options, TRANSACTION, 8) is not None:
        raise refused(
            Reason.CONFLICTING_FIELDS, "this operation cannot be part of a transaction: send no id"
        )


def exact_option(options: Options, tag: int, width: int) -> int | None:
    """An integer of our tags, and of any in v2: another width is refused."""
    value = options.get(tag)
    if value is None:
        return None
    if len(value) != width:
        raise refused(
            Reason.MALFORMED, f"option 0x{tag:02x} of {len(value)} bytes: {width} expected"
        )
    return int.from_bytes(value, "little")


def has_own_tag(options: Options) -> bool:
    return any(_OWN_FIRST <= tag <= _OWN_LAST for tag in options)


def read_context(options: Options) -> CallContext | None:
    """What our own client said about the call; None when it is not our client."""
    if not has_own_tag(options):
        return None
    consistency = exact_option(options, CONSISTENCY, 1) or 0
    if consistency > 1:
        raise refused(Reason.OUT_OF_RANGE, f"consistency of {consistency}: 0 or 1 allowed")
    return CallContext(
        exact_option(options, SESSION, 8),
        exact_option(options, SEQUENCE, 8),
        exact_option(options, FLOOR, 8),
        consistency == 1,
        exact_option(options, DEADLINE_MS, 4),
    )


def read_own_block(data: bytes, at: int, end: int) -> CallContext | None:
    """The context when the options are exactly what our client writes for most calls, else None.

    A shortcut for the commonest requests: one unpack in place of a loop, a dict and six lookups.
    """
    size = end - at
    if size == _WRITE_BLOCK.size:
        a, session, b, sequence, c, floor, d, deadline_ms = _WRITE_BLOCK.unpack_from(data, at)
        if a == _SESSION_HEAD and b == _SEQUENCE_HEAD and c == _FLOOR_HEAD and d == _DEADLINE_HEAD:
            return CallContext(session, sequence, floor, False, deadline_ms)
    elif size == _READ_BLOCK.size:
        d, deadline_ms = _READ_BLOCK.unpack_from(data, at)
        if d == _DEADLINE_HEAD:
            return CallContext(None, None, None, False, deadline_ms)
    return None


def encode_context(context: CallContext) -> bytes:
    """The options that say a context; at least one, so that the answer comes extended."""
    session, sequence, floor, stale, deadline_ms = context
    if not stale and deadline_ms is not None:
        if session is None and sequence is None and floor is None:
            return _pack(_READ_BLOCK, _DEADLINE_HEAD, deadline_ms)
        if session is not None and sequence is not None and floor is not None:
            heads_and_values = (
                _SESSION_HEAD,
                session,
                _SEQUENCE_HEAD,
                sequence,
                _FLOOR_HEAD,
                floor,
            )
            return _pack(_WRITE_BLOCK, *heads_and_values, _DEADLINE_HEAD, deadline_ms)
    return encode_options(_context_options(context))


def _pack(block: Struct, *values: int) -> bytes:
    try:
        return block.pack(*values)
    except struct.error as error:
        raise LocalProtocolError(f"a number of the call context does not fit: {error}") from error


def _context_options(context: CallContext) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    if context.session is not None:
        options[SESSION] = u64(context.session)
    if context.sequence is not None:
        options[SEQUENCE] = u64(context.sequence)
    if context.floor is not None:
        options[FLOOR] = u64(context.floor)
    if context.stale or context.deadline_ms is None:
        options[CONSISTENCY] = u8(context.stale)
    if context.deadline_ms is not None:
        options[DEADLINE_MS] = u32(context.deadline_ms)
    return options
