"""What observers are told and what is logged."""

import asyncio
import logging

import pytest

from flo import (
    CallFinished,
    CallRetried,
    ClientEvent,
    Connected,
    ConnectFailed,
    ConnectionFailedError,
    Disconnected,
    FloClient,
    NotFoundError,
    RequestTimeoutError,
    RetryPolicy,
)
from flo._caller import Caller
from flo.wire import messages as wire
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.client.fake_node import FakeCluster, Hold
from tests.unit.client.witness import Witness

FAST = RetryPolicy(initial_backoff_ms=0, max_backoff_ms=0)


class TestCalls:
    async def test_each_is_told_with_what_became_of_it(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, namespace="shop", observer=witness) as client,
        ):
            await client.kv.put("key", b"1")
            await client.kv.get("missing")
            await client.kv.mget(["a", "b"])
            with pytest.raises(NotFoundError):
                await client.kv.expire("missing", 1)
            put, get, mget, expire = witness.of(CallFinished)
            assert (put.operation, put.namespace, put.outcome) == ("kv.put", "shop", "ok")
            assert (put.attempts, put.endpoint, put.error) == (1, cluster.endpoints, None)
            assert put.partition in range(4)
            assert put.duration_ms > 0
            # Nothing there is an answer, not a failure.
            assert (get.operation, get.outcome, get.error) == ("kv.get", "ok", None)
            assert (mget.operation, mget.partition) == ("kv.mget", None)
            assert (expire.outcome, type(expire.error)) == ("not_applied", NotFoundError)

    async def test_calls_of_the_client_itself_are_not_told(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            await client.kv.put("key", b"1")
            await client.ping(cluster.endpoints)
            asked = {request.op.name for request in cluster.nodes[0].requests}
            assert {"cluster.partition_table", "cluster.open_session"} < asked
            told = [event.operation for event in witness.of(CallFinished)]
            assert told == ["kv.put", "ping"]

    async def test_retries_come_before_the_end(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(
                cluster.endpoints,
                observer=witness,
                retry=RetryPolicy(max_attempts=3, initial_backoff_ms=0),
            ) as client,
        ):
            busy = Refusal(Reason.SHARD_BUSY, Ran.NO, "too much to do")
            cluster.nodes[0].script = lambda request: (
                busy if isinstance(request.body, wire.KvGet) else None
            )
            with pytest.raises(Exception, match="too much to do"):
                await client.kv.get("key")
            first, second, finished = witness.events[-3:]
            assert isinstance(first, CallRetried)
            assert (first.operation, first.attempts, first.cause) == ("kv.get", 1, "too much to do")
            assert isinstance(second, CallRetried)
            assert second.attempts == 2
            assert isinstance(finished, CallFinished)
            assert (finished.attempts, finished.outcome) == (3, "not_applied")

    async def test_a_cancelled_write_that_was_sent_is_unknown(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            await client.kv.put("key", b"1")
            node = cluster.nodes[0]
            node.script = lambda _: Hold()
            for begin in (client.kv.put("key", b"2"), client.kv.get("key")):
                call = asyncio.create_task(begin)
                await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait((call,))
            put, get = witness.of(CallFinished)[-2:]
            assert (put.outcome, type(put.error)) == ("unknown", asyncio.CancelledError)
            assert (get.outcome, type(get.error)) == ("not_applied", asyncio.CancelledError)
            node.release()

    async def test_a_call_without_an_answer(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            await client.kv.put("key", b"1")
            cluster.nodes[0].script = lambda _: Hold()
            with pytest.raises(RequestTimeoutError) as caught:
                await client.kv.put("key", b"2", timeout_ms=5)
            last = witness.of(CallFinished)[-1]
            assert (last.outcome, last.error) == ("unknown", caught.value)

    async def test_an_observer_that_raises_changes_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: ClientEvent) -> None:
            raise ValueError("a mistake of the program")

        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=broken) as client,
        ):
            assert (await client.kv.put("key", b"1")).version == 1
        assert "a mistake of the program" in caplog.text

    async def test_without_an_observer_calls_are_not_watched(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watched: list[object] = []
        made = Caller.__init__

        def noting(caller: Caller, *args: object, **named: object) -> None:
            watched.append(named["watch"])
            made(caller, *args, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(Caller, "__init__", noting)
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, tracing=False):
            assert watched == [None]


class TestConnections:
    async def test_coming_and_going(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness, retry=FAST) as client,
        ):
            (connected,) = await witness.until(Connected)
            assert (connected.endpoint, connected.duration_ms > 0) == (cluster.endpoints, True)
            node = cluster.nodes[0]
            node.script = lambda request: Hold() if isinstance(request.body, wire.KvGet) else None
            call = asyncio.create_task(client.kv.get("key"))
            await node.until(lambda node: bool(node.of_type(wire.KvGet)))
            node.script = None
            node.drop_connections()
            (gone,) = await witness.until(Disconnected)
            assert (gone.endpoint, gone.unanswered) == (cluster.endpoints, 1)
            assert "ended" in gone.cause
            assert await call is None
            assert len(witness.of(Connected)) == 2

    async def test_a_node_that_cannot_be_reached(self) -> None:
        witness = Witness()
        with pytest.raises(ConnectionFailedError):
            await FloClient("127.0.0.1:1", observer=witness).connect()
        (failed,) = witness.of(ConnectFailed)
        assert (failed.endpoint, failed.failures) == ("127.0.0.1:1", 1)
        assert "refused" in failed.cause
        assert failed.retry_in_ms > 0


class TestLog:
    async def test_lines_carry_their_facts(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "flo")
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, retry=FAST) as client,
        ):
            first = iter([Refusal(Reason.SHARD_BUSY, Ran.NO, "busy")])
            cluster.nodes[0].script = lambda _: next(first, None)
            await client.kv.get("key")
        # Other lines, such as of a partition table that did not come, are about no event.
        events = [record for record in caplog.records if "flo_event" in vars(record)]
        by_event = {vars(record)["flo_event"]: record for record in events}
        connected, retried = by_event["Connected"], by_event["CallRetried"]
        assert (connected.levelname, retried.levelname) == ("INFO", "DEBUG")
        assert vars(connected)["flo_endpoint"] == cluster.endpoints
        assert vars(retried)["flo_operation"] == "kv.get"
        assert vars(retried)["flo_attempts"] == 1
        assert "kv.get on partition" in retried.getMessage()
        assert "(busy)" in retried.getMessage()
        # Finished calls are for observers: a line for each would drown the others.
        assert "CallFinished" not in by_event

    def test_debug_shows_the_log(self) -> None:
        logger = logging.getLogger("flo")
        level = logger.level
        try:
            FloClient("localhost:9000", debug=True)
            assert logger.level == logging.DEBUG
            assert logger.hasHandlers()
        finally:
            logger.setLevel(level)
