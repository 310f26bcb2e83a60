"""What stream operations are given and give back."""

from dataclasses import dataclass, field
from enum import IntEnum

from flo.wire.group_messages import GroupMode as GroupMode

_U64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True, order=True)
class StreamID:
    """The place of a record in its stream: when it was appended, and a number within that time.

    Ids of one stream only grow, over all its partitions. They compare in that order, and are
    written `ms-sequence`.
    """

    timestamp_ms: int = 0
    sequence: int = 0

    def next(self) -> "StreamID":
        """The smallest id after this one: where to go on reading."""
        if self.sequence == _U64_MAX:
            return StreamID(self.timestamp_ms + 1)
        return StreamID(self.timestamp_ms, self.sequence + 1)

    def to_bytes(self) -> bytes:
        """16 bytes whose order is that of the ids."""
        return self.timestamp_ms.to_bytes(8, "big") + self.sequence.to_bytes(8, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> "StreamID":
        """What `to_bytes` gave. Raises ValueError."""
        if len(data) != 16:
            raise ValueError(f"a stream id has 16 bytes, not {len(data)}")
        return cls(int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big"))

    @classmethod
    def parse(cls, text: str) -> "StreamID":
        """The id that is written `text`; without `-sequence` the first of its time.

        Raises ValueError.

        Example:
            from flo import StreamID

            print(StreamID.parse("1700000000000-3").sequence)  # 3
        """
        time, _, sequence = text.partition("-")
        try:
            return cls(int(time), int(sequence or 0))
        except ValueError:
            raise ValueError(f"{text!r} is no stream id: write it as 1700000000000-0") from None

    def __str__(self) -> str:
        return f"{self.timestamp_ms}-{self.sequence}"


FIRST_ID = StreamID()
"""0-0, which no record has: before the first one."""
LAST_ID = StreamID(_U64_MAX, _U64_MAX)
"""After every record."""


class StorageTier(IntEnum):
    """Where a record was read from; it means nothing more."""

    HOT = 0
    WARM = 1


@dataclass
class StreamRecord:
    """A record of a stream. `headers` is None when it has none."""

    id: StreamID = FIRST_ID
    tier: StorageTier = StorageTier.HOT
    stream: str = ""
    payload: bytes = b""
    headers: dict[str, str] | None = None
    partition: int = 0


@dataclass
class StreamItem:
    """One record of a batch."""

    payload: bytes | bytearray | memoryview
    headers: dict[str, str] | None = None


@dataclass
class StreamAppendResult:
    """Where a record is; of a batch the first one, whose others follow in sequence."""

    id: StreamID = FIRST_ID


@dataclass
class StreamReadResult:
    """Records in the order of their ids, none when there were none."""

    records: list[StreamRecord] = field(default_factory=list[StreamRecord])


@dataclass
class PendingEntry:
    """A record that a consumer was given and has not acknowledged."""

    id: StreamID = FIRST_ID
    consumer: str = ""
    delivery_count: int = 0


@dataclass
class StreamClaimResult:
    """Records taken over. Unless `done`, go on from `next_cursor`; it is after all ids then."""

    records: list[StreamRecord] = field(default_factory=list[StreamRecord])
    next_cursor: StreamID = FIRST_ID
    done: bool = False


@dataclass
class StreamInfo:
    """How large a stream is. Ids are 0-0 when it is empty."""

    count: int
    bytes_size: int
    first_id: StreamID = FIRST_ID
    last_id: StreamID = FIRST_ID
    partition_count: int = 1


@dataclass
class StreamTrimResult:
    """How many records were removed, and the sequence of the first one left, 0 if none is."""

    removed: int
    first_seq: int


@dataclass
class StreamSummary:
    """A stream in a list."""

    name: str
    count: int
    bytes_size: int
    partition_count: int
    last_id: StreamID


@dataclass
class StreamListResult:
    """Streams in the order of their names. `cursor` continues; None on the last page."""

    streams: list[StreamSummary]
    cursor: bytes | None

    @property
    def has_more(self) -> bool:
        """Whether there are further streams."""
        return self.cursor is not None


@dataclass
class GroupMember:
    """A consumer of a group. One that is not `active` stands by."""

    name: str
    pending: int
    active: bool


@dataclass
class GroupInfo:
    """How far a group is: the last record it delivered, and how many come after that."""

    mode: GroupMode
    cursor: StreamID
    pending: int
    lag: int
    ack_timeout_ms: int
    max_deliver: int
    consumers: list[GroupMember]


@dataclass
class StreamAppendOptions:
    """How records are appended.

    partition: which one; else the one that `partition_key` hashes to, else the first.
    """

    namespace: str | None = None
    headers: dict[str, str] | None = None
    partition: int | None = None
    partition_key: str | bytes | None = None


@dataclass
class StreamReadOptions:
    """What to read: records from `start` to `end`, both included, by default all.

    tail: only records that are appended after the request; the start does not count then.
    partition: of one partition; None is all of them, merged.
    count: 1 to 1,000; None is 100.
    block_ms: how long to wait for a first record, at most 300,000.
    """

    namespace: str | None = None
    start: StreamID | None = None
    end: StreamID | None = None
    tail: bool = False
    partition: int | None = None
    count: int | None = None
    block_ms: int | None = None


@dataclass
class StreamTrimOptions:
    """Which records to remove: one of the bounds at least, and all that are given apply.

    before: up to this id, included. max_len: all but the newest so many. max_age_seconds: older
    ones. dry_run: only count. max_bytes: all but the newest with so many bytes of payload.
    """

    namespace: str | None = None
    before: StreamID | None = None
    max_len: int | None = None
    max_age_seconds: int | None = None
    dry_run: bool = False
    max_bytes: int | None = None


@dataclass
class StreamCreateOptions:
    """How a stream is made: its partitions, which never change, and what it keeps.

    Without a bound it keeps everything; see `StreamTrimOptions`.
    """

    namespace: str | None = None
    partitions: int = 1
    max_len: int | None = None
    max_age_seconds: int | None = None
    max_bytes: int | None = None


@dataclass
class StreamAlterOptions:
    """What a stream keeps from now on. None leaves a bound as it is, 0 lifts it."""

    namespace: str | None = None
    max_len: int | None = None
    max_age_seconds: int | None = None
    max_bytes: int | None = None


@dataclass
class StreamInfoOptions:
    """Where the stream is."""

    namespace: str | None = None


@dataclass
class StreamListOptions:
    """Which streams to list: names that begin with `prefix`, at most `limit`, from `cursor` on."""

    namespace: str | None = None
    prefix: str = ""
    limit: int = 100
    cursor: bytes | None = None


@dataclass
class StreamGroupCreateOptions:
    """How a group is made. It begins at `start`, at the end with `tail`, else at the first record.

    mode: records go to whoever asks (SHARED), to one holder (EXCLUSIVE), or those with the same
        partition key to one consumer (KEY_SHARED).
    ack_timeout_ms: what is not acknowledged within it is delivered again; 0 never is. Default
        330 s.
    max_deliver: after so many deliveries a record goes to `<stream>.dlq`; 0 is without end.
        Default 10.
    max_standbys: of an exclusive group; further consumers are refused.
    """

    namespace: str | None = None
    mode: GroupMode = GroupMode.SHARED
    start: StreamID | None = None
    tail: bool = False
    ack_timeout_ms: int | None = None
    max_deliver: int | None = None
    max_standbys: int | None = None


@dataclass
class StreamGroupJoinOptions:
    """Where the stream is."""

    namespace: str | None = None


@dataclass
class StreamGroupReadOptions:
    """How many records to take, 1 to 1,000 (None: 100), and how long to wait for a first one."""

    namespace: str | None = None
    count: int | None = None
    block_ms: int | None = None


@dataclass
class StreamGroupAckOptions:
    """Who acknowledges; it does not matter, ids count."""

    namespace: str | None = None
    consumer: str = ""


@dataclass
class StreamGroupNackOptions:
    """Who gives records back, and after which delay they are delivered again."""

    namespace: str | None = None
    consumer: str = ""
    delay_ms: int = 0


@dataclass
class StreamGroupTouchOptions:
    """How much longer the consumer needs; None is the group's ack timeout once more."""

    namespace: str | None = None
    consumer: str = ""
    extend_ms: int | None = None
