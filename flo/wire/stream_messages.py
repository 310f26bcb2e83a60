"""What can be asked of streams and answered, independent of the revision; ids and records.

The rules of `flo.wire.messages` hold: named tuples, real `bytes`, and a request decoded from the
wire has passed the protocol's limits.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

READ_LIMIT_DEFAULT = 100

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values, both UTF-8; order and duplicates are kept."""


class StreamId(NamedTuple):
    """The place of a record in its stream, strictly increasing. 0-0 is before every record."""

    timestamp_ms: int
    sequence: int


class StreamItem(NamedTuple):
    """A record to be appended. The payload may be empty."""

    payload: bytes
    headers: Headers = ()


class StreamRecord(NamedTuple):
    """A record of a stream.

    `partition` is its index. `tier` is 0 (memory) or 1 (disk) and means nothing beyond; v1 may say
    2 and 3. `stream` is the stream's name, which official SDKs show; empty is none.
    """

    id: StreamId
    payload: bytes
    headers: Headers = ()
    partition: int = 0
    tier: int = 0
    stream: bytes = b""


class Retention(NamedTuple):
    """What a stream keeps. None: no such bound (create), or as it was (alter); 0 lifts a bound."""

    max_len: int | None = None
    max_age_s: int | None = None
    max_bytes: int | None = None


class StreamAppend(NamedTuple):
    """Add 1 to 1000 records at the end, and make the stream if there is none.

    The records get consecutive sequences. The partition is the index given, else that of the key,
    else 0.
    """

    namespace: bytes
    stream: bytes
    records: tuple[StreamItem, ...]
    partition: int | None = None
    partition_key: bytes | None = None


class StreamRead(NamedTuple):
    """The records from `start` to `end`, both included, oldest first.

    No start is the first record, no end the last. `tail` means only those appended after the
    request came, whatever the start. No partition is all of them, merged. At most `limit` (1 to
    1000) records. `wait_ms` > 0 waits for the first one.
    """

    namespace: bytes
    stream: bytes
    start: StreamId | None = None
    end: StreamId | None = None
    tail: bool = False
    partition: int | None = None
    limit: int = READ_LIMIT_DEFAULT
    wait_ms: int = 0
    partition_key: bytes | None = None


class StreamInfo(NamedTuple):
    """How large is the stream?"""

    namespace: bytes
    stream: bytes


class StreamTrim(NamedTuple):
    """Remove the oldest records, those up to and including `before` or beyond a bound.

    At least one of the four is given (v2: exactly one), none is 0, and all that are apply.
    `dry_run` only counts.
    """

    namespace: bytes
    stream: bytes
    before: StreamId | None = None
    max_len: int | None = None
    max_age_s: int | None = None
    max_bytes: int | None = None
    dry_run: bool = False


class StreamCreate(NamedTuple):
    """Make a stream. The number of partitions never changes."""

    namespace: bytes
    stream: bytes
    partitions: int = 1
    retention: Retention = Retention()


class StreamAlter(NamedTuple):
    """Change what a stream keeps."""

    namespace: bytes
    stream: bytes
    retention: Retention = Retention()


class StreamDelete(NamedTuple):
    """Remove a stream; with `force` whatever is in it and reads it."""

    namespace: bytes
    stream: bytes
    force: bool = False


class StreamList(NamedTuple):
    """One page of the streams whose names start with a prefix. `limit` None is 100."""

    namespace: bytes
    prefix: bytes = b""
    limit: int | None = None
    cursor: bytes = b""


class Appended(NamedTuple):
    """The id of the first record appended."""

    id: StreamId


class Records(NamedTuple):
    """Records in the order of their ids, or of their delivery in a group."""

    records: tuple[StreamRecord, ...]


class StreamInfoResult(NamedTuple):
    """A stream's live records: 0-0 as first and last when there is none.

    A stream that does not exist looks like an empty one of 1 partition.
    """

    first: StreamId
    last: StreamId
    record_count: int
    payload_bytes: int
    partitions: int


class Trimmed(NamedTuple):
    """How many records went, and the sequence of the first one left; 0 if there is none."""

    removed: int
    first_sequence: int


class StreamSummary(NamedTuple):
    """One stream of a listing."""

    name: bytes
    record_count: int
    payload_bytes: int
    partitions: int
    last: StreamId


class StreamListing(NamedTuple):
    """One page of streams in the order of their names. No cursor exactly on the last page."""

    streams: tuple[StreamSummary, ...]
    cursor: bytes | None


StreamBody: TypeAlias = (
    StreamAppend
    | StreamRead
    | StreamInfo
    | StreamTrim
    | StreamCreate
    | StreamAlter
    | StreamDelete
    | StreamList
)

StreamResult: TypeAlias = Appended | Records | StreamInfoResult | Trimmed | StreamListing
