"""A node inside the program: its life, its client, and what happens when either is misused."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest

import cluster
from cluster import Limits, Node, NodeConfig, NodeFailedError, StartError
from cluster.clock import SystemClock
from flo import (
    ConflictError,
    FloClient,
    FloError,
    InternalServerError,
    NotConnectedError,
    PutOptions,
    ServerError,
)


def alone(directory: Path, *, listen: str = "127.0.0.1:0", limits: Limits | None = None) -> Node:
    """A node without others, on free ports."""
    return Node(config(directory, listen=listen, limits=limits))


def config(
    directory: Path, *, listen: str = "127.0.0.1:0", limits: Limits | None = None
) -> NodeConfig:
    return NodeConfig(
        directory / "data",
        listen=listen,
        peer_listen="127.0.0.1:0",
        partition_count=2,
        limits=limits,
    )


def test_the_public_names_are_there_and_documented() -> None:
    for name in cluster.__all__:
        assert getattr(cluster, name).__doc__, name


async def test_a_program_uses_its_own_node(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        stored = await node.client().kv.put("a", b"1")
        found = await node.client().kv.get("a")
        assert found is not None
        assert (found.value, found.version) == (b"1", stored.version)
        with pytest.raises(ConflictError):
            await node.client().kv.put("a", b"2", PutOptions(cas_version=stored.version + 1))
        await node.client().kv.put("b", b"2")
        assert [entry.value for entry in await node.client().kv.mget(["a", "b"])] == [b"1", b"2"]
        assert (await node.client().kv.scan()).names == ["a", "b"]
        assert (await node.client().cluster_status())["node_id"] == 1


async def test_others_reach_it_over_tcp(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        await node.client().kv.put("a", b"1")
        assert node.endpoint == str(node.config.listen._replace(port=_port(node.endpoint)))
        async with FloClient(node.endpoint) as client:
            found = await client.kv.get("a")
            assert found is not None
            assert found.value == b"1"


async def test_data_outlives_the_node(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        await node.client().kv.put("a", b"1")
    async with alone(tmp_path) as node:
        found = await node.client().kv.get("a")
        assert found is not None
        assert found.value == b"1"


async def test_clients_of_one_node_differ_by_namespace(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        await node.client("orders").kv.put("a", b"1")
        assert node.client("orders").namespace == "orders"
        assert await node.client().kv.get("a") is None
        assert await node.client("orders").kv.get("a") is not None


async def test_closing_a_client_leaves_the_node_and_its_other_clients_alone(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        async with node.client() as client:
            await client.kv.put("a", b"1")
        assert await node.client().kv.get("a") is not None


async def test_its_clients_end_with_it(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        client = node.client()
        assert client.is_connected
    assert not client.is_connected
    with pytest.raises(NotConnectedError):
        await client.kv.get("a")


async def test_calls_that_run_when_it_stops_are_still_answered(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        client = node.client()
        # So that there are sessions already.
        await asyncio.gather(*(client.kv.put(f"k{n}", b"0") for n in range(100)))
        # They are on their way in the pass in which the node begins to stop.
        calls = [asyncio.ensure_future(client.kv.put(f"k{n}", b"1")) for n in range(100)]
    await asyncio.gather(*calls)


async def test_values_are_bounded_as_over_tcp(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=Limits(value_bytes_max=1000)) as node:
        await node.client().kv.put("a", bytes(1000))
        async with FloClient(node.endpoint) as over_tcp:
            errors: list[ServerError] = []
            for client in (node.client(), over_tcp):
                with pytest.raises(ServerError) as caught:
                    await client.kv.put("a", bytes(1001))
                errors.append(caught.value)
        assert errors[0].reason is errors[1].reason
        assert str(errors[0]) == str(errors[1])


async def test_more_calls_than_it_takes_at_once_wait(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=Limits(connection_requests_max=3)) as node:
        client = node.client()
        await asyncio.gather(*(client.kv.incr("n") for _ in range(100)))
        assert (await client.kv.incr("n")).value == 101


# --- misuse ---


async def test_a_node_that_is_not_started_says_so(tmp_path: Path) -> None:
    node = alone(tmp_path)
    for use in (node.client, lambda: node.endpoint):
        with pytest.raises(RuntimeError, match="is not started"):
            use()
    with pytest.raises(RuntimeError, match="is not started"):
        await node.ready()
    await node.stop()


async def test_a_node_is_started_once(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        with pytest.raises(RuntimeError, match="started once"):
            await node.start()
        await node.client().kv.put("a", b"1")
    for _ in range(2):
        await node.stop()
    with pytest.raises(RuntimeError, match="make a new Node"):
        await node.start()
    with pytest.raises(RuntimeError, match="is stopped"):
        node.client()


async def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    async with alone(tmp_path) as first:
        with pytest.raises(StartError, match="in use"):
            await alone(tmp_path).start()
        node = alone(tmp_path / "other", listen=first.endpoint)
        with pytest.raises(StartError, match="cannot listen"):
            await node.start()
        with pytest.raises(RuntimeError, match="is stopped"):
            assert node.endpoint
    async with alone(tmp_path / "other"):
        pass


async def test_a_start_may_be_cancelled_at_any_moment(tmp_path: Path) -> None:
    started = False
    passes = 1
    while not started:
        node = alone(tmp_path)
        starting = asyncio.ensure_future(node.start())
        for _ in range(passes):
            await asyncio.sleep(0)
        starting.cancel()
        passes += 1
        try:
            await starting
        except asyncio.CancelledError:
            with pytest.raises(RuntimeError, match="is stopped"):
                node.client()
        else:
            started = True
            await node.stop()
    assert passes > 2


async def test_a_node_belongs_to_its_event_loop(tmp_path: Path) -> None:
    async with alone(tmp_path) as node:
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                node.client()
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "event loop" in str(errors[0])


async def test_a_node_without_its_peers_is_not_ready(tmp_path: Path) -> None:
    members = "1=127.0.0.1:1,2=127.0.0.1:2,3=127.0.0.1:3"
    lonely = NodeConfig(
        tmp_path, node_id=1, listen="127.0.0.1:0", peer_listen="127.0.0.1:0", members=members
    )
    async with Node(lonely) as node:
        with pytest.raises(TimeoutError, match="no leader for partition"):
            await node.ready(timeout_s=0.2)
        with pytest.raises(FloError):
            await node.client().kv.put("a", b"1", timeout_ms=100)


# --- failure ---


class BreakableClock(SystemClock):
    """Raises inside a turn of the node, once the test says so."""

    def __init__(self) -> None:
        self.broken = False

    def wall_ms(self) -> int:
        if self.broken:
            raise OSError(errno.EIO, "the disk is gone")
        return super().wall_ms()


async def test_a_node_that_has_to_stop_says_why_everywhere(tmp_path: Path) -> None:
    clock = BreakableClock()
    node = Node(config(tmp_path), clock=clock)
    await node.start()
    client = node.client()
    await client.kv.put("a", b"1")
    watching = asyncio.ensure_future(node.wait_failed())
    clock.broken = True
    with pytest.raises(InternalServerError, match="the disk is gone") as caught:
        await client.kv.put("a", b"2")
    assert caught.value.outcome == "unknown"
    with pytest.raises(NodeFailedError, match="the disk is gone"):
        await watching
    with pytest.raises(InternalServerError, match="the disk is gone") as caught:
        await client.kv.put("a", b"3")
    assert caught.value.outcome == "not_applied"
    for use in (node.ready, node.wait_failed):
        with pytest.raises(NodeFailedError, match="the disk is gone"):
            await use()
    with pytest.raises(NodeFailedError, match="the disk is gone"):
        node.client()
    await node.stop()
    with pytest.raises(NotConnectedError):
        await client.kv.get("a")
    async with alone(tmp_path) as again:
        assert await again.client().kv.get("a") is not None


async def test_a_node_that_had_to_stop_is_closed_without_help(tmp_path: Path) -> None:
    clock = BreakableClock()
    async with Node(config(tmp_path), clock=clock) as node, FloClient(node.endpoint) as other:
        clock.broken = True
        with pytest.raises(FloError):
            await node.client().kv.put("a", b"1")
        with pytest.raises(FloError):
            await other.kv.get("a", timeout_ms=200)
        async with asyncio.timeout(10):
            while other.is_connected:  # noqa: ASYNC110 - the client tells nobody
                await asyncio.sleep(0.01)


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])
