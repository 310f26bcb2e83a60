"""What can be asked of consumer groups and answered, independent of the revision.

The rules of `flo.wire.messages` hold: named tuples, real `bytes`, and a request decoded from the
wire has passed the protocol's limits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

from flo.wire.stream_messages import READ_LIMIT_DEFAULT, StreamId, StreamRecord


class GroupMode(IntEnum):
    """Who gets the records of a group: whoever asks, one holder, or one consumer per key."""

    SHARED = 0
    EXCLUSIVE = 1
    KEY_SHARED = 2


class GroupSettings(NamedTuple):
    """How a group delivers. None: the default (create), or as it was (configure).

    `ack_timeout_ms` 0 never delivers again by itself; `max_deliver` 0 is without end.
    `max_standbys` is for exclusive groups, `slots` for key_shared ones.
    """

    ack_timeout_ms: int | None = None
    max_deliver: int | None = None
    max_standbys: int | None = None
    slots: int | None = None


class GroupCreate(NamedTuple):
    """Make a group. It begins at `start` (included), at the end with `tail`, else at the first."""

    namespace: bytes
    stream: bytes
    group: bytes
    mode: GroupMode = GroupMode.SHARED
    start: StreamId | None = None
    tail: bool = False
    settings: GroupSettings = GroupSettings()


class GroupConfigure(NamedTuple):
    """Change how a group delivers. Its mode never changes."""

    namespace: bytes
    stream: bytes
    group: bytes
    settings: GroupSettings = GroupSettings()


class GroupDelete(NamedTuple):
    """Remove a group with all that is pending in it."""

    namespace: bytes
    stream: bytes
    group: bytes


class GroupInfo(NamedTuple):
    """How far is the group, and who is in it?"""

    namespace: bytes
    stream: bytes
    group: bytes


class GroupJoin(NamedTuple):
    """Become a member; group and member are made as needed."""

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes


class GroupLeave(NamedTuple):
    """Be a member no longer; what is pending stays."""

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes


class GroupRead(NamedTuple):
    """Take up to `limit` (1 to 1000) records: first those due again, then new ones.

    Group and member are made as needed. `wait_ms` > 0 waits for the first record.
    """

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes
    limit: int = READ_LIMIT_DEFAULT
    wait_ms: int = 0


class GroupAck(NamedTuple):
    """These records are done. The consumer may be empty: ids count, whoever says them."""

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes
    ids: tuple[StreamId, ...]


class GroupNack(NamedTuple):
    """These records are to be delivered again, after the delay. The consumer may be empty."""

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes
    ids: tuple[StreamId, ...]
    delay_ms: int = 0


class GroupTouch(NamedTuple):
    """These records take longer. None is the group's ack timeout once more, from now.

    The consumer may be empty.
    """

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes
    ids: tuple[StreamId, ...]
    extend_ms: int | None = None


class GroupClaim(NamedTuple):
    """Take over up to `limit` (1 to 1000) pending records, from `start` (included) on.

    `min_idle_ms` 0 takes the consumer's own records alone; above it also those of others, idle
    since at least that long.
    """

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes
    min_idle_ms: int
    start: StreamId = StreamId(0, 0)
    limit: int = READ_LIMIT_DEFAULT


class GroupPending(NamedTuple):
    """What was delivered and not acknowledged, to one consumer or to all."""

    namespace: bytes
    stream: bytes
    group: bytes
    consumer: bytes | None = None


class Claimed(NamedTuple):
    """Records taken over. `cursor` is where to go on; None when all that is pending was seen."""

    records: tuple[StreamRecord, ...]
    cursor: StreamId | None


class PendingEntry(NamedTuple):
    """A record that was delivered and not acknowledged."""

    id: StreamId
    delivery_count: int
    consumer: bytes


class PendingList(NamedTuple):
    """What is pending, in the order of the ids."""

    entries: tuple[PendingEntry, ...]


class ConsumerSummary(NamedTuple):
    """A member of a group. `active`: it gets records, it is no standby."""

    name: bytes
    pending: int
    active: bool


class GroupInfoResult(NamedTuple):
    """A group. `cursor` is the last record it delivered, `lag` counts the live ones after it.

    No setting is None here.
    """

    mode: GroupMode
    settings: GroupSettings
    cursor: StreamId
    pending: int
    lag: int
    consumers: tuple[ConsumerSummary, ...]


GroupBody: TypeAlias = (
    GroupCreate
    | GroupConfigure
    | GroupDelete
    | GroupInfo
    | GroupJoin
    | GroupLeave
    | GroupRead
    | GroupAck
    | GroupNack
    | GroupTouch
    | GroupClaim
    | GroupPending
)

GroupResult: TypeAlias = Claimed | PendingList | GroupInfoResult
