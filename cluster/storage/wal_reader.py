"""Entries that are no longer in memory, read back from the segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.records import Entry, EntryRecord, decode_records
from cluster.storage.wal_errors import WalDamaged
from cluster.storage.wal_format import (
    BATCH_HEADER,
    SEGMENT_HEADER,
    batch_payload,
    segment_name,
    unpack_batch_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.storage.files import File, Storage
    from cluster.storage.wal_index import Location


class LogReader:
    """Reads synced batches again, checking each; keeps one segment open."""

    def __init__(self, storage: Storage, ends: dict[int, int]) -> None:
        self._storage = storage
        self._ends = ends  # of each segment in use: where its last batch ends
        self._file: File | None = None
        self._sequence = 0

    def entries(
        self,
        group_id: int,
        location: Location,
        wanted: range,
        *,
        term_at: Callable[[int], int | None],
        max_bytes: int,
    ) -> list[Entry]:
        """Return the `wanted` entries in order; fewer when over `max_bytes`, but at least one.

        The batch at `location` must hold the first or an earlier one. An entry that was truncated
        and replaced has another term than `term_at` gives, and is passed over. Raises `WalDamaged`.
        """
        found: list[Entry] = []
        room = max_bytes
        index, end = wanted.start, wanted.stop
        term = term_at(index)
        for record in self._records(location):
            if not isinstance(record, EntryRecord) or record.group_id != group_id:
                continue
            if record.entry_index != index or record.term != term:
                continue
            room -= len(record.data)
            if room < 0 and found:
                return found
            found.append(Entry(index, record.term, bytes(record.data)))
            index += 1
            if index == end:
                return found
            term = term_at(index)
        raise WalDamaged(
            segment_name(location.sequence),
            location.offset,
            f"entry {index} of group {group_id} should follow here, and is not in the log",
        )

    def forget_before(self, sequence: int) -> None:
        """The segments before `sequence` may go at any time, or come back as later ones."""
        if self._sequence < sequence:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _records(self, location: Location) -> Iterator[object]:
        sequence, offset = location
        while sequence in self._ends:
            while offset < self._ends[sequence]:
                payload = self._payload(sequence, offset)
                yield from decode_records(payload)
                offset += BATCH_HEADER.size + len(payload)
            sequence, offset = sequence + 1, SEGMENT_HEADER.size

    def _payload(self, sequence: int, offset: int) -> memoryview:
        file = self._open(sequence)
        header = unpack_batch_header(file.read_at(offset, BATCH_HEADER.size), 0)
        if header is None or header.sequence != sequence:
            raise WalDamaged(segment_name(sequence), offset, "the batch header has changed")
        data = file.read_at(offset + BATCH_HEADER.size, header.payload_bytes)
        payload = batch_payload(data, 0, header)
        if payload is None:
            raise WalDamaged(
                segment_name(sequence), offset, "the batch does not match its checksum"
            )
        return payload

    def _open(self, sequence: int) -> File:
        if self._file is None or self._sequence != sequence:
            self.close()
            self._file = self._storage.open(segment_name(sequence))
            self._sequence = sequence
        return self._file
