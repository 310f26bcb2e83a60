"""The registry's rows of streams and groups. All that belongs to a stream lives where it does.

Reading or claiming as a group is a write: it leases what it takes.
"""

from __future__ import annotations

from flo.wire import group, group_admin, stream, stream_admin
from flo.wire.group_messages import (
    Claimed,
    GroupAck,
    GroupClaim,
    GroupConfigure,
    GroupCreate,
    GroupDelete,
    GroupInfo,
    GroupInfoResult,
    GroupJoin,
    GroupLeave,
    GroupNack,
    GroupPending,
    GroupRead,
    GroupTouch,
    PendingList,
)
from flo.wire.messages import Deleted, Done
from flo.wire.op import Traits, messages, row
from flo.wire.stream_messages import (
    Appended,
    Records,
    StreamAlter,
    StreamAppend,
    StreamCreate,
    StreamDelete,
    StreamInfo,
    StreamInfoResult,
    StreamList,
    StreamListing,
    StreamRead,
    StreamTrim,
    Trimmed,
)

_READ = Traits("read", "stream", True)
_WRITE = Traits("write", "stream", False)

STREAM_ROWS = (
    row(
        0x130,
        "stream.append",
        _WRITE,
        messages(StreamAppend, Appended, stream.APPEND_V1, stream.APPEND_V2),
    ),
    row(0x131, "stream.read", _READ, messages(StreamRead, Records, stream.READ_V1, stream.READ_V2)),
    row(
        0x132, "stream.trim", _WRITE, messages(StreamTrim, Trimmed, stream.TRIM_V1, stream.TRIM_V2)
    ),
    row(
        0x133,
        "stream.info",
        _READ,
        messages(StreamInfo, StreamInfoResult, stream.INFO, stream.INFO),
    ),
    row(
        0x13B,
        "stream.list",
        Traits("read", "all", True),
        messages(StreamList, StreamListing, stream_admin.LIST, None),
    ),
    row(0x13D, "stream.create", _WRITE, messages(StreamCreate, Done, stream_admin.CREATE, None)),
    row(0x13F, "stream.alter", _WRITE, messages(StreamAlter, Done, stream_admin.ALTER, None)),
    row(0x140, "stream.delete", _WRITE, messages(StreamDelete, Deleted, stream_admin.DELETE, None)),
)

GROUP_ROWS = (
    row(
        0x150, "stream.group_create", _WRITE, messages(GroupCreate, Done, group_admin.CREATE, None)
    ),
    row(0x151, "stream.group_join", _WRITE, messages(GroupJoin, Done, group.JOIN, group.JOIN)),
    row(0x152, "stream.group_leave", _WRITE, messages(GroupLeave, Done, group.LEAVE, group.LEAVE)),
    row(
        0x153,
        "stream.group_read",
        _WRITE,
        messages(GroupRead, Records, group.READ_V1, group.READ_V2),
    ),
    row(0x154, "stream.group_ack", _WRITE, messages(GroupAck, Done, group.ACK, group.ACK)),
    row(
        0x155,
        "stream.group_claim",
        _WRITE,
        messages(GroupClaim, Claimed, group.CLAIM_V1, group.CLAIM_V2),
    ),
    row(
        0x156,
        "stream.group_pending",
        _READ,
        messages(GroupPending, PendingList, group.PENDING, group.PENDING),
    ),
    row(
        0x159, "stream.group_nack", _WRITE, messages(GroupNack, Done, group.NACK_V1, group.NACK_V2)
    ),
    row(0x15A, "stream.group_touch", _WRITE, messages(GroupTouch, Done, group_admin.TOUCH, None)),
    row(
        0x15B,
        "stream.group_info",
        _READ,
        messages(GroupInfo, GroupInfoResult, group_admin.INFO, None),
    ),
    row(
        0x15C,
        "stream.group_delete",
        _WRITE,
        messages(GroupDelete, Deleted, group_admin.DELETE, None),
    ),
    # 0x157, configure_sweeper, is about a background task of the original.
    row(
        0xF020,
        "stream.group_configure",
        _WRITE,
        messages(GroupConfigure, Done, group_admin.CONFIGURE, None),
    ),
)
