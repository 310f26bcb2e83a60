"""What the tests of the state machine share: commands in few words, a replica to run them on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from cluster.replica import Replica
from cluster.state import commands
from cluster.state.commands import encode_entry
from cluster.state.keyspace import Record
from cluster.state.kv import kv_get, kv_history
from cluster.state.machine import StateMachine
from cluster.state.memory_store import MemoryStore
from cluster.storage.records import COMMANDS_KIND, NOOP_KIND, Entry

if TYPE_CHECKING:
    from collections.abc import Generator

    from cluster.state.commands import Command, Result
    from cluster.state.history import Version
    from cluster.state.store import ReadTransaction, Store, WriteTransaction

NAMESPACE = b"default"
START_MS = 1_700_000_000_000


class Triple(NamedTuple):
    """Session, sequence and floor of a command."""

    session: int = 0
    sequence: int = 0
    floor: int = 0


NO_SESSION = Triple()


def put(
    key: bytes,
    value: bytes,
    *,
    ttl_ms: int = 0,
    flags: int = 0,
    cas: int | None = None,
) -> Command:
    return (commands.PUT, *NO_SESSION, NAMESPACE, key, value, ttl_ms, flags, cas)


def delete(key: bytes, *, cas: int | None = None) -> Command:
    return (commands.DELETE, *NO_SESSION, NAMESPACE, key, cas)


def incr(key: bytes, delta: int = 1) -> Command:
    return (commands.INCR, *NO_SESSION, NAMESPACE, key, delta)


def expire(key: bytes, ttl_ms: int, *, cas: int | None = None) -> Command:
    return (commands.EXPIRE, *NO_SESSION, NAMESPACE, key, ttl_ms, cas)


def json_set(key: bytes, path: bytes, document: bytes, *, bytes_max: int = 1 << 20) -> Command:
    return (commands.JSON_SET, *NO_SESSION, NAMESPACE, key, path, document, bytes_max)


def json_delete(key: bytes, path: bytes = b"$") -> Command:
    return (commands.JSON_DELETE, *NO_SESSION, NAMESPACE, key, path)


def open_session(token: int) -> Command:
    return (commands.OPEN_SESSION, *NO_SESSION, token)


def within(triple: Triple, command: Command) -> Command:
    """The same command, sent in a session."""
    return (command[0], *triple, *command[4:])


def commands_entry(index: int, stamp_ms: int, *batch: Command) -> Entry:
    return Entry(index, 1, bytes([COMMANDS_KIND]) + encode_entry(stamp_ms, batch))


def noop_entry(index: int) -> Entry:
    return Entry(index, 1, bytes([NOOP_KIND]))


class Bench:
    """A replica, and the log it was given."""

    def __init__(self, store: Store | None = None) -> None:
        self.store: Store = MemoryStore() if store is None else store
        self.replica = Replica(self.store, StateMachine())
        self.log: list[Entry] = []
        self.results: list[list[Result]] = []
        """Of each entry of the log."""

    def run(self, *batch: Command, at_ms: int = 0) -> list[Result]:
        """Applies one entry, stamped `at_ms` after the start; its results."""
        entry = commands_entry(self.replica.applied_index + 1, START_MS + at_ms, *batch)
        self.log.append(entry)
        self.results += self.replica.apply([entry], entry.index)
        return self.results[-1]

    def one(self, command: Command, *, at_ms: int = 0) -> Result:
        """Applies an entry of one command; its result."""
        return self.run(command, at_ms=at_ms)[0]

    def get(self, key: bytes) -> Record | None:
        """What a key holds, without when and how often it was written."""
        record = self.stored(key)
        return None if record is None else Record(*record[:3])

    def stored(self, key: bytes) -> Record | None:
        with self.replica.view() as (txn, stamp_ms):
            return kv_get(txn, stamp_ms, NAMESPACE, key)

    def history(self, key: bytes, limit: int = 65, max_bytes: int = 1 << 20) -> list[Version]:
        with self.replica.view() as (txn, _):
            return kv_history(txn, NAMESPACE, key, limit=limit, max_bytes=max_bytes)

    def value(self, key: bytes) -> bytes | None:
        record = self.get(key)
        return None if record is None else record.value

    @contextmanager
    def read(self) -> Generator[ReadTransaction]:
        """What has been applied, be it in the store or not."""
        with self.replica.view() as (txn, _):
            yield txn

    def restart(self) -> None:
        """A process stops as it should, and a new one opens the same store."""
        self.replica.close()
        self.replica = Replica(self.store, StateMachine())

    def crash(self) -> None:
        """A process is killed; a new one applies again what the store lacks, with like results."""
        self.replica.abandon()
        self.replica = Replica(self.store, StateMachine())
        stored = self.replica.applied_index
        if stored < len(self.log):
            again = self.replica.apply(self.log[stored:], len(self.log))
            assert again == self.results[stored:]

    @contextmanager
    def damage(self) -> Generator[WriteTransaction]:
        """Changes the store behind the back of the replica, which is stopped: `restart` follows."""
        self.replica.close()
        with self.store.write() as txn:
            yield txn

    def copy(self) -> MemoryStore:
        """Goes on with another store, as from a snapshot and with the log after it."""
        assert isinstance(self.store, MemoryStore)
        self.store = copied = MemoryStore.from_dump(self.store.dump())
        self.crash()
        return copied
