"""A stream worker over a group that is a list in this test."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from flo import (
    FloClient,
    NotConnectedError,
    RecordHandled,
    RetryPolicy,
    StreamContext,
    StreamID,
    StreamRecordHandler,
    StreamWorker,
    UnauthorizedError,
    ValidationError,
)
from flo import worker as worker_module
from flo.wire import group_messages as wire
from flo.wire import messages as base
from flo.wire.status import Ran, Reason, Refusal
from flo.wire.stream_messages import Records, StreamId, StreamRecord
from tests.unit.client.fake_node import Action, FakeCluster, FakeNode, Lose, Park
from tests.unit.client.scripted import Scripted
from tests.unit.client.witness import Witness

OPTIONS = {"stream": "events", "group": "billing", "consumer": "me"}


class Group:
    """The records of a stream, and who has which."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.new: list[int] = []
        self.pending: dict[int, bytes] = {}
        self.acked: list[int] = []
        self.nacked: list[int] = []
        self.members: set[bytes] = set()
        self.read_sizes: list[int] = []
        self.claims: list[int] = []
        self.claimed: list[tuple[int, int]] = []
        """From where, and how many at most."""
        self.failures: list[Action] = []
        """What happens to the next reads instead."""
        self.lost_with_a_failure = 0
        """What was given away by the first of them."""

    def append(self, *times: int) -> None:
        self.new += times
        self.node.wake()

    def answer(self, body: base.Body) -> Action:
        match body:
            case wire.GroupJoin():
                self.members.add(body.consumer)
            case wire.GroupLeave():
                self.members.discard(body.consumer)
            case wire.GroupRead():
                return self._read(body)
            case wire.GroupAck():
                self.acked += self._settled(body.ids)
            case wire.GroupNack():
                self.nacked += self._settled(body.ids)
            case wire.GroupPending():
                return wire.PendingList(
                    tuple(
                        wire.PendingEntry(StreamId(time, 0), 1, owner)
                        for time, owner in sorted(self.pending.items())
                        if body.consumer in (None, owner)
                    )
                )
            case wire.GroupClaim():
                return self._claim(body)
            case wire.GroupTouch():
                pass
            case _:
                pytest.fail(f"unexpected: {body}")
        return base.Done()

    def _read(self, body: wire.GroupRead) -> Action:
        if self.failures:
            if self.lost_with_a_failure:
                self.pending[self.lost_with_a_failure] = body.consumer
            return self.failures.pop(0)
        if not self.new:
            return Park()
        self.read_sizes.append(body.limit)
        taken, self.new = self.new[: body.limit], self.new[body.limit :]
        self.pending |= dict.fromkeys(taken, body.consumer)
        return Records(_records(taken))

    def _claim(self, body: wire.GroupClaim) -> wire.Claimed:
        self.claims.append(body.min_idle_ms)
        self.claimed.append((body.start.timestamp_ms, body.limit))
        mine = [
            time
            for time, owner in sorted(self.pending.items())
            if time >= body.start.timestamp_ms and (body.min_idle_ms or owner == body.consumer)
        ]
        taken, rest = mine[: body.limit], mine[body.limit :]
        self.pending |= dict.fromkeys(taken, body.consumer)
        return wire.Claimed(_records(taken), StreamId(rest[0], 0) if rest else None)

    def _settled(self, ids: Iterable[StreamId]) -> list[int]:
        times = [place.timestamp_ms for place in ids]
        return [time for time in times if self.pending.pop(time, None) is not None]


def _records(times: Iterable[int]) -> tuple[StreamRecord, ...]:
    return tuple(StreamRecord(StreamId(time, 0), b"%d" % time, (), 0, 0, b"e") for time in times)


class Handler:
    """Keeps what it is given; `gate` lets it return."""

    def __init__(self) -> None:
        self.seen: list[StreamID] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.news = asyncio.Event()

    async def __call__(self, ctx: StreamContext) -> None:
        self.seen.append(ctx.stream_id)
        self.running += 1
        self.most = max(self.most, self.running)
        self.news.set()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1

    async def until_running(self, count: int) -> None:
        while self.running < count:
            self.news.clear()
            await self.news.wait()


class Setup:
    """A client, the group, and workers on it."""

    def __init__(self, client: FloClient, group: Group) -> None:
        self.client = client
        self.group = group
        self.node = group.node

    def worker(self, handler: StreamRecordHandler, **options: object) -> StreamWorker:
        return self.client.new_stream_worker(**(OPTIONS | options), handler=handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @asynccontextmanager
    async def working(
        self, handler: StreamRecordHandler, **options: object
    ) -> AsyncGenerator[StreamWorker]:
        """A worker that runs, and has ended in good order afterwards."""
        worker = self.worker(handler, **options)
        async with asyncio.TaskGroup() as tasks, worker:
            tasks.create_task(worker.start())
            yield worker

    async def until_settled(self, count: int) -> None:
        """So many records are acknowledged or given back."""
        await self.node.until(lambda _: len(self.group.acked) + len(self.group.nacked) >= count)

    async def until_parked(self) -> None:
        """A read waits for records."""
        await self.node.until(lambda node: any(each.parked for each in node.connections))


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
async def setup(witness: Witness) -> AsyncIterator[Setup]:
    async with (
        FakeCluster() as cluster,
        FloClient(cluster.endpoints, observer=witness) as client,
    ):
        (node,) = cluster.nodes
        group = Group(node)
        there = Scripted(client, node)
        kinds = (wire.GroupJoin, wire.GroupLeave, wire.GroupRead, wire.GroupAck, wire.GroupNack)
        there.answers |= dict.fromkeys(kinds, group.answer)
        kinds_of_recovery = (wire.GroupPending, wire.GroupClaim, wire.GroupTouch)
        there.answers |= dict.fromkeys(kinds_of_recovery, group.answer)
        yield Setup(client, group)


async def test_each_record_is_handled_and_acknowledged(setup: Setup) -> None:
    handler = Handler()
    async with setup.working(handler):
        await setup.until_parked()
        assert setup.group.members == {b"me"}
        setup.group.append(1, 2, 3)
        await setup.until_settled(3)
    assert handler.seen == [StreamID(1), StreamID(2), StreamID(3)]
    assert sorted(setup.group.acked) == [1, 2, 3]
    assert not setup.group.nacked
    assert not setup.group.members, "it has left"


async def test_what_a_handler_is_given(setup: Setup) -> None:
    contexts: list[StreamContext] = []

    async def handle(ctx: StreamContext) -> None:
        contexts.append(ctx)

    setup.group.new = [5]
    async with setup.working(handle):
        await setup.until_settled(1)
    (context,) = contexts
    assert (context.namespace, context.stream, context.group, context.consumer) == (
        "default",
        "events",
        "billing",
        "me",
    )
    assert context.payload == b"5"


async def test_a_record_whose_handler_raises_is_given_back(
    setup: Setup, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(ctx: StreamContext) -> None:
        if ctx.stream_id == StreamID(2):
            raise ZeroDivisionError("no way")

    setup.group.new = [1, 2, 3]
    with caplog.at_level(logging.ERROR, "flo.worker"):
        async with setup.working(handle):
            await setup.until_settled(3)
    assert sorted(setup.group.acked) == [1, 3]
    assert setup.group.nacked == [2]
    (line,) = caplog.records
    assert "record 2-0 failed" in line.getMessage()
    assert "no way" in str(line.exc_text)
    errors = {event.id.timestamp_ms: event.error for event in witness.of(RecordHandled)}
    assert isinstance(errors.pop(2), ZeroDivisionError)
    assert errors == {1: None, 3: None}


async def test_a_handler_that_takes_too_long_is_cancelled(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [1]
    async with setup.working(handler, message_timeout=0.01):
        await setup.until_settled(1)
    assert setup.group.nacked == [1]
    assert not handler.running
    assert "took longer than 0.01 s" in caplog.text


async def test_no_more_is_taken_than_can_be_handled_at_once(setup: Setup) -> None:
    handler = Handler()
    handler.gate.clear()
    setup.group.new = list(range(1, 21))
    async with setup.working(handler, concurrency=5, batch_size=3):
        await handler.until_running(5)
        assert len(setup.group.new) == 15, "others may have these"
        handler.gate.set()
        await setup.until_settled(20)
    assert handler.most == 5
    assert setup.group.read_sizes[:2] == [3, 2]
    assert max(setup.group.read_sizes) == 3


async def test_stopping_waits_for_running_handlers(setup: Setup) -> None:
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [1, 2]
    worker = setup.worker(handler)
    working = asyncio.create_task(worker.start())
    await handler.until_running(2)
    await setup.until_parked()
    worker.stop()
    await setup.node.until(lambda node: bool(node.of_type(base.CancelWait)))
    assert not working.done()
    handler.gate.set()
    await working
    assert sorted(setup.group.acked) == [1, 2]


async def test_a_handler_may_stop_its_worker(setup: Setup) -> None:
    async def handle(_: StreamContext) -> None:
        await worker.close()

    setup.group.new = [1]
    worker = setup.worker(handle)
    await worker.start()
    assert setup.group.acked == [1]


async def test_a_worker_that_was_stopped_may_start_again(setup: Setup) -> None:
    handler = Handler()
    worker = setup.worker(handler)
    worker.stop()
    await worker.start()
    assert not setup.node.of_type(wire.GroupJoin), "it was stopped before"
    setup.group.new = [1]
    async with asyncio.TaskGroup() as tasks, worker:
        tasks.create_task(worker.start())
        await setup.until_settled(1)
        with pytest.raises(RuntimeError, match="runs already"):
            await worker.start()


async def test_a_cancelled_worker_gives_back_what_it_has(setup: Setup) -> None:
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [1, 2]
    working = asyncio.create_task(setup.worker(handler).start())
    await handler.until_running(2)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert sorted(setup.group.nacked) == [1, 2]
    assert not setup.group.members


async def test_it_takes_up_what_it_had_not_acknowledged(setup: Setup) -> None:
    handler = Handler()
    setup.group.pending = {1: b"me", 2: b"other", 3: b"me", 4: b"me"}
    async with setup.working(handler, batch_size=2):
        await setup.until_settled(3)
    assert sorted(setup.group.acked) == [1, 3, 4]
    assert set(setup.group.claims) == {0}
    assert setup.group.pending == {2: b"other"}


async def test_unless_it_is_told_not_to(setup: Setup) -> None:
    setup.group.pending = {1: b"me"}
    async with setup.working(Handler(), redeliver_pending_on_reconnect=False):
        await setup.until_parked()
    assert not setup.group.claims


async def test_it_takes_over_from_the_dead(setup: Setup) -> None:
    setup.group.pending = {1: b"me", 2: b"other"}
    async with setup.working(Handler(), claim_min_idle_ms=60_000):
        await setup.until_settled(2)
    assert setup.group.claims[:2] == [0, 60_000]
    assert sorted(setup.group.acked) == [1, 2]


async def test_it_goes_on_after_an_outage(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """What a lost answer held was given to it all the same."""
    setup.group.failures = [Lose(executed=False)]
    setup.group.lost_with_a_failure = 7
    setup.client = FloClient(setup.node.address, retry=RetryPolicy(max_attempts=1))
    handler = Handler()
    async with setup.client, setup.working(handler):
        await setup.until_settled(1)
    assert handler.seen == [StreamID(7)]
    assert len(setup.node.of_type(wire.GroupJoin)) == 2
    assert "the next try in" in caplog.text


async def test_what_it_has_in_hand_is_not_handled_twice(setup: Setup) -> None:
    """A claim of what got lost finds that too."""
    setup.client = FloClient(setup.node.address, retry=RetryPolicy(max_attempts=1))
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [1]
    async with setup.client, setup.working(handler):
        await handler.until_running(1)
        await setup.until_parked()
        setup.group.pending[5] = b"me"
        setup.group.failures = [Refusal(Reason.SHARD_BUSY, Ran.NO, "too much to do")]
        setup.node.wake()
        await handler.until_running(2)
        handler.gate.set()
        await setup.until_settled(2)
    assert handler.seen == [StreamID(1), StreamID(5)]


async def test_it_claims_nothing_but_what_got_lost(setup: Setup) -> None:
    """A claim of what is in hand would count as a delivery at some servers."""
    setup.client = FloClient(setup.node.address, retry=RetryPolicy(max_attempts=1))
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [2, 5]
    async with setup.client, setup.working(handler):
        await handler.until_running(2)
        await setup.until_parked()
        setup.group.pending |= dict.fromkeys((1, 3, 4, 6), b"me")
        setup.group.failures = [Refusal(Reason.SHARD_BUSY, Ran.NO, "too much to do")]
        setup.node.wake()
        await handler.until_running(6)
        handler.gate.set()
        await setup.until_settled(6)
    assert setup.group.claimed == [(1, 1), (3, 2), (6, 1)]
    assert sorted(each.timestamp_ms for each in handler.seen) == [1, 2, 3, 4, 5, 6]


async def test_one_whose_handlers_all_run_is_heard_of(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an exclusive group takes it for dead."""
    monkeypatch.setattr(worker_module, "HEARD_INTERVAL_S", 0.01)
    handler = Handler()
    handler.gate.clear()
    setup.group.new = [1]
    async with setup.working(handler, concurrency=1):
        await setup.node.until(lambda node: len(node.of_type(wire.GroupTouch)) > 1)
        handler.gate.set()
    touch = setup.node.of_type(wire.GroupTouch)[0].body
    assert isinstance(touch, wire.GroupTouch)
    assert (touch.consumer, touch.ids) == (b"me", ())
    assert setup.group.acked == [1]


async def test_what_is_refused_for_good_ends_it(setup: Setup) -> None:
    setup.group.failures = [Refusal(Reason.RESERVED_KEY, Ran.NO, "not yours")]
    with pytest.raises(UnauthorizedError, match="not yours"):
        await setup.worker(Handler()).start()
    assert not setup.group.members


async def test_so_does_the_end_of_its_client(setup: Setup) -> None:
    working = asyncio.create_task(setup.worker(Handler()).start())
    await setup.until_parked()
    await setup.client.close()
    with pytest.raises(NotConnectedError):
        await working
    with pytest.raises(NotConnectedError):
        await setup.worker(Handler()).start()


async def test_an_acknowledgement_that_is_refused_is_not_held_against_the_record(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    there = Scripted(setup.client, setup.node)
    kinds = (wire.GroupJoin, wire.GroupLeave, wire.GroupRead, wire.GroupPending, wire.GroupNack)
    there.answers |= dict.fromkeys(kinds, setup.group.answer)
    there.answers[wire.GroupAck] = Refusal(Reason.NOT_FOUND, Ran.NO, "no such group")
    setup.group.new = [1]
    handler = Handler()
    async with setup.working(handler, redeliver_pending_on_reconnect=False):
        await setup.node.until(lambda node: bool(node.of_type(wire.GroupAck)))
    assert "record 1-0 will come again" in caplog.text
    assert handler.seen == [StreamID(1)]


async def test_names_are_made_as_needed(setup: Setup) -> None:
    first, second = (setup.worker(Handler(), consumer=None) for _ in range(2))
    assert first.config.consumer == first.config.worker_id
    assert first.config.consumer != second.config.consumer
    named = setup.worker(Handler(), consumer=None, worker_id="seven", block_ms=0)
    assert (named.config.consumer, named.config.block_ms) == ("seven", 30_000)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"batch_size": 1001},
        {"block_ms": 300_001},
        {"message_timeout": 0},
        {"claim_min_idle_ms": -1},
    ],
)
async def test_odd_settings_are_refused(setup: Setup, options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(ValidationError, match=name):
        setup.worker(Handler(), **options)
