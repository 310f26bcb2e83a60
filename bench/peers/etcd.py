"""etcd: three members, everything as it comes."""

import http.client
import json
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from bench.local_cluster import free_ports
from bench.peers.call_link import CallLink, Method
from bench.peers.closed_loop import connect, drive, forever, send_all
from bench.peers.http2 import message
from bench.peers.peer import Load, Peer, version_of
from bench.peers.protobuf import put_request, puts_request, range_request
from bench.peers.servers import Servers, StartError
from bench.window import Sample

_MEMBERS = 3
_LINKS = 4
_LEADER_S = 30.0
_QUOTA_BYTES = 8 << 30
_PUTS_AT_ONCE, _PUTS_BYTES = 100, 512 << 10
_PRELOAD_OUTSTANDING = 16
_PUT, _RANGE, _TXN = (b"/etcdserverpb.KV/" + name for name in (b"Put", b"Range", b"Txn"))


class _Header(TypedDict):
    member_id: str


class _Status(TypedDict):
    """What a member says of itself, as JSON."""

    header: _Header
    leader: NotRequired[str]
    """Not there while there is none."""


class EtcdCluster:
    """Requests go to the leader."""

    def __init__(self, servers: Servers) -> None:
        self.version = version_of("etcd", "--version")
        self.cpu_seconds: Callable[[], float] = servers.cpu_seconds
        self._servers = servers
        ports = free_ports(2 * _MEMBERS)
        self._ports, self._peer_ports = ports[:_MEMBERS], ports[_MEMBERS:]
        self._loaded_bytes: int | None = None
        self._written = False
        self._start()

    async def sample(self, operation: str, load: Load) -> Sample:
        await self._load(load)
        if operation == "get" and self._written:
            self._restart()
        elif operation == "put":
            self._written = True
        method, bodies = _requests(operation, load)
        requests = list(map(message, bodies))
        sample = Sample()
        links = await connect(
            self.leader_port(),
            [
                partial(CallLink, sample, forever(requests, seed), method)
                for seed in range(min(_LINKS, load.outstanding))
            ],
        )
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)

    def leader_port(self) -> int:
        """Waits until there is a leader. Raises StartError."""
        deadline = time.monotonic() + _LEADER_S
        while time.monotonic() < deadline:
            for port in self._ports:
                status = _ask(port)
                if status and status.get("leader") == status["header"]["member_id"]:
                    return port
            time.sleep(0.05)
        raise StartError("etcd: no leader within 30 s")

    async def _load(self, load: Load) -> None:
        """Puts every key once."""
        if self._loaded_bytes == load.value_bytes:
            return
        size = max(1, min(_PUTS_AT_ONCE, _PUTS_BYTES // max(1, load.value_bytes)))
        value = load.value
        puts = [(key, value) for key in load.keys]
        requests = [message(puts_request(puts[at : at + size])) for at in range(0, len(puts), size)]
        make = partial(CallLink, Sample(), iter(requests), Method(_TXN))
        links = await connect(self.leader_port(), [make])
        await send_all(links, len(requests), _PRELOAD_OUTSTANDING)
        self._loaded_bytes, self._written = load.value_bytes, True

    def _restart(self) -> None:
        """After a burst of puts etcd 3.4 reads slowly until it is started again.

        It copies its buffer of writes for every read, and that stays as long as it has been.
        """
        self._servers.end()
        self._start()
        self._written = False

    def _start(self) -> None:
        members = [f"http://127.0.0.1:{port}" for port in self._peer_ports]
        cluster = ",".join(f"n{number}={url}" for number, url in enumerate(members))
        for number, port in enumerate(self._ports):
            client = f"http://127.0.0.1:{port}"
            self._servers.start(
                f"n{number}",
                *("etcd", "--name", f"n{number}"),
                *("--data-dir", str(self._servers.directory / f"n{number}")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", members[number]),
                *("--initial-advertise-peer-urls", members[number]),
                *("--initial-cluster", cluster, "--log-level", "error"),
                *("--quota-backend-bytes", str(_QUOTA_BYTES)),
            )
        for number, port in enumerate(self._ports):
            self._servers.wait_for_port(f"n{number}", port)
        self.leader_port()


def _requests(operation: str, load: Load) -> tuple[Method, list[bytes]]:
    if operation == "put":
        value = load.value
        return Method(_PUT), [put_request(key, value) for key in load.keys]
    return Method(_RANGE, load.value_bytes), [range_request(key) for key in load.keys]


def _ask(port: int) -> _Status | None:
    """None while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("POST", "/v3/maintenance/status", "{}")
        answer = connection.getresponse()
        return cast(_Status, json.loads(answer.read())) if answer.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def _missing() -> str | None:
    if shutil.which("etcd"):
        return None
    return "etcd is not installed (Debian: apt-get install etcd-server)"


@contextmanager
def _start(parent_dir: Path | None) -> Generator[EtcdCluster]:
    with Servers("etcd", parent_dir) as servers:
        yield EtcdCluster(servers)


ETCD = Peer(
    "etcd",
    "three members; a write is synced on two of them",
    {
        "put": "Put",
        "get": "Range of one key, linearizable, after a restart",
    },
    _missing,
    _start,
)
