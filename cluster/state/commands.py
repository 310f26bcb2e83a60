"""The bytes of a log entry, and what stands in it.

An entry is msgpack `[entry_version, stamp_ms, [command, ...]]`; one without commands is a clock
entry. A command is `[code, session, sequence, floor, ...arguments]` with the wire's operation code.
Session 0 means none: the command is not deduplicated. Entries outlive the process that wrote them,
so a layout never changes: a new one takes a new code or a new entry version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.state.errors import UnknownCommand
from cluster.state.fields import (
    HEAD,
    I64,
    NAME,
    OPTIONAL_U64,
    U64,
    VALUE,
    Bytes,
    Layout,
    Number,
    is_row,
)
from cluster.state.group_commands import FIELDS as GROUP_FIELDS
from cluster.state.packing import pack, unpack
from cluster.state.queue_commands import FIELDS as QUEUE_FIELDS
from cluster.state.stream_commands import FIELDS as STREAM_FIELDS
from cluster.state.txn_commands import fields_of_commit
from flo.wire.limits import JSON_PATH_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRY_VERSION = 1

PUT = 0x100
DELETE = 0x103
INCR = 0x10B
JSON_SET = 0x10D
JSON_DELETE = 0x10E
EXPIRE = 0x113
OPEN_SESSION = 0xF001

IF_ABSENT = 1
IF_PRESENT = 2

Item: TypeAlias = "int | bytes | Sequence[Item] | None"
"""What a field of a command or of a result may be; sequences come back as tuples."""
Command: TypeAlias = tuple[Item, ...]
"""code, session, sequence, floor, then the arguments as in one of the aliases below"""
DecodedCommand: TypeAlias = tuple[int, int, int, int, *tuple[Item, ...]]
"""The same, known to have its first four fields."""
PutCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, int, int, int | None]
"""namespace, key, value, ttl_ms (0: none), flags (`IF_ABSENT`, `IF_PRESENT`), cas (a version or
None)"""
DeleteCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, int | None]
"""namespace, key, cas"""
IncrCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, int]
"""namespace, key, delta (signed 64 bits)"""
ExpireCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, int, int | None]
"""namespace, key, ttl_ms (0 clears), cas"""
JsonSetCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes, int]
"""namespace, key, path, document, bytes_max (of the whole document, by the node that was asked)"""
JsonDeleteCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes]
"""namespace, key, path"""
OpenSessionCommand: TypeAlias = tuple[int, int, int, int, int]
"""token: random 64 bits of the opener; the same token gets the same session"""


_CAS = OPTIONAL_U64
_PATH = Bytes(JSON_PATH_BYTES_MAX)
_FLAGS = Number(0, IF_ABSENT | IF_PRESENT)
_FIELDS: dict[object, Layout] = {
    PUT: (*HEAD, NAME, NAME, VALUE, U64, _FLAGS, _CAS),
    DELETE: (*HEAD, NAME, NAME, _CAS),
    INCR: (*HEAD, NAME, NAME, I64),
    EXPIRE: (*HEAD, NAME, NAME, U64, _CAS),
    JSON_SET: (*HEAD, NAME, NAME, _PATH, VALUE, U64),
    JSON_DELETE: (*HEAD, NAME, NAME, _PATH),
    OPEN_SESSION: (*HEAD, U64),
    **QUEUE_FIELDS,
    **STREAM_FIELDS,
    **GROUP_FIELDS,
}
_FIELDS.update(fields_of_commit({code: _FIELDS[code] for code in (PUT, DELETE, INCR, EXPIRE)}))
_FIELD_COUNTS = {code: len(fields) for code, fields in _FIELDS.items()}

Result: TypeAlias = tuple[Item, ...]
"""`(0, ...)` is success, anything else a refusal: a `Reason` value or one of the three below.

put and json set `(0, version)`, json delete the same or `(0, None)`, delete `(0, existed)`, incr
`(0, version, value)`, expire `(0,)`, open session `(0, session)`; CAS_MISMATCH and CONDITION_FAILED
are followed by the current version, 0 when absent, and where a reason can mean several things a
text says which.
"""

SESSION_UNKNOWN = 1001
"""The session never was, or has expired. Not run now; an earlier copy may have been."""
BELOW_FLOOR = 1002
"""The client said it no longer waits for this. Not run now; an earlier copy may have been."""
EMPTY = 1003
"""There was nothing to take, and nothing changed. It is not kept: the same sequence may run again,
when something is there."""
GROUP_LOCKED = 1004
"""Enough consumers stand by for an exclusive group already."""

_Entry: TypeAlias = tuple[int, int, tuple[DecodedCommand, ...]]


def is_command(command: Sequence[object]) -> bool:
    """Whether this version knows such a command: only then may it be put into an entry.

    Types and ranges are checked too: in the log, a mistake would stop every replica.
    """
    fields = _FIELDS.get(command[0]) if command else None
    return fields is not None and is_row(command, fields)


def encode_entry(stamp_ms: int, commands: Sequence[Command]) -> bytes:
    """The payload of a log entry. `stamp_ms` is the leader's time, unix milliseconds."""
    return pack((ENTRY_VERSION, stamp_ms, commands))


def decode_entry(payload: bytes) -> tuple[int, tuple[DecodedCommand, ...]]:
    """Stamp and commands of an entry.

    Raises `UnknownCommand` for a version, code or layout that this version does not know.
    """
    try:
        version, stamp_ms, commands = cast(_Entry, unpack(payload))
        if version != ENTRY_VERSION:
            raise UnknownCommand(f"entry version {version!r}; this node knows {ENTRY_VERSION}")
        for command in commands:
            if _FIELD_COUNTS.get(command[0]) != len(command):
                raise UnknownCommand(f"command {command[0]!r} with {len(command)} fields")
    except (ValueError, TypeError, IndexError) as error:
        raise UnknownCommand(f"{len(payload)} bytes that are no entry: {error}") from error
    return stamp_ms, commands
