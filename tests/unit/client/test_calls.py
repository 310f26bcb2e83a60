"""What happens to a call on its way: routing, pipelining, deadlines, retries, exactly once."""

import asyncio

import pytest

from flo import (
    ConnectionFailedError,
    FloClient,
    FloError,
    GetResult,
    InvalidEndpointError,
    NotConnectedError,
    OverloadedError,
    ProtocolError,
    RequestTimeoutError,
    RetryPolicy,
    UnavailableError,
    UnexpectedEofError,
    ValidationError,
)
from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.client.fake_node import (
    Action,
    FakeCluster,
    FakeNode,
    Garble,
    Hold,
    Lose,
    Script,
)

ONCE = RetryPolicy(max_attempts=1)
FAST = RetryPolicy(initial_backoff_ms=0, max_backoff_ms=0)


def first_time(kind: type[wire.Body], action: Action) -> Script:
    """A script that does something to the first request of a kind, and nothing to the others."""
    met: list[Request] = []

    def script(request: Request) -> Action:
        if isinstance(request.body, kind) and not met:
            met.append(request)
            return action
        return None

    return script


def always(kind: type[wire.Body], action: Action) -> Script:
    """A script that does the same to every request of a kind."""
    return lambda request: action if isinstance(request.body, kind) else None


def triples(*nodes: FakeNode) -> list[tuple[int | None, int | None, int | None]]:
    """Session, sequence and floor of every put that arrived."""
    contexts = [each.context for node in nodes for each in node.of_type(wire.KvPut)]
    return [(each.session, each.sequence, each.floor) for each in contexts if each is not None]


async def settle() -> None:
    """Lets everything happen that needs no more than turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)


class TestRouting:
    async def test_requests_go_to_the_leader_of_their_partition(self) -> None:
        async with FakeCluster(3) as cluster, FloClient(cluster.endpoints) as client:
            keys = [f"key-{n}" for n in range(20)]
            for key in keys:  # opens the connections
                await client.kv.get(key)
            for node in cluster.nodes:
                await node.until(lambda node: len(node.connections) == 1)
            await settle()
            for node in cluster.nodes:
                node.requests.clear()
            for key in keys:
                await client.kv.get(key)
            for number, node in enumerate(cluster.nodes):
                for request in node.of_type(wire.KvGet):
                    assert isinstance(request.body, wire.KvGet)
                    assert partition_of(b"default", request.body.key, 4) % 3 == number
            assert [node.connections_total for node in cluster.nodes] == [1, 1, 1]

    async def test_an_unreachable_leader_costs_nothing_but_a_hop(self) -> None:
        async with FakeCluster() as cluster:
            cluster.lead("127.0.0.1:1")
            async with FloClient(cluster.endpoints) as client:
                await client.kv.put("key", b"value")
                assert await client.kv.get("key") == GetResult(b"value", 1)

    async def test_an_address_that_is_none_is_skipped(self) -> None:
        async with FakeCluster() as cluster:
            cluster.lead("what is this?")
            async with FloClient(cluster.endpoints) as client:
                assert await client.kv.get("key") is None

    async def test_another_number_of_partitions_starts_new_sessions(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            node = cluster.nodes[0]
            await client.kv.put("key", b"1")
            cluster.store.partition_count = 16
            tables = len(node.of_type(wire.PartitionTableRequest))
            node.drop_connections()
            await client.kv.get("key")
            await node.until(lambda node: len(node.of_type(wire.PartitionTableRequest)) > tables)
            await settle()
            await client.kv.put("key", b"2")
            partitions = [request.body for request in node.of_type(wire.OpenSession)]
            assert len(partitions) == 2

    async def test_refusal_for_want_of_a_leader_refreshes_the_table(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=FAST) as client:
            node = cluster.nodes[0]
            await settle()
            before = len(node.of_type(wire.PartitionTableRequest))
            refusal = Refusal(Reason.LEADER_UNKNOWN, Ran.NO, "no leader")
            node.script = first_time(wire.KvGet, refusal)
            assert await client.kv.get("key") is None
            await node.until(lambda node: len(node.of_type(wire.PartitionTableRequest)) > before)
            assert len(node.of_type(wire.KvGet)) == 2


class TestConnecting:
    async def test_one_working_endpoint_is_enough(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(f"127.0.0.1:1,{cluster.endpoints}") as client,
        ):
            assert client.is_connected
            assert await client.kv.get("key") is None

    async def test_says_which_endpoints_failed(self) -> None:
        with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:1 \(.*refused") as caught:
            await FloClient("127.0.0.1:1").connect()
        assert caught.value.retryable
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_refuses_bad_arguments(self) -> None:
        with pytest.raises(InvalidEndpointError):
            FloClient("localhost")
        with pytest.raises(ValidationError):
            FloClient("localhost:9000", in_flight_max=0)
        with pytest.raises(ValidationError):
            await FloClient("localhost:9000", timeout_ms=0).connect()

    async def test_a_node_without_partitions_is_none(self) -> None:
        async with FakeCluster(partition_count=0) as cluster:
            with pytest.raises(ProtocolError, match="no partitions"):
                await FloClient(cluster.endpoints).connect()

    async def test_calls_need_an_open_client(self) -> None:
        client = FloClient("localhost:9000")
        with pytest.raises(NotConnectedError):
            await client.kv.get("key")
        await client.close()

    async def test_connect_and_close_without_a_context_manager(self) -> None:
        async with FakeCluster() as cluster:
            client = await FloClient(cluster.endpoints).connect()
            assert await client.connect() is client
            assert cluster.nodes[0].connections_total == 1
            await client.close()
            assert not client.is_connected
            await client.reconnect()
            assert await client.kv.get("key") is None
            await client.close()

    async def test_reconnect_waits_for_the_cluster(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].drop_connections()
            await cluster.nodes[0].until(lambda node: not node.connections)
            await settle()
            assert not client.is_connected
            await client.reconnect()
            assert client.is_connected

    async def test_close_leaves_nothing_behind_and_ends_calls(self) -> None:
        async with FakeCluster() as cluster:
            node = cluster.nodes[0]
            client = await FloClient(cluster.endpoints).connect()
            node.script = always(wire.KvGet, Hold())
            call = asyncio.create_task(client.kv.get("key"))
            await node.until(lambda node: bool(node.of_type(wire.KvGet)))
            await client.close()
            with pytest.raises(NotConnectedError):
                await call
            await node.until(lambda node: not node.connections)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_status_of_one_node_and_no_other(self) -> None:
        async with FakeCluster(2) as cluster, FloClient(cluster.nodes[0].address) as client:
            for number, node in enumerate(cluster.nodes):
                node.status = {"node_id": number}
                assert await client.cluster_status(node.address) == {"node_id": number}
            with pytest.raises(ConnectionFailedError):
                await client.cluster_status("127.0.0.1:1")
            cluster.nodes[0].script = always(wire.ClusterStatusRequest, wire.ClusterStatus(b"[1]"))
            with pytest.raises(ProtocolError):
                await client.cluster_status(cluster.nodes[0].address)


class TestPipelining:
    async def test_requests_of_one_turn_leave_with_one_write(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            node = cluster.nodes[0]
            await client.kv.get("key")
            node.bursts.clear()
            await asyncio.gather(*(client.kv.get(f"key-{n}") for n in range(100)))
            assert max(node.bursts) == 100
            assert node.connections_total == 1

    async def test_calls_under_way_are_bounded_and_served_in_order(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, in_flight_max=2) as client,
        ):
            node = cluster.nodes[0]
            node.script = always(wire.KvGet, Hold())
            calls = [asyncio.create_task(client.kv.get(f"key-{n}")) for n in range(6)]
            await node.until(lambda node: len(node.of_type(wire.KvGet)) == 2)
            await settle()
            assert len(node.of_type(wire.KvGet)) == 2
            node.release()
            await asyncio.gather(*calls)
            keys = [request.body for request in node.of_type(wire.KvGet)]
            assert keys == [wire.KvGet(b"default", b"key-%d" % n) for n in range(6)]

    async def test_a_call_that_never_gets_its_turn_says_so(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, in_flight_max=1) as client,
        ):
            node = cluster.nodes[0]
            node.script = always(wire.KvGet, Hold())
            held = asyncio.create_task(client.kv.get("key"))
            await node.until(lambda node: bool(node.of_type(wire.KvGet)))
            with pytest.raises(OverloadedError, match="in_flight_max") as caught:
                await client.kv.put("key", b"value", timeout_ms=1)
            assert caught.value.outcome == "not_applied"
            node.release()
            assert await held is None

    async def test_a_cancelled_call_leaves_the_connection_usable(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            node = cluster.nodes[0]
            node.script = always(wire.KvGet, Hold())
            call = asyncio.create_task(client.kv.get("key"))
            await node.until(lambda node: bool(node.of_type(wire.KvGet)))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            node.release()
            assert await client.kv.get("key") is None
            assert node.connections_total == 1


class TestDeadlines:
    async def test_the_remaining_time_travels(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.get("key", timeout_ms=60_000)
            (request,) = cluster.nodes[0].of_type(wire.KvGet)
            assert request.context is not None
            assert request.context.deadline_ms is not None
            assert 0 < request.context.deadline_ms < 60_000

    async def test_a_write_without_an_answer_has_an_unknown_outcome(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1")
            cluster.nodes[0].script = always(wire.KvPut, Hold())
            with pytest.raises(RequestTimeoutError) as caught:
                await client.kv.put("key", b"2", timeout_ms=5)
            assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)
            cluster.nodes[0].release()
            assert await client.kv.get("key") == GetResult(b"2", 2)

    async def test_a_read_without_an_answer_has_done_nothing(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = always(wire.KvGet, Hold())
            with pytest.raises(RequestTimeoutError) as caught:
                await client.kv.get("key", timeout_ms=5)
            assert caught.value.outcome == "not_applied"

    async def test_a_cluster_that_is_gone_is_reported_within_the_time(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1")
            await cluster.nodes[0].stop()
            await settle()
            with pytest.raises(ConnectionFailedError) as caught:
                await client.kv.put("key", b"2", timeout_ms=30)
            assert caught.value.outcome == "not_applied"


class TestRetries:
    async def test_reconnects_by_itself(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"value")
            cluster.nodes[0].drop_connections()
            await cluster.nodes[0].until(lambda node: not node.connections)
            assert await client.kv.get("key") == GetResult(b"value", 1)
            assert cluster.nodes[0].connections_total == 2

    @pytest.mark.parametrize("executed", [True, False])
    async def test_a_lost_write_goes_elsewhere_as_the_same_write(self, executed: bool) -> None:
        async with FakeCluster(2) as cluster:
            first, second = cluster.nodes
            cluster.lead(first.address)
            async with FloClient(cluster.endpoints) as client:
                await client.kv.put("warm-up", b"")
                await second.until(lambda node: len(node.connections) == 1)
                first.script = always(wire.KvPut, Lose(executed))
                second.requests.clear()
                executed_before = len(cluster.store.executed)
                stored = await client.kv.put("warm-up", b"value")
                assert stored.version == 2
                assert len(cluster.store.executed) == executed_before + 1
                assert triples(second)[-1] == triples(first)[-1]

    async def test_a_lost_write_goes_to_the_same_node_when_there_is_no_other(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = first_time(wire.KvIncr, Lose(executed=True))
            assert (await client.kv.incr("count")).value == 1
            assert (await client.kv.incr("count")).value == 2

    async def test_a_write_that_stays_lost_has_an_unknown_outcome(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            cluster.nodes[0].script = always(wire.KvPut, Lose(executed=True))
            with pytest.raises(UnexpectedEofError) as caught:
                await client.kv.put("key", b"value")
            assert (caught.value.outcome, caught.value.retryable) == ("unknown", True)

    async def test_a_read_that_stays_lost_has_done_nothing(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            cluster.nodes[0].script = always(wire.KvGet, Lose(executed=False))
            with pytest.raises(UnexpectedEofError) as caught:
                await client.kv.get("key")
            assert caught.value.outcome == "not_applied"

    async def test_a_refusal_that_did_not_run_is_tried_again(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=FAST) as client:
            node = cluster.nodes[0]
            busy = Refusal(Reason.SHARD_BUSY, Ran.NO, "busy")
            node.script = first_time(wire.KvPut, busy)
            await client.kv.put("key", b"value")
            assert len(set(triples(node))) == 1
            assert len(triples(node)) == 2

    async def test_a_refusal_that_did_not_run_is_reported_as_such(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            busy = Refusal(Reason.SHARD_BUSY, Ran.NO, "busy")
            cluster.nodes[0].script = always(wire.KvPut, busy)
            with pytest.raises(OverloadedError, match="busy") as caught:
                await client.kv.put("key", b"value")
            assert (caught.value.outcome, caught.value.retryable) == ("not_applied", True)

    async def test_a_copy_that_did_not_run_says_nothing_about_a_lost_one(self) -> None:
        async with (
            FakeCluster() as cluster,
            FloClient(cluster.endpoints, retry=RetryPolicy(2, 0, 0)) as client,
        ):
            lose = first_time(wire.KvPut, Lose(executed=True))
            busy = Refusal(Reason.SHARD_BUSY, Ran.NO, "busy")
            cluster.nodes[0].script = lambda request: (
                lose(request) or (busy if isinstance(request.body, wire.KvPut) else None)
            )
            with pytest.raises(OverloadedError) as caught:
                await client.kv.put("key", b"value")
            assert caught.value.outcome == "unknown"

    async def test_a_lost_answer_inside_the_cluster_is_tried_again(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=FAST) as client:
            lost = Refusal(Reason.ANSWER_LOST, Ran.UNKNOWN, "the leader changed")
            cluster.nodes[0].script = first_time(wire.KvPut, lost)
            await client.kv.put("key", b"value")
            assert len(set(triples(cluster.nodes[0]))) == 1

    async def test_garbage_ends_the_connection_and_is_tried_again(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = first_time(wire.KvPut, Garble(b"HTTP/1.1 400 Bad Request"))
            await client.kv.put("key", b"value")
            assert cluster.nodes[0].connections_total == 2
            assert len(cluster.store.executed) == 1

    async def test_garbage_is_a_protocol_error_when_not_tried_again(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            cluster.nodes[0].script = first_time(wire.KvPut, Garble(b"\x00" * 64))
            with pytest.raises(ProtocolError, match="broke the protocol") as caught:
                await client.kv.put("key", b"value")
            assert caught.value.outcome == "unknown"
            await client.kv.put("key", b"value")

    async def test_answers_before_the_garbage_count(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            cluster.nodes[0].script = always(wire.KvExists, Garble(b"garbage"))
            found, broken = await asyncio.gather(
                client.kv.get("key"), client.kv.exists("key"), return_exceptions=True
            )
            assert found is None
            assert isinstance(broken, ProtocolError)


class TestSessions:
    async def test_concurrent_first_writes_open_one_session_per_partition(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await asyncio.gather(*(client.kv.put(f"key-{n}", b"") for n in range(50)))
            opened = [request.body for request in cluster.nodes[0].of_type(wire.OpenSession)]
            assert sorted(opened) == [wire.OpenSession(partition) for partition in range(4)]
            assert len(cluster.store.executed) == 50

    async def test_the_floor_is_the_lowest_awaited_sequence(self) -> None:
        async with (
            FakeCluster(partition_count=1) as cluster,
            FloClient(cluster.endpoints) as client,
        ):
            node = cluster.nodes[0]
            await client.kv.put("a", b"")
            await client.kv.put("b", b"")
            node.script = always(wire.KvPut, Hold())
            held = [asyncio.create_task(client.kv.put(key, b"")) for key in ("c", "d")]
            await node.until(lambda node: len(node.of_type(wire.KvPut)) == 4)
            node.release()
            await asyncio.gather(*held)
            await client.kv.put("e", b"")
            numbers = [(sequence, floor) for _, sequence, floor in triples(node)]
            assert numbers == [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5)]

    async def test_an_unknown_session_is_replaced_when_the_write_never_ran(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"1")
            cluster.store.results.clear()
            cluster.store.results[999] = {}
            assert (await client.kv.put("key", b"2")).version == 2
            assert len(cluster.nodes[0].of_type(wire.OpenSession)) == 2

    async def test_many_calls_that_meet_an_unknown_session_share_the_new_one(self) -> None:
        async with (
            FakeCluster(partition_count=1) as cluster,
            FloClient(cluster.endpoints, retry=FAST) as client,
        ):
            await client.kv.put("key", b"1")
            cluster.store.results.clear()
            cluster.store.results[999] = {}
            await asyncio.gather(*(client.kv.put(f"key-{n}", b"") for n in range(30)))
            assert len(cluster.nodes[0].of_type(wire.OpenSession)) == 2
            assert len(cluster.store.executed) == 31

    @pytest.mark.parametrize("ran", [Ran.NO, Ran.UNKNOWN])
    async def test_an_unknown_session_after_a_lost_copy_is_an_unknown_outcome(
        self, ran: Ran
    ) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=FAST) as client:
            lose = first_time(wire.KvPut, Lose(executed=True))
            unknown = Refusal(Reason.SESSION_UNKNOWN, ran, "session unknown")
            cluster.nodes[0].script = lambda request: (
                lose(request) or (unknown if isinstance(request.body, wire.KvPut) else None)
            )
            with pytest.raises(UnavailableError) as caught:
                await client.kv.put("key", b"value")
            assert caught.value.outcome == "unknown"
            assert caught.value.reason is Reason.SESSION_UNKNOWN
            assert len(cluster.store.executed) == 1

    async def test_a_session_that_cannot_be_opened_is_reported(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
            full = Refusal(Reason.TOO_MANY_WAITERS, Ran.NO, "too many sessions")
            cluster.nodes[0].script = always(wire.OpenSession, full)
            with pytest.raises(OverloadedError, match="too many sessions") as caught:
                await client.kv.put("key", b"value")
            assert caught.value.outcome == "not_applied"

    async def test_reads_need_no_session(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.get("key")
            await client.kv.mget(["key"])
            await client.kv.scan()
            assert not cluster.nodes[0].of_type(wire.OpenSession)


async def test_every_error_of_a_call_is_a_flo_error() -> None:
    async with FakeCluster() as cluster, FloClient(cluster.endpoints, retry=ONCE) as client:
        for reason in Reason:
            refusal = Refusal(reason, Ran.UNKNOWN, "because")
            cluster.nodes[0].script = always(wire.KvPut, refusal)
            with pytest.raises(FloError) as caught:
                await client.kv.put("key", b"value")
            assert caught.value.outcome == "unknown"


def test_a_refusal_for_want_of_a_leader_is_what_the_caller_hears() -> None:
    """The node waits for a leader nearly as long as the caller does; a try after it only hides
    which nodes are missing."""
    passed_s = 0.0

    async def refused() -> UnavailableError:
        loop = asyncio.get_running_loop()
        time = loop.time
        loop.time = lambda: time() + passed_s  # type: ignore[method-assign]

        def wait_in_vain(request: Request) -> Refusal | None:
            nonlocal passed_s
            if not isinstance(request.body, wire.KvGet):
                return None
            assert request.context is not None
            passed_s += (request.context.deadline_ms or 0) / 1000
            return Refusal(Reason.LEADER_UNKNOWN, Ran.NO, "nodes 2 and 3 are unreachable")

        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            cluster.nodes[0].script = wait_in_vain
            with pytest.raises(UnavailableError, match="nodes 2 and 3 are unreachable") as error:
                await client.kv.get("key", timeout_ms=60_000)
            assert len(cluster.nodes[0].of_type(wire.KvGet)) == 1
            return error.value

    error = asyncio.run(refused())
    assert error.reason is Reason.LEADER_UNKNOWN
    assert error.outcome == "not_applied"
