"""The reads of streams and groups; see `cluster.queries`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cluster.state.commands import EMPTY
from cluster.state.group_reads import group_info, pending
from cluster.state.stream_reads import Range, last_id, list_streams, read_stream, stream_info
from cluster.state.stream_rows import LAST_ID, next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.queries import Result, View

STREAM_READ, STREAM_INFO, STREAM_LIST = 0x131, 0x133, 0x13B
GROUP_PENDING, GROUP_INFO = 0x156, 0x15B
WAIT_STREAM_READ = 0x10131
"""A read that waits: no operation of the wire, so beyond its codes."""
NO_PARTITION = -1
"""Of all partitions; also no key to find one by."""

_READ = (
    *(bytes, bytes),  # namespace, stream
    *(int, int, int, int),  # first and last id
    *(int, int),  # partition, hash of the partition key
    *(int, bool, int),  # limit, only what comes later, max_bytes
)

STREAM_FIELDS: dict[int, tuple[type, ...]] = {
    STREAM_READ: _READ,
    WAIT_STREAM_READ: _READ,
    STREAM_INFO: (bytes, bytes),  # namespace, stream
    STREAM_LIST: (bytes, bytes, bytes, int),  # namespace, prefix, after, limit
    GROUP_PENDING: (bytes, bytes, bytes, bytes, int),  # namespace, stream, group, consumer or b""
    GROUP_INFO: (bytes, bytes, bytes),  # namespace, stream, group
}
"""Results: list `(0, streams, more)`; the others as in `cluster.state.stream_reads` and
`group_reads`."""


def _read(view: View, args: Sequence[object]) -> Result:
    if args[9]:
        # Only what comes after the request, which waits for nothing.
        return 0, args[1], ()
    return _read_range(view, args)


def _wait_read(view: View, args: Sequence[object]) -> Result:
    """As `_read`, but EMPTY where a call must wait; from then on for what comes after now."""
    namespace, name = cast("Sequence[bytes]", args[:2])
    if args[9]:
        start = next_id(last_id(view.txn, namespace, name))
        return EMPTY, (namespace, name, *start, *args[4:9], False, args[10])
    result = _read_range(view, args)
    return result if result[0] != 0 or result[2] else (EMPTY,)


def _read_range(view: View, args: Sequence[object]) -> Result:
    namespace, name = cast("Sequence[bytes]", args[:2])
    start_ms, start, end_ms, end, partition, key_hash, limit = cast("Sequence[int]", args[2:9])
    wanted = Range(
        (_word(start_ms), _word(start)),
        (_word(end_ms), _word(end)),
        None if partition == NO_PARTITION else partition,
        None if key_hash == NO_PARTITION else key_hash,
    )
    max_bytes = cast(int, args[10])
    return read_stream(view.txn, namespace, name, wanted, limit=max(1, limit), max_bytes=max_bytes)


def _word(number: int) -> int:
    """Another node may have sent anything."""
    return min(max(number, 0), LAST_ID[0])


def _info(view: View, args: Sequence[object]) -> Result:
    namespace, name = cast("Sequence[bytes]", args)
    return stream_info(view.txn, namespace, name)


def _list(view: View, args: Sequence[object]) -> Result:
    namespace, prefix, after = cast("Sequence[bytes]", args[:3])
    streams, more = list_streams(view.txn, namespace, prefix, after, limit=cast(int, args[3]))
    return 0, streams, more


def _pending(view: View, args: Sequence[object]) -> Result:
    *names, consumer = cast("Sequence[bytes]", args[:4])
    max_bytes = cast(int, args[4])
    return pending(view.txn, (names[0], names[1], names[2]), consumer or None, max_bytes=max_bytes)


def _group_info(view: View, args: Sequence[object]) -> Result:
    names = cast("tuple[bytes, bytes, bytes]", tuple(args))
    return group_info(view.txn, names, now_ms=view.now_ms)


STREAM_QUERIES: dict[int, Callable[[View, Sequence[object]], Result]] = {
    STREAM_READ: _read,
    WAIT_STREAM_READ: _wait_read,
    STREAM_INFO: _info,
    STREAM_LIST: _list,
    GROUP_PENDING: _pending,
    GROUP_INFO: _group_info,
}
