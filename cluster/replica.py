"""A partition's state on one node: the state machine and the store it lives in, moved together."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from cluster.state.errors import StoreFull, UnknownCommand
from cluster.state.store import Table
from cluster.storage.records import COMMANDS_KIND, NOOP_KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from cluster.state.commands import Result
    from cluster.state.machine import StateMachine
    from cluster.state.store import ReadTransaction, Store, WriteTransaction
    from cluster.storage.records import Entry


def _always() -> bool:
    return True


class Replica:
    """Applies committed entries to the store, one store transaction per call, and serves reads."""

    def __init__(self, store: Store, machine: StateMachine) -> None:
        self._store = store
        self._machine = machine
        self._usable = True
        self._load()

    @property
    def applied_index(self) -> int:
        """The index of the last entry whose effects are committed to the store."""
        return self._machine.applied_index

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
        """Applies consecutive entries and commits them; the results of each entry, in order.

        At least one, and the next ones while `has_time` says so: as many as there are results.

        `durable_index` is the last entry that this node's own log has synced: nothing beyond it is
        applied, or a crash could leave a state that its own log cannot explain.

        Raises `StoreFull` with nothing applied: call again with the same entries once there is
        space. After `UnknownCommand`, `CorruptState` or any other error the replica is of no use:
        its memory and its store may disagree.
        """
        assert self._usable, "this replica stopped at an error: open it again"
        last_index = entries[-1].index
        assert last_index <= durable_index, f"entry {last_index}, log synced to {durable_index}"
        self._usable = False
        try:
            with self._store.write() as txn:
                results = self._apply_all(txn, entries, has_time)
        except StoreFull:
            self._load()
            self._usable = True
            raise
        self._usable = True
        return results

    @contextmanager
    def view(self) -> Generator[tuple[ReadTransaction, int]]:
        """The applied state and its stamp in unix milliseconds, for reads without an await."""
        assert self._usable, "this replica stopped at an error: open it again"
        with self._store.read() as txn:
            yield txn, self._machine.stamp_ms

    def digest(self) -> str:
        """A digest of all that is stored: equal on replicas with the same applied index."""
        digest = blake2b(digest_size=32)
        with self._store.read() as txn:
            for table in Table:
                digest.update(b"table %d\n" % table)
                for key, value in txn.scan(table, b""):
                    digest.update(b"%d %d\n" % (len(key), len(value)))
                    digest.update(key)
                    digest.update(value)
        return digest.hexdigest()

    def _apply_all(
        self, txn: WriteTransaction, entries: Sequence[Entry], has_time: Callable[[], bool]
    ) -> list[list[Result]]:
        apply = self._machine.apply
        results: list[list[Result]] = []
        for entry in entries:
            results.append(apply(txn, entry.index, _payload(entry)))
            if not has_time():
                break
        self._machine.finish(txn)
        return results

    def _load(self) -> None:
        with self._store.read() as txn:
            self._machine.load(txn)


def _payload(entry: Entry) -> bytes:
    kind = entry.data[0]
    if kind == COMMANDS_KIND:
        return entry.data[1:]
    if kind == NOOP_KIND:
        return b""
    raise UnknownCommand(f"entry {entry.index} is of kind {kind}, which this node does not know")
