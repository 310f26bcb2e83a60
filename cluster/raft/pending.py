"""Proposals that wait for their entry to be applied."""

from collections import deque
from typing import Generic, TypeVar

from cluster.raft.types import InvariantBrokenError, Position

T = TypeVar("T")


class PendingTable(Generic[T]):
    """Maps positions of own proposals to whatever waits for them, in log order.

    Losing leadership, a superseded position and a snapshot all mean *unknown* to the waiter,
    never failed: the entry may still be committed (DESIGN.md rows 19 and 30).
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Position, T]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, position: Position, waiter: T) -> None:
        if self._waiting and self._waiting[-1][0].index >= position.index:
            raise InvariantBrokenError(f"proposals out of order at entry {position.index}")
        self._waiting.append((position, waiter))

    def take(self, index: int, term: int) -> T | None:
        """The waiter of the entry applied at `index`; None when it was not proposed here.

        Whoever loses leadership drops the table, so an entry of another term, or one that was
        passed over, is a broken invariant.
        """
        if not self._waiting or self._waiting[0][0].index > index:
            return None
        position, waiter = self._waiting.popleft()
        if position != Position(term, index):
            raise InvariantBrokenError(f"{position} waited while entry {index} was applied")
        return waiter

    def drop_all(self) -> list[T]:
        """Everything that waits; the outcome of each is unknown."""
        waiters = [waiter for _, waiter in self._waiting]
        self._waiting.clear()
        return waiters
