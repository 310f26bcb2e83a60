"""The deterministic state machine of a partition: the same entries leave the same bytes.

It does no I/O of its own, reads no clock and draws no random number; time and identity come with
the entries. A command that fails is a result. What it cannot go on with, it raises.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from cluster.state.checksum import seal, unseal
from cluster.state.commands import EMPTY, decode_entry
from cluster.state.context import LETTERS_BYTES_MAX, Context
from cluster.state.group import HANDLERS as GROUP_HANDLERS
from cluster.state.group import TIMER_HANDLERS as GROUP_TIMER_HANDLERS
from cluster.state.kv import HANDLERS as KV_HANDLERS
from cluster.state.kv_json import HANDLERS as JSON_HANDLERS
from cluster.state.queue import HANDLERS as QUEUE_HANDLERS
from cluster.state.queue import TIMER_HANDLERS as QUEUE_TIMER_HANDLERS
from cluster.state.sessions import HANDLERS as SESSION_HANDLERS
from cluster.state.store import Table
from cluster.state.stream import HANDLERS as STREAM_HANDLERS
from cluster.state.stream import TIMER_HANDLERS as STREAM_TIMER_HANDLERS
from cluster.state.txn import make_commit
from cluster.state.txn_commands import TXN_COMMIT
from cluster.state.work import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction, WriteTransaction

HANDLERS: dict[int, Callable[..., Result]] = {
    **KV_HANDLERS,
    **JSON_HANDLERS,
    **SESSION_HANDLERS,
    **QUEUE_HANDLERS,
    **STREAM_HANDLERS,
    **GROUP_HANDLERS,
    TXN_COMMIT: make_commit(KV_HANDLERS),
}

TIMER_HANDLERS: dict[int, Callable[[Context, bytes], None]] = {
    **QUEUE_TIMER_HANDLERS,
    **STREAM_TIMER_HANDLERS,
    **GROUP_TIMER_HANDLERS,
}
"""What is done when a timer of a kind is due."""

_STATE_KEY = b"state"
# applied_index, stamp_ms, revision, last_session, last_id, dead keys
_STATE = Struct("<QQQQQQ")


def read_applied_index(txn: ReadTransaction) -> int:
    """The last entry applied to a store, without loading anything else. Raises `CorruptState`."""
    return int(_read_state(txn)[0])


def _read_state(txn: ReadTransaction) -> tuple[int, int, int, int, int, int]:
    row = txn.get(Table.META, _STATE_KEY)
    return _STATE.unpack(bytes(_STATE.size) if row is None else unseal(Table.META, _STATE_KEY, row))


class StateMachine:
    """Applies log entries in order to a store's transactions.

    Any number of `apply`, then one `finish`, after which the transaction holds all that was
    applied; and so on. After one that did not commit, `load` brings the memory back to what the
    store holds.
    """

    def __init__(self) -> None:
        self.applied_index = 0
        self._context = Context()

    @property
    def stamp_ms(self) -> int:
        """The applied stamp, unix milliseconds: it never goes back."""
        return self._context.stamp_ms

    @property
    def revision(self) -> int:
        """The version given to the latest change of a key."""
        return self._context.revision

    @property
    def due_ms(self) -> int:
        """Nothing that waits for its time is due before this, unix milliseconds."""
        context = self._context
        if context.garbage.pending:
            return 0
        return min(context.timers.earliest_ms, context.expiry.earliest_ms, context.graves.due_ms)

    @property
    def timers_due_ms(self) -> int:
        """No message or record becomes another before this, unix milliseconds."""
        return self._context.timers.earliest_ms

    def listen(self, *, listening: bool) -> None:
        """Says whether calls wait for what `take_touched` gives; see `Context.listening`."""
        self._context.listening = listening

    def take_touched(self) -> dict[bytes, int]:
        """Topics for whose waiters something may have arrived, with about how many can be served;
        nothing is said twice."""
        touched, self._context.touched = self._context.touched, {}
        return touched

    def load(self, txn: ReadTransaction) -> None:
        """Starts over from what the store holds. Raises `CorruptState`."""
        self.applied_index, stamp_ms, revision, last_session, last_id, dead = _read_state(txn)
        self._context.stamp_ms = stamp_ms
        self._context.revision = revision
        self._context.last_id = last_id
        self._context.touched = {}
        self._context.sessions.load(txn, last_session)
        self._context.expiry.load(txn)
        self._context.timers.load(txn)
        self._context.garbage.load(txn)
        self._context.queues.load()
        self._context.streams.load()
        self._context.groups.load()
        self._context.graves.load(txn, dead)
        self._context.outcomes.load(txn)

    def apply(self, txn: WriteTransaction, index: int, payload: bytes) -> list[Result]:
        """Applies one entry; the results stand in the order of its commands.

        An empty payload only moves the applied index. Raises `UnknownCommand` and `CorruptState`,
        and `StoreFull` where the transaction does; after any of them it must be dropped.
        """
        assert index == self.applied_index + 1, f"entry {index} after {self.applied_index}"
        results = self._apply_commands(txn, index, payload) if payload else []
        self.applied_index = index
        return results

    def finish(self, txn: WriteTransaction) -> None:
        """Writes what changes with most entries, once for all that were applied since the last
        time."""
        self._context.sessions.finish(txn)
        self._context.queues.flush(txn)
        self._context.streams.flush(txn)
        self._context.groups.flush(txn)
        context = self._context
        last_session = self._context.sessions.last_session
        body = _STATE.pack(
            self.applied_index,
            context.stamp_ms,
            context.revision,
            last_session,
            context.last_id,
            context.graves.count,
        )
        txn.put(Table.META, _STATE_KEY, seal(_STATE_KEY, body))

    def _apply_commands(self, txn: WriteTransaction, index: int, payload: bytes) -> list[Result]:
        stamp_ms, commands = decode_entry(payload)
        context, sessions = self._context, self._context.sessions
        context.txn = txn
        # Leaders' clocks differ. Here the stamp is made monotonic for every replica alike.
        context.stamp_ms = stamp_ms = max(context.stamp_ms, stamp_ms)
        context.letters_room = LETTERS_BYTES_MAX
        sessions.begin(txn, index, stamp_ms)
        self._context.timers.run(context, TIMER_HANDLERS)
        results: list[Result] = []
        for command in commands:
            code, session_id, sequence, floor = command[:4]
            if not session_id:
                result = HANDLERS[code](context, command)
            else:
                answer = sessions.admit(session_id, sequence, floor)
                if answer is not None:
                    result = answer
                else:
                    result = HANDLERS[code](context, command)
                    if result[0] != EMPTY:
                        sessions.keep(session_id, sequence, result)
            results.append(result)
        sessions.end()
        context.expiry.purge(context, len(commands))
        context.graves.collect(txn, stamp_ms)
        if context.garbage.pending:
            context.garbage.collect(txn, len(commands) + sum(map(rows_of, commands)))
        self._context.outcomes.purge(txn, stamp_ms, len(commands))
        return results
