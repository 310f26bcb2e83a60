"""Pages of names that lie in all partitions, merged in byte order."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.gather import Gather
from cluster.queue_operations import to_summary as to_queue
from cluster.queue_queries import QUEUE_LIST
from cluster.scan_cursors import CursorError, ScanCursors
from cluster.stream_operations import to_summary as to_stream
from cluster.stream_queries import STREAM_LIST
from flo.wire.queue_messages import QueueList, QueueListing
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import StreamList, StreamListing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.config import Limits
    from cluster.dispatch import Dispatcher
    from cluster.operation import Answer
    from cluster.room import Room
    from flo.wire.connection import Request

_LIMIT_DEFAULT = 100

Named: TypeAlias = "Sequence[object]"
"""An entry of a listing: its name comes first."""
Page: TypeAlias = "tuple[list[Named], bytes | None]"
"""Entries, and the last name when more follow."""
Numbered: TypeAlias = tuple[bytes, int, int, int, int, int]
"""A queue or a stream as the state says it."""


class Listings:
    """Listings of one node."""

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

    def queues(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Asks every partition for its queues."""

        def answer(entries: list[Numbered], cursor: bytes | None) -> None:
            done(QueueListing(tuple(map(to_queue, entries)), cursor))

        self._list(request, QUEUE_LIST, answer, done)

    def streams(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Asks every partition for its streams."""

        def answer(entries: list[Numbered], cursor: bytes | None) -> None:
            done(StreamListing(tuple(map(to_stream, entries)), cursor))

        self._list(request, STREAM_LIST, answer, done)

    def _list(
        self,
        request: Request,
        code: int,
        answer: Callable[[list[Numbered], bytes | None], None],
        done: Callable[[Answer], None],
    ) -> None:
        body = cast("QueueList | StreamList", request.body)
        limit = body.limit or _LIMIT_DEFAULT

        def gathered(entries: list[Named], last: bytes | None) -> None:
            cursor = None if last is None else self._cursors.make(last, request.revision)
            answer(cast("list[Numbered]", entries), cursor)

        try:
            after = self._cursors.resolve(body.cursor)
        except CursorError as error:
            done(Refusal(Reason.MALFORMED, Ran.NO, str(error)))
            return
        args = (body.namespace, body.prefix, after, limit)
        gather = Gather(
            self._partition_count,
            self._room,
            lambda results: gathered(*merge(list(results.values()), limit, self._bytes_max)),
            done,
        )
        for partition in range(self._partition_count):
            slot = gather.slot(partition)
            self._dispatcher.read(partition, code, args, request.context, slot)
        gather.start()


def merge(results: list[tuple[object, ...]], limit: int, max_bytes: int) -> Page:
    """One page in byte order from one `(0, entries, more)` of each partition."""
    pages = [cast("list[Named]", result[1]) for result in results]
    # A partition that has more may have names right after its last one: no page of the whole
    # reaches beyond the first such end.
    ends = [_name_of(page[-1]) for page, result in zip(pages, results, strict=True) if result[2]]
    end = min(ends, default=None)
    entries: list[Named] = []
    size = 0
    for entry in heapq.merge(*pages, key=_name_of):
        past_end = end is not None and _name_of(entry) > end
        if past_end or len(entries) == limit or (entries and size > max_bytes):
            return entries, _name_of(entries[-1])
        entries.append(entry)
        size += len(_name_of(entry))
    return entries, end


def _name_of(entry: Named) -> bytes:
    return cast(bytes, entry[0])
