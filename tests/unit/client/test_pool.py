"""The pool over channels made by the test."""

import asyncio
from dataclasses import dataclass, field

import pytest

from flo._endpoints import Endpoint
from flo._observe import ConnectFailed, Disconnected, Reporter
from flo._pool import SILENCE_MAX_S, Pool
from flo._tasks import TaskOwner
from flo._transport import Channel, LostCallback, Reply
from flo.exceptions import ConnectionFailedError
from flo.wire.messages import Body, CallContext, Ping
from tests.unit.client.witness import Witness

A, B, C = Endpoint("a", 1), Endpoint("b", 1), Endpoint("c", 1)


@dataclass(eq=False)
class FakeChannel:
    """Implements `Channel` without a wire."""

    endpoint: Endpoint
    peer: Endpoint
    on_lost: LostCallback
    congested: bool = False
    silence: float = 0.0
    closed_because: str = ""
    unanswered: int = 0
    pinged: int = 0

    @property
    def end_reason(self) -> str:
        return f"closed: {self.closed_because}"

    def send(self, body: Body, context: CallContext) -> asyncio.Future[Reply]:
        assert body == Ping(), "the pool asks for signs of life only"
        self.pinged += 1
        return asyncio.get_running_loop().create_future()

    async def writable(self) -> None:
        return

    def silence_s(self, now: float) -> float:
        return self.silence

    def close(self, reason: str) -> None:
        self.closed_because = reason
        self.on_lost(self)

    async def wait_closed(self) -> None:
        return


@dataclass
class FakeConnector:
    """Implements `Connector`: the addresses in `reachable` accept, at `peers` if given there."""

    reachable: set[Endpoint]
    peers: dict[Endpoint, Endpoint] = field(default_factory=dict[Endpoint, Endpoint])
    tried: list[Endpoint] = field(default_factory=list[Endpoint])
    channels: list[FakeChannel] = field(default_factory=list[FakeChannel])

    async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
        self.tried.append(endpoint)
        if endpoint not in self.reachable:
            raise ConnectionRefusedError(111, "refused")
        channel = FakeChannel(endpoint, self.peers.get(endpoint, endpoint), on_lost)
        self.channels.append(channel)
        return channel


class Setup:
    """A pool with everything it needs."""

    def __init__(self, endpoints: tuple[Endpoint, ...], connector: FakeConnector) -> None:
        self.tasks = TaskOwner()
        self.changes = 0
        self.witness = Witness()
        self.pool = Pool(
            endpoints, connector, self.tasks, self._changed, reporter=Reporter(self.witness)
        )

    def _changed(self) -> None:
        self.changes += 1

    async def __aenter__(self) -> "Setup":
        await self.tasks.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.close()
        await self.pool.close()


async def test_connects_to_what_works() -> None:
    async with Setup((A, B), FakeConnector({B})) as setup:
        await setup.pool.connect_first(2.0)
        assert setup.pool.connected
        assert setup.pool.channel_to(B) is not None
        assert "a:1" in setup.pool.describe_failures()
        assert setup.changes == 1


async def test_says_why_when_nothing_works() -> None:
    async with Setup((A, B), FakeConnector(set())) as setup:
        with pytest.raises(ConnectionFailedError, match=r"a:1 \(.*refused\), b:1 \(.*refused\)"):
            await setup.pool.connect_first(2.0)


async def test_one_connection_for_two_names_of_a_node() -> None:
    connector = FakeConnector({A, C}, peers={A: C})
    async with Setup((A,), connector) as setup:
        await setup.pool.connect_first(2.0)
        setup.pool.set_known([C])
        assert setup.pool.channel_to(C) is setup.pool.channel_to(A)
        assert await setup.pool.open(C) is setup.pool.channel_to(A)
        assert connector.tried == [A]
        setup.pool.note_round_trip(C, 0.5)
        (node,) = setup.pool.health(asyncio.get_running_loop().time())
        assert (node.endpoint, node.round_trip_ms) == ("a:1", 500)


async def test_a_node_that_could_not_be_reached_is_left_alone_for_a_while() -> None:
    connector = FakeConnector({A})
    async with Setup((A,), connector) as setup:
        await setup.pool.connect_first(2.0)
        setup.pool.set_known([B])
        with pytest.raises(ConnectionFailedError, match="b:1"):
            await setup.pool.open(B)
        assert setup.pool.channel_to(B) is None
        await asyncio.sleep(0)
        assert connector.tried == [A, B]


async def test_addresses_of_the_user_are_never_forgotten() -> None:
    async with Setup((A,), FakeConnector({A})) as setup:
        setup.pool.set_known([B])
        setup.pool.set_known([C])
        assert setup.pool.describe_failures() == "a:1 (not tried yet), c:1 (not tried yet)"


async def test_a_silent_node_is_given_up() -> None:
    connector = FakeConnector({A, B})
    async with Setup((A, B), connector) as setup:
        await setup.pool.open(A)
        await setup.pool.open(B)
        frozen, healthy = connector.channels
        frozen.silence = SILENCE_MAX_S + 0.1
        healthy.silence = SILENCE_MAX_S - 0.1
        setup.pool.drop_silent(0.0)
        assert "answered nothing" in frozen.closed_because
        assert setup.pool.any_channel() is healthy
        assert not healthy.closed_because
        # It may be well, with nothing but calls that wait: a sign of life tells.
        assert healthy.pinged == 1


async def test_a_retry_goes_to_another_node_if_there_is_one() -> None:
    connector = FakeConnector({A, B})
    async with Setup((A, B), connector) as setup:
        assert setup.pool.any_channel() is None
        first = await setup.pool.open(A)
        assert setup.pool.any_channel(avoid=first) is first
        second = await setup.pool.open(B)
        assert {setup.pool.any_channel(avoid=first) for _ in range(4)} == {second}
        assert {setup.pool.any_channel() for _ in range(4)} == {first, second}


async def test_waits_until_a_node_comes_back() -> None:
    connector = FakeConnector({A})
    async with Setup((A,), connector) as setup:
        await setup.pool.connect_first(2.0)
        connector.channels[0].close("cut")
        assert not setup.pool.connected
        await setup.pool.wait_ready()
        assert setup.pool.connected
        assert connector.tried == [A, A]


async def test_a_look_for_a_channel_while_the_client_closes_connects_nowhere() -> None:
    """The partition table's task may still run a step after `close` has begun."""
    connector = FakeConnector({A})
    tasks = TaskOwner()
    await tasks.start()
    pool = Pool([A], connector, tasks, lambda: None, reporter=Reporter())
    await tasks.close()
    assert pool.channel_to(A) is None
    assert connector.tried == []


async def test_pauses_between_tries_grow_while_somebody_waits() -> None:
    connector = FakeConnector(set())
    async with Setup((A,), connector) as setup:
        waiting = asyncio.create_task(setup.pool.wait_ready())
        failed = await setup.witness.until(ConnectFailed, 4)
        assert [event.failures for event in failed] == [1, 2, 3, 4]
        for event in failed:
            ceiling_ms = 20 * 2 ** (event.failures - 1)
            assert ceiling_ms / 2 <= event.retry_in_ms <= ceiling_ms
            assert (event.endpoint, event.cause) == ("a:1", "Connection refused")
        connector.reachable.add(A)
        await waiting
        (node,) = setup.pool.health(asyncio.get_running_loop().time())
        assert (node.connected, node.failures, node.last_error) == (True, 0, None)


async def test_nobody_who_waits_means_one_try() -> None:
    connector = FakeConnector(set())
    async with Setup((A, B), connector) as setup:
        with pytest.raises(ConnectionFailedError):
            await setup.pool.connect_first(2.0)
        assert connector.tried == [A, B]
        assert len(setup.witness.of(ConnectFailed)) == 2


async def test_a_lost_connection_is_told_with_its_cause_and_what_it_owed() -> None:
    connector = FakeConnector({A})
    async with Setup((A,), connector) as setup:
        channel = await setup.pool.open(A)
        assert channel is connector.channels[0]
        connector.channels[0].unanswered = 7
        channel.close("cut")
        (gone,) = setup.witness.of(Disconnected)
        assert gone == Disconnected("a:1", "closed: cut", 7)
        (node,) = setup.pool.health(asyncio.get_running_loop().time())
        assert (node.connected, node.failures, node.last_error) == (False, 1, "closed: cut")
        assert 0 < node.retry_in_s <= 0.02


async def test_closing_is_not_told_as_a_loss() -> None:
    setup = Setup((A,), FakeConnector({A}))
    async with setup:
        await setup.pool.open(A)
    assert not setup.witness.of(Disconnected)


async def test_a_connection_that_hangs_is_given_up_in_time() -> None:
    class Hanging:
        """Implements `Connector`; nothing ever accepts."""

        async def connect(self, endpoint: Endpoint, on_lost: LostCallback) -> Channel:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    tasks = TaskOwner()
    await tasks.start()
    pool = Pool([A], Hanging(), tasks, lambda: None, reporter=Reporter())
    with pytest.raises(ConnectionFailedError, match=r"a:1 \(no connection within 0\.01 s\)"):
        await pool.connect_first(0.01)
    await tasks.close()
