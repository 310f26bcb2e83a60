"""Reads, by operation code: pure functions of a read transaction.

Arguments and results are plain tuples, because a node that does not lead the partition
forwards them as they are.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from cluster.state.keyspace import Record
from cluster.state.kv import kv_get, kv_scan
from cluster.state.store import ReadTransaction
from flo.wire.status import Reason

Result: TypeAlias = tuple[object, ...]
"""(0, ...) for success, (reason, ...) for a refusal.

get `(0, version, value)`, exists `(0, exists, version)`, mget `(0, entries)` with
`(found, version, value)` for the first keys, scan `(0, entries, more)` with `(key, value)`.
"""

GET, MGET, SCAN, EXISTS = 0x101, 0x102, 0x104, 0x115


_FIELDS: dict[int, tuple[type, ...]] = {
    GET: (bytes, bytes),  # namespace, key
    MGET: (bytes, list, int),  # namespace, keys, max_bytes
    SCAN: (bytes, bytes, bytes, int, int, bool),  # as the parameters of `kv_scan`
    EXISTS: (bytes, bytes),  # namespace, key
}


def is_query(code: int, args: Sequence[object]) -> bool:
    """Whether this version knows such a query; another node may have sent anything."""
    fields = _FIELDS.get(code)
    if fields is None or len(fields) != len(args) or not all(map(isinstance, args, fields)):
        return False
    if code == SCAN:
        return cast(int, args[3]) > 0
    return code != MGET or all(type(key) is bytes for key in cast(list[object], args[1]))


class ClockBehindError(Exception):
    """A key's time has come by the leader's clock, but not yet by the applied stamp.

    Every replica must forget the key at the same place in the log, so a clock entry is
    committed first and the read is made again.
    """


class View:
    """One consistent look at a partition's state. `now_ms` None reads by the applied stamp."""

    __slots__ = ("_now_ms", "_stamp_ms", "_txn")

    def __init__(self, txn: ReadTransaction, stamp_ms: int, now_ms: int | None) -> None:
        self._txn = txn
        self._stamp_ms = stamp_ms
        self._now_ms = stamp_ms if now_ms is None else now_ms

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
        return 0, [(key, record.value) for key, record in page.entries], page.more

    def _check(self, record: Record) -> None:
        if 0 < record.expires_at_ms <= self._now_ms:
            raise ClockBehindError


def _get(view: View, args: Sequence[object]) -> Result:
    record = view.get(cast(bytes, args[0]), cast(bytes, args[1]))
    if record is None:
        return (Reason.NOT_FOUND,)
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
    MGET: _mget,
    SCAN: _scan,
    EXISTS: _exists,
}
