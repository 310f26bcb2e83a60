"""What keeps a workload from being faster, and how long the disk needs for a sync."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Literal, NamedTuple

Limit = Literal["CPU", "one core", "fsync", "network"]
"""CPU: of the machine. one core: that of one node, or of the load generator, which have one thread
for nearly everything. fsync: most of an operation is waiting for disks. network: none of these, so
that it is the way there and back, and the turns of the nodes.
"""

_BUSY = 0.85
_BUSY_PROCESS = 0.9
_MOSTLY = 0.5
_SYNCS, _PROBE_S, _PROBE_BYTES = 300, 1.0, 4096


class Use(NamedTuple):
    """What a row says of the machine. Cores are means over the window."""

    cores: int
    """That there are."""
    used: float
    """Of them, by anything."""
    busiest: float
    """By a node or the generator, whichever used most."""
    syncs: int
    """That follow each other until an operation is acknowledged: 0 when it only reads."""
    sync_ms: float
    p50_ms: float


def limit_of(use: Use) -> Limit:
    """The first of `Limit` that holds."""
    if use.used >= _BUSY * use.cores:
        return "CPU"
    if use.busiest >= _BUSY_PROCESS:
        return "one core"
    if use.syncs and use.syncs * use.sync_ms >= _MOSTLY * use.p50_ms:
        return "fsync"
    return "network"


def measure_sync_ms(directory: Path | None) -> float:
    """The median time of an fdatasync there, after 4 KiB were written; about a second at most."""
    block = os.urandom(_PROBE_BYTES)
    waited: list[float] = []
    with tempfile.TemporaryFile(dir=directory) as file:
        # As the write-ahead log does: the size of the file does not change with each sync.
        os.posix_fallocate(file.fileno(), 0, _SYNCS * _PROBE_BYTES)
        os.fsync(file.fileno())
        until = time.perf_counter() + _PROBE_S
        for number in range(_SYNCS):
            begun = time.perf_counter()
            os.pwrite(file.fileno(), block, number * _PROBE_BYTES)
            os.fdatasync(file.fileno())
            waited.append(time.perf_counter() - begun)
            if time.perf_counter() > until:
                break
    return 1000 * statistics.median(waited)
