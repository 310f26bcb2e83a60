"""Who is cut off for reading slowly, and who is not: a connection without a socket."""

import asyncio
from collections.abc import Callable
from typing import cast

from cluster.client_connection import ClientConnection
from cluster.config import Limits
from cluster.gateway import Gateway
from cluster.router import Router
from tests.unit.node.gateway_kit import ScriptedRouter, get

STALL_S = 30.0


class FakeTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Runs what is due only when told."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.timers: list[FakeTimer] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeTimer:
        assert seconds == STALL_S
        timer = FakeTimer(callback)
        self.timers.append(timer)
        return timer

    def run_soon(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def pass_stall_time(self) -> None:
        timers, self.timers = self.timers, []
        for timer in timers:
            if not timer.cancelled:
                timer.callback()


class FakeTransport(asyncio.Transport):
    """What is written stays unsent until `take`."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


class Stalled:
    """A client with unread answers of 10 MiB, whose transport has asked to write no more."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.router = ScriptedRouter()
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        limits = Limits(connection_stall_s=STALL_S)
        self.gateway = Gateway(cast(Router, self.router), limits, loop)
        self.transport = FakeTransport()
        self.connection = ClientConnection(self.gateway)
        self.connection.connection_made(self.transport)
        self.connection.received(get(1))
        self.router.answer_all()
        self.transport.unsent = 10 << 20
        self.connection.pause_writing()
        self.loop.run_soon()


def test_nothing_is_read_from_a_client_that_does_not_read() -> None:
    client = Stalled()
    assert not client.transport.reading
    client.connection.received(get(2))
    assert client.router.seen == 1
    client.transport.unsent = 0
    client.connection.resume_writing()
    assert client.router.seen == 2
    assert client.transport.reading


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    client = Stalled()
    client.loop.pass_stall_time()
    assert client.transport.aborted


def test_a_client_that_takes_next_to_nothing_is_cut_off() -> None:
    client = Stalled()
    client.transport.unsent -= 100
    client.loop.pass_stall_time()
    assert client.transport.aborted


def test_a_slow_client_that_goes_on_reading_is_kept() -> None:
    client = Stalled()
    for _ in range(5):
        client.transport.unsent -= 1 << 20
        client.loop.pass_stall_time()
        assert not client.transport.aborted
    client.loop.pass_stall_time()
    assert client.transport.aborted


def test_a_client_that_has_caught_up_is_not_watched_any_more() -> None:
    client = Stalled()
    client.transport.unsent = 0
    client.connection.resume_writing()
    client.loop.pass_stall_time()
    assert not client.transport.aborted


def test_a_connection_that_is_gone_is_not_watched_any_more() -> None:
    client = Stalled()
    client.connection.connection_lost(None)
    client.loop.pass_stall_time()
    assert not client.transport.aborted
    assert client.gateway.connection_count == 0
