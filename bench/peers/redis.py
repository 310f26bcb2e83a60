"""Redis: one node, whose append-only file is synced before it answers."""

import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path

from bench.local_cluster import free_ports
from bench.peers.closed_loop import Link, connect, drive, forever, send_all
from bench.peers.peer import Load, Peer, Stock, version_of
from bench.peers.redis_links import CommandLink, GroupLink
from bench.peers.resp import encode
from bench.peers.servers import Servers
from bench.window import Sample

_LINKS, _LINKS_FOR_MANY, _MANY = 4, 8, 64
_FILL_OUTSTANDING, _FILL_SIZE, _FILL_BYTES = 16, 1_000, 256 << 10
_RATE_MAX = 100_000
_LIST, _STREAM, _GROUP = b"list", b"stream", b"group"


class RedisNode:
    """A single node: what it answers is on one disk."""

    def __init__(self, servers: Servers) -> None:
        self.version = version_of("redis-server", "--version")
        self.cpu_seconds: Callable[[], float] = servers.cpu_seconds
        self._stock = Stock(_RATE_MAX)
        self._loaded_bytes: int | None = None
        self._port = free_ports(1)[0]
        servers.start(
            "redis",
            *("redis-server", "--port", str(self._port), "--bind", "127.0.0.1"),
            *("--dir", str(servers.directory), "--save", "", "--auto-aof-rewrite-percentage", "0"),
            *("--appendonly", "yes", "--appendfsync", "always"),
        )
        servers.wait_for_port("redis", self._port)

    async def sample(self, operation: str, load: Load) -> Sample:
        if operation in ("dequeue", "group"):
            take = self._dequeue if operation == "dequeue" else self._group
            return await self._stock.take(operation, load, partial(take, load))
        if operation in ("put", "get"):
            await self._load(load)
        else:
            await self._send_all([encode(b"DEL", _LIST, _STREAM)])
        sample = Sample()
        commands = _commands(operation, load)
        makes = [
            partial(CommandLink, sample, forever(commands, seed))
            for seed in range(_links(load.outstanding))
        ]
        return await self._drive(makes, load)

    async def _dequeue(self, load: Load, stock: int) -> Sample:
        size = _fill_size(load)
        fill = encode(b"LPUSH", _LIST, *[load.value] * size)
        await self._send_all([encode(b"DEL", _LIST), *[fill] * -(-stock // size)])
        pop = partial(CommandLink, Sample(), repeat(encode(b"RPOP", _LIST)), takes=True)
        return await self._drive([pop] * _links(load.outstanding), load)

    async def _group(self, load: Load, stock: int) -> Sample:
        add = encode(b"XADD", _STREAM, b"*", b"f", load.value)
        create = encode(b"XGROUP", b"CREATE", _STREAM, _GROUP, b"0")
        size = _fill_size(load)
        await self._send_all([encode(b"DEL", _STREAM)])
        await self._send_all([add] * stock, _FILL_OUTSTANDING * size)
        await self._send_all([create])
        make = partial(GroupLink, Sample(), _STREAM, _GROUP)
        return await self._drive([make] * _links(load.outstanding), load)

    async def _load(self, load: Load) -> None:
        """Sets every key once."""
        if self._loaded_bytes != load.value_bytes:
            await self._send_all(_commands("put", load), _FILL_OUTSTANDING * _fill_size(load))
            self._loaded_bytes = load.value_bytes

    async def _send_all(
        self, commands: Sequence[bytes], outstanding: int = _FILL_OUTSTANDING
    ) -> None:
        links = await connect(self._port, [partial(CommandLink, Sample(), iter(commands))])
        await send_all(links, len(commands), outstanding)

    async def _drive(self, makes: Sequence[Callable[[], Link]], load: Load) -> Sample:
        links = await connect(self._port, makes)
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)


def _commands(operation: str, load: Load) -> list[bytes]:
    value = load.value
    if operation == "put":
        return [encode(b"SET", key, value) for key in load.keys]
    if operation == "get":
        return [encode(b"GET", key) for key in load.keys]
    if operation == "enqueue":
        return [encode(b"LPUSH", _LIST, value)]
    return [encode(b"XADD", _STREAM, b"*", b"f", value)]


def _links(outstanding: int) -> int:
    return min(outstanding, _LINKS_FOR_MANY if outstanding > _MANY else _LINKS)


def _fill_size(load: Load) -> int:
    """How many values are sent at once before a measurement."""
    return max(1, min(_FILL_SIZE, _FILL_BYTES // max(1, load.value_bytes)))


def _missing() -> str | None:
    if shutil.which("redis-server"):
        return None
    return "redis-server is not installed (Debian: apt-get install redis-server)"


@contextmanager
def _start(parent_dir: Path | None) -> Generator[RedisNode]:
    with Servers("redis", parent_dir) as servers:
        yield RedisNode(servers)


REDIS = Peer(
    "redis",
    "ONE node, appendfsync always; a write is synced on its disk and replicated to nobody",
    {
        "put": "SET",
        "get": "GET",
        "enqueue": "LPUSH",
        "dequeue": "RPOP: taken at once, nothing is acknowledged",
        "append": "XADD",
        "group": "XREADGROUP of one entry, then XACK",
    },
    _missing,
    _start,
)
