"""How fast this machine is at work like ours, so that CPU seconds can be compared between machines.

"put costs 0.9 calibration units per 1,000" holds on a slow machine and on a fast one alike, nearly:
memory, caches and the price of system calls differ in their own ways.
"""

import time
from collections.abc import Awaitable, Iterator
from struct import Struct
from zlib import crc32

from bench.window import Sample

_RECORDS = 200_000
_KEYS = 512
_BATCH = 16
_HEADER = Struct("<IBBHQQ")
_VALUE = bytes(range(128))


def calibrate(repetitions: int = 5) -> float:
    """CPU seconds of one calibration unit, now and on this machine: about 0.2.

    A fixed loop packs, joins, checks, cuts, unpacks and stores small records, as a node does with
    calls. The best of some repetitions counts: it had to wait least for caches and neighbours. The
    loop must never change, or units of before would mean something else; another version of Python
    changes it too.
    """
    return min(_measured() for _ in range(repetitions))


async def calibrated(measuring: Awaitable[Sample]) -> Sample:
    """A sample with the unit of its time, measured just before and after.

    What neighbours on the same hardware take shows in no account of a virtual machine, and may
    change from minute to minute.
    """
    before = calibrate(repetitions=1)
    sample = await measuring
    sample.unit_s = (before + calibrate(repetitions=1)) / 2
    return sample


def _measured() -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def work() -> int:
    """The loop itself; returns what depends on all of it."""
    table: dict[bytes, tuple[int, bytes]] = {}
    total = 0
    for first in range(0, _RECORDS, _BATCH):
        records: list[bytes] = []
        for number in range(first, first + _BATCH):
            key = b"{calibration}%d" % (number * 7919 % _KEYS)
            version = table[key][0] if key in table else 0
            records.append(
                _HEADER.pack(len(key), 1, 2, version, number, len(_VALUE)) + key + _VALUE
            )
        frame = b"".join(records)
        checksum = crc32(frame)
        for number, key, value in _cut(frame):
            version, _ = table.get(key, (0, b""))
            table[key] = version + 1, value
            total += number ^ checksum
    return total + sum(version for version, _ in table.values())


def _cut(frame: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    view = memoryview(frame)
    position = 0
    while position < len(view):
        key_bytes, _, _, _, number, value_bytes = _HEADER.unpack_from(view, position)
        start = position + _HEADER.size
        middle = start + key_bytes
        position = middle + value_bytes
        yield number, bytes(view[start:middle]), bytes(view[middle:position])
