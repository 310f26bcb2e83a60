"""RabbitMQ: three nodes and one quorum queue, which has a member on each."""

import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from itertools import islice, repeat
from pathlib import Path

from bench.local_cluster import free_ports
from bench.peers import amqp
from bench.peers.amqp_links import (
    FRAME_BYTES_MAX,
    AmqpLink,
    ConfirmLink,
    ConsumeLink,
    Deliveries,
)
from bench.peers.closed_loop import close, connect, drive, send_all
from bench.peers.peer import Load, Peer, Stock
from bench.peers.servers import Servers, StartError
from bench.window import Sample

_NODES = 3
_LINKS, _LINKS_FOR_MANY, _MANY = 4, 8, 64
_FILL_OUTSTANDING = 1_024
_RATE_MAX = 20_000
_CONTROL_S = 60.0
_QUEUE = b"bench"
_COOKIE = "benchbenchbenchbench"
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Where Debian has the scripts themselves; those on the PATH change the user."""
_DECLARE = amqp.method(
    amqp.QUEUE_DECLARE,
    amqp.short(0),
    amqp.short_string(_QUEUE),
    b"\x02",
    amqp.table(
        {
            b"x-queue-type": b"quorum",
            b"x-quorum-initial-group-size": _NODES,
            b"x-queue-leader-locator": b"client-local",
        }
    ),
)
_PURGE = amqp.method(amqp.QUEUE_PURGE, amqp.short(0), amqp.short_string(_QUEUE), b"\x00")


class RabbitCluster:
    """Requests go to the first node: the queue is declared there, so its leader is there."""

    def __init__(self, servers: Servers) -> None:
        self.cpu_seconds: Callable[[], float] = servers.cpu_seconds
        self._servers = servers
        self._stock = Stock(_RATE_MAX)
        self._declared = False
        ports = free_ports(2 * _NODES + 1)
        self._ports, self._node_ports, epmd = ports[:_NODES], ports[_NODES:-1], ports[-1]
        cookie = servers.directory / ".erlang.cookie"
        cookie.write_text(_COOKIE)
        cookie.chmod(0o400)
        self._environment = [
            f"HOME={servers.directory}",
            f"ERL_EPMD_PORT={epmd}",
            "ERL_EPMD_ADDRESS=127.0.0.1",
            "LANG=C.UTF-8",
        ]
        servers.start("epmd", "epmd", "-address", "127.0.0.1", "-port", str(epmd))
        servers.wait_for_port("epmd", epmd)
        for number in range(_NODES):
            self._start(number)
        self.version = self._control("version")

    async def sample(self, operation: str, load: Load) -> Sample:
        if not self._declared:
            await self._declare()
        if operation in ("dequeue", "consume"):
            return await self._stock.take(operation, load, partial(self._dequeue, load))
        await self._call(_PURGE)
        sample = Sample()
        message = amqp.publication(_QUEUE, load.value, FRAME_BYTES_MAX)
        make = partial(ConfirmLink, sample, repeat(message))
        links = await connect(self._ports[0], [make] * _links(load.outstanding))
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)

    async def _dequeue(self, load: Load, stock: int) -> Sample:
        await self._call(_PURGE)
        messages = repeat(amqp.publication(_QUEUE, load.value, FRAME_BYTES_MAX))
        fill = partial(ConfirmLink, Sample(), islice(messages, stock))
        await send_all(await connect(self._ports[0], [fill] * _LINKS), stock, _FILL_OUTSTANDING)
        make = partial(ConsumeLink, Sample(), _QUEUE, Deliveries(stock))
        links = await connect(self._ports[0], [make] * _links(load.outstanding))
        return await drive(links, load.outstanding, load.window, self.cpu_seconds)

    async def _declare(self) -> None:
        await self._call(_DECLARE)
        members, leader = self._control("list_queues", "online", "leader").rsplit("\t", 1)
        if members.count("@") != _NODES or _name(0) not in leader:
            raise StartError(f"RabbitMQ: the queue has {members}, led by {leader}")
        self._declared = True

    async def _call(self, method: bytes) -> None:
        """Calls it at the queue's leader."""
        await close(await connect(self._ports[0], [partial(AmqpLink, Sample(), [method])]))

    def _start(self, number: int) -> None:
        """Returns when the node has joined those before it, and serves."""
        home = self._servers.directory / f"n{number}"
        home.mkdir()
        (home / "plugins").write_text("[].\n")
        (home / "rabbitmq.conf").write_text(self._configuration(number))
        self._servers.start(
            f"log{number}",
            "env",
            *self._environment,
            f"RABBITMQ_NODENAME={_name(number)}",
            f"RABBITMQ_CONFIG_FILE={home}/rabbitmq.conf",
            f"RABBITMQ_MNESIA_BASE={home}/data",
            f"RABBITMQ_LOG_BASE={home}/log",
            f"RABBITMQ_ENABLED_PLUGINS_FILE={home}/plugins",
            f"RABBITMQ_PID_FILE={home}/pid",
            f"RABBITMQ_CONF_ENV_FILE={home}/none",
            f"RABBITMQ_DIST_PORT={self._node_ports[number]}",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
            _program("rabbitmq-server") or "rabbitmq-server",
        )
        self._servers.wait_for_port(f"log{number}", self._ports[number])

    def _configuration(self, number: int) -> str:
        members = [
            f"cluster_formation.classic_config.nodes.{place + 1} = {_name(place)}\n"
            for place in range(_NODES)
        ]
        return (
            f"listeners.tcp.default = 127.0.0.1:{self._ports[number]}\n"
            "cluster_formation.peer_discovery_backend = classic_config\n"
            f"{''.join(members)}"
            f"cluster_formation.target_cluster_size_hint = {_NODES}\n"
            "disk_free_limit.absolute = 500MB\n"
        )

    def _control(self, *words: str) -> str:
        """What rabbitmqctl answers. Raises StartError."""
        program = _program("rabbitmqctl") or "rabbitmqctl"
        done = subprocess.run(
            ["env", *self._environment, program, "-q", "-n", _name(0), *words],
            capture_output=True,
            text=True,
            timeout=_CONTROL_S,
            check=False,
        )
        if done.returncode:
            raise StartError(f"RabbitMQ: {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


def _links(outstanding: int) -> int:
    return min(outstanding, _LINKS_FOR_MANY if outstanding > _MANY else _LINKS)


def _name(number: int) -> str:
    return f"bench{number}@localhost"


def _program(name: str) -> str | None:
    return shutil.which(name, path=str(_PROGRAMS)) or shutil.which(name)


def _missing() -> str | None:
    if all((_program("rabbitmq-server"), _program("rabbitmqctl"), shutil.which("epmd"))):
        return None
    return "rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)"


@contextmanager
def _start(parent_dir: Path | None) -> Generator[RabbitCluster]:
    with Servers("rabbitmq", parent_dir) as servers:
        yield RabbitCluster(servers)


RABBITMQ = Peer(
    "rabbitmq",
    "three nodes, a quorum queue of three; a message is synced on two of them",
    {
        "enqueue": "publish a persistent message, and its confirm",
        "dequeue": "consume with prefetch, ack each; AMQP does not confirm an ack",
        "consume": "the same",
    },
    _missing,
    _start,
)
