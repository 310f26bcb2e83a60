"""Queues in the state machine against a small model that says the same in the plainest way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cluster.state import queue_commands as codes
from cluster.state.commands import BELOW_FLOOR, EMPTY, OPEN_SESSION, SESSION_UNKNOWN
from cluster.state.errors import StoreFull
from cluster.state.memory_store import MemoryStore
from cluster.state.queue import DEDUP_MS
from cluster.state.sessions import SESSION_IDLE_MS
from cluster.state.store import Table
from flo.wire.queue_messages import DELIVERY_CONSUME
from flo.wire.status import Reason
from tests.unit.state.helpers import START_MS
from tests.unit.state.queue_bench import Counts, QueueBench
from tests.unit.state.queue_strategies import LEASE_MS, QUEUES, queue_batches, queue_steps_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.state.commands import Command, Result
    from cluster.state.queue_commands import BatchItem
    from cluster.state.queue_reads import Message

READY, DELAYED, LEASED, DEAD = "ready", "delayed", "leased", "dead"


@dataclass
class ModelMessage:
    sequence: int
    payload: bytes
    enqueued_at_ms: int
    priority: int
    place: str = READY
    at_ms: int = 0
    """When a delay or a lease ends; the number of the death of a dead letter."""
    deliveries: int = 0

    def shown(self) -> Message:
        return self.sequence, self.payload, self.enqueued_at_ms, self.deliveries, self.priority

    def size(self) -> int:
        return len(self.payload) + 25


@dataclass
class ModelQueue:
    messages: dict[int, ModelMessage] = field(default_factory=dict[int, ModelMessage])
    dedup: dict[bytes, tuple[int, int]] = field(default_factory=dict[bytes, tuple[int, int]])
    last_sequence: int = 0
    deaths: int = 0
    delivery: int = 0
    visibility_ms: int = LEASE_MS
    max_attempts: int = 5

    def at(self, place: str) -> list[ModelMessage]:
        found = [each for each in self.messages.values() if each.place == place]
        if place == READY:
            return sorted(found, key=lambda each: (each.priority, each.sequence))
        return sorted(found, key=lambda each: (each.at_ms, each.sequence))

    def bury(self, message: ModelMessage) -> None:
        self.deaths += 1
        message.place, message.at_ms = DEAD, self.deaths

    def give_back(self, message: ModelMessage) -> None:
        if message.deliveries >= self.max_attempts:
            self.bury(message)
        else:
            message.place = READY

    def leased(self, sequences: Iterable[int]) -> Iterable[ModelMessage]:
        for sequence in sequences:
            message = self.messages.get(sequence)
            if message is not None and message.place == LEASED:
                yield message

    def time_passes(self, stamp_ms: int) -> None:
        for message in sorted(self.messages.values(), key=lambda each: (each.at_ms, each.sequence)):
            if message.place in (DELAYED, LEASED) and message.at_ms <= stamp_ms:
                if message.place == DELAYED:
                    message.place = READY
                else:
                    self.give_back(message)
        self.dedup = {key: known for key, known in self.dedup.items() if known[1] > stamp_ms}


@dataclass
class ModelSession:
    token: int
    last_stamp_ms: int
    floor: int = 0
    results: dict[int, Result] = field(default_factory=dict[int, "Result"])


class Model:
    """Queues in dictionaries."""

    def __init__(self) -> None:
        self.stamp_ms = 0
        self.queues: dict[bytes, ModelQueue] = {}
        self.sessions: dict[int, ModelSession] = {}

    def run(self, stamp_ms: int, batch: list[Command]) -> list[Result]:
        self.stamp_ms = max(self.stamp_ms, stamp_ms)
        for queue in self.queues.values():
            queue.time_passes(self.stamp_ms)
        return [self._answer(command) for command in batch]

    def _answer(self, command: Command) -> Result:
        session_id, sequence, floor = cast("tuple[int, int, int]", command[1:4])
        if session_id == 0:
            return self._execute(command)
        session = self.sessions.get(session_id)
        if session is None or self.stamp_ms - session.last_stamp_ms >= SESSION_IDLE_MS:
            return (SESSION_UNKNOWN,)
        session.last_stamp_ms = self.stamp_ms
        session.floor = max(session.floor, floor)
        if sequence < session.floor:
            return (BELOW_FLOOR,)
        if sequence in session.results:
            return session.results[sequence]
        result = self._execute(command)
        if result[0] != EMPTY:
            session.results[sequence] = result
        return result

    def _open(self, token: int) -> Result:
        for session_id, session in self.sessions.items():
            if session.token == token and self.stamp_ms - session.last_stamp_ms < SESSION_IDLE_MS:
                session.last_stamp_ms = self.stamp_ms
                return 0, session_id
        session_id = len(self.sessions) + 1
        self.sessions[session_id] = ModelSession(token, self.stamp_ms)
        return 0, session_id

    def _execute(self, command: Command) -> Result:
        code = command[0]
        if code == OPEN_SESSION:
            return self._open(cast(int, command[4]))
        name, arguments = cast(bytes, command[5]), command[6:]
        if code in (codes.ENQUEUE, codes.ENQUEUE_BATCH, codes.CONFIGURE):
            queue = self.queues.setdefault(name, ModelQueue())
        else:
            queue = self.queues.get(name, ModelQueue())
        if code == codes.ENQUEUE:
            return 0, self._add(queue, cast("BatchItem", arguments))
        if code == codes.ENQUEUE_BATCH:
            items = cast("tuple[BatchItem, ...]", arguments[0])
            return 0, tuple(self._add(queue, item) for item in items)
        if code == codes.DEQUEUE:
            return self._dequeue(queue, *cast("tuple[int, int | None, int]", arguments))
        if code == codes.CONFIGURE:
            delivery, visibility_ms, max_attempts = cast("tuple[int | None, ...]", arguments)
            queue.delivery = queue.delivery if delivery is None else delivery
            queue.visibility_ms = visibility_ms or queue.visibility_ms
            queue.max_attempts = max_attempts or queue.max_attempts
            return (0,)
        if code in (codes.PURGE, codes.DLQ_PURGE):
            goes = {
                each.sequence
                for each in queue.messages.values()
                if (each.place == DEAD) == (code == codes.DLQ_PURGE)
            }
            for sequence in goes:
                del queue.messages[sequence]
            return 0, len(goes)
        return self._change(queue, code, arguments)

    def _change(self, queue: ModelQueue, code: object, arguments: tuple[object, ...]) -> Result:
        sequences = cast("tuple[int, ...]", arguments[0])
        if code == codes.DLQ_REQUEUE:
            for sequence in sequences:
                message = queue.messages.get(sequence)
                if message is not None and message.place == DEAD:
                    message.place, message.deliveries = READY, 0
            return (0,)
        for message in queue.leased(sequences):
            if code == codes.ACK:
                del queue.messages[message.sequence]
            elif code == codes.TOUCH:
                extend_ms = cast("int | None", arguments[1])
                message.at_ms = self.stamp_ms + (extend_ms or queue.visibility_ms)
            elif arguments[1]:
                queue.bury(message)
            else:
                queue.give_back(message)
        return (0,)

    def _add(self, queue: ModelQueue, item: BatchItem) -> int:
        payload, priority, delay_ms, dedup_key = item
        if dedup_key is not None and dedup_key in queue.dedup:
            return queue.dedup[dedup_key][0]
        queue.last_sequence = sequence = queue.last_sequence + 1
        if dedup_key is not None:
            queue.dedup[dedup_key] = (sequence, self.stamp_ms + DEDUP_MS)
        message = ModelMessage(sequence, payload, self.stamp_ms, priority)
        if delay_ms:
            message.place, message.at_ms = DELAYED, self.stamp_ms + delay_ms
        queue.messages[sequence] = message
        return sequence

    def _dequeue(
        self, queue: ModelQueue, count: int, visibility_ms: int | None, max_bytes: int
    ) -> Result:
        ready = queue.at(READY)
        if not ready:
            return (EMPTY,)
        room = max_bytes - 4
        if ready[0].size() > room:
            ready[0].deliveries += 1
            queue.give_back(ready[0])
            return (Reason.FIELD_TOO_LONG,)
        taken: list[Message] = []
        for message in ready[:count]:
            room -= message.size()
            if room < 0:
                break
            message.deliveries += 1
            taken.append(message.shown())
            if queue.delivery == DELIVERY_CONSUME:
                del queue.messages[message.sequence]
            else:
                message.place = LEASED
                message.at_ms = self.stamp_ms + (visibility_ms or queue.visibility_ms)
        return 0, tuple(taken)


class QueuesAgainstModel(RuleBasedStateMachine):
    """Entries, the same entries again, restarts, copies and full disks, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore()
        self.bench = QueueBench(self.memory)
        self.model = Model()
        self.at_ms = 0
        self.last_batch: list[Command] = []

    @rule(batch=queue_batches, step_ms=queue_steps_ms)
    def apply(self, batch: list[Command], step_ms: int) -> None:
        self.at_ms += step_ms
        self._run(batch)

    @rule(batch=queue_batches)
    def apply_with_a_late_clock(self, batch: list[Command]) -> None:
        self._run(batch, back_ms=3)

    @rule()
    @precondition(lambda self: bool(self.last_batch))
    def send_again(self) -> None:
        self._run(self.last_batch)

    @rule()
    def restart(self) -> None:
        before = self.bench.replica.digest()
        self.bench.restart()
        assert self.bench.replica.digest() == before

    @rule()
    def crash(self) -> None:
        """What was not stored is applied again."""
        before = self.bench.replica.digest()
        self.bench.crash()
        assert self.bench.replica.digest() == before

    @rule()
    def store(self) -> None:
        self.bench.replica.store()

    @rule()
    def go_on_with_a_copy(self) -> None:
        self.memory = self.bench.copy()

    @rule(batch=queue_batches)
    def find_the_disk_full(self, batch: list[Command]) -> None:
        self.memory.full = True
        self._run(batch)
        before = self.bench.replica.digest()
        with pytest.raises(StoreFull):
            self.bench.replica.store()
        assert self.bench.replica.digest() == before
        self.memory.full = False

    @invariant()
    def looks_agree(self) -> None:
        for name in QUEUES:
            queue = self.model.queues.get(name, ModelQueue())
            assert list(self.bench.peek(queue=name)) == [each.shown() for each in queue.at(READY)]
            assert self.bench.dead(queue=name) == [each.sequence for each in queue.at(DEAD)]
            places = (READY, DELAYED, LEASED, DEAD)
            assert self.bench.counts(queue=name) == Counts(*(len(queue.at(p)) for p in places))
        assert self.bench.names() == sorted(self.model.queues)

    @invariant()
    def every_message_is_in_one_place_and_nothing_else_is_there(self) -> None:
        queues = self.model.queues.values()
        ready, delayed, leased, dead = (
            sum(len(queue.at(place)) for queue in queues)
            for place in (READY, DELAYED, LEASED, DEAD)
        )
        keys = sum(len(queue.dedup) for queue in queues)
        rows = self.bench.rows
        assert rows(Table.QUEUE_BODY) == ready + delayed + leased + dead
        assert rows(Table.QUEUE_READY) == ready
        assert rows(Table.QUEUE_STATE) == delayed + leased + dead
        assert rows(Table.QUEUE_DEAD) == dead
        assert rows(Table.QUEUE_DEDUP) == keys
        assert rows(Table.TIMERS) == delayed + leased + keys
        assert rows(Table.GARBAGE) == 0
        with self.bench.read() as txn:
            ids = [key for key, _ in txn.scan(Table.META, b"id") if key.startswith(b"id")]
        assert len(ids) == len(queues)

    def _run(self, batch: list[Command], *, back_ms: int = 0) -> None:
        at_ms = self.at_ms - back_ms
        expected = self.model.run(START_MS + at_ms, batch)
        results = self.bench.run(*batch, at_ms=at_ms)
        for got, want in zip(results, expected, strict=True):
            assert _comparable(got) == _shortened(want)
            if got[1:2] in ((b"leased",), (b"consumed",)):
                # An answer leaves out what has gone since.
                wanted = cast("tuple[Message, ...]", want[1])
                assert set(self.bench.messages(got)) <= set(wanted)
        self.last_batch = batch


def _comparable(result: Result) -> Result:
    """Without what the model does not know: ids and texts."""
    if result[0] == Reason.FIELD_TOO_LONG:
        return result[:1]
    if result[1:2] == (b"leased",):
        return 0, result[3]
    if result[1:2] == (b"consumed",):
        return _shortened((0, result[2]))
    return result


def _shortened(result: Result) -> Result:
    """Of messages the sequence and the number of deliveries."""
    if len(result) == 2 and isinstance(result[1], tuple):
        taken = cast("tuple[Message | int, ...]", result[1])
        return 0, tuple(each if isinstance(each, int) else (each[0], each[3]) for each in taken)
    return result


TestQueueMachine = QueuesAgainstModel.TestCase
TestQueueMachine.settings = settings(max_examples=80, stateful_step_count=40)
