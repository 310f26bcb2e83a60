"""Health, pings, interruption, and waiting for a cluster that is away."""

import asyncio
import threading

import pytest

from flo import (
    ClientHealth,
    ConnectionFailedError,
    Disconnected,
    FloClient,
    NotConnectedError,
    RequestTimeoutError,
    RetryPolicy,
    UnexpectedEofError,
    ValidationError,
)
from flo._endpoints import Endpoint
from flo._transport import Channel, LostCallback
from flo.wire import messages as wire
from tests.unit.client.fake_node import FakeCluster, FakeNode, Hold
from tests.unit.client.witness import Witness


def holding_gets(node: FakeNode) -> None:
    node.script = lambda request: Hold() if isinstance(request.body, wire.KvGet) else None


class TestHealth:
    async def test_of_an_open_client(self) -> None:
        async with FakeCluster(2) as cluster, FloClient(cluster.endpoints) as client:
            await asyncio.gather(*(client.kv.get(f"key-{n}") for n in range(50)))
            health = client.health()
            assert health.connected
            assert (health.partitions, health.leaders_known) == (4, 4)
            assert (health.calls_in_flight, health.calls_waiting) == (0, 0)
            assert [node.endpoint for node in health.nodes] == cluster.endpoints.split(",")
            for node in health.nodes:
                assert node.connected
                assert node.connected_for_s is not None
                assert node.connected_for_s >= 0
                assert node.round_trip_ms is not None
                assert (node.failures, node.last_error, node.retry_in_s) == (0, None, 0)

    async def test_of_calls_under_way(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, in_flight_max=2) as client,
        ):
            node = cluster.nodes[0]
            holding_gets(node)
            calls = [asyncio.create_task(client.kv.get("key")) for _ in range(3)]
            await node.until(lambda node: len(node.of_type(wire.KvGet)) == 2)
            health = client.health()
            assert (health.calls_in_flight, health.calls_waiting) == (2, 1)
            assert health.nodes[0].unanswered == 2
            calls[0].cancel()
            await node.until(lambda node: len(node.of_type(wire.KvGet)) == 3)
            health = client.health()
            assert (health.calls_in_flight, health.calls_waiting) == (2, 0)
            # An answer that nobody awaits is still owed.
            assert health.nodes[0].unanswered == 3
            node.release()
            await asyncio.gather(*calls[1:])

    async def test_of_a_node_that_is_away(self) -> None:
        witness = Witness()
        async with (
            FakeCluster(2) as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            away = cluster.nodes[1]
            await client.ping(away.address)
            await away.stop()
            await witness.until(Disconnected)
            with pytest.raises(ConnectionFailedError):
                await client.ping(away.address)
            node = client.health().nodes[1]
            assert node.failures >= 1
            assert node.last_error is not None
            assert "refused" in node.last_error
            assert client.health().connected

    async def test_of_a_client_that_is_not_open(self) -> None:
        client = FloClient("localhost:9000")
        assert client.health() == ClientHealth((), 0, 0, 0, 0)
        assert not client.health().connected

    async def test_may_be_asked_from_another_thread(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            seen: list[ClientHealth] = []
            thread = threading.Thread(target=lambda: seen.append(client.health()))
            thread.start()
            thread.join()
            assert seen[0].connected

    async def test_of_a_view_is_that_of_its_client(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            assert client.with_namespace("other").health().partitions == 4


class TestPing:
    async def test_says_how_long_it_took_and_health_keeps_it(self) -> None:
        async with FakeCluster(2) as cluster, FloClient(cluster.endpoints) as client:
            took_ms = [await client.ping(node.address) for node in cluster.nodes]
            assert min(took_ms) > 0
            assert [len(node.of_type(wire.Ping)) for node in cluster.nodes] == [1, 1]
            assert [node.round_trip_ms for node in client.health().nodes] == took_ms
            assert await client.ping() > 0

    async def test_a_node_that_does_not_answer(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = lambda _: Hold()
            with pytest.raises(RequestTimeoutError, match="ping: no answer in time"):
                await client.ping(cluster.endpoints, timeout_ms=5)
            assert client.is_connected

    async def test_needs_an_open_client(self) -> None:
        with pytest.raises(NotConnectedError):
            await FloClient("localhost:9000").ping()


class TestInterrupt:
    async def test_ends_every_call_under_way_and_no_later_one(self) -> None:
        # With pauses that a call would not come back from.
        patient = RetryPolicy(initial_backoff_ms=10_000_000, max_backoff_ms=10_000_000)
        async with (
            FakeCluster() as cluster,
            FloClient(
                cluster.endpoints, in_flight_max=2, retry=patient, timeout_ms=10_000_000
            ) as client,
        ):
            node = cluster.nodes[0]
            holding_gets(node)
            # Two were sent, one waits for its turn.
            calls = [asyncio.create_task(client.kv.get("key")) for _ in range(3)]
            await node.until(lambda node: len(node.of_type(wire.KvGet)) == 2)
            client.interrupt()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, UnexpectedEofError)
                assert "interrupted by the program" in str(outcome)
                assert outcome.outcome == "not_applied"
            node.script = None
            assert await client.kv.get("key") is None
            assert node.connections_total == 2

    async def test_a_write_under_way_has_an_unknown_outcome(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1")
            node = cluster.nodes[0]
            node.script = lambda _: Hold()
            call = asyncio.create_task(client.kv.put("key", b"2"))
            await node.until(lambda node: len(node.of_type(wire.KvPut)) == 2)
            client.interrupt()
            with pytest.raises(UnexpectedEofError) as caught:
                await call
            assert caught.value.outcome == "unknown"

    async def test_wakes_calls_that_wait_for_a_connection(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            await cluster.nodes[0].stop()
            await witness.until(Disconnected)
            call = asyncio.create_task(client.kv.get("key", timeout_ms=60_000))
            await asyncio.sleep(0)
            client.interrupt()
            with pytest.raises(UnexpectedEofError):
                await call


class TestReconnect:
    async def test_waits_for_a_cluster_that_was_never_there(self) -> None:
        async with FakeCluster() as cluster:
            node = cluster.nodes[0]
            port = int(node.address.rpartition(":")[2])
            await node.stop()
            client = FloClient(node.address)
            waiting = asyncio.create_task(client.reconnect(timeout=60))
            await asyncio.sleep(0)
            assert not client.is_connected
            await node.start(port)
            await waiting
            assert await client.kv.get("key") is None
            await client.close()

    async def test_ends_with_an_error_when_the_client_is_closed(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await cluster.nodes[0].stop()
            client.interrupt()
            waiting = asyncio.create_task(client.reconnect(timeout=60))
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(NotConnectedError, match="was closed"):
                await waiting

    async def test_gives_up_and_leaves_nothing_behind(self) -> None:
        client = FloClient("127.0.0.1:1")
        with pytest.raises(ConnectionFailedError, match=r"in 0\.05 s: 127\.0\.0\.1:1 \(.*refused"):
            await client.reconnect(timeout=0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_calls_go_on_by_themselves_when_the_node_is_back(self) -> None:
        witness = Witness()
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, observer=witness) as client,
        ):
            node = cluster.nodes[0]
            port = int(node.address.rpartition(":")[2])
            await node.stop()
            await witness.until(Disconnected)
            call = asyncio.create_task(client.kv.get("key", timeout_ms=60_000))
            await node.start(port)
            assert await call is None

    async def test_many_tasks_that_connect_at_once_open_one_client(self) -> None:
        async with FakeCluster() as cluster:
            client = FloClient(cluster.endpoints)
            await asyncio.gather(*(client.connect() for _ in range(5)))
            assert cluster.nodes[0].connections_total == 1
            await client.close()


class TestDeadlines:
    async def test_connecting_to_what_does_not_accept_takes_no_longer_than_a_call(self) -> None:
        class Hanging:
            """Implements `Connector`."""

            async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
                await asyncio.get_running_loop().create_future()
                raise AssertionError

        client = FloClient("a:1", timeout_ms=20, connector=Hanging())
        with pytest.raises(ConnectionFailedError, match=r"a:1 \(no connection within 0\.0"):
            await client.connect()

    async def test_connecting_to_what_does_not_answer_takes_no_longer_than_a_call(self) -> None:
        async with FakeCluster() as cluster:
            cluster.nodes[0].script = lambda _: Hold()
            client = FloClient(cluster.endpoints, timeout_ms=300)
            with pytest.raises(
                RequestTimeoutError, match=r"partition_table: .* within [12]?\d?\d\."
            ):
                await client.connect()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_timeout_around_calls_leaves_the_client_usable(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            node = cluster.nodes[0]
            await client.kv.put("key", b"1")
            node.script = lambda _: Hold()
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.005):
                    await asyncio.gather(client.kv.get("key"), client.kv.put("key", b"2"))
            assert not isinstance(caught.value, RequestTimeoutError)
            node.release()
            found = await client.kv.get("key")
            assert found is not None
            assert found.value == b"2"
            assert client.health().calls_in_flight == 0
            assert node.connections_total == 1

    async def test_cancelling_the_call_that_opens_a_session_leaves_it_to_the_next(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            node = cluster.nodes[0]
            node.script = lambda _: Hold()
            first = asyncio.create_task(client.kv.put("key", b"1"))
            second = asyncio.create_task(client.kv.put("key", b"2"))
            await node.until(lambda node: bool(node.of_type(wire.OpenSession)))
            first.cancel()
            await asyncio.wait((first,))
            await node.until(lambda node: len(node.of_type(wire.OpenSession)) == 2)
            node.release()
            assert (await second).version == 1

    async def test_the_longest_time_is_a_day(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, timeout_ms=float("inf")) as client,
        ):
            await client.kv.get("key")
            (request,) = cluster.nodes[0].of_type(wire.KvGet)
            assert request.context is not None
            assert request.context.deadline_ms is not None
            assert 86_000_000 < request.context.deadline_ms < 86_400_000

    def test_no_time_is_refused_before_anything_is_opened(self) -> None:
        for timeout_ms in (0, -1, float("nan")):
            with pytest.raises(ValidationError, match="timeout_ms"):
                FloClient("localhost:9000", timeout_ms=timeout_ms)
