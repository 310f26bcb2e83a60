"""Two and more networks over loopback sockets: connecting, refusing, replacing, closing."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from cluster.addresses import Address
from cluster.peers.frames import PING, encode_frame
from cluster.peers.handshake import Role
from cluster.peers.identity import Identity, RefusalCode, Refused
from cluster.peers.link import Link, LinkLimits
from cluster.peers.network import ListenError, MessageTooLargeError, PeerNetwork
from cluster.peers.packing import pack_message
from cluster.peers.timers import ManualTimers
from tests.unit.peers.kit import (
    LISTENED_LATER,
    NOWHERE,
    PATIENCE_S,
    SECRET,
    FakeTransport,
    RawPeer,
    Recorder,
    acceptor,
    dialer,
    handshake,
    network,
    until,
)

REFUSAL = Refused(RefusalCode.OTHER_CLUSTER, "not one of us")


@asynccontextmanager
async def running(*networks: PeerNetwork) -> AsyncGenerator[None]:
    """Start them in order, close them whatever happens."""
    try:
        for each in networks:
            await each.start()
        yield
    finally:
        for each in networks:
            await each.close()


@asynccontextmanager
async def pair(one: Recorder, two: Recorder) -> AsyncGenerator[tuple[PeerNetwork, PeerNetwork]]:
    """Nodes 1 and 2, connected."""
    lower = network(1, one, {2: NOWHERE})
    async with running(lower):
        higher = network(2, two, {1: lower.listen_address})
        async with running(higher):
            await one.saw("connected", 2)
            await two.saw("connected", 1)
            yield lower, higher


@asynccontextmanager
async def raw_peer(address: Address) -> AsyncGenerator[RawPeer]:
    peer = await RawPeer.dial(address)
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def authenticated(address: Address, *, seed: int = 0) -> AsyncGenerator[RawPeer]:
    """Node 2 made by hand, dialed to node 1."""
    async with raw_peer(address) as peer:
        await peer.shake_hands(dialer(seed=seed))
        yield peer


def refuse(_: Identity) -> Refused:
    return REFUSAL


async def test_messages_travel_both_ways_in_order() -> None:
    one, two = Recorder(), Recorder()
    async with pair(one, two) as (lower, higher):
        assert one.calls == [("connected", 2, "client-2:9000")]
        assert two.calls == [("connected", 1, "client-1:9000")]
        assert higher.send(1, [1, "a"])
        assert higher.send(1, (2, b"b"))
        assert higher.send_packed(1, pack_message([3]))
        assert lower.send(2, [4])
        higher.flush()
        lower.flush()
        await one.saw("messages")
        await two.saw("messages")
        assert one.calls[1:] == [("messages", 2, [[1, "a"], [2, b"b"], [3]])]
        assert two.calls[1:] == [("messages", 1, [[4]])]


async def test_nothing_leaves_before_flush() -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower), authenticated(lower.listen_address) as peer:
        await one.saw("connected")
        lower.send(2, [1])
        lower.flush()
        lower.send(2, [2])
        assert await peer.receive(1) == [[1]]
        lower.flush()
        assert await peer.receive(2) == [[1], [2]]


async def test_a_turn_above_the_frame_limit_arrives_whole_and_in_order() -> None:
    one, two = Recorder(), Recorder()
    lower = network(1, one, {2: NOWHERE}, frame_bytes_max=1000)
    async with running(lower):
        higher = network(2, two, {1: lower.listen_address}, frame_bytes_max=1000)
        async with running(higher):
            await two.saw("connected")
            await one.saw("connected")
            for number in range(50):
                assert higher.send(1, [number, bytes(100)])
            higher.flush()
            await until(lambda: len(one.messages()) == 50)
            assert one.messages() == [[number, bytes(100)] for number in range(50)]
            assert one.count("messages") > 1


async def test_a_message_above_the_limit_is_the_callers_mistake() -> None:
    one, two = Recorder(), Recorder()
    async with pair(one, two) as (lower, higher):
        with pytest.raises(MessageTooLargeError, match="for node 1: the frame limit leaves"):
            higher.send(1, [1, bytes(16 << 20)])
        assert higher.send(1, [2])
        higher.flush()
        await one.saw("messages", 2, [[2]])
        assert lower.connected(2)


async def test_not_connected_is_said() -> None:
    lower = network(1, Recorder(), {2: NOWHERE})
    async with running(lower):
        assert not lower.connected(2)
        assert not lower.send(2, [1])
        assert not lower.send_packed(2, b"\x91\x01")
        assert not lower.send(7, [1])
        lower.flush()


async def test_three_nodes_dial_downwards_only() -> None:
    recorders = [Recorder() for _ in range(3)]
    first = network(1, recorders[0], {2: NOWHERE, 3: NOWHERE})
    async with running(first):
        second = network(2, recorders[1], {1: first.listen_address, 3: NOWHERE})
        async with running(second):
            peers = {1: first.listen_address, 2: second.listen_address}
            async with running(network(3, recorders[2], peers)):
                for recorder in recorders:
                    await recorder.saw("connected", times=2)
    assert all(recorder.count("connected") == 2 for recorder in recorders)


async def test_a_lost_connection_is_reported_at_once_and_dialed_again() -> None:
    one, two = Recorder(), Recorder()
    lower = network(1, one, {2: NOWHERE}, listen=Address(LISTENED_LATER, 0))
    await lower.start()
    address = lower.listen_address
    higher = network(2, two, {1: address})
    async with running(higher):
        await two.saw("connected")
        await lower.close()
        await two.saw("disconnected", 1)
        assert not higher.connected(1)
        again = network(1, Recorder(), {2: NOWHERE}, listen=address)
        async with running(again):
            await two.saw("connected", times=2)
            assert [call[0] for call in two.calls] == ["connected", "disconnected", "connected"]


async def test_every_loss_is_logged_even_for_the_same_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower):
        for count in (1, 2):
            async with authenticated(lower.listen_address, seed=count) as peer:
                await one.saw("connected", times=count)
                peer.writer.close()
                await one.saw("disconnected", times=count)
    assert caplog.messages == ["node 2: connection lost: it closed the connection"] * 2


async def test_a_newer_connection_replaces_the_older() -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower), authenticated(lower.listen_address) as old:
        await one.saw("connected")
        async with authenticated(lower.listen_address, seed=1) as new:
            await one.saw("connected", times=2)
            assert [call[0] for call in one.calls] == ["connected", "disconnected", "connected"]
            await old.hung_up()
            old.writer.write(encode_frame([pack_message([1])]))
            new.writer.write(encode_frame([pack_message([2])]))
            await one.saw("messages")
            assert lower.send(2, [3])
            lower.flush()
            assert await new.receive(1) == [[3]]
            await old.close()
        await one.saw("disconnected", times=2)
        assert one.messages() == [[2]]


async def test_a_silent_peer_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    one, timers = Recorder(), ManualTimers()
    lower = network(1, one, {2: NOWHERE}, timers=timers)
    async with running(lower), authenticated(lower.listen_address) as peer:
        await one.saw("connected")
        timers.advance(2.0)
        assert lower.connected(2)
        timers.advance(0.5)
        assert not lower.connected(2)
        await one.saw("disconnected", 2)
        await peer.hung_up()
        assert "node 2: connection lost: nothing was heard" in caplog.text


async def test_an_idle_link_is_pinged() -> None:
    one, timers = Recorder(), ManualTimers()
    lower = network(1, one, {2: NOWHERE}, timers=timers)
    async with running(lower), authenticated(lower.listen_address) as peer:
        await one.saw("connected")
        timers.advance(1.0)
        assert await peer.reader.readexactly(len(PING)) == PING
    assert one.messages() == []


async def test_a_peer_that_does_not_read_is_cut_off() -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE}, frame_bytes_max=1 << 20, unsent_bytes_max=2 << 20)
    async with running(lower), authenticated(lower.listen_address):
        await one.saw("connected")
        message = pack_message([1, bytes(1 << 19)])
        # The kernel's buffers take some of it; far from 200 times half a mebibyte.
        accepted = 0
        while accepted < 200 and lower.send_packed(2, message):
            lower.flush()
            accepted += 1
        assert 3 <= accepted < 200
        assert not lower.connected(2)
        assert one.count("disconnected") == 0, "callbacks never come out of send"
        await one.saw("disconnected", 2)


# Who is let in


async def test_another_secret_is_refused_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Recorder(), Recorder()
    pauses: list[float] = []

    def drawn_for_each_pause() -> float:
        pauses.append(0.5)
        return 0.5

    lower = network(1, one, {2: NOWHERE})
    async with running(lower):
        higher = network(
            2,
            two,
            {1: lower.listen_address},
            random=drawn_for_each_pause,
            secret=b"y" * 32,
        )
        async with running(higher):
            await until(lambda: len(pauses) == 5)
    for line in (
        "connection from 127.0.0.1: it does not know the cluster secret of this node",
        "node 1: it closed the connection (does it have the same cluster secret?)",
    ):
        assert caplog.messages.count(line) == 1
    assert one.calls == two.calls == []


async def test_the_acceptor_refuses_and_both_know_why(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Recorder(verify=refuse), Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await two.saw("refused", 1, REFUSAL)
        await until(lambda: "node 2: refused by this node: not one of us" in caplog.messages)
        assert caplog.messages.count("node 1: it refuses this node: not one of us") == 1
    assert one.calls == []
    assert two.calls == [("refused", 1, REFUSAL)]


async def test_the_dialer_refuses_and_both_know_why(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Recorder(), Recorder(verify=refuse)
    lower = network(1, one, {2: NOWHERE})
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await one.saw("refused", 2, REFUSAL)
        await until(lambda: "node 1: refused by this node: not one of us" in caplog.messages)
        assert caplog.messages.count("node 2: it refuses this node: not one of us") == 1
    assert one.calls == [("refused", 2, REFUSAL)]
    assert two.calls == []


async def test_a_refusal_is_told_again_when_its_reason_changes() -> None:
    reasons = [REFUSAL, REFUSAL, REFUSAL, Refused(RefusalCode.INCARNATION, "came back empty")]

    def verify(_: Identity) -> Refused:
        return reasons.pop(0) if len(reasons) > 1 else reasons[0]

    two = Recorder()
    lower = network(1, Recorder(verify=verify), {2: NOWHERE})
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await two.saw("refused", times=2)
    assert two.calls == [("refused", 1, REFUSAL), ("refused", 1, reasons[0])]


async def test_a_refused_node_is_let_in_once_the_reason_is_gone() -> None:
    refusals = 0

    def verify(_: Identity) -> Refused | None:
        nonlocal refusals
        refusals += 1
        return REFUSAL if refusals < 4 else None

    two = Recorder()
    lower = network(1, Recorder(verify=verify), {2: NOWHERE})
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await two.saw("connected", 1)
    assert [call[0] for call in two.calls] == ["refused", "connected"]


async def test_another_node_at_the_address_is_refused() -> None:
    two, three = Recorder(), Recorder()
    second = network(2, two, {1: NOWHERE, 3: NOWHERE})
    # Node 3 has the address of node 2 for that of node 1.
    async with running(second), running(network(3, three, {1: second.listen_address})):
        await two.saw("refused", 3)
    refused = Refused(
        RefusalCode.WRONG_NODE,
        "node 3 expected node 1 at the address where node 2 answers: correct the addresses in the "
        "member list",
    )
    assert two.calls == [("refused", 3, refused)]
    assert three.calls == []


@pytest.mark.parametrize(
    ("node_id", "code"), [(1, RefusalCode.WRONG_NODE), (9, RefusalCode.UNKNOWN_NODE)]
)
async def test_who_must_not_dial_is_refused(node_id: int, code: RefusalCode) -> None:
    recorder = Recorder()
    second = network(2, recorder, {1: NOWHERE, 3: NOWHERE})
    async with running(second), raw_peer(second.listen_address) as peer:
        side = handshake(Role.DIALER, node_id)
        await peer.shake_hands(side)
        assert side.refused_by_peer is not None
        assert side.refused_by_peer.code == code
        await peer.hung_up()
    assert recorder.calls == []


async def test_garbage_is_hung_up_on_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower):
        for _ in range(3):
            async with raw_peer(lower.listen_address) as stranger:
                stranger.writer.write(b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n")
                await stranger.hung_up()
        async with authenticated(lower.listen_address):
            await one.saw("connected")
    assert caplog.messages[:1] == ["connection from 127.0.0.1: it does not speak the peer protocol"]
    assert caplog.text.count("does not speak") == 1


async def test_a_handshake_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    timers = ManualTimers()
    lower = network(1, Recorder(), {2: NOWHERE}, timers=timers)
    async with running(lower), raw_peer(lower.listen_address) as peer:
        peer.writer.write(dialer().start())
        await peer.reader.readexactly(48)
        timers.advance(4.9)
        assert caplog.messages == []
        timers.advance(0.2)
        await peer.hung_up()
    assert caplog.messages == ["connection from 127.0.0.1: the handshake took more than 5.0 s"]


async def test_an_established_link_has_no_deadline() -> None:
    one, two, timers = Recorder(), Recorder(), ManualTimers()
    lower = network(1, one, {2: NOWHERE}, timers=timers)
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await one.saw("connected")
        assert timers.pending == 1  # the ticking


async def test_unauthenticated_connections_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE}, unauthenticated_max=2)
    async with running(lower):
        waiting = [await RawPeer.dial(lower.listen_address) for _ in range(2)]
        for each in waiting:
            each.writer.write(dialer().start())
            await each.reader.readexactly(48)
        async with raw_peer(lower.listen_address) as third:
            await third.hung_up()
        assert "too many connections are waiting" in caplog.text
        await waiting.pop().close()
        await until(lambda: len(caplog.messages) == 2)
        async with authenticated(lower.listen_address):
            await one.saw("connected")
        await waiting.pop().close()


async def test_without_a_secret_loopback_peers_are_let_in() -> None:
    one, two = Recorder(), Recorder()
    lower = network(1, one, {2: NOWHERE}, secret=None)
    async with running(lower), running(network(2, two, {1: lower.listen_address}, secret=None)):
        await one.saw("connected")
        await two.saw("connected")


def test_without_a_secret_nobody_else_is_let_in(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    for secret, host, let_in in (
        (None, "10.0.0.7", False),
        (None, "127.0.0.1", True),
        (SECRET, "10.0.0.7", True),
    ):
        owner = network(1, recorder, {2: NOWHERE}, timers=ManualTimers(), secret=secret)
        limits = LinkLimits(1000, 1000, 4)
        link = Link(acceptor(), owner, recorder.on_messages, limits, expected_id=0)
        transport = FakeTransport(host)
        link.connection_made(transport)
        link.data_received(dialer().start())
        link.connection_lost(None)
        assert transport.aborted is not let_in
        assert bool(transport.written) is let_in
    assert (
        "connection from 10.0.0.7: it is not on the loopback interface, and without a"
        in (caplog.messages[0])
    )


async def test_a_broken_frame_breaks_the_link(caplog: pytest.LogCaptureFixture) -> None:
    one = Recorder()
    lower = network(1, one, {2: NOWHERE})
    async with running(lower), authenticated(lower.listen_address) as peer:
        await one.saw("connected")
        peer.writer.write(b"\xff" * 100)
        await one.saw("disconnected", 2)
        await peer.hung_up()
    assert "node 2: connection lost: frame of 4294967295 bytes" in caplog.text
    assert [call[0] for call in one.calls] == ["connected", "disconnected"]


# Starting and stopping


async def test_an_occupied_address_is_explained() -> None:
    lower = network(1, Recorder(), {2: NOWHERE})
    async with running(lower):
        other = network(1, Recorder(), {2: NOWHERE}, listen=lower.listen_address)
        expected = f"peer address {lower.listen_address} is already in use: stop the process"
        with pytest.raises(ListenError, match=expected):
            await other.start()
        await other.close()


async def test_an_address_of_another_machine_is_explained() -> None:
    lower = network(1, Recorder(), {2: NOWHERE}, listen=Address("203.0.113.7", 0))
    with pytest.raises(ListenError, match=r"cannot listen on peer address 203.0.113.7:0"):
        await lower.start()
    await lower.close()


async def test_an_unreachable_peer_is_logged_once_and_dialed_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server((LISTENED_LATER, 0)) as reserved:
        address = Address(*reserved.getsockname())
    two = Recorder()
    async with running(network(2, two, {1: address})):
        await until(lambda: bool(caplog.messages))
        async with running(network(1, Recorder(), {2: NOWHERE}, listen=address)):
            await two.saw("connected", 1)
            assert len(caplog.messages) == 1
            assert f"node 1: cannot connect to {address}" in caplog.messages[0]


async def test_a_name_that_is_no_host_name_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running(network(2, Recorder(), {1: Address("a" * 64 + ".invalid", 1)})):
        await until(lambda: bool(caplog.messages))
    assert "node 1: cannot connect to" in caplog.text


async def test_close_leaves_nothing_running_and_calls_nobody() -> None:
    one, two, timers = Recorder(), Recorder(), ManualTimers()
    lower = network(1, one, {2: NOWHERE}, timers=timers)
    await lower.start()
    address = lower.listen_address
    higher = network(2, two, {1: address}, timers=timers)
    await higher.start()
    await two.saw("connected")
    await one.saw("connected")
    idle = await RawPeer.dial(address)
    idle.writer.write(dialer(seed=3).start())
    await idle.reader.readexactly(48)
    higher.send(1, [1])
    await higher.close()
    await lower.close()
    assert timers.pending == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not higher.connected(1)
    assert not higher.send(1, [1])
    assert two.calls == [("connected", 1, "client-1:9000")]
    await idle.hung_up()
    await idle.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(address.host, address.port)


async def test_close_ends_a_dial_in_progress() -> None:
    # A full backlog: the connection attempt neither fails nor succeeds.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = Address(*full.getsockname())
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        higher = network(2, Recorder(), {1: address})
        await higher.start()
        await asyncio.sleep(0)
        await higher.close()
        for filler in fillers:
            filler.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_at_any_moment_of_dialing_ends() -> None:
    lower = network(1, Recorder(verify=refuse), {2: NOWHERE})
    async with running(lower):
        for turns in range(30):
            higher = network(2, Recorder(), {1: lower.listen_address})
            await higher.start()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                await higher.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_first_flush_after_connecting_may_come_from_on_connected() -> None:
    class Greeter(Recorder):
        def on_connected(self, node_id: int, client_address: str) -> None:
            super().on_connected(node_id, client_address)
            assert lower.send(node_id, [5, "welcome"])
            lower.flush()

    two = Recorder()
    lower = network(1, Greeter(), {2: NOWHERE})
    async with running(lower), running(network(2, two, {1: lower.listen_address})):
        await two.saw("messages", 1, [[5, "welcome"]])
