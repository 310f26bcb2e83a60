"""`flo kv get` that waits."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event, Thread

from bench.local_cluster import LocalCluster
from flo.client import FloClient
from tests.unit.cli.conftest import Live


@contextmanager
def changing(cluster: LocalCluster, live: Live, key: str) -> Generator[None]:
    """Somebody who writes the key again and again."""
    enough = Event()

    async def write(until: Callable[[], bool]) -> None:
        async with FloClient(
            cluster.endpoints, namespace=live.namespace, timeout_ms=30_000
        ) as client:
            while not until():
                await client.kv.put(key, b"changed")

    thread = Thread(target=lambda: asyncio.run(write(enough.is_set)))
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_block_waits_until_the_key_exists(live_cluster: LocalCluster, live: Live) -> None:
    with changing(live_cluster, live, "key"):
        assert live.text("kv", "get", "key", "--block", "60000") == "changed"
    assert live.text("kv", "get", "key", "--block", "60000") == "changed"


def test_wait_waits_for_another_version(live_cluster: LocalCluster, live: Live) -> None:
    live.text("kv", "set", "key", "first")
    with changing(live_cluster, live, "key"):
        found = live.json("kv", "get", "key", "--wait", "60000")
    assert found["value"] == "changed"


def test_nothing_in_time_is_a_no(live: Live) -> None:
    live.text("kv", "set", "key", "first")
    late = live.error("kv", "get", "key", "--wait", "1")
    assert (late["code"], late["message"]) == ("NOT_FOUND", "no newer version of key came")
    assert live.error("kv", "get", "other", "--block", "1")["message"] == "no such key: other"


def test_waits_exclude_each_other(live: Live) -> None:
    assert live("kv", "get", "key", "--wait", "1", "--block", "1").exit_code == 2
    assert live("kv", "get", "key", "--wait", "300001").exit_code == 2
