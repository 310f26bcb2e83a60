"""The blocking part of a write: one batch, one write, one sync. May run in a helper thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.storage.wal_format import SEGMENT_HEADER, BatchHeader, fill_batch_header

if TYPE_CHECKING:
    from cluster.storage.files import File
    from cluster.storage.wal_buffer import Batch
    from cluster.storage.wal_segments import SegmentPool


class SegmentWriter:
    """Appends batches to the current segment and goes on to the next one when a batch says so."""

    def __init__(
        self, pool: SegmentPool, *, file: File | None, sequence: int, previous_crc: int
    ) -> None:
        self._pool = pool
        self._file = file
        self._sequence = sequence
        self._previous_crc = previous_crc

    def write(self, batch: Batch) -> tuple[File, int]:
        """Write `batch`, not synced; return the file to sync and the `crc` for `batch_synced`.

        Raises `OSError`; then nothing is lost, as writing again puts the same in the same place.
        """
        file = self._open(batch)
        data = bytearray().join(batch.parts)
        start = SEGMENT_HEADER.size if batch.opens_segment else 0
        crc = fill_batch_header(
            data,
            start,
            BatchHeader(
                crc=0,
                number=batch.number,
                sequence=batch.sequence,
                previous_end=batch.previous_end,
                payload_bytes=0,
                payload_crc=0,
                previous_crc=self._previous_crc,
            ),
        )
        file.write_at(batch.offset - start, data)
        return file, crc

    def batch_synced(self, crc: int) -> None:
        """The last batch is durable: the next one may be written, and names this `crc`."""
        self._previous_crc = crc

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, batch: Batch) -> File:
        if self._file is None or batch.sequence != self._sequence:
            file = self._pool.take(batch.sequence)
            self.close()
            self._file, self._sequence = file, batch.sequence
        return self._file
