"""A gateway with a router that answers when the test says so, and clients of it."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

from cluster.config import Limits
from cluster.gateway import Gateway
from cluster.operation import Answer
from cluster.router import DoneCallback, Router
from flo.wire.connection import Request, encode_request
from flo.wire.frames import HEADER_BYTES, RESPONSE_HEADER
from flo.wire.messages import CallContext, KvGet, Value
from flo.wire.registry import OPS

GET = OPS[0x101]
OWN_CLIENT = CallContext(deadline_ms=1000)


class ScriptedRouter:
    """Keeps requests, in the order they were run; answers at once when `answer` is set."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, DoneCallback]] = []
        self.answer: Callable[[Request], Answer] | None = None
        self.seen = 0

    def run(self, request: Request, done: DoneCallback) -> None:
        self.seen += 1
        if self.answer is not None:
            done(self.answer(request))
        else:
            self.waiting.append((request, done))

    def answer_all(self, *, backwards: bool = False) -> None:
        """A value that names its key to everything that waits."""
        waiting, self.waiting = self.waiting, []
        for request, done in reversed(waiting) if backwards else waiting:
            done(echo(request))


def echo(request: Request) -> Answer:
    return Value(1, cast(KvGet, request.body).key)


def get(request_id: int, *, revision: int = 1, own: bool = False) -> bytes:
    """A request frame whose answer names the request."""
    body = KvGet(b"default", b"%d" % request_id)
    return encode_request(revision, request_id, GET, body, OWN_CLIENT if own else None)


class Frame(NamedTuple):
    """One answer."""

    request_id: int
    revision: int
    status: int
    data: bytes


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def abort(self) -> None:
        """Resets the connection; a mere close could be a client that still reads."""
        connection = cast(socket.socket, self.writer.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read(self) -> Frame | None:
        """The next answer; None at the end."""
        try:
            header = await self.reader.readexactly(HEADER_BYTES)
        except ConnectionResetError:
            return None
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise
            return None
        _, length, request_id, _, revision, status, *_ = cast(
            "tuple[int, ...]", RESPONSE_HEADER.unpack(header)
        )
        return Frame(request_id, revision, status, await self.reader.readexactly(length))

    async def read_ids(self, count: int) -> list[int]:
        frames = [await self.read() for _ in range(count)]
        return [frame.request_id for frame in frames if frame is not None]

    async def read_all_ids(self) -> list[int]:
        """The ids of all answers until the connection ends."""
        ids: list[int] = []
        while (frame := await self.read()) is not None:
            ids.append(frame.request_id)
        return ids


class Served:
    """A gateway that listens, and its clients."""

    def __init__(self, limits: Limits) -> None:
        self.router = ScriptedRouter()
        loop = asyncio.get_running_loop()
        self.gateway = Gateway(cast(Router, self.router), limits, loop)
        self.clients: list[Client] = []
        self.port = 0

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def waits_for(self, count: int) -> None:
        """Returns when so many requests are unanswered."""
        await until(lambda: len(self.router.waiting) == count)


@asynccontextmanager
async def served(limits: Limits | None = None) -> AsyncGenerator[Served]:
    served = Served(limits or Limits(connection_close_s=0.01))
    served.port = await served.gateway.listen("127.0.0.1", 0)
    try:
        yield served
    finally:
        for client in served.clients:
            client.writer.transport.abort()
        await served.gateway.close()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something that no callback tells has come about."""
    while not condition():  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0)
