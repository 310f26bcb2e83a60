"""Two thousand tasks on one client, while leaders change and connections break: no task sees an
error, and every increment and every compare-and-set has its effect exactly once.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from bench.cluster_view import leaders_of, wait_until_led
from bench.local_cluster import LocalCluster
from cluster.testing import HeldPorts
from flo import FloClient, PutOptions
from tests.integration.cutting_proxy import CuttingProxy
from tests.integration.kit import check_replicas_agree, eventually

TASKS = 2_000
SHARED_COUNTERS = 16
TIMEOUT_MS = 30_000
MGET_KEYS = 256
CUT_EVERY_S = 0.1

LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


class Book:
    """What the tasks were told."""

    def __init__(self) -> None:
        self.counters: defaultdict[str, list[int]] = defaultdict(list)
        self.documents: dict[str, tuple[bytes, int]] = {}
        self.acknowledged = 0
        self.closing = False

    async def more(self, rounds: float) -> None:
        """Waits until the tasks have made so many further rounds on average."""
        target = self.acknowledged + rounds * TASKS

        async def reached() -> bool:
            return self.acknowledged >= target

        await eventually(f"{rounds} more rounds of {TASKS} tasks", reached)

    async def task(self, client: FloClient, number: int) -> None:
        """Counts on a shared and an own counter, and replaces an own document, until closing."""
        shared, own = f"shared-{number % SHARED_COUNTERS}", f"own-{number}"
        document, version, turn = f"document-{number}", 0, 0
        while not self.closing:
            for counter in (shared, own):
                self.counters[counter].append((await client.kv.incr(counter)).value)
            # Executed twice, the second would find another version and be refused.
            value = b"%d" % turn
            stored = await client.kv.put(document, value, PutOptions(cas_version=version))
            version, turn = stored.version, turn + 1
            self.documents[document] = (value, version)
            self.acknowledged += 1

    async def check(self, endpoints: str) -> None:
        """Each counter is the number of its answers, which are all different."""
        async with FloClient(endpoints, timeout_ms=TIMEOUT_MS) as client:
            counted = await _read(client, self.counters)
            kept = await _read(client, self.documents)
        for counter, answers in self.counters.items():
            assert sorted(answers) == list(range(1, len(answers) + 1)), counter
            assert int.from_bytes(counted[counter][0], "little") == len(answers), counter
        assert kept == self.documents
        assert sum(map(len, self.counters.values())) == 2 * self.acknowledged


async def _read(client: FloClient, keys: Iterable[str]) -> dict[str, tuple[bytes, int]]:
    names = list(keys)
    found: dict[str, tuple[bytes, int]] = {}
    for at in range(0, len(names), MGET_KEYS):
        for entry in await client.kv.mget(names[at : at + MGET_KEYS]):
            assert entry.found, f"acknowledged {entry.key} is gone"
            found[entry.key] = (entry.value, entry.version)
    return found


@asynccontextmanager
async def many_tasks(endpoints: str) -> AsyncGenerator[Book]:
    """All tasks at work within the body. An error in any of them is raised."""
    book = Book()
    async with (
        FloClient(endpoints, timeout_ms=TIMEOUT_MS) as client,
        asyncio.TaskGroup() as group,
    ):
        for number in range(TASKS):
            group.create_task(book.task(client, number))
        try:
            yield book
        finally:
            book.closing = True


def check_logs(cluster: LocalCluster) -> None:
    """No node ran into a mistake of its own, not even one that it survived."""
    for log in cluster.directory.glob("node-*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()


async def _next_leader(cluster: LocalCluster, after: int) -> int:
    """A node that leads partitions; another than `after` when there is a choice."""
    leading = set((await leaders_of(cluster)).values())
    return min(leading, key=lambda node: (node == after, (node - after) % 3))


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=LONG)])
@pytest.mark.parametrize("way", ["kill", "stop"])
async def test_leaders_change(cluster: LocalCluster, way: str, rounds: int) -> None:
    end: Callable[[int], None] = cluster.kill if way == "kill" else cluster.stop
    async with many_tasks(cluster.endpoints) as book:
        await book.more(1)
        node = 0
        for _ in range(rounds):
            node = await _next_leader(cluster, node)
            await asyncio.to_thread(end, node)
            await book.more(2)
            await asyncio.to_thread(cluster.start, node)
            await book.more(1)
    await book.check(cluster.endpoints)
    await check_replicas_agree(cluster)
    check_logs(cluster)


@pytest.mark.parametrize("cuts", [20, pytest.param(1000, marks=LONG)])
async def test_connections_break_with_answers_under_way(tmp_path: Path, cuts: int) -> None:
    rng = Random()
    with (
        HeldPorts(3) as held,
        LocalCluster(
            3, 8, tmp_path, keep=True, advertised_ports=dict(enumerate(held.numbers, start=1))
        ) as cluster,
    ):
        ports = dict(enumerate(held.numbers, start=1))
        await wait_until_led(cluster)
        async with AsyncExitStack() as stack:
            proxies = [
                await stack.enter_async_context(
                    CuttingProxy(ports[node], cluster.client_ports[node], rng)
                )
                for node in ports
            ]
            endpoints = ",".join(f"127.0.0.1:{port}" for port in ports.values())
            async with many_tasks(endpoints) as book:
                await book.more(1)
                await _cut(proxies, cuts, rng)
                await book.more(1)
        assert sum(proxy.lost_answer_bytes for proxy in proxies) > 0
        await book.check(cluster.endpoints)
        check_logs(cluster)


async def _cut(proxies: list[CuttingProxy], cuts: int, rng: Random) -> None:
    while sum(proxy.cuts for proxy in proxies) < cuts:
        await asyncio.sleep(rng.uniform(0, 2 * CUT_EVERY_S))
        rng.choice(proxies).cut_all()
