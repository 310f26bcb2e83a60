"""What happens to a request: by one key to its partition, over several, or at this node."""

import heapq
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from cluster.calls import Outcome
from cluster.operations import (
    KEY_OPERATIONS,
    RESERVED_PREFIXES,
    Answer,
    KeyBody,
    refusal_of,
    refuse_early,
    to_answer,
)
from cluster.queries import MGET, SCAN, bytes_in
from cluster.room import Room
from cluster.scan_cursors import CursorError, ScanCursors
from flo.wire import messages as wire
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.config import Limits
    from cluster.dispatch import Dispatcher
    from flo.wire.connection import Request

DoneCallback: TypeAlias = Callable[[Answer], None]

_TOKEN_BITS = 63
_SCAN_LIMIT_DEFAULT = {1: 100, 2: 1024}


class Describe(Protocol):
    """What a node can say about itself and the cluster."""

    def partition_table(self) -> wire.PartitionTable: ...

    def status(self, partition: int | None, *, digest: bool) -> bytes:
        """A JSON document; with `digest` also hashes of the partitions' contents."""
        ...


class Router:
    """Runs requests. `done` is called once, possibly before `run` returns."""

    def __init__(
        self,
        dispatcher: "Dispatcher",
        *,
        partition_count: int,
        cursors: ScanCursors,
        describe: Describe,
        rng: Random,
        limits: "Limits",
    ) -> None:
        self._dispatcher = dispatcher
        self._partition_count = partition_count
        self._cursors = cursors
        self._describe = describe
        self._rng = rng
        self._limits = limits
        self._gathering = Room(limits.answers_bytes_max)
        """What parts of answers take while others are waited for."""
        self._others: dict[type[wire.Body], Callable[[Request, DoneCallback], None]] = {
            wire.Ping: self._ping,
            wire.KvMget: self._mget,
            wire.KvScan: self._scan,
            wire.PartitionTableRequest: self._partition_table,
            wire.OpenSession: self._open_session,
            wire.ClusterStatusRequest: self._cluster_status,
        }

    def run(self, request: "Request", done: DoneCallback) -> None:
        """Carries the request out and calls `done` with its answer."""
        operation = KEY_OPERATIONS.get(request.op.code)
        if operation is None:
            self._others[request.op.request](request, done)
            return
        body = cast(KeyBody, request.body)
        refusal = refuse_early(body)
        if refusal is not None:
            done(refusal)
            return

        def finished(outcome: Outcome) -> None:
            done(outcome if isinstance(outcome, Refusal) else to_answer(operation, outcome))

        partition = partition_of(body.namespace, body.key, self._partition_count)
        run = self._dispatcher.write if operation.is_write else self._dispatcher.read
        run(partition, operation.code, operation.arguments(body), request.context, finished)

    # --- over several partitions: in parallel; linearizable per key, no snapshot across them ---

    def _mget(self, request: "Request", done: DoneCallback) -> None:
        body = cast(wire.KvMget, request.body)
        places: dict[int, list[int]] = {}
        for place, key in enumerate(body.keys):
            if not key.startswith(RESERVED_PREFIXES):
                partition = partition_of(body.namespace, key, self._partition_count)
                places.setdefault(partition, []).append(place)
        entries = [wire.ValueEntry(key, False, 0, b"") for key in body.keys]
        limits = self._limits
        is_v2 = request.revision == 2
        max_bytes = limits.scan_page_bytes_max if is_v2 else limits.answer_bytes_max

        def gathered(results: "dict[int, tuple[object, ...]]") -> None:
            unanswered: list[int] = []
            for partition, result in results.items():
                found = cast(list[tuple[bool, int, bytes]], result[1])
                for place, (there, version, value) in zip(places[partition], found, strict=False):
                    entries[place] = wire.ValueEntry(body.keys[place], there, version, value)
                unanswered += places[partition][len(found) :]
            end = _end_of_values(entries, min(unanswered, default=len(entries)), max_bytes)
            if end == len(entries):
                done(wire.Values(tuple(entries)))
            elif is_v2:
                done(wire.Values(tuple(entries[:end]), next_index=end))
            else:
                # v1 has no way to answer some of the keys.
                message = f"the values have more than {max_bytes} bytes: ask for fewer keys"
                done(Refusal(Reason.FIELD_TOO_LONG, Ran.NO, message))

        gather = _Gather(len(places), self._gathering, gathered, done)
        for partition, wanted in places.items():
            args = (body.namespace, [body.keys[place] for place in wanted], max_bytes)
            self._dispatcher.read(partition, MGET, args, request.context, gather.slot(partition))
        gather.start()

    def _scan(self, request: "Request", done: DoneCallback) -> None:
        body = cast(wire.KvScan, request.body)
        try:
            after = self._cursors.resolve(body.cursor)
        except CursorError as error:
            done(Refusal(Reason.MALFORMED, Ran.NO, str(error)))
            return
        limit = body.limit or _SCAN_LIMIT_DEFAULT[request.revision]
        max_bytes = self._limits.scan_page_bytes_max

        def gathered(results: "dict[int, tuple[object, ...]]") -> None:
            done(self._page(list(results.values()), limit, max_bytes, request.revision))

        gather = _Gather(self._partition_count, self._gathering, gathered, done)
        keys_only = body.keys_only or request.revision == 2
        args = (body.namespace, body.prefix, after, limit, max_bytes, keys_only)
        for partition in range(self._partition_count):
            slot = gather.slot(partition)
            self._dispatcher.read(partition, SCAN, args, request.context, slot)
        gather.start()

    def _page(
        self, results: "list[tuple[object, ...]]", limit: int, max_bytes: int, revision: int
    ) -> Answer:
        """Merges one page of each partition into one page in byte order."""
        pages = [cast(list[tuple[bytes, bytes]], result[1]) for result in results]
        # A partition that has more may have keys right after its last one: no page of the whole
        # reaches beyond the first such end.
        ends = [page[-1][0] for page, result in zip(pages, results, strict=True) if result[2]]
        end = min(ends, default=None)
        entries: list[wire.PageEntry] = []
        size = 0
        # By the key alone: what another node has sent are lists, not tuples.
        for key, value in heapq.merge(*pages, key=_key_of):
            past_end = end is not None and key > end
            if past_end or len(entries) == limit or (entries and size > max_bytes):
                return wire.Page(tuple(entries), self._cursors.make(entries[-1].key, revision))
            entries.append(wire.PageEntry(key, value))
            size += len(key) + len(value)
        if end is not None:
            return wire.Page(tuple(entries), self._cursors.make(entries[-1].key, revision))
        return wire.Page(tuple(entries), None)

    # --- at this node ---

    def _ping(self, _request: "Request", done: DoneCallback) -> None:
        done(wire.Pong())

    def _partition_table(self, _request: "Request", done: DoneCallback) -> None:
        done(self._describe.partition_table())

    def _cluster_status(self, request: "Request", done: DoneCallback) -> None:
        body = cast(wire.ClusterStatusRequest, request.body)
        if body.partition is not None and body.partition >= self._partition_count:
            done(self._no_such_partition(body.partition))
            return
        done(wire.ClusterStatus(self._describe.status(body.partition, digest=body.digest)))

    def _open_session(self, request: "Request", done: DoneCallback) -> None:
        partition = cast(wire.OpenSession, request.body).partition
        if partition >= self._partition_count:
            done(self._no_such_partition(partition))
            return

        def finished(outcome: Outcome) -> None:
            if isinstance(outcome, Refusal):
                done(outcome)
            elif outcome[0] != 0:
                done(refusal_of(outcome))
            else:
                done(wire.SessionOpened(cast(int, outcome[1])))

        token = self._rng.getrandbits(_TOKEN_BITS)
        self._dispatcher.open_session(partition, token, request.context, finished)

    def _no_such_partition(self, partition: int) -> Refusal:
        message = f"partition {partition}: this cluster has {self._partition_count}"
        return Refusal(Reason.OUT_OF_RANGE, Ran.NO, message)


def _key_of(entry: tuple[bytes, bytes]) -> bytes:
    return entry[0]


def _end_of_values(entries: list[wire.ValueEntry], end: int, max_bytes: int) -> int:
    """How many of the first `end` entries fit in an answer; one at least."""
    size = 0
    for place, entry in enumerate(entries[:end]):
        size += len(entry.value)
        if place and size > max_bytes:
            return place
    return end


_NO_ROOM = Refusal(Reason.SHARD_BUSY, Ran.NO, "too many answers are being made: try again later")


class _Gather:
    """Waits for a result of each partition; the first refusal is the answer of the whole."""

    def __init__(
        self,
        count: int,
        room: Room,
        gathered: "Callable[[dict[int, tuple[object, ...]]], None]",
        refused: DoneCallback,
    ) -> None:
        self._asks_nobody = count == 0
        self._missing = count
        self._room = room
        self._held_bytes = 0
        self._gathered = gathered
        self._refused = refused
        self._results: dict[int, tuple[object, ...]] = {}

    def start(self) -> None:
        """To be called after all slots were handed out: there may have been none."""
        if self._asks_nobody:
            self._gathered({})

    def slot(self, partition: int) -> Callable[[Outcome], None]:
        def done(outcome: Outcome) -> None:
            if self._missing <= 0:
                return
            refusal = outcome if isinstance(outcome, Refusal) else None
            if refusal is None and not isinstance(outcome, Refusal) and outcome[0] != 0:
                refusal = refusal_of(outcome)
            nbytes = bytes_in(outcome)
            if refusal is None and not self._room.has(nbytes):
                refusal = _NO_ROOM
            if refusal is not None:
                self._missing = 0
                self._end()
                self._results[partition] = ()
                self._refused(refusal)
            elif not isinstance(outcome, Refusal):
                self._results[partition] = outcome
                self._room.take(nbytes)
                self._held_bytes += nbytes
                self._missing -= 1
                if not self._missing:
                    self._gathered(self._results)
                    self._end()

        return done

    def _end(self) -> None:
        self._results = {}
        self._room.give(self._held_bytes)
        self._held_bytes = 0
