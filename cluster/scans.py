"""Pages of keys, which lie in all partitions, merged in byte order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.gather import Gather
from cluster.queries import SCAN
from cluster.scan_cursors import CursorError, ScanCursors
from flo.wire import messages as wire
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.config import Limits
    from cluster.dispatch import Dispatcher
    from cluster.operation import Answer
    from cluster.room import Room
    from flo.wire.connection import Request

    DoneCallback: TypeAlias = Callable[[Answer], None]

_LIMIT_DEFAULT = {1: 100, 2: 1024}


class Scans:
    """The scans of one node."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        partition_count: int,
        cursors: ScanCursors,
        limits: Limits,
        room: Room,
    ) -> None:
        self._dispatcher = dispatcher
        self._partition_count = partition_count
        self._cursors = cursors
        self._bytes_max = limits.scan_page_bytes_max
        self._room = room

    def scan(self, request: Request, done: DoneCallback) -> None:
        """Answers with one page. Partitions are asked again while they pass over expired keys
        only: a page is empty only when it is the last."""
        body = cast(wire.KvScan, request.body)
        try:
            after = self._cursors.resolve(body.cursor)
        except CursorError as error:
            done(Refusal(Reason.MALFORMED, Ran.NO, str(error)))
            return
        limit = body.limit or _LIMIT_DEFAULT[request.revision]
        asking = False
        empty_up_to: bytes | None = after

        def gathered(results: dict[int, tuple[object, ...]]) -> None:
            nonlocal empty_up_to
            entries, end = merge(list(results.values()), limit, self._bytes_max)
            if entries or end is None:
                cursor = None if end is None else self._cursors.make(end, request.revision)
                done(wire.Page(entries, cursor))
                return
            empty_up_to = end
            if not asking:
                ask()

        def ask() -> None:
            # Stale reads are answered while they are asked: not from inside each other.
            nonlocal asking, empty_up_to
            asking = True
            while empty_up_to is not None:
                start, empty_up_to = empty_up_to, None
                gather = Gather(self._partition_count, self._room, gathered, done)
                self._ask(request, start, limit, gather)
            asking = False

        ask()

    def _ask(self, request: Request, after: bytes, limit: int, gather: Gather) -> None:
        body = cast(wire.KvScan, request.body)
        keys_only = body.keys_only or request.revision == 2
        args = (body.namespace, body.prefix, after, limit, self._bytes_max, keys_only)
        for partition in range(self._partition_count):
            slot = gather.slot(partition)
            self._dispatcher.read(partition, SCAN, args, request.context, slot)
        gather.start()


def merge(
    results: list[tuple[object, ...]], limit: int, max_bytes: int
) -> tuple[tuple[wire.PageEntry, ...], bytes | None]:
    """One page in byte order from one `(0, entries, end)` of each partition, and where it ends if
    more may follow."""
    pages = [cast("list[tuple[bytes, bytes]]", result[1]) for result in results]
    # A partition that has more may have keys right after its end: no page of the whole reaches
    # beyond the first one.
    ends = [cast(bytes, result[2]) for result in results if result[2] is not None]
    end = min(ends, default=None)
    entries: list[wire.PageEntry] = []
    size = 0
    # By the key alone: what another node has sent are lists, not tuples.
    for key, value in heapq.merge(*pages, key=_key_of):
        if end is not None and key > end:
            break
        if len(entries) == limit or (entries and size > max_bytes):
            return tuple(entries), entries[-1].key
        entries.append(wire.PageEntry(key, value))
        size += len(key) + len(value)
    return tuple(entries), end


def _key_of(entry: tuple[bytes, bytes]) -> bytes:
    return entry[0]
