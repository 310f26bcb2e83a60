"""The machine of a simulated node: clocks, disk threads, the log's files, the data directory."""

import errno
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from random import Random
from typing import ParamSpec, TypeVar

from cluster.founding import DataDirectory, FoundingConfig
from cluster.sealed_files import DataDirectoryError
from cluster.storage.files import Storage
from cluster.storage.memory_files import Crash, MemoryStorage, Operation
from cluster.storage.wal_format import segment_sequence, unpack_segment_header

P = ParamSpec("P")
T = TypeVar("T")


class SimClock:
    """Time moves only when the world says so, but for a tick at each reading."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now


class NodeClock:
    """The clock of one machine: the time of day is its own, and may jump."""

    def __init__(self, world: SimClock) -> None:
        self.monotonic = world.monotonic
        self.wall_offset_ms = 1_700_000_000_000

    def wall_ms(self) -> int:
        return self.wall_offset_ms + int(self.monotonic() * 1000)


class StepExecutor(Executor):
    """The disk's threads, without any thread: a slow one works off its jobs when it is told to."""

    def __init__(self) -> None:
        self.slow = False
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def has_jobs(self) -> bool:
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()

        def job() -> None:
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.slow:
            self._jobs.append(job)
        else:
            job()
        return future

    def run_next(self) -> None:
        """Does the oldest job, if any."""
        if self._jobs:
            self._jobs.popleft()()


class PowerCut(OSError):
    """The machine has stopped; whoever sees this does nothing any more."""


class SimStorage(MemoryStorage):
    """The files of the log. Counts what its faults did."""

    def __init__(self, faults: Counter[str]) -> None:
        super().__init__()
        self._faults = faults
        self._until_power_cut: int | None = None

    def cut_power(self, *, after: int) -> None:
        """The power goes before a write or a sync, after so many of them: what was written since
        the last sync is then at risk. `crash` says what is left."""
        self._until_power_cut = after

    def failure(self, operation: Operation) -> int | None:
        if self._until_power_cut is not None:
            if not self._until_power_cut:
                raise PowerCut
            self._until_power_cut -= 1
        code = super().failure(operation)
        if code is not None:
            self._faults[f"{operation.value} failed"] += 1
        return code

    def crash(self, rng: Random, mode: Crash) -> None:
        before = [
            (inode, bytes(inode.on_disk), list(inode.unsynced)) for inode in self._names.values()
        ]
        super().crash(rng, mode)
        self._until_power_cut = None
        if mode is Crash.PROCESS:
            return
        for inode, old, unsynced in before:
            for offset, data in unsynced:
                left = bytes(inode.on_disk[offset : offset + len(data)])
                lost = left != data
                self._faults["unsynced bytes lost"] += lost
                self._faults["write torn"] += lost and left != old[offset : offset + len(data)]

    def heal(self) -> None:
        """There is space, and nothing fails any more."""
        self.space_bytes = self._until_power_cut = None
        self._failures.clear()


def flip_bit(storage: Storage, rng: Random) -> bool:
    """Turns one bit of the log over, in a segment that is not the last: there it is damage for
    sure, and no torn end. False when the log has no such segment."""
    used: list[str] = []
    for name in storage.list():
        sequence = segment_sequence(name)
        file = storage.open(name)
        header = unpack_segment_header(file.read_at(0, file.size()))
        if header is not None and header.sequence == sequence:
            used.append(name)
        file.close()
    if len(used) < 2:
        return False
    file = storage.open(rng.choice(used[:-1]))
    offset = rng.randrange(file.size())
    (byte,) = file.read_at(offset, 1)
    file.write_at(offset, bytes((byte ^ 1 << rng.randrange(8),)))
    file.sync()
    file.close()
    return True


class SimDirectory(DataDirectory):
    """Founding, identity and known peers, with the rules of the real one and without its files."""

    def __init__(
        self, founding: FoundingConfig, node_id: int, *, generation: int, storage: MemoryStorage
    ) -> None:
        self.path = Path("simulated")
        self.founding = founding
        self.node_id = node_id
        self.generation = generation
        self.incarnation = f"{node_id:016x}{generation:016x}"
        self.repairing = self._to_repair() if generation else frozenset()
        self._peers = {}
        self._storage = storage

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        space = self._storage.space_bytes
        if space is not None and space <= 0:
            raise DataDirectoryError(f"cannot write {name}: {errno.errorcode[errno.ENOSPC]}")
