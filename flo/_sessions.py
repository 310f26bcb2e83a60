"""Sessions: what makes trying a write again safe.

A write carries its session, a sequence number in it, and the floor: the lowest sequence whose
outcome is still awaited. A replica keeps the results from the floor on, so a second copy of a write
is answered with the first one's result, and one below the floor is never executed.
"""

import asyncio
from collections.abc import Awaitable, Callable

# Results kept by the replicas for one session. Past it a new session is opened: one call that waits
# long would hold the floor, and with it every later result.
WINDOW_MAX = 32_768


class Session:
    """One session of one partition."""

    __slots__ = ("_ended", "_next_sequence", "floor", "session_id")

    def __init__(self, session_id: int) -> None:
        self.session_id = session_id
        self.floor = 1
        self._next_sequence = 1
        self._ended: set[int] = set()

    @property
    def full(self) -> bool:
        """The oldest awaited call holds too many results: use a new session."""
        return self._next_sequence - self.floor >= WINDOW_MAX

    def begin(self) -> int:
        """The sequence of a new write; it is awaited until `end`."""
        sequence = self._next_sequence
        self._next_sequence = sequence + 1
        return sequence

    def end(self, sequence: int) -> None:
        """Nobody awaits this write any more, however it went."""
        floor = self.floor
        if sequence != floor:
            self._ended.add(sequence)
            return
        floor += 1
        ended = self._ended
        while floor in ended:
            ended.remove(floor)
            floor += 1
        self.floor = floor


class Sessions:
    """The current session of each partition, opened when it is first needed.

    `open_session` registers a session and gives its id; it gets the partition and the deadline of
    the call that needs it.
    """

    def __init__(self, open_session: Callable[[int, float], Awaitable[int]]) -> None:
        self._open = open_session
        self._current: dict[int, Session] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    def current(self, partition: int) -> Session | None:
        """The session to use, when there is one with room."""
        session = self._current.get(partition)
        return None if session is None or session.full else session

    async def obtain(self, partition: int, deadline: float) -> Session:
        """The session to use; many callers at once open only one. Raises what opening raises."""
        async with self._locks.setdefault(partition, asyncio.Lock()):
            session = self.current(partition)
            if session is None:
                session = Session(await self._open(partition, deadline))
                self._current[partition] = session
            return session

    def discard(self, partition: int, session: Session) -> None:
        """The cluster does not know this session (any more): never give it out again."""
        if self._current.get(partition) is session:
            del self._current[partition]

    def discard_all(self) -> None:
        """Partitions are numbered anew."""
        self._current.clear()
