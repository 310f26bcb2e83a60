"""The clients' side of a node: it listens, and keeps connections and their bounds."""

import asyncio
import os
import resource
import sys
from typing import TYPE_CHECKING

from cluster.client_connection import ClientConnection
from cluster.intake import READ_BYTES, Intake
from cluster.room import Room

if TYPE_CHECKING:
    from cluster.client_answers import ClientAnswers
    from cluster.config import Limits
    from cluster.router import Router

_LINGERING_MAX = 64
_FILES_KEPT = 128
"""Files that the node may still want to open when all client connections are there."""


class Gateway:
    """Listens for clients and keeps their connections."""

    def __init__(self, router: "Router", limits: "Limits", loop: asyncio.AbstractEventLoop) -> None:
        self.router = router
        self.limits = limits
        self.loop = loop
        self.intake = Intake(
            loop, bytes_max=limits.requests_bytes_max, stall_s=limits.connection_stall_s
        )
        self.answers = Room(limits.answers_bytes_max)
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self._connections: set[ClientConnection] = set()
        self._connections_max = limits.connections_max
        self._lingering: set[ClientConnection] = set()
        self._to_flush: list[ClientAnswers] = []
        self._unsent: set[ClientAnswers] = set()
        """Of which something may wait to be read."""
        self._has_counted = False
        """Since the last flush."""
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._all_gone = asyncio.Event()

    async def listen(self, host: str, port: int) -> int:
        """Starts to accept clients, returns the port. OSError when the address is taken."""
        self._connections_max = min(self.limits.connections_max, _files_left())
        self._server = await self.loop.create_server(lambda: ClientConnection(self), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops accepting, and closes every connection once what runs is answered and read.

        Connections that are not done after `connection_close_s` are cut off.
        """
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            try:
                async with asyncio.timeout(self.limits.connection_close_s):
                    await self._all_gone.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    def admit(self, connection: ClientConnection) -> str | None:
        """Why the connection is turned away; None when it is welcome."""
        if self._stopping:
            return "this node is stopping"
        if len(self._connections) >= self._connections_max:
            return "this node has too many connections"
        self._connections.add(connection)
        return None

    def dismiss(self, connection: ClientConnection, answers: "ClientAnswers") -> None:
        """The connection is gone."""
        self._unsent.discard(answers)
        self._connections.discard(connection)
        self._lingering.discard(connection)
        if self._stopping and not self._connections:
            self._all_gone.set()

    def may_linger(self, connection: ClientConnection) -> bool:
        """Whether one more client that is turned away is given time to hear why."""
        if len(self._lingering) >= _LINGERING_MAX:
            return False
        self._lingering.add(connection)
        return True

    def has_room(self, nbytes: int) -> bool:
        """Whether an answer of so many bytes may wait for its client."""
        if not self.answers.has(nbytes) and not self._has_counted:
            # What was sent since is only seen by asking; once in a while that is worth it.
            self._has_counted = True
            self._unsent = {each for each in self._unsent if each.count()}
        return self.answers.has(nbytes)

    def flush_later(self, answers: "ClientAnswers") -> None:
        """Answers made in one pass of the loop share a write."""
        if not self._to_flush:
            self.loop.call_soon(self._flush)
        self._to_flush.append(answers)
        self._unsent.add(answers)

    def _flush(self) -> None:
        self._has_counted = False
        to_flush, self._to_flush = self._to_flush, []
        for answers in to_flush:
            answers.flush()


def allow_files() -> None:
    """Every connection is an open file; many systems give a process few unless it asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _files_left() -> int:
    """How many connections the process may open, with some files left for the node itself."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, most - len(os.listdir("/dev/fd")) - _FILES_KEPT)
