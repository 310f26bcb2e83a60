"""Exactly once: a command that is sent again is answered again, not run again.

A session is opened by a log entry. Each of its commands carries a sequence number and a floor, the
lowest sequence the client still waits for. Results are kept until the floor passes them, and
survive leader changes, snapshots and restarts, because they are part of the state.

The answers live in memory; the store holds what rebuilds them. SESSIONS has a row per session,
written when entries have been applied. RESULTS has a row per session and log *entry*, so that it
does not depend on how entries are grouped into transactions. The row goes, and its results with it,
when all its sequences are below the floor; one that is so before its entry ends is not written.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from struct import Struct
from typing import TYPE_CHECKING, cast

from cluster.state.checksum import corrupt, seal, unseal
from cluster.state.commands import BELOW_FLOOR, OPEN_SESSION, SESSION_UNKNOWN
from cluster.state.packing import pack, unpack
from cluster.state.queue_commands import CONSUMED
from cluster.state.store import Table
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.state.commands import OpenSessionCommand, Result
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction, WriteTransaction

SESSION_IDLE_MS = 600_000
"""A session that sent nothing for so long, by the applied stamp, is unknown from then on."""
SESSIONS_MAX = 100_000
RESULTS_MAX = 65_536
RESULTS_BYTES_MAX = 16 << 20
"""Results kept per session, in number and in bytes of messages that were consumed; past either the
session's new commands are refused."""
PURGE_ROWS_MAX = 256
"""Rows of expired sessions that one entry may remove."""

_SESSION_KEY = Struct(">Q")
_SESSION_ROW = Struct("<QQQ")  # token, floor, last_stamp_ms
_RESULTS_KEY = Struct(">QQ")  # session, entry index

_UNKNOWN: Result = (SESSION_UNKNOWN,)
_BELOW_FLOOR: Result = (BELOW_FLOOR,)
_TOO_MANY_RESULTS: Result = (int(Reason.TOO_MANY_PROPOSALS),)
_TOO_MANY_SESSIONS: Result = (int(Reason.TOO_MANY_WAITERS),)


class _Session:
    """One session. `results` has what is kept, by sequence, and `rows` the same by entry; `ends` is
    a heap of the last sequence of each row, with its entry. `ran` is what the present entry adds.
    """

    __slots__ = ("ends", "floor", "last_stamp_ms", "nbytes", "ran", "results", "rows", "token")

    def __init__(self, token: int, floor: int, last_stamp_ms: int) -> None:
        self.token = token
        self.floor = floor
        self.last_stamp_ms = last_stamp_ms
        self.results: dict[int, Result] = {}
        self.rows: dict[int, dict[int, Result]] = {}
        self.ends: list[tuple[int, int]] = []
        self.ran: dict[int, Result] = {}
        self.nbytes = 0

    def add_row(self, index: int, row: dict[int, Result]) -> None:
        """The results of an entry, which are among `results` already."""
        self.rows[index] = row
        heappush(self.ends, (max(row), index))

    def forget(self, row: dict[int, Result]) -> None:
        """Results that nobody asks for any more."""
        results = self.results
        for sequence in row:
            del results[sequence]
        if self.nbytes:
            self.nbytes -= sum(map(_bytes_in, row.values()))


class Sessions:
    """All sessions of a partition.

    For each entry: `begin`, then for each command `admit` and, when that gave nothing, `keep`; then
    `end`. `finish` when entries have been applied. The limits are part of the state machine:
    replicas with different ones diverge.
    """

    def __init__(self, *, sessions_max: int = SESSIONS_MAX, results_max: int = RESULTS_MAX) -> None:
        self.last_session = 0
        self._sessions_max = sessions_max
        self._results_max = results_max
        self._index = 0
        self._stamp_ms = 0
        self._clear()

    def _clear(self) -> None:
        self._sessions: dict[int, _Session] = {}
        self._tokens: dict[int, int] = {}
        # (stamp, session), one for each. The stamp may be older than the session's own: it is only
        # brought up to date when it gets to the top, which keeps `admit` cheap.
        self._idle: list[tuple[int, int]] = []
        self._changed: dict[int, _Session] = {}
        self._ran: dict[int, _Session] = {}  # those that have run something in this entry

    def load(self, txn: ReadTransaction, last_session: int) -> None:
        """Starts over from what the store holds. Raises `CorruptState`."""
        self._clear()
        self.last_session = last_session
        for key, row in txn.scan(Table.SESSIONS, b""):
            session_id = _SESSION_KEY.unpack(key)[0]
            session = _Session(*_SESSION_ROW.unpack(unseal(Table.SESSIONS, key, row)))
            self._sessions[session_id] = session
            self._tokens[session.token] = session_id  # of two, the later one: as `open` leaves it
            self._idle.append((session.last_stamp_ms, session_id))
        heapify(self._idle)
        for key, row in txn.scan(Table.RESULTS, b""):
            self._load_results(key, unseal(Table.RESULTS, key, row))

    def _load_results(self, key: bytes, body: bytes) -> None:
        session_id, index = _RESULTS_KEY.unpack(key)
        session = self._sessions.get(session_id)
        if session is None:
            raise corrupt(Table.RESULTS, key, "results without a session")
        row = cast("dict[int, Result]", unpack(body))
        if not row or max(row) < session.floor:
            raise corrupt(Table.RESULTS, key, "results that should have been removed")
        session.results.update(row)
        session.nbytes += sum(map(_bytes_in, row.values()))
        session.add_row(index, row)

    def begin(self, txn: WriteTransaction, index: int, stamp_ms: int) -> None:
        """A log entry begins."""
        self._txn = txn
        self._index = index
        self._stamp_ms = stamp_ms

    def admit(self, session_id: int, sequence: int, floor: int) -> Result | None:
        """The answer to a command that must not run (again); None for one that must run now."""
        session = self._sessions.get(session_id)
        stamp_ms = self._stamp_ms
        if session is None or stamp_ms - session.last_stamp_ms >= SESSION_IDLE_MS:
            return _UNKNOWN
        if stamp_ms != session.last_stamp_ms:
            session.last_stamp_ms = stamp_ms
            self._changed[session_id] = session
        if floor > session.floor:
            self._raise_floor(session_id, session, floor)
        if sequence < session.floor:
            return _BELOW_FLOOR
        results = session.results
        if sequence in results:
            return results[sequence]
        if len(results) >= self._results_max or session.nbytes >= RESULTS_BYTES_MAX:
            return _TOO_MANY_RESULTS
        return None

    def keep(self, session_id: int, sequence: int, result: Result) -> None:
        """The result of a command that `admit` let run."""
        session = self._sessions[session_id]
        session.results[sequence] = result
        ran = session.ran
        if not ran:
            self._ran[session_id] = session
        ran[sequence] = result
        if len(result) > 2:
            session.nbytes += _bytes_in(result)

    def open(self, token: int) -> Result:
        """The session of a token: the one it has, or a new one."""
        session_id = self._tokens.get(token, 0)
        session = self._sessions.get(session_id)
        if session is None or self._stamp_ms - session.last_stamp_ms >= SESSION_IDLE_MS:
            if len(self._sessions) >= self._sessions_max:
                return _TOO_MANY_SESSIONS
            self.last_session = session_id = (self.last_session or _base(token)) + 1
            session = _Session(token, 0, self._stamp_ms)
            self._sessions[session_id] = session
            self._tokens[token] = session_id
            heappush(self._idle, (self._stamp_ms, session_id))
        session.last_stamp_ms = self._stamp_ms
        self._changed[session_id] = session
        return 0, session_id

    def end(self) -> None:
        """The entry's commands are through: writes its results, removes sessions that expired."""
        for session_id, session in self._ran.items():
            ran, session.ran = session.ran, {}
            if max(ran) < session.floor:
                session.forget(ran)
            else:
                key = _RESULTS_KEY.pack(session_id, self._index)
                self._txn.insert(Table.RESULTS, key, seal(key, pack(ran)))
                session.add_row(self._index, ran)
        self._ran.clear()
        if self._idle and self._idle[0][0] <= self._stamp_ms - SESSION_IDLE_MS:
            self._purge()

    def finish(self, txn: WriteTransaction) -> None:
        """Writes the sessions that changed since the last time."""
        for session_id, session in self._changed.items():
            key = _SESSION_KEY.pack(session_id)
            row = _SESSION_ROW.pack(session.token, session.floor, session.last_stamp_ms)
            txn.put(Table.SESSIONS, key, seal(key, row))
        self._changed.clear()

    def _raise_floor(self, session_id: int, session: _Session, floor: int) -> None:
        session.floor = floor
        self._changed[session_id] = session
        ends = session.ends
        while ends and ends[0][0] < floor:
            index = heappop(ends)[1]
            session.forget(session.rows.pop(index))
            self._txn.delete(Table.RESULTS, _RESULTS_KEY.pack(session_id, index))

    def _purge(self) -> None:
        """Removes idle sessions in order of last stamp and id, within `PURGE_ROWS_MAX` rows."""
        budget = PURGE_ROWS_MAX
        while self._idle and self._idle[0][0] <= self._stamp_ms - SESSION_IDLE_MS and budget:
            stamp_ms, session_id = self._idle[0]
            session = self._sessions[session_id]
            if stamp_ms != session.last_stamp_ms:
                heapreplace(self._idle, (session.last_stamp_ms, session_id))
                continue
            for index in list(islice(session.rows, budget - 1)):
                del session.rows[index]
                self._txn.delete(Table.RESULTS, _RESULTS_KEY.pack(session_id, index))
                budget -= 1
            if session.rows:
                return  # the next entry goes on with it
            self._remove(session_id, session)
            budget -= 1

    def _remove(self, session_id: int, session: _Session) -> None:
        heappop(self._idle)
        del self._sessions[session_id]
        self._changed.pop(session_id, None)
        if self._tokens.get(session.token) == session_id:
            del self._tokens[session.token]
        self._txn.delete(Table.SESSIONS, _SESSION_KEY.pack(session_id))


def _bytes_in(result: Result) -> int:
    """Of the messages in a result; others are small, and are counted one by one."""
    if result[1:2] != (CONSUMED,):
        return 0
    return sum(len(message[1]) for message in cast("Sequence[tuple[int, bytes]]", result[2]))


def _base(token: int) -> int:
    """Where a partition begins to number its sessions: tokens are random, so no two begin alike.

    A client may outlive its cluster, as when the data is thrown away and founded anew. Its sessions
    must be unknown then, not those of somebody else.
    """
    return token >> 32 << 32


def open_session(context: Context, command: OpenSessionCommand) -> Result:
    """Opens a session. Asked again with the same token, it answers with the same session."""
    return context.sessions.open(command[4])


HANDLERS: dict[int, Callable[..., Result]] = {OPEN_SESSION: open_session}
