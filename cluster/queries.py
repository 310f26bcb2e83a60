"""Reads, by operation code: pure functions of a read transaction.

Arguments and results are plain tuples, because a node that does not lead the partition
forwards them as they are.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from cluster.queue_queries import QUEUE_FIELDS, QUEUE_QUERIES
from cluster.state.commands import EMPTY
from cluster.state.keyspace import Record
from cluster.state.kv import kv_get, kv_history, kv_scan
from cluster.state.kv_json import json_get
from cluster.state.store import ReadTransaction
from cluster.state.timers import NEVER_MS
from cluster.stream_queries import STREAM_FIELDS, STREAM_QUERIES
from flo.wire.status import Reason

Result: TypeAlias = tuple[object, ...]
"""(0, ...) for success, (reason, ...) for a refusal.

get `(0, version, value)`, exists `(0, exists, version)`, mget `(0, entries)` with
`(found, version, value)` for the first keys, scan `(0, entries, end)` with `(key, value)` and the
key up to which it looked if more may follow, else None; history `(0, versions)` with `(version,
created_ms, value)`, json get `(0, version, part)`.
"""

GET, MGET, SCAN, EXISTS = 0x101, 0x102, 0x104, 0x115
HISTORY, JSON_GET = 0x105, 0x10C
WAIT_GET = 0x10101
"""A get that waits: no operation of the wire, so beyond its codes."""
_UNRESOLVED = -1


_FIELDS: dict[int, tuple[type, ...]] = {
    GET: (bytes, bytes),  # namespace, key
    WAIT_GET: (bytes, bytes, bool, int),  # namespace, key, for a change, the version before
    MGET: (bytes, list, int),  # namespace, keys, max_bytes
    SCAN: (bytes, bytes, bytes, int, int, bool),  # as the parameters of `kv_scan`
    EXISTS: (bytes, bytes),  # namespace, key
    HISTORY: (bytes, bytes, int, int),  # namespace, key, limit, max_bytes
    JSON_GET: (bytes, bytes, bytes),  # namespace, key, path
    **QUEUE_FIELDS,
    **STREAM_FIELDS,
}


def is_query(code: int, args: Sequence[object]) -> bool:
    """Whether this version knows such a query; another node may have sent anything."""
    fields = _FIELDS.get(code)
    if fields is None or len(fields) != len(args) or not all(map(isinstance, args, fields)):
        return False
    if code == SCAN:
        return cast(int, args[3]) > 0
    if code == HISTORY:
        return cast(int, args[2]) > 0
    return code != MGET or all(type(key) is bytes for key in cast(list[object], args[1]))


class ClockBehindError(Exception):
    """A key's or a timer's time has come by the leader's clock, but not yet by the applied stamp.

    Every replica must notice it at the same place in the log, so a clock entry is
    committed first and the read is made again.
    """


class View:
    """One consistent look at a partition's state. `now_ms` None reads by the applied stamp.

    No timer is due before `timers_due_ms`.
    """

    __slots__ = ("_now_ms", "_stamp_ms", "_timers_due_ms", "_txn")

    def __init__(
        self,
        txn: ReadTransaction,
        stamp_ms: int,
        now_ms: int | None,
        timers_due_ms: int = NEVER_MS,
    ) -> None:
        self._txn = txn
        self._timers_due_ms = timers_due_ms
        self._stamp_ms = stamp_ms
        self._now_ms = stamp_ms if now_ms is None else now_ms

    @property
    def txn(self) -> ReadTransaction:
        return self._txn

    @property
    def now_ms(self) -> int:
        """By the leader's clock, or the applied stamp."""
        return self._now_ms

    def get(self, namespace: bytes, key: bytes) -> Record | None:
        record = kv_get(self._txn, self._stamp_ms, namespace, key)
        if record is not None:
            self._check(record)
        return record

    def scan(self, args: Sequence[object]) -> Result:
        namespace, prefix, after = (cast(bytes, arg) for arg in args[:3])
        limit, max_bytes = cast(int, args[3]), cast(int, args[4])
        page = kv_scan(
            self._txn,
            self._stamp_ms,
            namespace,
            prefix,
            after,
            limit=limit,
            max_bytes=max_bytes,
            keys_only=bool(args[5]),
        )
        for _, record in page.entries:
            self._check(record)
        entries = [(key, record.value) for key, record in page.entries]
        return 0, entries, page.end if page.more else None

    def history(self, args: Sequence[object]) -> Result:
        """A key that is gone has the same history as one that is about to be."""
        namespace, key, limit, max_bytes = cast("tuple[bytes, bytes, int, int]", args)
        versions = kv_history(self._txn, namespace, key, limit=limit, max_bytes=max_bytes)
        return (0, [tuple(each) for each in versions]) if versions else (Reason.NOT_FOUND,)

    def check_timers(self) -> None:
        """Raises `ClockBehindError` when a delay or a lease is over that the state still shows.

        Those that one entry could not run are left to the next: what it left is shown.
        """
        if self._stamp_ms < self._timers_due_ms <= self._now_ms:
            raise ClockBehindError

    def _check(self, record: Record) -> None:
        if 0 < record.expires_at_ms <= self._now_ms:
            raise ClockBehindError


def _get(view: View, args: Sequence[object]) -> Result:
    record = view.get(cast(bytes, args[0]), cast(bytes, args[1]))
    if record is None:
        return (Reason.NOT_FOUND,)
    return 0, record.version, record.value


def _wait_get(view: View, args: Sequence[object]) -> Result:
    """As `_get`, but EMPTY, with the arguments to ask with from then on, where a call must wait.

    A wait for a change is for a version above the one that is found first (0 for none).
    """
    namespace, key = cast(bytes, args[0]), cast(bytes, args[1])
    for_change, before = cast(bool, args[2]), cast(int, args[3])
    record = view.get(namespace, key)
    if for_change and before == _UNRESOLVED:
        return EMPTY, (namespace, key, True, 0 if record is None else record.version)
    if record is None or (for_change and record.version <= before):
        return (EMPTY,)
    return 0, record.version, record.value


def _exists(view: View, args: Sequence[object]) -> Result:
    record = view.get(cast(bytes, args[0]), cast(bytes, args[1]))
    return (0, False, 0) if record is None else (0, True, record.version)


def _mget(view: View, args: Sequence[object]) -> Result:
    """The first keys whose values fit in `max_bytes`, but one at least."""
    namespace, room = cast(bytes, args[0]), cast(int, args[2])
    found: list[tuple[bool, int, bytes]] = []
    for key in cast(Sequence[bytes], args[1]):
        record = view.get(namespace, key)
        if record is None:
            found.append((False, 0, b""))
            continue
        room -= len(record.value)
        if room < 0 and found:
            break
        found.append((True, record.version, record.value))
    return 0, found


def _history(view: View, args: Sequence[object]) -> Result:
    return view.history(args)


def _json_get(view: View, args: Sequence[object]) -> Result:
    namespace, key, path = cast("tuple[bytes, bytes, bytes]", args)
    return json_get(view.get(namespace, key), path)


def _scan(view: View, args: Sequence[object]) -> Result:
    return view.scan(args)


def bytes_in(found: object) -> int:
    """About what a result holds: values and keys, however deep."""
    if type(found) is bytes:
        return len(found)
    if isinstance(found, tuple | list):
        return sum(map(bytes_in, cast("Sequence[object]", found)))
    return 0


QUERIES: dict[int, Callable[[View, Sequence[object]], Result]] = {
    GET: _get,
    WAIT_GET: _wait_get,
    MGET: _mget,
    SCAN: _scan,
    EXISTS: _exists,
    HISTORY: _history,
    JSON_GET: _json_get,
    **QUEUE_QUERIES,
    **STREAM_QUERIES,
}
