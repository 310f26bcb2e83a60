"""A closed loop over connections that speak any protocol.

Requests are encoded before the measurement and answers only cut at their boundaries, so that
this costs less CPU than a client library would. Each connection keeps its share of the operations
outstanding, and begins the next one when one ends.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TypeVar, cast

from bench.dialogues import RanDryError
from bench.window import Sample, Window, measure

_RequestT = TypeVar("_RequestT")
_LinkT = TypeVar("_LinkT", bound="Link")


class LostError(ConnectionError):
    """A server closed the connection, or said what nobody understands."""


class Link(asyncio.Protocol):
    """One connection; each protocol has its own."""

    def __init__(self, sample: Sample) -> None:
        loop = asyncio.get_running_loop()
        self.sample = sample
        self.ready: asyncio.Future[None] = loop.create_future()
        """Ends when operations may begin."""
        self.lost: asyncio.Future[None] = loop.create_future()
        """Ends when the connection has ended."""
        self.error: Exception | None = None
        self.rest = b""
        """The beginning of an answer that is not whole yet."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = self.error or exc
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.error is not None:
            return
        try:
            self.take(self.rest + data if self.rest else data)
        except (LostError, RanDryError, ValueError, LookupError) as error:
            self.error = error
            self.transport.abort()

    def greet(self) -> None:
        """What a client says first, or `welcome` where nothing need be said."""
        raise NotImplementedError

    def welcome(self) -> None:
        """From here on operations may begin."""
        if not self.ready.done():
            self.ready.set_result(None)

    def take(self, data: bytes) -> None:
        """Cuts `data` into answers, and keeps the beginning of the next one in `rest`.

        Raises LostError, RanDryError, ValueError or LookupError when there is no going on.
        """
        raise NotImplementedError

    def begin(self, count: int) -> None:
        """Begins so many operations, or as many as are left."""
        raise NotImplementedError


def forever(requests: Sequence[_RequestT], seed: int) -> Iterator[_RequestT]:
    """In an order of its own, again and again."""
    shuffled = list(requests)
    Random(seed).shuffle(shuffled)
    return itertools.cycle(shuffled)


async def connect(port: int, makes: Sequence[Callable[[], _LinkT]]) -> list[_LinkT]:
    """Connections on which operations may begin. Raises LostError, and OSError."""
    loop = asyncio.get_running_loop()
    links: list[_LinkT] = []
    try:
        for make in makes:
            _, link = await loop.create_connection(make, "127.0.0.1", port)
            links.append(link)
            await asyncio.wait([link.ready, link.lost], return_when="FIRST_COMPLETED")
            if link.lost.done():
                raise LostError(f"the server refused a connection: {link.error}")
    except BaseException:
        await close(links)
        raise
    return links


async def close(links: Sequence[Link]) -> None:
    """Ends them, whatever they wait for."""
    for link in links:
        link.transport.abort()
    if links:
        await asyncio.wait([link.lost for link in links])


async def drive(
    links: Sequence[Link],
    outstanding: int,
    window: Window,
    cpu_seconds: Callable[[], float],
) -> Sample:
    """Keeps `outstanding` operations under way, and returns what the window saw of them.

    All links note what they see in the same sample; they are closed at the end. Raises LostError
    when a connection ends, and RanDryError when nothing is left to be taken.
    """
    try:
        for link, share in zip(links, shares(outstanding, len(links)), strict=True):
            link.begin(share)

        async def pause(seconds: float) -> None:
            await _watch(links, seconds)

        return await measure(links[0].sample, window, cpu_seconds, pause)
    finally:
        await close(links)


async def send_all(links: Sequence[Link], total: int, outstanding: int) -> None:
    """Waits until the links, whose requests end, have had `total` answers; then closes them.

    Raises LostError when a request is refused.
    """
    sample = links[0].sample
    try:
        for link, share in zip(links, shares(outstanding, len(links)), strict=True):
            link.begin(share)
        while len(sample.latencies) < total:
            if sample.errors:
                raise LostError(f"{sample.errors} requests were refused before the measurement")
            await _watch(links, 0.02)
    finally:
        await close(links)


def shares(outstanding: int, links: int) -> list[int]:
    """As even as can be."""
    least, more = divmod(outstanding, links)
    return [least + (number < more) for number in range(links)]


async def _watch(links: Sequence[Link], seconds: float) -> None:
    await asyncio.wait(
        [link.lost for link in links], timeout=seconds, return_when="FIRST_COMPLETED"
    )
    for link in links:
        if isinstance(link.error, RanDryError):
            raise RanDryError from link.error
        if link.lost.done():
            raise LostError(f"a server ended a connection: {link.error}") from link.error
