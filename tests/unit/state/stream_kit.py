"""What the tests of streams and groups share: commands in few words, and looks at the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from cluster.state import group_commands as group_codes
from cluster.state import group_reads, stream_reads
from cluster.state import stream_commands as stream_codes
from cluster.state.group_rows import decode_group
from cluster.state.objects import object_key, read_object
from cluster.state.store import Table
from cluster.state.stream import GROUP_KIND
from cluster.state.stream_reads import Range
from cluster.state.stream_rows import FIRST_ID, LAST_ID, Id, records_prefix
from tests.unit.state.helpers import NAMESPACE, NO_SESSION, Bench

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.state.commands import Command, Result
    from cluster.state.group_rows import Group
    from cluster.state.stream_rows import Headers

STREAM = b"s"
GROUP = b"g"
BYTES_MAX = 1 << 30

STREAM_TABLES = (
    Table.STREAM_RECORDS,
    Table.STREAM_PARTS,
    Table.GROUP_PENDING,
    Table.GROUP_DUE,
    Table.GROUP_MEMBERS,
    Table.TIMERS,
    Table.GARBAGE,
)


class Recorded(NamedTuple):
    id: Id
    payload: bytes
    headers: Headers = ()
    partition: int = 0


class Bounds(NamedTuple):
    max_len: int | None = None
    max_age_s: int | None = None
    max_bytes: int | None = None


class Settings(NamedTuple):
    ack_timeout_ms: int | None = None
    max_deliver: int | None = None
    max_standbys: int | None = None
    slots: int | None = None


NO_BOUNDS = Bounds()
NO_SETTINGS = Settings()


def append(
    *payloads: bytes,
    stream: bytes = STREAM,
    headers: Headers = (),
    partition: int | None = None,
    key: bytes | None = None,
) -> Command:
    items = tuple((payload, headers) for payload in payloads)
    return (stream_codes.STREAM_APPEND, *NO_SESSION, NAMESPACE, stream, items, partition, key)


def trim(
    before: Id | None = None,
    bounds: Bounds = NO_BOUNDS,
    *,
    stream: bytes = STREAM,
    dry_run: bool = False,
) -> Command:
    until = (None, None) if before is None else before
    names = (NAMESPACE, stream)
    return (stream_codes.STREAM_TRIM, *NO_SESSION, *names, *until, *bounds, int(dry_run))


def create(partitions: int = 1, bounds: Bounds = NO_BOUNDS, *, stream: bytes = STREAM) -> Command:
    return (stream_codes.STREAM_CREATE, *NO_SESSION, NAMESPACE, stream, partitions, *bounds)


def alter(bounds: Bounds, *, stream: bytes = STREAM) -> Command:
    return (stream_codes.STREAM_ALTER, *NO_SESSION, NAMESPACE, stream, *bounds)


def delete(*, stream: bytes = STREAM, force: bool = False) -> Command:
    return (stream_codes.STREAM_DELETE, *NO_SESSION, NAMESPACE, stream, int(force))


def group_create(
    group: bytes = GROUP,
    *,
    mode: int = 0,
    start: Id | None = None,
    tail: bool = False,
    settings: Settings = NO_SETTINGS,
    stream: bytes = STREAM,
) -> Command:
    begin = (None, None) if start is None else start
    names = (NAMESPACE, stream, group)
    return (
        *(group_codes.GROUP_CREATE, *NO_SESSION, *names, mode, *begin, int(tail)),
        *settings,
    )


def configure(settings: Settings, *, group: bytes = GROUP, stream: bytes = STREAM) -> Command:
    return (group_codes.GROUP_CONFIGURE, *NO_SESSION, NAMESPACE, stream, group, *settings)


def group_delete(group: bytes = GROUP, *, stream: bytes = STREAM) -> Command:
    return (group_codes.GROUP_DELETE, *NO_SESSION, NAMESPACE, stream, group)


def join(consumer: bytes, *, group: bytes = GROUP, stream: bytes = STREAM) -> Command:
    return (group_codes.GROUP_JOIN, *NO_SESSION, NAMESPACE, stream, group, consumer)


def leave(consumer: bytes, *, group: bytes = GROUP, stream: bytes = STREAM) -> Command:
    return (group_codes.GROUP_LEAVE, *NO_SESSION, NAMESPACE, stream, group, consumer)


def read(
    consumer: bytes,
    limit: int = 100,
    *,
    group: bytes = GROUP,
    stream: bytes = STREAM,
    waits: int = group_codes.WAIT_FOR_RECORDS,
    max_bytes: int = BYTES_MAX,
) -> Command:
    names = (NAMESPACE, stream, group, consumer)
    return (group_codes.GROUP_READ, *NO_SESSION, *names, limit, waits, max_bytes)


def ack(*ids: Id, consumer: bytes = b"", group: bytes = GROUP, stream: bytes = STREAM) -> Command:
    return (group_codes.GROUP_ACK, *NO_SESSION, NAMESPACE, stream, group, consumer, ids)


def nack(
    *ids: Id,
    consumer: bytes = b"",
    delay_ms: int = 0,
    group: bytes = GROUP,
    stream: bytes = STREAM,
) -> Command:
    names = (NAMESPACE, stream, group, consumer)
    return (group_codes.GROUP_NACK, *NO_SESSION, *names, ids, delay_ms)


def touch(
    *ids: Id,
    consumer: bytes = b"",
    extend_ms: int | None = None,
    group: bytes = GROUP,
    stream: bytes = STREAM,
) -> Command:
    names = (NAMESPACE, stream, group, consumer)
    return (group_codes.GROUP_TOUCH, *NO_SESSION, *names, ids, extend_ms)


def claim(
    consumer: bytes,
    min_idle_ms: int = 0,
    *,
    start: Id = FIRST_ID,
    limit: int = 100,
    group: bytes = GROUP,
    stream: bytes = STREAM,
    max_bytes: int = BYTES_MAX,
) -> Command:
    names = (NAMESPACE, stream, group, consumer)
    return (group_codes.GROUP_CLAIM, *NO_SESSION, *names, min_idle_ms, *start, limit, max_bytes)


EVERY_COMMAND: list[Command] = [
    append(b"", b"payload", headers=((b"name", b"value"),), partition=2**32 - 1, key=b"k"),
    trim((2**64 - 1, 2**64 - 1), Bounds(1, 2, 3), dry_run=True),
    create(1024, Bounds(0, 0, 0)),
    alter(Bounds(max_len=2**64 - 1)),
    delete(force=True),
    group_create(mode=2, start=(1, 2), tail=True, settings=Settings(1, 255, 3, 4)),
    configure(Settings()),
    group_delete(),
    join(b"c"),
    leave(b"c"),
    read(b"c", 1000, waits=group_codes.WAIT_FOR_KEYS, max_bytes=2**64 - 1),
    ack((1, 2), (3, 4)),
    nack((1, 2), delay_ms=2**32 - 1),
    touch((1, 2), extend_ms=5),
    claim(b"c", 2**32 - 1, start=(1, 2), limit=1),
]


def recorded(records: object) -> list[Recorded]:
    """Records of an answer."""
    rows = cast("Iterable[tuple[int, int, int, Headers, bytes]]", records)
    return [Recorded((row[0], row[1]), row[4], row[3], row[2]) for row in rows]


class StreamBench(Bench):
    """A replica with looks at its streams."""

    def append(self, *payloads: bytes, at_ms: int = 0, stream: bytes = STREAM) -> list[Id]:
        """Appends records; their ids."""
        result = self.one(append(*payloads, stream=stream), at_ms=at_ms)
        _, ms, sequence = cast("tuple[int, int, int]", result)
        return [(ms, sequence + place) for place in range(len(payloads))]

    def records(
        self,
        start: Id = FIRST_ID,
        end: Id = LAST_ID,
        *,
        partition: int | None = None,
        key_hash: int | None = None,
        limit: int = 1_000_000,
        max_bytes: int = BYTES_MAX,
        stream: bytes = STREAM,
    ) -> list[Recorded]:
        with self.replica.view() as (txn, _):
            wanted = Range(start, end, partition, key_hash)
            result = stream_reads.read_stream(
                txn, NAMESPACE, stream, wanted, limit=limit, max_bytes=max_bytes
            )
        assert result[:2] == (0, stream)
        return recorded(result[2])

    def payloads(self, stream: bytes = STREAM) -> list[bytes]:
        return [record.payload for record in self.records(stream=stream)]

    def info(self, stream: bytes = STREAM) -> Result:
        with self.replica.view() as (txn, _):
            return stream_reads.stream_info(txn, NAMESPACE, stream)

    def streams(self, prefix: bytes = b"", after: bytes = b"", limit: int = 100) -> list[bytes]:
        with self.replica.view() as (txn, _):
            listed, _ = stream_reads.list_streams(txn, NAMESPACE, prefix, after, limit=limit)
        return [each[0] for each in listed]

    def expand(self, result: Result) -> Result:
        with self.replica.view() as (txn, _):
            return group_reads.expand(txn, result)

    def take(
        self,
        consumer: bytes,
        limit: int = 100,
        *,
        at_ms: int = 0,
        group: bytes = GROUP,
        stream: bytes = STREAM,
    ) -> list[Id]:
        """Reads as a group; the ids."""
        result = self.one(read(consumer, limit, group=group, stream=stream), at_ms=at_ms)
        if result[0] != 0:
            return []
        return [record.id for record in recorded(self.expand(result)[2])]

    def pending(
        self, consumer: bytes | None = None, *, group: bytes = GROUP, stream: bytes = STREAM
    ) -> list[tuple[Id, int, bytes]]:
        """Id, deliveries and consumer of each entry."""
        with self.replica.view() as (txn, _):
            names = (NAMESPACE, stream, group)
            result = group_reads.pending(txn, names, consumer, max_bytes=BYTES_MAX)
        entries = cast("tuple[tuple[int, int, int, bytes], ...]", result[1])
        return [((each[0], each[1]), each[2], each[3]) for each in entries]

    def group_info(self, group: bytes = GROUP, *, stream: bytes = STREAM) -> Result:
        with self.replica.view() as (txn, stamp_ms):
            return group_reads.group_info(txn, (NAMESPACE, stream, group), now_ms=stamp_ms)

    def group_record(self, group: bytes = GROUP, *, stream: bytes = STREAM) -> Group:
        """The record of a group that is there."""
        with self.replica.view() as (txn, _):
            found = stream_reads.find_stream(txn, NAMESPACE, stream)
            assert found is not None
            full = object_key(GROUP_KIND, records_prefix(found.stream_id), group)
            record = read_object(txn, full, decode_group)
            assert record is not None
            return record

    def rows(self, *tables: Table) -> int:
        """How many rows there are."""
        with self.read() as txn:
            return sum(1 for table in tables for _ in txn.scan(table, b""))

    def tidy(self, at_ms: int = 0) -> None:
        """Lets entries pass until no garbage is left."""
        for _ in range(100):
            self.run(at_ms=at_ms)
            if not self.rows(Table.GARBAGE):
                return
        raise AssertionError("garbage stays")
