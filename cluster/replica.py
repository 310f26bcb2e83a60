"""A partition's state on one node: the state machine and the store it lives in, moved together."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from cluster.state.errors import StoreFull, UnknownCommand
from cluster.state.overlay import Overlay
from cluster.state.store import Table
from cluster.storage.records import COMMANDS_KIND, NOOP_KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from cluster.state.commands import Result
    from cluster.state.machine import StateMachine
    from cluster.state.store import ReadTransaction, Store
    from cluster.storage.records import Entry


logger = logging.getLogger("flo.partition")

UNSTORED_BYTES_MAX = 4 << 20
"""So much that is applied and not stored is kept in memory; storing it takes some tens of
milliseconds."""


def _always() -> bool:
    return True


class Replica:
    """Applies committed entries above the store, and brings what changed to it from time to time.

    What was applied and is not stored yet is in memory, and in the log: after a crash it is applied
    again. A row that changes often, or comes and goes, is so written to the store once or never.
    """

    def __init__(
        self, store: Store, machine: StateMachine, *, unstored_bytes_max: int = UNSTORED_BYTES_MAX
    ) -> None:
        self._store = store
        self._unstored_bytes_max = unstored_bytes_max
        self._machine = machine
        self._usable = True
        with store.read() as txn:
            machine.load(txn)
        self.stored_index = machine.applied_index
        """The last entry whose effects the store has."""
        self._reading = ExitStack()
        self._changes = Overlay(self._begin_read())

    @property
    def applied_index(self) -> int:
        """The index of the last entry whose effects are seen."""
        return self._machine.applied_index

    @property
    def unstored_bytes(self) -> int:
        """What the changes that are not in the store take in memory, about."""
        return self._changes.nbytes

    @property
    def stamp_ms(self) -> int:
        """The applied stamp, unix milliseconds."""
        return self._machine.stamp_ms

    @property
    def due_ms(self) -> int:
        """Nothing in the state waits for a time before this, unix milliseconds."""
        return self._machine.due_ms

    @property
    def timers_due_ms(self) -> int:
        """No message or record becomes another before this, unix milliseconds."""
        return self._machine.timers_due_ms

    def listen(self, *, listening: bool) -> None:
        """Says whether calls wait here; see `Context.listening`."""
        self._machine.listen(listening=listening)

    def take_touched(self) -> dict[bytes, int]:
        """Topics of waiting calls that were touched since the last time; see `Context.touch`."""
        return self._machine.take_touched()

    def apply(
        self,
        entries: Sequence[Entry],
        durable_index: int,
        has_time: Callable[[], bool] = _always,
    ) -> list[list[Result]]:
        """Applies consecutive entries; the results of each entry, in order.

        At least one, and the next ones while `has_time` says so: as many as there are results.

        `durable_index` is the last entry that this node's own log has synced: nothing beyond it is
        applied, or a crash could leave a state that its own log cannot explain.

        Raises `StoreFull` with nothing applied when much is to be stored first and there is no
        space: call again with the same entries once there is. After `UnknownCommand`,
        `CorruptState` or any other error the replica is of no use: its memory and its store may
        disagree.
        """
        assert self._usable, "this replica stopped at an error: open it again"
        last_index = entries[-1].index
        assert last_index <= durable_index, f"entry {last_index}, log synced to {durable_index}"
        if self._is_much_unstored():
            self.store()
        self._usable = False
        apply = self._machine.apply
        results: list[list[Result]] = []
        with self._store.read():
            for entry in entries:
                results.append(apply(self._changes, entry.index, _payload(entry)))
                if not has_time() or self._is_much_unstored():
                    break
            self._machine.finish(self._changes)
        self._usable = True
        return results

    def store(self) -> None:
        """Brings what was applied to the store, in one transaction of it.

        Raises `StoreFull` with nothing lost: what was applied is still seen, and kept until there
        is space.
        """
        assert self._usable, "this replica stopped at an error: open it again"
        if self.stored_index == self._machine.applied_index:
            return
        self._usable = False
        # No read may stand in the way of pages that can be used again.
        self._reading.close()
        try:
            with self._store.write() as txn:
                self._changes.write_to(txn)
        except StoreFull:
            self._changes.move_to(self._begin_read())
            self._usable = True
            raise
        self.stored_index = self._machine.applied_index
        self._changes.begin_anew(self._begin_read())
        self._usable = True

    def close(self) -> None:
        """Stores what is left, if it can: that is in the log too. It is used no more after this."""
        if self._usable:
            try:
                self.store()
            except Exception as error:
                logger.warning("the last changes are not stored, the next start does: %s", error)
        self.abandon()

    def abandon(self) -> None:
        """Lets go of the store, with nothing more written to it."""
        self._usable = False
        self._reading.close()

    @contextmanager
    def view(self) -> Generator[tuple[ReadTransaction, int]]:
        """The applied state and its stamp in unix milliseconds, for reads without an await."""
        assert self._usable, "this replica stopped at an error: open it again"
        # What LMDB finds wrong with its file is said by the end of this block, as `CorruptState`.
        with self._store.read():
            yield self._changes, self._machine.stamp_ms

    def digest(self) -> str:
        """A digest of the whole state: equal on replicas with the same applied index."""
        digest = blake2b(digest_size=32)
        with self._store.read():
            for table in Table:
                digest.update(b"table %d\n" % table)
                for key, value in self._changes.scan(table, b""):
                    digest.update(b"%d %d\n" % (len(key), len(value)))
                    digest.update(key)
                    digest.update(value)
        return digest.hexdigest()

    def _is_much_unstored(self) -> bool:
        return self.unstored_bytes >= min(self._unstored_bytes_max, UNSTORED_BYTES_MAX)

    def _begin_read(self) -> ReadTransaction:
        """What the store holds; until it is written again."""
        self._reading = ExitStack()
        return self._reading.enter_context(self._store.read())


def _payload(entry: Entry) -> bytes:
    kind = entry.data[0]
    if kind == COMMANDS_KIND:
        return entry.data[1:]
    if kind == NOOP_KIND:
        return b""
    raise UnknownCommand(f"entry {entry.index} is of kind {kind}, which this node does not know")
