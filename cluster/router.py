"""What happens to a request: by one key to its partition, over several, or at this node."""

from random import Random
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from cluster.calls import Call, Outcome
from cluster.gather import Gather
from cluster.kv_operations import RESERVED_PREFIXES
from cluster.listings import Listings
from cluster.operation import Operation, Placed, refusal_of, to_answer
from cluster.operations import OPERATIONS
from cluster.queries import MGET
from cluster.room import Room
from cluster.scans import Scans
from cluster.topics import topics_of
from cluster.transaction_calls import TransactionCalls
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnBegin, TxnCommit, TxnRollback
from flo.wire.limits import V2_ANSWER_BYTES_MAX, V2_VALUE_BYTES_MAX
from flo.wire.queue_messages import QueueList
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import StreamList

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.config import Limits
    from cluster.dispatch import Dispatcher
    from cluster.operation import Answer, Arguments
    from cluster.scan_cursors import ScanCursors
    from flo.wire.connection import Request

DoneCallback: TypeAlias = "Callable[[Answer], None]"

_TOKEN_BITS = 63


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
        cursors: "ScanCursors",
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
        self._gathering = gathering = Room(limits.answers_bytes_max)
        self._transactions = TransactionCalls(dispatcher, partition_count)
        listings = Listings(dispatcher, partition_count, cursors, limits, gathering)
        self._others: dict[type[wire.Body], Callable[[Request, DoneCallback], None]] = {
            wire.Ping: self._ping,
            wire.KvMget: self._mget,
            wire.KvScan: Scans(dispatcher, partition_count, cursors, limits, gathering).scan,
            QueueList: listings.queues,
            StreamList: listings.streams,
            wire.PartitionTableRequest: self._partition_table,
            wire.OpenSession: self._open_session,
            TxnBegin: self._transactions.begin,
            TxnCommit: self._transactions.commit,
            TxnRollback: self._transactions.rollback,
            wire.ClusterStatusRequest: self._cluster_status,
        }

    def run(self, request: "Request", done: DoneCallback) -> Call | None:
        """Carries the request out and calls `done` with its answer.

        A call that may wait long is returned, to be cancelled when its client goes away.
        """
        operation = OPERATIONS.get(request.op.code)
        if operation is None:
            self._others.get(request.op.request, _not_served)(request, done)
            return None
        body = cast(Placed, request.body)
        refusal = operation.early(body) if operation.early is not None else None
        if refusal is not None:
            done(refusal)
            return None
        txn = operation.txn(body) if operation.txn is not None else None
        if txn is not None:
            self._transactions.operate(request, operation, txn, done)
            return None
        wait_ms = operation.wait_ms(body) if operation.wait_ms is not None else 0
        if wait_ms:
            return self._run_waiting(request, operation.waiting or operation, wait_ms, done)

        def finished(outcome: Outcome) -> None:
            done(outcome if isinstance(outcome, Refusal) else to_answer(operation, outcome))

        partition = partition_of(body.namespace, operation.name(body), self._partition_count)
        run = self._dispatcher.write if operation.is_write else self._dispatcher.read
        args = self._arguments(operation, request)
        run(partition, operation.code, args, request.context, finished)
        return None

    def _run_waiting(
        self, request: "Request", operation: Operation, wait_ms: int, done: DoneCallback
    ) -> Call | None:
        body = cast(Placed, request.body)

        def finished(outcome: Outcome) -> None:
            done(outcome if isinstance(outcome, Refusal) else to_answer(operation, outcome))

        args = self._arguments(operation, request)
        assert topics_of(operation.code, args), f"{request.op.name} waits, but for what?"
        partition = partition_of(body.namespace, operation.name(body), self._partition_count)
        run = self._dispatcher.write if operation.is_write else self._dispatcher.read
        return run(
            *(partition, operation.code, args, request.context, finished), wait_s=wait_ms / 1000
        )

    def _arguments(self, operation: Operation, request: "Request") -> "Arguments":
        args = operation.arguments(cast(Placed, request.body))
        limits, is_v2 = self._limits, request.revision == 2
        if operation.bounded:
            return *args, V2_ANSWER_BYTES_MAX if is_v2 else limits.answer_bytes_max
        if operation.grows:
            most = limits.value_bytes_max
            return *args, min(most, V2_VALUE_BYTES_MAX) if is_v2 else most
        return args

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

        gather = Gather(len(places), self._gathering, gathered, done)
        for partition, wanted in places.items():
            args = (body.namespace, [body.keys[place] for place in wanted], max_bytes)
            self._dispatcher.read(partition, MGET, args, request.context, gather.slot(partition))
        gather.start()

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


def _not_served(request: "Request", done: DoneCallback) -> None:
    message = f"this version does not serve {request.op.name}"
    done(Refusal(Reason.UNKNOWN_OP, Ran.NO, message))


def _end_of_values(entries: list[wire.ValueEntry], end: int, max_bytes: int) -> int:
    """How many of the first `end` entries fit in an answer; one at least."""
    size = 0
    for place, entry in enumerate(entries[:end]):
        size += len(entry.value)
        if place and size > max_bytes:
            return place
    return end
