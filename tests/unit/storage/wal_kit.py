"""Helpers for the tests of the log: small segments, whole images of a directory, and its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.storage.memory_files import MemoryStorage
from cluster.storage.records import HardState
from cluster.storage.wal import Wal
from cluster.storage.wal_config import WalConfig
from cluster.storage.wal_format import (
    BATCH_HEADER,
    SEGMENT_HEADER,
    segment_name,
    unpack_batch_header,
)

if TYPE_CHECKING:
    from cluster.storage.files import Storage
    from cluster.storage.group_log import GroupLog
    from cluster.storage.records import Entry

SMALL = WalConfig(segment_bytes=2048, batch_bytes_max=1024, groups_max=4)

Image = dict[str, bytes]
State = dict[int, tuple[list["Entry"], HardState]]

ONE = segment_name(1)
TWO = segment_name(2)
THREE = segment_name(3)


class Place(NamedTuple):
    """One batch in a segment: bytes `start` up to `end`."""

    number: int
    start: int
    end: int


def sync(wal: Wal) -> None:
    """Make everything buffered durable."""
    ticket = wal.seal()
    if ticket is not None:
        wal.write_and_sync(ticket)
        wal.complete(ticket)


def append(group: GroupLog, count: int, *, term: int = 1, nbytes: int = 20) -> None:
    """Append entries whose data tell index and term and end in no zero byte."""
    for index in range(group.last_index + 1, group.last_index + 1 + count):
        group.append(index, term, f"{index}.{term}".encode().ljust(nbytes, b"x"))


def batches(storage: Storage, count: int, config: WalConfig = SMALL) -> None:
    """Write a log of `count` batches, one entry of group 1 in each."""
    wal = Wal.open(storage, config)
    for _ in range(count):
        append(wal.group(1), 1)
        sync(wal)
    wal.close()


def in_memory(group: GroupLog, storage: Storage) -> int:
    """Return how many entries the group still has when the files are gone; reads none before."""
    for name in storage.list():
        storage.remove(name)
    for index in range(group.first_index, group.last_index + 1):
        try:
            return len(group.entries(index, group.last_index + 1))
        except FileNotFoundError:
            continue
    return 0


def indexes(group: GroupLog) -> list[int]:
    """Return the index of each entry in the log of a group."""
    return [entry.index for entry in group.entries(group.first_index, group.last_index + 1)]


def state(wal: Wal, group_ids: tuple[int, ...] = (1, 2, 3)) -> State:
    """Return entries and hard state of each group."""
    found: State = {}
    for group_id in group_ids:
        group = wal.group(group_id)
        entries = group.entries(group.first_index, group.last_index + 1)
        found[group_id] = entries, group.hard_state
    return found


def reopened(storage: Storage, config: WalConfig = SMALL) -> State:
    """Open the log, return what is in it, and close it."""
    wal = Wal.open(storage, config)
    found = state(wal)
    wal.close()
    return found


def last_index(storage: Storage, config: WalConfig = SMALL) -> int:
    """Return the last index of group 1 after a start."""
    return len(reopened(storage, config)[1][0])


def image(storage: Storage) -> Image:
    """Return all bytes of all files."""
    found: Image = {}
    for name in storage.list():
        file = storage.open(name)
        found[name] = file.read_at(0, file.size())
        file.close()
    return found


def stored(files: Image) -> MemoryStorage:
    """Return a directory with these files, synced."""
    storage = MemoryStorage()
    write_image(storage, files)
    return storage


def write_image(storage: Storage, files: Image) -> None:
    """Put these files into a directory, synced."""
    for name, data in files.items():
        file = storage.create(name)
        file.write_at(0, data)
        file.sync()
        file.close()
    storage.sync_directory()


def changed(files: Image, name: str, start: int, data: bytes) -> Image:
    """Return a copy of `files` in which `data` stand at `start` of one file."""
    old = files[name]
    return files | {name: old[:start] + data + old[start + len(data) :]}


def flipped(files: Image, name: str, offset: int) -> Image:
    """Return a copy of `files` with one bit of one byte flipped."""
    return changed(files, name, offset, bytes([files[name][offset] ^ 1 << offset % 8]))


def layout(segment: bytes) -> list[Place]:
    """Return the batches of a segment, following the lengths in their headers."""
    places: list[Place] = []
    offset = SEGMENT_HEADER.size
    while (header := unpack_batch_header(segment, offset)) is not None:
        end = offset + BATCH_HEADER.size + header.payload_bytes
        places.append(Place(header.number, offset, end))
        offset = end
    return places


def log_of(segments: int) -> tuple[MemoryStorage, Wal]:
    """Return a log whose segments hold 5 batches each, with one entry of group 1 in each batch."""
    storage = MemoryStorage()
    wal = Wal.open(storage, SMALL)
    extend(wal, segments)
    return storage, wal


def extend(wal: Wal, segments: int) -> None:
    """Append entries to group 1, one in a batch, until so many segments are in use."""
    while wal.bytes_in_use < segments * SMALL.segment_bytes:
        append(wal.group(1), 1, nbytes=300)
        sync(wal)


def sequences(storage: Storage) -> list[int]:
    """Return the sequences of all segments."""
    return [int(name[4:20], 16) for name in storage.list()]


def forget(wal: Wal, sequence: int) -> None:
    """Compact every group so that it needs no segment up to this one; durable."""
    for group_id in (1, 2, 3):
        index = wal.group(group_id).compaction_index(sequence)
        if index is not None:
            wal.group(group_id).compact(index)
    sync(wal)
