"""A state in LMDB: fast because it never syncs, safe because it is not believed after a crash.

Commits go to the page cache alone. A process crash loses nothing of that; an operating-system crash
may keep any part of it, in any order, so the content is then thrown away and rebuilt from the last
snapshot and the log. Two small files next to the environment tell the cases apart:

- `boot`, written at open: the boot id of the system that may be writing. Content written under the
  boot id of now is intact.
- `clean`, written after a stop that synced everything, removed before the next first write. While
it is there the content is intact whatever the boot id.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from cluster.state.errors import CorruptState, StoreFull
from cluster.state.store import Table
from cluster.storage.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

_log = logging.getLogger(__name__)

MAP_BYTES = 1 << 40
"""Address space, not disk space: growing a map under a reader kills the process, so it never
grows."""

_BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
# A write that the disk takes only in part, as when it fills up, is an I/O error to LMDB.
_NO_SPACE = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)]
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)


def read_boot_id() -> str | None:
    """What tells this boot of the operating system from every other; None when it is unreadable."""
    try:
        return _BOOT_ID_PATH.read_text().strip() or None
    except OSError:
        return None


class LmdbReadTransaction:
    """Reads one state: see `cluster.state.store.ReadTransaction`."""

    __slots__ = ("_cursors", "_tables", "_txn")

    def __init__(self, txn: lmdb.Transaction[bytes], tables: _Tables) -> None:
        self._txn = txn
        self._tables = tables
        self._cursors: list[lmdb.Cursor[bytes] | None] = [None] * len(Table)

    def get(self, table: Table, key: bytes) -> bytes | None:
        return (self._cursors[table] or self._open_cursor(table)).get(key)

    def scan(self, table: Table, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._tables.cursor(self._txn, table)
        return cursor.iternext() if cursor.set_range(start) else iter(())

    def _open_cursor(self, table: Table) -> lmdb.Cursor[bytes]:
        cursor = self._cursors[table] = self._tables.cursor(self._txn, table)
        return cursor


class LmdbWriteTransaction(LmdbReadTransaction):
    """A state in the making: see `cluster.state.store.WriteTransaction`."""

    __slots__ = ()

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        (self._cursors[table] or self._open_cursor(table)).put(key, value)

    insert = put

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        (self._cursors[table] or self._open_cursor(table)).putmulti(rows)

    def delete(self, table: Table, key: bytes) -> bool:
        cursor = self._cursors[table] or self._open_cursor(table)
        return cursor.set_key(key) and cursor.delete()


class _Tables:
    """The environment with its opened databases, in the order of `Table`."""

    __slots__ = ("_databases", "env")

    def __init__(self, env: lmdb.Environment, before_write: Callable[[], None]) -> None:
        self.env = env
        self._databases = [self._open(table, before_write) for table in Table]

    def _open(self, table: Table, before_write: Callable[[], None]) -> lmdb._Database:
        name = table.name.lower().encode()
        try:
            return self.env.open_db(name, create=False)
        except lmdb.NotFoundError:
            before_write()
            return self.env.open_db(name)

    def cursor(self, txn: lmdb.Transaction[bytes], table: Table) -> lmdb.Cursor[bytes]:
        return txn.cursor(self._databases[table])


class _CopiedTables(_Tables):
    """A copy that is only looked at: of its databases those that were there when it was made."""

    __slots__ = ()

    def _open(self, table: Table, before_write: Callable[[], None]) -> lmdb._Database:
        return self.env.open_db(table.name.lower().encode(), create=False)


@contextmanager
def read_copy(path: Path) -> Generator[LmdbReadTransaction]:
    """What `LmdbStore.copy_to` has written to a file. Raises `CorruptState`."""
    try:
        env = lmdb.open(
            os.fspath(path), subdir=False, readonly=True, lock=False, max_dbs=len(Table)
        )
    except (lmdb.Error, OSError) as error:
        raise CorruptState(f"{path}: {error}") from error
    try:
        tables = _CopiedTables(env, _never)
        with env.begin() as txn:
            yield LmdbReadTransaction(txn, tables)
    except lmdb.Error as error:
        raise CorruptState(f"{path}: {error}") from error
    finally:
        env.close()


def _never() -> None:
    raise AssertionError("a copy is not written")


class _Reader:
    """One read transaction that serves every read until the next commit.

    Beginning one costs more than the read itself. It never holds back the reuse of pages: the store
    retires it before a write begins, and it ends there unless a read is still inside.
    """

    __slots__ = ("_stale", "_transaction", "_txn", "_users")

    def __init__(self, tables: _Tables) -> None:
        self._txn = tables.env.begin()
        self._transaction = LmdbReadTransaction(self._txn, tables)
        self._users = 0
        self._stale = False

    def __enter__(self) -> LmdbReadTransaction:
        assert not self._stale, "a read must begin where it is asked for"
        self._users += 1
        return self._transaction

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._users -= 1
        if self._stale:
            self.retire()
        if error is not None:
            _raise_damage(error)

    def retire(self) -> None:
        """No more reads begin here; ends with the last one that is inside."""
        self._stale = True
        if self._users == 0:
            self._txn.abort()


class _Writer:
    """One write transaction: commits at the end of its block, or leaves no trace."""

    __slots__ = ("_store", "_tables", "_txn")

    def __init__(self, store: LmdbStore, tables: _Tables) -> None:
        self._store = store
        self._tables = tables

    def __enter__(self) -> LmdbWriteTransaction:
        self._store.begin_write()
        self._txn = self._tables.env.begin(write=True)
        return LmdbWriteTransaction(self._txn, self._tables)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._txn.abort()
            _raise_full(error, self._store.path)
            _raise_damage(error)
            return
        try:
            self._txn.commit()
        except (lmdb.Error, OSError) as failure:
            _raise_full(failure, self._store.path)
            raise
        finally:
            self._store.end_write()


def _raise_full(error: BaseException, path: Path) -> None:
    full = isinstance(error, (lmdb.DiskError, lmdb.MapFullError))
    if full or (isinstance(error, (lmdb.Error, OSError)) and _says_no_space(error)):
        raise StoreFull(
            f"no space for the state in {path}: {error}. Free space on this disk; it goes on by"
            " itself then"
        ) from error


def _errno_of(error: lmdb.Error) -> int:
    """LMDB gives such codes as text only."""
    return errno.ENOSPC if _says_no_space(error) else errno.EIO


def _says_no_space(error: BaseException) -> bool:
    return any(text in str(error) for text in _NO_SPACE)


def _raise_damage(error: BaseException) -> None:
    if isinstance(error, _DAMAGE):
        raise CorruptState(f"LMDB: {error}; remove this replica's state") from error


class LmdbStore:
    """A `cluster.state.store.Store` in a directory of its own.

    `boot_id` is what `read_boot_id` gives; None believes only a clean stop. Content that is not
    believed is removed, with a warning in the log: the store is then empty. With a `source`, a file
    that `copy_to` has written, all content is replaced by it. Raises `CorruptState` when LMDB
    cannot read the files it should be able to, and OSError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        map_bytes: int = MAP_BYTES,
        boot_id: str | None,
        source: Path | None = None,
    ) -> None:
        self.path = Path(path)
        self._trust = Trust(self.path, boot_id)
        self._trust.prepare(source)
        try:
            env = lmdb.open(
                os.fspath(path),
                map_size=map_bytes,
                max_dbs=len(Table),
                sync=False,
                metasync=False,
                writemap=False,  # with it, a full disk is a SIGBUS
            )
            self._tables = _Tables(env, self._trust.revoke)
        except _DAMAGE as error:
            raise CorruptState(f"{path}: {error}; remove this replica's state") from error
        self._env = env
        self._reader: _Reader | None = None

    def read(self) -> AbstractContextManager[LmdbReadTransaction]:
        """The last committed state; reads until the next commit share one LMDB transaction."""
        reader = self._reader
        if reader is None:
            reader = self._reader = _Reader(self._tables)
        return reader

    def write(self) -> AbstractContextManager[LmdbWriteTransaction]:
        """A transaction that commits without a sync; see `cluster.state.store.Store.write`."""
        return _Writer(self, self._tables)

    @property
    def used_bytes(self) -> int:
        """What the content takes on the disk."""
        return (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]

    def copy_to(self, descriptor: int) -> None:
        """Writes the last committed state to a file, without free pages; any thread.

        Reads and writes go on meanwhile. Raises OSError.
        """
        try:
            self._env.copyfd(descriptor, compact=True)
        except lmdb.Error as error:
            raise OSError(_errno_of(error), f"copying the state: {error}") from error

    def discard(self) -> None:
        """Closes without syncing: the content is about to be replaced."""
        self.end_write()
        self._env.close()

    def close(self) -> None:
        """Syncs everything, closes, and only then declares the content clean.

        Content that cannot be synced is not believed at the next start.
        """
        self.end_write()
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            _log.error(
                "%s could not be synced and is rebuilt at the next start: %s. Check the disk",
                *(self.path, error),
            )
            self._trust.disown()
            self._env.close()
            return
        self._env.close()
        self._trust.declare_clean()

    def begin_write(self) -> None:
        """Called by a write transaction before it begins."""
        self._trust.revoke()
        self.end_write()

    def end_write(self) -> None:
        """Called by a write transaction after its commit: reads begin anew."""
        if self._reader is not None:
            self._reader.retire()
            self._reader = None
