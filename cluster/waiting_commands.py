"""The commands of one partition that have no answer yet: queued here, or in the log."""

from typing import TYPE_CHECKING, NamedTuple

from cluster.expansions import EXPANSIONS, Expansion
from cluster.pace import Pace
from cluster.raft.pending import PendingTable
from cluster.sizes import work_of

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.partition_reads import Waiter
    from cluster.raft.types import Position
    from cluster.room import Room
    from cluster.state.commands import Command

_OVERHEAD_BYTES = 64
"""Of a command in the log, about."""


class Batch(NamedTuple):
    """What becomes one log entry."""

    commands: "list[Command]"
    waiters: "list[Waiter]"
    nbytes: int
    """With what it costs to apply them, in bytes; see `work_of`."""


class Proposed(NamedTuple):
    """What one log entry of this leader carries."""

    waiters: "list[Waiter]"
    expansions: "list[Expansion | None] | None"
    """How each result becomes an answer, where it is kept shorter than that."""
    nbytes: int
    at: float
    waiting: int
    waiting_bytes: int
    """In the log then, these commands included."""


class WaitingCommands:
    """Bounded by the pace of the partition, and by the room of the node."""

    def __init__(self, limits: "Limits", clock: "Clock", room: "Room") -> None:
        self._limits = limits
        self._clock = clock
        self._room = room
        self._pace = Pace.of(limits)
        self._queue: list[Command] = []
        self._waiters: list[Waiter] = []
        self._sizes: list[int] = []
        self._queue_bytes = 0
        self._in_log: PendingTable[Proposed] = PendingTable()
        self._in_log_commands = 0
        self._in_log_bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + self._in_log_commands

    @property
    def are_queued(self) -> bool:
        """Some are not yet proposed."""
        return bool(self._queue)

    def add(self, command: "Command", size: int, waiter: "Waiter") -> bool:
        """Queues a command; false when there is no room for it."""
        size += work_of(command) + _OVERHEAD_BYTES
        nbytes = self._queue_bytes + self._in_log_bytes + size
        if not self._pace.allows(len(self), nbytes) or not self._room.has(size):
            return False
        self._queue.append(command)
        self._waiters.append(waiter)
        self._sizes.append(size)
        self._queue_bytes += size
        self._room.take(size)
        return True

    def withdraw(self, waiter: "Waiter") -> bool:
        """Takes out the command of `waiter`, which nobody wants any more; false when none of it is
        queued: what is in the log runs."""
        try:
            place = self._waiters.index(waiter)
        except ValueError:
            return False
        del self._queue[place], self._waiters[place]
        size = self._sizes.pop(place)
        self._queue_bytes -= size
        self._room.give(size)
        return True

    def next_batch(self) -> Batch:
        """The oldest of the queue, as many as one entry takes."""
        limits = self._limits
        commands, waiters, nbytes = self._queue, self._waiters, self._queue_bytes
        if len(commands) > limits.batch_commands_max or nbytes > limits.batch_bytes_max:
            return self._cut_batch()
        self._queue, self._waiters, self._sizes, self._queue_bytes = [], [], [], 0
        return Batch(commands, waiters, nbytes)

    def refused(self, batch: Batch) -> None:
        """It was not proposed; the caller tells its waiters."""
        self._room.give(batch.nbytes)

    def proposed(self, batch: Batch, position: "Position") -> None:
        """It is in the log."""
        self._in_log_commands += len(batch.waiters)
        self._in_log_bytes += batch.nbytes
        now, waiting = self._clock.monotonic(), self._in_log_commands
        expansions = [EXPANSIONS.get(command[0]) for command in batch.commands]
        proposed = Proposed(
            batch.waiters,
            expansions if any(expansions) else None,
            batch.nbytes,
            now,
            waiting,
            self._in_log_bytes,
        )
        self._in_log.add(position, proposed)

    def applied(self, index: int, term: int) -> "Proposed | None":
        """What waits for the entry applied at `index`; None when it is another leader's."""
        proposed = self._in_log.take(index, term)
        if proposed is None:
            return None
        self._in_log_commands -= len(proposed.waiters)
        self._in_log_bytes -= proposed.nbytes
        self._room.give(proposed.nbytes)
        took_s = self._clock.monotonic() - proposed.at
        self._pace.done(proposed.waiting, proposed.waiting_bytes, took_s)
        return proposed

    def give_up(self) -> "tuple[list[Waiter], list[Waiter]]":
        """Leadership is lost: those in the log, and those who only waited to be."""
        self._room.give(self._in_log_bytes + self._queue_bytes)
        in_log = [waiter for each in self._in_log.drop_all() for waiter in each.waiters]
        queued, self._waiters, self._queue, self._sizes = self._waiters, [], [], []
        self._in_log_commands = self._in_log_bytes = self._queue_bytes = 0
        return in_log, queued

    def _cut_batch(self) -> Batch:
        limits = self._limits
        count, nbytes = 0, 0
        for size in self._sizes:
            full = nbytes + size > limits.batch_bytes_max or count == limits.batch_commands_max
            if count and full:
                break
            count += 1
            nbytes += size
        commands, self._queue = self._queue[:count], self._queue[count:]
        waiters, self._waiters = self._waiters[:count], self._waiters[count:]
        self._sizes = self._sizes[count:]
        self._queue_bytes -= nbytes
        return Batch(commands, waiters, nbytes)
