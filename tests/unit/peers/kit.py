"""What the tests of the peer network share."""

import asyncio
import random as _random
from collections.abc import Callable, Mapping
from typing import TypedDict, Unpack

from cluster.addresses import Address
from cluster.peers.config import PeerConfig
from cluster.peers.frames import FrameDecoder
from cluster.peers.handshake import NONCE_BYTES, Handshake, HandshakeError, Role, Verify
from cluster.peers.identity import PROTOCOL_VERSION, Identity, Refused
from cluster.peers.network import PeerNetwork
from cluster.peers.packing import Message
from cluster.peers.timers import Timers

SECRET = b"a secret of more than thirty-two bytes"
ANY_PORT = Address("127.0.0.1", 0)
NOWHERE = Address("127.0.0.1", 1)
LISTENED_LATER = "127.0.0.7"
"""A host to dial before anybody listens there. Connections leave from 127.0.0.1, so that none can
take the port, as one that is dialed on its own host may: TCP can connect a socket to itself."""
PATIENCE_S = 10.0
"""After which a wait has failed; no test that passes waits so long."""


def identity(node_id: int, *, cluster_id: str = "c0" * 16, address: str = "") -> Identity:
    return Identity(
        cluster_id=cluster_id,
        incarnation=f"{node_id:032x}",
        node_id=node_id,
        protocol_version=PROTOCOL_VERSION,
        client_address=address or f"client-{node_id}:9000",
    )


def accept_all(_: Identity) -> Refused | None:
    return None


def handshake(
    role: Role, node_id: int, *, secret: bytes = SECRET, verify: Verify = accept_all, seed: int = 0
) -> Handshake:
    nonce = bytes([role, node_id & 0xFF, seed]) + bytes(NONCE_BYTES - 3)
    return Handshake(role, identity(node_id), secret=secret, nonce=nonce, verify=verify)


def dialer(*, secret: bytes = SECRET, verify: Verify = accept_all, seed: int = 0) -> Handshake:
    return handshake(Role.DIALER, 2, secret=secret, verify=verify, seed=seed)


def acceptor(*, secret: bytes = SECRET, verify: Verify = accept_all, seed: int = 0) -> Handshake:
    return handshake(Role.ACCEPTOR, 1, secret=secret, verify=verify, seed=seed)


def converse(
    one: Handshake, other: Handshake, *, chunk_bytes: int = 1 << 20
) -> tuple[bytes, bytes]:
    """Run both sides to the end; returns what each has sent."""
    sent_by_one, sent_by_other = one.start(), other.start()
    to_other, to_one = sent_by_one, sent_by_other
    while to_other or to_one:
        answer_of_other = feed(other, to_other, chunk_bytes)
        answer_of_one = feed(one, to_one + answer_of_other, chunk_bytes)
        sent_by_other += answer_of_other
        sent_by_one += answer_of_one
        to_other, to_one = answer_of_one, b""
    return sent_by_one, sent_by_other


def feed(side: Handshake, data: bytes, chunk_bytes: int) -> bytes:
    chunks = (data[i : i + chunk_bytes] for i in range(0, len(data), chunk_bytes))
    return b"".join([side.receive(chunk) for chunk in chunks])


class Recorder:
    """A PeerHandler that writes down its calls, and lets a test wait for what it expects."""

    def __init__(self, verify: Verify = accept_all) -> None:
        self.calls: list[tuple[object, ...]] = []
        self._verify = verify
        self._changed = asyncio.Event()

    def verify(self, identity: Identity) -> Refused | None:
        return self._verify(identity)

    def on_connected(self, node_id: int, client_address: str) -> None:
        self._record("connected", node_id, client_address)

    def on_disconnected(self, node_id: int) -> None:
        self._record("disconnected", node_id)

    def on_messages(self, node_id: int, messages: list[Message]) -> None:
        self._record("messages", node_id, messages)

    def on_refused(self, node_id: int, refused: Refused) -> None:
        self._record("refused", node_id, refused)

    def _record(self, *call: object) -> None:
        self.calls.append(call)
        self._changed.set()

    def count(self, *prefix: object) -> int:
        return sum(call[: len(prefix)] == prefix for call in self.calls)

    async def saw(self, *prefix: object, times: int = 1) -> None:
        """Wait until calls beginning with `prefix` have been made so many times."""
        async with asyncio.timeout(PATIENCE_S):
            while self.count(*prefix) < times:
                self._changed.clear()
                await self._changed.wait()

    def messages(self) -> list[object]:
        received: list[object] = []
        for call in self.calls:
            if call[0] == "messages":
                assert isinstance(call[2], list)
                received += call[2]
        return received


class Settings(TypedDict, total=False):
    """The settings of PeerConfig that tests change."""

    secret: bytes | None
    frame_bytes_max: int
    unsent_bytes_max: int
    handshake_timeout_s: float
    connect_timeout_s: float
    unauthenticated_max: int


def network(
    node_id: int,
    handler: Recorder,
    peers: Mapping[int, Address],
    *,
    listen: Address = ANY_PORT,
    timers: Timers | None = None,
    random: Callable[[], float] = _random.random,
    **settings: Unpack[Settings],
) -> PeerNetwork:
    settings.setdefault("secret", SECRET)
    config = PeerConfig(
        identity=identity(node_id),
        listen=listen,
        peers=peers,
        redial_first_s=0.001,
        redial_max_s=0.004,
        **settings,
    )
    return PeerNetwork(config, handler, timers=timers, random=random)


class RawPeer:
    """A peer made by hand: the protocol's codecs over a plain stream, under the test's control."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received: list[Message] = []
        self._decoder = FrameDecoder()

    @classmethod
    async def dial(cls, address: Address) -> "RawPeer":
        return cls(*await asyncio.open_connection(address.host, address.port))

    async def read(self) -> bytes:
        """What has arrived; empty at the end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read(65_536)

    async def shake_hands(self, side: Handshake) -> None:
        """Raises ConnectionError when the other side hangs up."""
        self.writer.write(side.start())
        while not side.done:
            data = await self.read()
            if not data:
                raise ConnectionError("hung up during the handshake")
            self.writer.write(side.receive(data))

    async def receive(self, count: int) -> list[Message]:
        """The first `count` messages."""
        while len(self.received) < count:
            for messages in self._decoder.feed(await self.read()):
                self.received += messages
        return self.received[:count]

    async def hung_up(self) -> None:
        """Wait until the other side has closed the connection."""
        try:
            while await self.read():
                pass
        except ConnectionError:
            return

    async def close(self) -> None:
        self.writer.transport.abort()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


class FakeTransport(asyncio.Transport):
    """Keeps what is written; `unsent` of it counts as not yet taken by the peer."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__({"peername": (host, 40_000)})
        self.written: list[bytes] = []
        self.unsent_bytes = 0
        self.aborted = False
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data = b"".join(self.written)
        self.written.clear()
        return data


def fails(side: Handshake, data: bytes) -> str:
    """The complaint of a handshake about `data`; empty when it has none."""
    try:
        side.receive(data)
    except HandshakeError as error:
        return str(error)
    return ""


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something that no callback tells has come about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
