"""The commands of consumer groups, as they stand in the log."""

from __future__ import annotations

from typing import TypeAlias

from cluster.state.fields import (
    HEAD,
    NAME,
    OPTIONAL_U64,
    U32,
    U64,
    Bytes,
    Layout,
    ListOf,
    Number,
)
from flo.wire.group_messages import GroupMode
from flo.wire.limits import GROUP_NAME_BYTES_MAX, READ_LIMIT_MAX

GROUP_CREATE = 0x150
GROUP_JOIN = 0x151
GROUP_LEAVE = 0x152
GROUP_READ = 0x153
GROUP_ACK = 0x154
GROUP_CLAIM = 0x155
GROUP_NACK = 0x159
GROUP_TOUCH = 0x15A
GROUP_DELETE = 0x15C
GROUP_CONFIGURE = 0xF020

IDS_MAX = 10_000
"""Ids of one acknowledgement: what one command does stays bounded."""

WAIT_FOR_RECORDS = 0
"""What a read that found nothing waits for: records for the group."""
WAIT_FOR_LEASE = 1
"""That the holder of an exclusive group goes."""
WAIT_FOR_KEYS = 2
"""Records whose keys it may have: each consumer of a key_shared group waits for itself."""

GroupCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes]
"""Delete: namespace, stream, group"""
GroupCreateCommand: TypeAlias = tuple[
    *tuple[int, int, int, int, bytes, bytes, bytes, int, int | None, int | None, int],
    *tuple[int | None, int | None, int | None, int | None],
]
"""namespace, stream, group, mode; the first id in two parts, 1 to begin at the end; the settings
as below"""
GroupConfigureCommand: TypeAlias = tuple[
    *tuple[int, int, int, int, bytes, bytes, bytes],
    *tuple[int | None, int | None, int | None, int | None],
]
"""namespace, stream, group; ack_timeout_ms, max_deliver, max_standbys, slots: None leaves one as it
is"""
MemberCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes]
"""Join or leave: namespace, stream, group, consumer"""
GroupReadCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes, int, int, int]
"""namespace, stream, group, consumer, limit, what the one who asks would wait for, bytes that the
answer may have"""
Ids: TypeAlias = tuple[tuple[int, int], ...]
AckCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes, Ids]
"""namespace, stream, group, consumer, ids"""
NackCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes, Ids, int]
"""the same and delay_ms"""
TouchCommand: TypeAlias = tuple[int, int, int, int, bytes, bytes, bytes, bytes, Ids, int | None]
"""the same and extend_ms (None: the group's)"""
ClaimCommand: TypeAlias = tuple[
    int, int, int, int, bytes, bytes, bytes, bytes, int, int, int, int, int
]
"""namespace, stream, group, consumer, min_idle_ms, the first id in two parts, limit, bytes that the
answer may have"""

_GROUP = Bytes(GROUP_NAME_BYTES_MAX)
_NAMES = (NAME, NAME, _GROUP)
_MEMBER = (*_NAMES, _GROUP)
_IDS = ListOf((U64, U64), IDS_MAX)
_LIMIT = Number(1, READ_LIMIT_MAX)
_U16 = Number(0, 2**16 - 1, optional=True)
_U32 = Number(0, 2**32 - 1, optional=True)
_SETTINGS = (_U32, Number(0, 255, optional=True), _U16, _U16)

FIELDS: dict[object, Layout] = {
    GROUP_CREATE: (
        *HEAD,
        *(*_NAMES, Number(0, max(GroupMode)), OPTIONAL_U64, OPTIONAL_U64, Number(0, 1)),
        *_SETTINGS,
    ),
    GROUP_CONFIGURE: (*HEAD, *_NAMES, *_SETTINGS),
    GROUP_DELETE: (*HEAD, *_NAMES),
    GROUP_JOIN: (*HEAD, *_MEMBER),
    GROUP_LEAVE: (*HEAD, *_MEMBER),
    GROUP_READ: (*HEAD, *_MEMBER, _LIMIT, Number(0, WAIT_FOR_KEYS), U64),
    GROUP_ACK: (*HEAD, *_MEMBER, _IDS),
    GROUP_NACK: (*HEAD, *_MEMBER, _IDS, U32),
    GROUP_TOUCH: (*HEAD, *_MEMBER, _IDS, _U32),
    GROUP_CLAIM: (*HEAD, *_MEMBER, U32, U64, U64, _LIMIT, U64),
}
"""Results: delete `(0, existed)`; create, configure, join, leave, ack, nack and touch `(0,)`. For
read and claim see `cluster.state.group_reads.expand`.
"""
