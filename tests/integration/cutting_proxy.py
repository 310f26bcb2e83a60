"""A TCP proxy in front of a node that cuts connections, often after the requests got through."""

import asyncio
from random import Random
from types import TracebackType

_CHUNK_BYTES = 64 << 10
_DEAF_MAX_S = 0.05


class _Link:
    """One connection, and the one behind it."""

    def __init__(self, client: asyncio.StreamWriter, node: asyncio.StreamWriter) -> None:
        self.client = client
        self.node = node
        self.deaf = False

    def cut(self) -> None:
        self.client.transport.abort()
        self.node.transport.abort()


class CuttingProxy:
    """Passes bytes on between `port` and `node_port`; an async context manager."""

    def __init__(self, port: int, node_port: int, rng: Random) -> None:
        self.port = port
        self.cuts = 0
        self.lost_answer_bytes = 0
        """Of answers that a node sent and no client got."""
        self._node_port = node_port
        self._rng = rng
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "CuttingProxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut_all(self) -> None:
        """Requests still pass for a moment, answers do not; then the connections break."""
        loop = asyncio.get_running_loop()
        for link in self._links:
            if not link.deaf:
                link.deaf = True
                self.cuts += 1
                loop.call_later(self._rng.uniform(0, _DEAF_MAX_S), link.cut)

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, client)
        finally:
            self._serving.discard(task)
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, node = await asyncio.open_connection("127.0.0.1", self._node_port)
        except OSError:
            return
        link = _Link(client, node)
        self._links.add(link)
        try:
            await asyncio.gather(self._requests(link, reader), self._answers(link, answers))
        finally:
            self._links.discard(link)
            link.cut()

    async def _requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            link.node.write(data)
        link.cut()

    async def _answers(self, link: _Link, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            if link.deaf:
                self.lost_answer_bytes += len(data)
            else:
                link.client.write(data)
        link.cut()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK_BYTES)
    except OSError:
        return b""
