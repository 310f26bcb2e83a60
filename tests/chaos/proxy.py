"""A TCP link that can be cut, in one direction or both, silently or with a refusal."""

import asyncio
from contextlib import suppress

_CHUNK_BYTES = 1 << 16


class Direction:
    """One way of a link. Cut, it holds what is sent, as TCP does when its packets are lost."""

    def __init__(self) -> None:
        self.passed = 0
        self.held = 0
        """Bytes that were sent into a cut, once for each connection."""
        self._open = asyncio.Event()
        self._open.set()

    def __str__(self) -> str:
        state = "open" if self._open.is_set() else "cut"
        return f"{state}, {self.passed} bytes passed, {self.held} held"

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def has_held_more_than(self, count: int) -> bool:
        return self.held > count

    async def admit(self, count: int) -> None:
        """Returns when so many bytes may go on."""
        if not self._open.is_set():
            self.held += count
            await self._open.wait()
        self.passed += count


class Link:
    """Listens on a port of its own for connections to another one on this machine."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.forward = Direction()
        """From those who connect."""
        self.backward = Direction()
        self.refused = 0
        """Connections ended or turned away by `refuse`."""
        self._target_port = target_port
        self._refusing = False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def __str__(self) -> str:
        return (
            f"{len(self._connections)} connections, forward {self.forward}, backward"
            f" {self.backward}, {self.refused} refused"
        )

    async def open(self) -> None:
        """Begins to listen; `port` says where."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Ends everything."""
        assert self._server is not None
        self._server.close()
        self._end_connections()
        while self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    def refuse(self) -> None:
        """Ends the connections, and turns new ones away, until `accept`."""
        self._refusing = True
        self.refused += len(self._connections)
        self._end_connections()

    def accept(self) -> None:
        self._refusing = False

    def _end_connections(self) -> None:
        for task in self._connections:
            task.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The task belongs to asyncio, which reports a cancelled one to nobody: this one is ours.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        await asyncio.wait((task,))
        self._connections.discard(task)
        if not task.cancelled():
            task.result()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target: asyncio.StreamWriter | None = None
        try:
            if self._refusing:
                self.refused += 1
                return
            answers, target = await asyncio.open_connection("127.0.0.1", self._target_port)
            pumps = {
                asyncio.ensure_future(_pump(reader, target, self.forward)),
                asyncio.ensure_future(_pump(answers, writer, self.backward)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.wait(pumps)
            # What was read is still to arrive: not so when this task is cancelled.
            await _close(writer, target)
        except OSError:
            return  # nobody listens there: the other side sees its connection end
        finally:
            for each in (writer, target):
                if each is not None:
                    each.transport.abort()


async def _close(*writers: asyncio.StreamWriter) -> None:
    for each in writers:
        each.close()
    for each in writers:
        with suppress(OSError):
            await each.wait_closed()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
) -> None:
    """Until one side ends; what is held by a cut then is lost."""
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            await direction.admit(len(data))
            writer.write(data)
            await writer.drain()
        # An end is news too: it does not pass a cut.
        await direction.admit(0)
