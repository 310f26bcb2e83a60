"""A call that waits at the leader of its partition, for a client of this node or of another one.

It is tried again whenever there may be something for it. The same command may be tried any number
of times: what found nothing is not remembered, and what took something is, by its session and
sequence. So whoever sent the call here sends it again, unchanged, when an answer was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from cluster.partition_reads import Waiter
from cluster.sizes import bytes_of
from cluster.state.commands import EMPTY
from cluster.topics import takes_turns, topics_of
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.partition import Partition
    from cluster.queries import Result
    from cluster.state.commands import Command
    from cluster.topics import Topics

NOT_NOW = (Reason.SHARD_BUSY, Reason.WRITES_STOPPED, Reason.TOO_MANY_PROPOSALS)
"""Refusals that say nothing about a moment later."""


class WaitingWaiter(Waiter, Protocol):
    """Whoever sent a call that waits."""

    def on_arguments(self, args: tuple[object, ...]) -> None:
        """The call waits for this from now on, also when it comes to wait at another node."""
        ...


class Asked(NamedTuple):
    """A call that waits: what is tried, and how long."""

    code: int
    triple: tuple[int, int, int]
    """Session, sequence and floor of a command, which nothing else uses while the call lasts."""
    args: tuple[object, ...]
    is_write: bool
    wait_s: float
    is_new: bool
    """It has not stood in line, and no earlier try of it may have taken something."""


class LeaderWait:
    """Implements `Waiter` and `Patient`. Whoever asked hears exactly one outcome, or none after
    `cancel`: a result, `(EMPTY,)` when the time is over, or that this is the wrong node."""

    __slots__ = (
        "_args",
        "_asked",
        "_is_held",
        "_is_over",
        "_is_parked",
        "_partition",
        "_request_turn",
        "_size",
        "_waiter",
        "_woken_for",
        "is_write",
        "ticket",
        "topics",
        "wait_until",
    )

    def __init__(
        self,
        partition: Partition,
        asked: Asked,
        waiter: WaitingWaiter,
        *,
        now: float,
        request_turn: Callable[[Partition], None],
    ) -> None:
        self._partition = partition
        self._asked = asked
        self._args = asked.args
        self._waiter = waiter
        self._request_turn = request_turn
        self._size = bytes_of(asked.args)
        self._is_over = False
        self._woken_for = b""
        """The line of those who must hear of what it was woken for if it does not take it."""
        self._is_parked = False
        self._is_held = False
        """It is parked, but as one that was refused: it has not seen what there is."""
        self.is_write = asked.is_write
        self.ticket = 0
        self.topics: Topics = topics_of(asked.code, asked.args) or ()
        self.wait_until = now + asked.wait_s
        """Monotonic seconds; 0 when it was told to stop."""

    def start(self) -> None:
        """The first try. It may end at once, so the caller must be ready to hear of it."""
        asked, waiting = self._asked, self._partition.waiting
        if asked.is_new and takes_turns(asked.code) and waiting.has_any(self.topics[0]):
            # What there is, is for those who came before.
            self._park()
        else:
            self._try()

    def stop(self) -> None:
        """No longer wait: the outcome is that of the try under way, or that there is nothing."""
        self.wait_until = 0.0
        if self._is_parked:
            self._partition.waiting.cancel(self)
            self.wait_over()

    def cancel(self) -> None:
        """Nobody wants the answer any more. What has run has run."""
        self._is_over = True
        if self._is_parked:
            self._is_parked = False
            self._partition.waiting.cancel(self)
            self._pass_on()
        elif self.is_write and self._partition.withdraw(self):
            self._pass_on()

    # --- Patient ---

    def woken(self, line: bytes) -> None:
        self._is_parked = False
        self._woken_for = line if self.is_write else b""
        if self._is_over:
            self._pass_on()
        else:
            self._try()

    def again(self) -> None:
        self._is_parked = False
        self._try()

    def wait_over(self) -> None:
        self._is_parked = False
        if self._is_held:
            # Only a try can tell what there is, or what an earlier one has taken.
            self.wait_until = 0.0
            self._try()
        else:
            self._end((EMPTY,))

    # --- Waiter ---

    def on_result(self, result: Result) -> None:
        code = result[0]
        if code in (0, EMPTY):
            self._woken_for = b""
        may_wait = self.wait_until > 0 and not self._is_over
        if code == EMPTY and may_wait:
            if len(result) > 1:
                self._resolve(tuple(cast("tuple[object, ...]", result[1])))
            self._park()
        elif not (code in NOT_NOW and may_wait and self._hold()):
            self._end(result)

    def on_not_leader(self, leader: int) -> None:
        partition = self._partition
        leads = partition.group.is_leader and not partition.broken
        may_wait = self.wait_until > 0 and not self._is_over
        if leads and self.ticket and may_wait and self._hold():
            return  # Leadership is about to move; perhaps it does not.
        self._is_parked = False
        self._pass_on()
        if not self._is_over:
            self._is_over = True
            self._waiter.on_not_leader(leader)

    def on_unknown(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._waiter.on_unknown()

    # --- inside ---

    def _try(self) -> None:
        partition, asked = self._partition, self._asked
        if self.is_write:
            command = cast("Command", (asked.code, *asked.triple, *self._args))
            partition.submit(command, self._size, self)
        else:
            partition.read(asked.code, self._args, self)
        self._request_turn(partition)

    def _resolve(self, args: tuple[object, ...]) -> None:
        """From now on it is tried with these arguments: they say what it waits for."""
        self._args = args
        self.topics = topics_of(self._asked.code, args) or self.topics
        self._waiter.on_arguments(args)

    def _park(self) -> None:
        self._is_held = False
        self._is_parked = self._partition.waiting.park(self)
        if not self._is_parked:
            self._end((Reason.TOO_MANY_WAITERS,))

    def _hold(self) -> bool:
        """To be tried a little later: what woke it is still there, and is still its own."""
        self._is_held = self._is_parked = self._partition.waiting.hold(self)
        return self._is_held

    def _pass_on(self) -> None:
        line, self._woken_for = self._woken_for, b""
        if line:
            self._partition.waiting.wake_later(line)

    def _end(self, result: Result) -> None:
        self._pass_on()
        if not self._is_over:
            self._is_over = True
            self._waiter.on_result(result)
