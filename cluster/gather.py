"""One answer from the results of several partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.operation import refusal_of
from cluster.queries import bytes_in
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.calls import Outcome
    from cluster.operation import Answer
    from cluster.room import Room


_NO_ROOM = Refusal(Reason.SHARD_BUSY, Ran.NO, "too many answers are being made: try again later")


class Gather:
    """Waits for a result of each partition; the first refusal is the answer of the whole.

    `room` is what the parts of all answers may take while others are waited for.
    """

    def __init__(
        self,
        count: int,
        room: Room,
        gathered: Callable[[dict[int, tuple[object, ...]]], None],
        refused: Callable[[Answer], None],
    ) -> None:
        self._asks_nobody = count == 0
        self._missing = count
        self._room = room
        self._held_bytes = 0
        self._gathered = gathered
        self._refused = refused
        self._results: dict[int, tuple[object, ...]] = {}

    def start(self) -> None:
        """To be called after all slots were handed out: there may have been none."""
        if self._asks_nobody:
            self._gathered({})

    def slot(self, partition: int) -> Callable[[Outcome], None]:
        """Takes the result of a partition."""

        def done(outcome: Outcome) -> None:
            if self._missing <= 0:
                return
            refusal = outcome if isinstance(outcome, Refusal) else None
            if refusal is None and not isinstance(outcome, Refusal) and outcome[0] != 0:
                refusal = refusal_of(outcome)
            nbytes = bytes_in(outcome)
            if refusal is None and not self._room.has(nbytes):
                refusal = _NO_ROOM
            if refusal is not None:
                self._missing = 0
                self._end()
                self._results[partition] = ()
                self._refused(refusal)
            elif not isinstance(outcome, Refusal):
                self._results[partition] = outcome
                self._room.take(nbytes)
                self._held_bytes += nbytes
                self._missing -= 1
                if not self._missing:
                    self._gathered(self._results)
                    self._end()

        return done

    def _end(self) -> None:
        self._results = {}
        self._room.give(self._held_bytes)
        self._held_bytes = 0
