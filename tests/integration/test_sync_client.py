"""The blocking client against real nodes: every operation, many threads, Ctrl-C, fork and exit."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.testing import EmbeddedCluster, free_ports
from flo import (
    CallFinished,
    ClientEvent,
    ConflictError,
    ConnectFailed,
    ConnectionFailedError,
    KVIncrOptions,
    NotConnectedError,
    PutOptions,
    ScanOptions,
    WrongLoopError,
)
from flo.sync import FloClient

ROOT = Path(__file__).parents[2]
# Far more than it takes: only for a program that hangs.
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def endpoints() -> Iterator[str]:
    with EmbeddedCluster() as cluster:
        yield cluster.endpoints


def run_program(text: str, *arguments: str) -> str:
    """What a program prints that must end well, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_every_operation(endpoints: str) -> None:
    with FloClient(endpoints, namespace="operations") as client:
        stored = client.kv.put("user:7", b"Ada")
        found = client.kv.get("user:7")
        assert found is not None
        assert (found.value, found.version) == (b"Ada", stored.version)
        with pytest.raises(ConflictError):
            client.kv.put("user:7", b"Eve", PutOptions(cas_version=stored.version + 1))
        assert client.kv.get("user:8") is None
        assert client.kv.incr("visits", KVIncrOptions(delta=5)).value == 5
        assert [entry.found for entry in client.kv.mget(["user:7", "user:8"])] == [True, False]
        page = client.kv.scan("", ScanOptions(limit=1))
        rest = client.kv.scan("", ScanOptions(cursor=page.cursor))
        assert page.names + rest.names == ["user:7", "visits"]
        client.kv.touch("user:7", 60_000)
        client.kv.persist("user:7")
        client.kv.expire("user:7", 60_000)
        assert client.kv.exists("user:7")
        assert client.kv.delete("user:7")
        assert not client.kv.exists("user:7")


def test_the_client_tells_how_it_is(endpoints: str) -> None:
    client = FloClient(endpoints)
    assert not client.is_connected
    assert not client.health().connected
    with client:
        assert client.is_connected
        assert client.ping() > 0
        assert client.health().connected
        assert client.cluster_status()["partition_count"]
        client.reconnect()
        client.interrupt()
        client.reconnect()
        assert client.ping() > 0
    client.interrupt()
    with pytest.raises(NotConnectedError):
        client.ping()


def test_a_closed_client_opens_again(endpoints: str) -> None:
    client = FloClient(endpoints, namespace="again")
    for number in range(3):
        assert client.connect() is client
        assert client.connect() is client
        assert client.kv.incr("opened").value == number + 1
        client.close()
        client.close()


def test_views_share_the_connections(endpoints: str) -> None:
    with FloClient(endpoints) as client:
        orders = client.with_namespace("orders")
        with orders as same:
            assert same is orders
            orders.kv.put("1", b"paid")
        assert orders.namespace == "orders"
        assert client.kv.get("1") is None
        found = orders.with_namespace("orders").kv.get("1")
        assert found is not None
    with pytest.raises(NotConnectedError, match="a view of"):
        orders.kv.get("1")


def test_many_threads_share_a_client(endpoints: str) -> None:
    threads, each = 16, 20
    with FloClient(endpoints, namespace="threads") as client, ThreadPoolExecutor(threads) as pool:

        def work(number: int) -> list[int]:
            client.kv.put(f"key-{number}", str(number).encode())
            return [client.kv.incr("counter").value for _ in range(each)]

        answers = [value for values in pool.map(work, range(threads)) for value in values]
        found = client.kv.mget([f"key-{number}" for number in range(threads)])
    assert sorted(answers) == list(range(1, threads * each + 1))
    assert [entry.value for entry in found] == [str(n).encode() for n in range(threads)]


def test_close_in_another_thread_ends_a_call(endpoints: str) -> None:
    with FloClient(endpoints, namespace="closing") as client, ThreadPoolExecutor(4) as pool:

        def use() -> None:
            while True:
                client.kv.incr("counter")

        users = [pool.submit(use) for _ in range(4)]
        client.kv.put("a", b"1")
        client.close()
        for user in users:
            with pytest.raises(NotConnectedError):
                user.result()


def test_a_failed_connect_leaves_nothing_behind() -> None:
    (port,) = free_ports(1)
    before = threading.active_count()
    with pytest.raises(ConnectionFailedError, match=str(port)):
        FloClient(f"127.0.0.1:{port}").connect()
    assert threading.active_count() == before


def test_ctrl_c_ends_a_wait_for_the_cluster() -> None:
    (port,) = free_ports(1)

    def interrupt(event: ClientEvent) -> None:
        if isinstance(event, ConnectFailed):
            os.kill(os.getpid(), signal.SIGINT)

    client = FloClient(f"127.0.0.1:{port}", observer=interrupt)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        client.reconnect(timeout=600)
    assert threading.active_count() == before


def test_an_observer_must_not_make_blocking_calls(endpoints: str) -> None:
    errors: list[Exception] = []

    def observe(event: ClientEvent) -> None:
        if isinstance(event, CallFinished):
            try:
                client.kv.get("a")
            except WrongLoopError as error:
                errors.append(error)

    with FloClient(endpoints, observer=observe) as client:
        client.kv.get("a")
    assert errors


async def test_it_is_refused_where_it_would_stop_an_event_loop(endpoints: str) -> None:
    with pytest.raises(WrongLoopError, match=r"asyncio\.to_thread"):
        FloClient(endpoints).connect()
    client = await asyncio.to_thread(FloClient(endpoints).connect)
    with pytest.raises(WrongLoopError):
        client.kv.get("a")
    assert await asyncio.to_thread(client.kv.get, "nothing") is None
    await asyncio.to_thread(client.close)


_FORK = """
import os, sys, warnings
from flo import WrongLoopError
from flo.sync import FloClient

client = FloClient(sys.argv[1], namespace="fork").connect()
client.kv.put("a", b"1")
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
child = os.fork()
if not child:
    try:
        client.kv.get("a")
    except WrongLoopError as error:
        print("child:", error, flush=True)
    client.close()
    with FloClient(sys.argv[1], namespace="fork") as own:
        print("own:", own.kv.get("a").value, flush=True)
    client.connect()
    print("opened again:", client.kv.get("a").value, flush=True)
    client.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
print("parent:", status, client.kv.get("a").value)
client.close()
"""


def test_after_a_fork_the_child_is_told_and_the_parent_goes_on(endpoints: str) -> None:
    told, own, again, parent = run_program(_FORK, endpoints).splitlines()
    assert "after the fork" in told
    assert (own, again, parent) == ("own: b'1'", "opened again: b'1'", "parent: 0 b'1'")


_EXIT = """
import sys, threading
from flo.sync import FloClient

client = FloClient(sys.argv[1], namespace="exit").connect()
begun = threading.Event()

def use():
    while True:
        client.kv.incr("counter")
        begun.set()

for _ in range(4):
    threading.Thread(target=use, daemon=True).start()
begun.wait()
print("done")
"""


def test_a_program_ends_though_its_client_is_open_and_busy(endpoints: str) -> None:
    program = "import warnings; warnings.simplefilter('ignore', ResourceWarning)\n" + _EXIT
    assert run_program(program, endpoints) == "done\n"
