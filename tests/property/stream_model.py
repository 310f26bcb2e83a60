"""Streams and groups in the plainest way: lists and dictionaries, and everything looked through.

Nothing here is lazy. What the state machine puts off (entries of trimmed records, the timers of
what was deleted) is done at once, so that what can be seen of either must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from cluster.state.commands import EMPTY
from cluster.state.stream_rows import Headers, Id, next_id
from flo.wire.status import Reason

NEVER_MS = 2**64 - 1
LEASED, DELAYED, DUE = "leased", "delayed", "due"


class ModelRecord(NamedTuple):
    id: Id
    payload: bytes
    headers: Headers
    partition: int
    key: int


@dataclass
class ModelEntry:
    consumer: bytes
    deliveries: int
    delivered_ms: int
    state: str = LEASED
    due_ms: int = NEVER_MS


@dataclass
class ModelGroup:
    number: int
    cursor: Id = (0, 0)
    ack_timeout_ms: int = 330_000
    max_deliver: int = 10
    entries: dict[Id, ModelEntry] = field(default_factory=dict[Id, ModelEntry])
    members: set[bytes] = field(default_factory=set[bytes])


@dataclass
class ModelStream:
    number: int
    last: Id = (0, 0)
    partitions: int = 0
    records: list[ModelRecord] = field(default_factory=list[ModelRecord])
    groups: dict[bytes, ModelGroup] = field(default_factory=dict[bytes, ModelGroup])
    max_len: int = 0
    max_age_ms: int = 0
    max_bytes: int = 0
    age_timer_ms: int = 0

    def keep(self, records: list[ModelRecord]) -> None:
        """Only these are left, and entries of no others."""
        self.records = records
        first = records[0].id if records else next_id(self.last)
        for group in self.groups.values():
            for of in [of for of in group.entries if of < first]:
                del group.entries[of]

    def record(self, of: Id) -> ModelRecord:
        return next(record for record in self.records if record.id == of)


class Model:
    """The streams of one partition."""

    def __init__(self) -> None:
        self.stamp_ms = 0
        self.numbers = 0
        self.last_of_deleted: Id = (0, 0)
        self.streams: dict[bytes, ModelStream] = {}

    # --- time ---

    def begin(self, stamp_ms: int) -> None:
        """An entry begins: what is due happens, in the order of times."""
        self.stamp_ms = max(self.stamp_ms, stamp_ms)
        due: list[tuple[int, int, tuple[int, ...], bytes, bytes]] = []
        for name, stream in self.streams.items():
            if 0 < stream.age_timer_ms <= self.stamp_ms:
                due.append((stream.age_timer_ms, 4, (stream.number,), name, b""))
            for group_name, group in stream.groups.items():
                for of, entry in group.entries.items():
                    if entry.state != DUE and entry.due_ms <= self.stamp_ms:
                        place = (stream.number, group.number, of[0], of[1])
                        due.append((entry.due_ms, 3, place, name, group_name))
        for _, kind, ids, name, group_name in sorted(due):
            stream = self.streams[name]
            if kind == 4:
                self._age(stream)
                continue
            group, of = stream.groups[group_name], (ids[2], ids[3])
            if of in group.entries:
                self._give_back(name, group_name, of, 0)

    def _age(self, stream: ModelStream) -> None:
        oldest_ms = self.stamp_ms - stream.max_age_ms
        stream.keep([record for record in stream.records if record.id[0] > oldest_ms])
        self._set_age_timer(stream)

    def _set_age_timer(self, stream: ModelStream) -> None:
        stream.age_timer_ms = 0
        if stream.max_age_ms and stream.records:
            stream.age_timer_ms = stream.records[0].id[0] + stream.max_age_ms

    # --- streams ---

    def open(self, name: bytes) -> ModelStream:
        if name not in self.streams:
            self.numbers += 1
            self.streams[name] = ModelStream(self.numbers)
        return self.streams[name]

    def append(
        self,
        name: bytes,
        items: list[tuple[bytes, Headers]],
        partition: int | None,
        key: bytes | None,
    ) -> tuple[int, ...]:
        partitions = max(1, self.streams[name].partitions) if name in self.streams else 1
        if partition is not None and partition >= partitions:
            return (Reason.OUT_OF_RANGE,)
        stream = self.open(name)
        key_hash = 0 if key is None else crc32(key)
        if partition is None:
            partition = key_hash % partitions
        return 0, *self._add(stream, items, partition, key_hash)

    def _add(
        self,
        stream: ModelStream,
        items: list[tuple[bytes, Headers]],
        partition: int,
        key: int,
    ) -> Id:
        stream.partitions = max(1, stream.partitions)
        last = stream.last if stream.last > (0, 0) else self.last_of_deleted
        first = (self.stamp_ms, 0) if self.stamp_ms > last[0] else next_id(last)
        for place, (payload, headers) in enumerate(items):
            stream.last = (first[0], first[1] + place)
            stream.records.append(ModelRecord(stream.last, payload, headers, partition, key))
        self._retain(stream)
        if stream.max_age_ms and not stream.age_timer_ms:
            self._set_age_timer(stream)
        return first

    def _retain(self, stream: ModelStream) -> None:
        kept = _within(stream.records, stream.max_len or None, stream.max_bytes or None)
        stream.keep(kept or stream.records[-1:])

    def trim(
        self,
        name: bytes,
        before: Id | None,
        bounds: tuple[int | None, int | None, int | None],
        *,
        dry_run: bool,
    ) -> tuple[int, ...]:
        stream = self.streams.get(name)
        if stream is None:
            return 0, 0, 0
        max_len, max_age_s, max_bytes = bounds
        kept = _within(stream.records, max_len, max_bytes)
        if before is not None:
            kept = [record for record in kept if record.id > before]
        if max_age_s is not None:
            oldest_ms = self.stamp_ms - max_age_s * 1000
            kept = [record for record in kept if record.id[0] > oldest_ms]
        removed = len(stream.records) - len(kept)
        if not dry_run:
            stream.keep(kept)
        return 0, removed, kept[0].id[1] if kept else 0

    def create(
        self, name: bytes, partitions: int, bounds: tuple[int | None, int | None, int | None]
    ) -> tuple[int, ...]:
        stream = self.open(name)
        if stream.partitions not in (0, partitions):
            return (Reason.CONDITION_FAILED,)
        stream.partitions = partitions
        return self.alter(name, bounds)

    def alter(
        self, name: bytes, bounds: tuple[int | None, int | None, int | None]
    ) -> tuple[int, ...]:
        stream = self.streams.get(name)
        if stream is None:
            return (Reason.NOT_FOUND,)
        max_len, max_age_s, max_bytes = bounds
        if max_len is not None:
            stream.max_len = max_len
        if max_age_s is not None:
            stream.max_age_ms = 1000 * max_age_s
        if max_bytes is not None:
            stream.max_bytes = max_bytes
        self._retain(stream)
        self._set_age_timer(stream)
        return (0,)

    def delete(self, name: bytes, *, force: bool) -> tuple[int, ...]:
        stream = self.streams.get(name)
        if stream is None:
            return 0, False
        if not force and (stream.records or stream.groups):
            return (Reason.CONDITION_FAILED,)
        self.last_of_deleted = max(self.last_of_deleted, stream.last)
        del self.streams[name]
        return 0, True

    # --- groups ---

    def group(self, name: bytes, group: bytes) -> ModelGroup | None:
        return self.streams[name].groups.get(group) if name in self.streams else None

    def open_group(self, name: bytes, group: bytes) -> ModelGroup:
        stream = self.open(name)
        if group not in stream.groups:
            self.numbers += 1
            stream.groups[group] = ModelGroup(self.numbers)
        return stream.groups[group]

    def set_group(
        self, group: ModelGroup, ack_timeout_ms: int | None, max_deliver: int | None
    ) -> None:
        if ack_timeout_ms is not None:
            group.ack_timeout_ms = ack_timeout_ms
        if max_deliver is not None:
            group.max_deliver = max_deliver

    def read(self, name: bytes, group_name: bytes, consumer: bytes, limit: int) -> list[Id] | int:
        group, stream = self.open_group(name, group_name), self.streams[name]
        group.members.add(consumer)
        for of in sorted(of for of, entry in group.entries.items() if entry.state == DUE):
            if _is_spent(group, group.entries[of]):
                self._bury(name, group_name, of)
        due = sorted(of for of, entry in group.entries.items() if entry.state == DUE)[:limit]
        new = [record.id for record in stream.records if record.id > group.cursor]
        taken = due + new[: limit - len(due)]
        for of in taken:
            self._lease(group, of, consumer)
        group.cursor = max([group.cursor, *taken])
        return taken or EMPTY

    def _lease(self, group: ModelGroup, of: Id, consumer: bytes) -> None:
        deliveries = group.entries[of].deliveries if of in group.entries else 0
        due_ms = self.stamp_ms + group.ack_timeout_ms if group.ack_timeout_ms else NEVER_MS
        group.entries[of] = ModelEntry(consumer, deliveries + 1, self.stamp_ms, LEASED, due_ms)

    def ack(self, name: bytes, group_name: bytes, ids: list[Id]) -> tuple[int, ...]:
        group = self.group(name, group_name)
        if group is None:
            return (Reason.NOT_FOUND,)
        for of in ids:
            group.entries.pop(of, None)
        return (0,)

    def nack(
        self, name: bytes, group_name: bytes, ids: list[Id], delay_ms: int, consumer: bytes
    ) -> tuple[int, ...]:
        group = self.group(name, group_name)
        if group is None:
            return (Reason.NOT_FOUND,)
        for of in ids:
            if _is_leased_to(group.entries.get(of), consumer):
                self._give_back(name, group_name, of, delay_ms)
        return (0,)

    def touch(
        self,
        name: bytes,
        group_name: bytes,
        ids: list[Id],
        extend_ms: int | None,
        consumer: bytes,
    ) -> tuple[int, ...]:
        group = self.group(name, group_name)
        if group is None:
            return (Reason.NOT_FOUND,)
        for of in ids:
            entry = group.entries.get(of)
            if entry is None or not _is_leased_to(entry, consumer):
                continue
            ms = group.ack_timeout_ms or None if extend_ms is None else extend_ms
            entry.due_ms = NEVER_MS if ms is None else self.stamp_ms + ms
            entry.delivered_ms = self.stamp_ms
        return (0,)

    def claim(
        self,
        name: bytes,
        group_name: bytes,
        consumer: bytes,
        *,
        min_idle_ms: int,
        start: Id,
        limit: int,
    ) -> tuple[list[Id], Id | None]:
        group = self.group(name, group_name)
        if group is None:
            return [], None
        group.members.add(consumer)
        taken: list[Id] = []
        for of in sorted(of for of in group.entries if of >= start):
            entry = group.entries[of]
            idle_ms = self.stamp_ms - entry.delivered_ms
            owned = min_idle_ms > 0 or entry.consumer == consumer
            if entry.state == DELAYED or not owned or idle_ms < min_idle_ms:
                continue
            has_it = entry.state == LEASED and entry.consumer == consumer
            if not has_it and _is_spent(group, entry):
                self._bury(name, group_name, of)
                continue
            if len(taken) == limit:
                return taken, of
            self._lease(group, of, consumer)
            taken.append(of)
        return taken, None

    def _give_back(self, name: bytes, group_name: bytes, of: Id, delay_ms: int) -> None:
        group = self.streams[name].groups[group_name]
        entry = group.entries[of]
        if _is_spent(group, entry):
            self._bury(name, group_name, of)
        elif delay_ms:
            entry.state, entry.due_ms = DELAYED, self.stamp_ms + delay_ms
        else:
            entry.state, entry.due_ms = DUE, NEVER_MS

    def _bury(self, name: bytes, group_name: bytes, of: Id) -> None:
        stream = self.streams[name]
        entry = stream.groups[group_name].entries.pop(of)
        record = stream.record(of)
        origin = (
            (b"flo-dlq-stream", name),
            (b"flo-dlq-group", group_name),
            (b"flo-dlq-id", b"%d-%d" % of),
            (b"flo-dlq-deliveries", b"%d" % entry.deliveries),
        )
        letters = self.open(name + b".dlq")
        partition = record.partition if record.partition < max(1, letters.partitions) else 0
        item = (record.payload, record.headers + origin)
        self._add(letters, [item], partition, record.key)


def _is_spent(group: ModelGroup, entry: ModelEntry) -> bool:
    return 0 < group.max_deliver <= entry.deliveries


def _is_leased_to(entry: ModelEntry | None, consumer: bytes) -> bool:
    return entry is not None and entry.state == LEASED and consumer in (b"", entry.consumer)


def _within(
    records: list[ModelRecord], max_len: int | None, max_bytes: int | None
) -> list[ModelRecord]:
    """The newest records that are within both bounds."""
    kept: list[ModelRecord] = []
    size = 0
    for record in reversed(records):
        size += len(record.payload)
        too_many = max_len is not None and len(kept) >= max_len
        if too_many or (max_bytes is not None and size > max_bytes):
            break
        kept.append(record)
    return kept[::-1]
