"""The links of the chaos runs do what is said of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from tests.chaos.faults import until
from tests.chaos.proxy import Link


class Echo:
    """Sends back in capitals what it reads."""

    def __init__(self) -> None:
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                self.heard += data
                writer.write(data.upper())
        writer.close()


@asynccontextmanager
async def linked_echo() -> AsyncGenerator[tuple[Link, Echo]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    link = Link(server.sockets[0].getsockname()[1])
    await link.open()
    try:
        yield link, echo
    finally:
        await link.close()
        server.close()
        await server.wait_closed()


async def until_held(link: Link) -> None:
    await until("bytes are held", lambda: link.forward.held + link.backward.held > 0)


async def test_a_cut_holds_what_is_sent_and_lets_it_go_when_healed() -> None:
    async with linked_echo() as (link, echo):
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"ONE"
        link.forward.cut()
        writer.write(b"two")
        await until_held(link)
        assert (link.forward.passed, link.forward.held) == (3, 3)
        assert echo.heard == b"one"
        link.forward.heal()
        assert await reader.readexactly(3) == b"TWO"
        writer.close()
        await writer.wait_closed()


async def test_a_cut_of_the_way_back_lets_the_way_there_pass() -> None:
    async with linked_echo() as (link, echo):
        link.backward.cut()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        await until_held(link)
        assert echo.heard == b"one"
        assert link.forward.held == 0
        link.backward.heal()
        assert await reader.readexactly(3) == b"ONE"
        writer.close()
        await writer.wait_closed()


async def test_a_refusal_ends_connections_and_turns_others_away() -> None:
    async with linked_echo() as (link, _):
        old, old_writer = await asyncio.open_connection("127.0.0.1", link.port)
        old_writer.write(b"one")
        assert await old.readexactly(3) == b"ONE"
        link.refuse()
        assert await ended(old)
        new, new_writer = await asyncio.open_connection("127.0.0.1", link.port)
        assert await ended(new)
        assert link.refused == 2
        for writer in (old_writer, new_writer):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        link.accept()
        again, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"two")
        assert await again.readexactly(3) == b"TWO"
        writer.close()
        await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except OSError:
        return True
