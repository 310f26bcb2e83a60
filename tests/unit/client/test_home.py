"""A client in the wrong event loop, thread or process: an error that says so, never a hang."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flo import FloClient, FloError, WrongLoopError
from flo.wire.connection import Request
from tests.unit.client.fake_node import FakeCluster, FakeNode

ROOT = Path(__file__).parents[3]

CALLS: dict[str, Callable[[FloClient], Awaitable[object]]] = {
    "get": lambda client: client.kv.get("key"),
    "put": lambda client: client.kv.put("key", b""),
    "scan": lambda client: client.kv.scan(),
    "ping": lambda client: client.ping(),
    "ping of a node": lambda client: client.ping("127.0.0.1:1"),
    "status": lambda client: client.cluster_status("127.0.0.1:1"),
    "connect": lambda client: client.connect(),
    "reconnect": lambda client: client.reconnect(),
    "close": lambda client: client.close(),
}


async def error_of(call: Awaitable[object]) -> FloError | None:
    try:
        await call
    except FloError as error:
        return error
    return None


def of_the_program(node: FakeNode) -> list[Request]:
    """What arrived, without what the client asks by itself."""
    return [request for request in node.requests if request.op.name.startswith("kv.")]


class TestThread:
    @pytest.mark.parametrize("name", CALLS)
    async def test_calls_are_refused(self, name: str) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            error = await asyncio.to_thread(asyncio.run, error_of(CALLS[name](client)))
            assert isinstance(error, WrongLoopError)
            assert "another thread" in str(error)
            assert (error.outcome, error.retryable) == ("not_applied", False)
            assert await client.kv.get("key") is None
            assert len(of_the_program(cluster.nodes[0])) == 1

    async def test_interrupt_is_refused(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            with pytest.raises(WrongLoopError):
                await asyncio.to_thread(client.interrupt)
            assert client.is_connected

    async def test_another_thread_may_hand_calls_over(self) -> None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            loop = asyncio.get_running_loop()

            def from_outside() -> object:
                return asyncio.run_coroutine_threadsafe(client.kv.get("key"), loop).result()

            assert await asyncio.to_thread(from_outside) is None


class TestLoop:
    @pytest.mark.parametrize("name", [each for each in CALLS if "connect" not in each])
    def test_calls_are_refused_when_the_loop_has_ended(self, name: str) -> None:
        client, _ = self.opened()
        error = asyncio.run(error_of(CALLS[name](client)))
        if name == "close":
            # What is left of it died with its loop.
            assert error is None
        else:
            assert isinstance(error, WrongLoopError)
            assert "another event loop" in str(error)
            assert not client.is_connected

    def test_it_can_be_opened_again_in_another(self) -> None:
        client, endpoint = self.opened()

        async def again() -> None:
            cluster = FakeCluster()
            await cluster.nodes[0].start(int(endpoint.rpartition(":")[2]))
            async with client:
                assert await client.kv.get("key") is None
            await cluster.nodes[0].stop()

        asyncio.run(again())

    def test_a_loop_that_only_rests_keeps_its_client(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            cluster = FakeCluster()
            loop.run_until_complete(cluster.__aenter__())
            client = loop.run_until_complete(FloClient(cluster.endpoints).connect())
            for name in ("get", "close", "connect"):
                error = asyncio.run(error_of(CALLS[name](client)))
                assert isinstance(error, WrongLoopError), name
            assert loop.run_until_complete(client.kv.get("key")) is None
            loop.run_until_complete(client.close())
            loop.run_until_complete(cluster.__aexit__())
        finally:
            loop.close()

    @staticmethod
    def opened() -> tuple[FloClient, str]:
        async def open_client() -> tuple[FloClient, str]:
            async with FakeCluster() as cluster:
                client = await FloClient(cluster.endpoints).connect()
                await client.kv.put("key", b"")
                return client, cluster.endpoints

        return asyncio.run(open_client())


FORK = """
import asyncio, os
from flo import FloClient
from tests.unit.client.fake_node import FakeCluster
from tests.unit.client.test_home import error_of

loop = asyncio.new_event_loop()
cluster = FakeCluster()
loop.run_until_complete(cluster.__aenter__())
client = loop.run_until_complete(FloClient(cluster.endpoints).connect())

async def put():
    return (await client.kv.put("key", b"")).version

print("parent", loop.run_until_complete(put()), flush=True)
child = os.fork()
if not child:
    # The very loop that it was opened in, as far as the child can see, and another one.
    for run in (loop.run_until_complete, asyncio.run):
        print("child", repr(run(error_of(client.kv.get("key")))), flush=True)
    print("child", client.is_connected, asyncio.run(error_of(client.close())), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent", loop.run_until_complete(put()), cluster.nodes[0].connections_total)
loop.run_until_complete(client.close())
loop.run_until_complete(cluster.__aexit__())
loop.close()
"""


def test_calls_in_a_forked_child_are_refused_and_the_parent_goes_on() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 5, ran.stderr
    assert lines[0] == "parent 1"
    for line in lines[1:3]:
        assert line.startswith("child WrongLoopError('this process was forked")
    assert lines[3:] == ["child False None", "parent 2 1"]
