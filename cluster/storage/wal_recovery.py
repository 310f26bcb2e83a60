"""Reading the log at a start: which batches count, and is the end torn or something damaged?

A batch is written only after the sync of the one before returned. So a crash can tear the last
batch and no other, and any sign of a later batch - a whole header is enough - proves that the bad
one was synced and has changed since: damage. The rules in full are in DESIGN.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from cluster.storage.records import BadRecord
from cluster.storage.wal_errors import WalDamaged
from cluster.storage.wal_format import (
    BATCH_HEADER,
    FORMAT_VERSION,
    SEGMENT_HEADER,
    batch_payload,
    find_batch,
    segment_name,
    segment_sequence,
    unpack_batch_header,
    unpack_segment_header,
)
from cluster.storage.wal_index import Location
from cluster.storage.wal_segments import fill_zeros

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.storage.files import Storage
    from cluster.storage.wal_format import BatchHeader, SegmentHeader

    Replay = Callable[[Location, memoryview], None]


class Tail(NamedTuple):
    """The last batch of a log; without any batch the place before the first segment."""

    sequence: int
    start: int
    end: int
    number: int
    crc: int


NO_TAIL = Tail(sequence=0, start=0, end=0, number=0, crc=0)


class Recovered(NamedTuple):
    """What a start found; `ends` is where the batches of each segment in use end."""

    tail: Tail
    ends: dict[int, int]
    spares: list[int]


def list_segments(storage: Storage) -> list[int]:
    """Return the sequences of all segments; raises `WalDamaged` when one between is missing."""
    sequences = [
        sequence for name in storage.list() if (sequence := segment_sequence(name)) is not None
    ]
    for previous, sequence in pairwise(sequences):
        if sequence != previous + 1:
            raise WalDamaged(
                segment_name(previous + 1),
                0,
                f"the file is missing, {segment_name(sequence)} is not",
            )
    return sequences


def recover(storage: Storage, replay: Replay) -> Recovered:
    """Hand every batch of the log to `replay`, in order; changes no file. Raises `WalDamaged`."""
    sequences = list_segments(storage)
    scan = _Scan(replay, oldest=sequences[0] if sequences else 1)
    for sequence in sequences:
        scan.segment(sequence, _read(storage, sequence))
    spares = [sequence for sequence in sequences if sequence > scan.tail.sequence]
    return Recovered(scan.tail, scan.ends, spares)


def settle_tail(storage: Storage, recovered: Recovered, *, segment_bytes: int) -> None:
    """Make what `recover` found the durable truth; to be called before anything else is written.

    - The last batch is written and synced again. It may be in the page cache alone: the process was
      killed before its sync, or that sync failed, after which another sync of the same pages proves
      nothing.
    - Everything past it becomes zero bytes, so that nothing of a torn batch is ever taken for one.
      Also where zero bytes are read: those may be in the cache alone. Unused segments get the
      present size with it.
    """
    for sequence in recovered.spares:
        file = storage.open(segment_name(sequence))
        fill_zeros(file, 0, max(segment_bytes, file.size()))
        file.sync()
        file.close()
    tail = recovered.tail
    if tail is not NO_TAIL:
        file = storage.open(segment_name(tail.sequence))
        start = 0 if tail.start == SEGMENT_HEADER.size else tail.start
        file.write_at(start, file.read_at(start, tail.end - start))
        fill_zeros(file, tail.end, file.size())
        file.sync()
        file.close()


def _read(storage: Storage, sequence: int) -> bytes:
    file = storage.open(segment_name(sequence))
    data = file.read_at(0, file.size())
    file.close()
    return data


class _Scan:
    """Goes through the segments in order: replays up to the end, looks past it for damage."""

    def __init__(self, replay: Replay, oldest: int) -> None:
        self.tail = NO_TAIL
        self.ends: dict[int, int] = {}
        self._replay = replay
        self._oldest = oldest
        self._next_number = 1
        self._bad = Location(oldest, 0)  # where the next batch should be, and is not

    def segment(self, sequence: int, data: bytes) -> None:
        """Take the next segment; raises `WalDamaged`."""
        header = self._header(sequence, data)
        if sequence == self._oldest > 1:
            # The ones before it are gone on purpose, but only after this one was synced.
            if header is None:
                raise WalDamaged(segment_name(sequence), 0, "the oldest segment has no header")
            self._next_number = header.first_number
        if header is None:
            self._unused(sequence, data)
            return
        self._check_start(sequence, header)
        self._batches(sequence, data)
        if sequence == self._oldest > 1 and self.tail is NO_TAIL:
            raise WalDamaged(segment_name(sequence), SEGMENT_HEADER.size, "the oldest batch is bad")

    def _header(self, sequence: int, data: bytes) -> SegmentHeader | None:
        """Return the header; `None` for a segment without one, or with that of a former use."""
        header = unpack_segment_header(data)
        if header is None or header.sequence < sequence:
            return None
        name = segment_name(sequence)
        if header.version > FORMAT_VERSION:
            raise WalDamaged(name, 0, f"format {header.version} is of a newer version")
        if header.sequence > sequence:
            raise WalDamaged(name, 0, f"it holds segment {header.sequence}")
        return header

    def _check_start(self, sequence: int, header: SegmentHeader) -> None:
        if header.first_number < self._next_number:
            raise WalDamaged(
                segment_name(sequence),
                0,
                f"it begins with batch {header.first_number}, after batch {self._next_number - 1}",
            )
        follows = sequence in (self._oldest, self.tail.sequence + 1)
        if header.first_number > self._next_number or not follows:
            self._refuse(sequence, 0)

    def _batches(self, sequence: int, data: bytes) -> None:
        offset = SEGMENT_HEADER.size
        search_from = offset + 1
        while (header := unpack_batch_header(data, offset)) is not None:
            if header.sequence != sequence or header.number < self._next_number:
                break  # of a former use of the file
            self._bad = Location(sequence, offset)
            if header.number > self._next_number:
                self._refuse(sequence, offset)
            start = offset + BATCH_HEADER.size
            payload = batch_payload(data, start, header)
            if payload is None:
                # Whatever its records look like, the next batch could only begin after them.
                search_from = start + header.payload_bytes
                break
            self._take(self._bad, header, payload)
            offset = start + header.payload_bytes
            search_from = offset + 1
        self._bad = Location(sequence, offset)
        self._search(sequence, data, search_from)

    def _take(self, location: Location, header: BatchHeader, payload: memoryview) -> None:
        sequence, offset = location
        tail = self.tail
        first_of_all = tail is NO_TAIL and sequence > 1
        if not first_of_all and (header.previous_end, header.previous_crc) != (tail.end, tail.crc):
            raise WalDamaged(
                segment_name(sequence),
                offset,
                f"batch {header.number} does not follow the one before",
            )
        try:
            self._replay(location, payload)
        except BadRecord as error:
            raise WalDamaged(segment_name(sequence), offset, str(error)) from error
        end = offset + BATCH_HEADER.size + header.payload_bytes
        self.tail = Tail(sequence, offset, end, header.number, header.crc)
        self.ends[sequence] = end
        self._next_number = header.number + 1

    def _unused(self, sequence: int, data: bytes) -> None:
        """Take a segment that has not been begun, or whose header is bad."""
        self._bad = Location(sequence, 0)
        self._search(sequence, data, 0)

    def _search(self, sequence: int, data: bytes, start: int) -> None:
        offset = find_batch(data, start, sequence=sequence, number_above=self._next_number)
        if offset is not None:
            self._refuse(sequence, offset)

    def _refuse(self, sequence: int, offset: int) -> None:
        bad = self._bad
        raise WalDamaged(
            segment_name(bad.sequence),
            bad.offset,
            f"batch {self._next_number} is missing or changed, and a later one stands in "
            f"{segment_name(sequence)} at byte {offset}, so it had been synced",
        )
