"""A link over a fake transport: queues, limits and silence."""

import asyncio

import pytest

from cluster.peers.frames import PING, encode_frame
from cluster.peers.link import Link, LinkLimits
from cluster.peers.packing import ITEMS_MAX, Message, pack_message
from tests.unit.peers.kit import FakeTransport, acceptor, dialer

LIMITS = LinkLimits(frame_bytes_max=103, unsent_bytes_max=400, silent_ticks_max=4)
SMALL = pack_message([1])


class Owner:
    """Records what a link tells."""

    def __init__(self, objection: str | None = None) -> None:
        self.events: list[str] = []
        self.received: list[list[Message]] = []
        self._objection = objection

    def link_opened(self, link: Link) -> str | None:
        self.events.append(f"opened {link.host}")
        return self._objection

    def link_established(self, link: Link) -> None:
        self.events.append(f"established {link.node_id} {link.client_address}")

    def link_closed(self, link: Link) -> None:
        self.events.append(f"closed: {link.reason}")

    def on_messages(self, node_id: int, messages: list[Message]) -> None:
        assert node_id == 2
        self.received.append(messages)


def opened(owner: Owner) -> tuple[Link, FakeTransport]:
    transport = FakeTransport()
    link = Link(acceptor(), owner, owner.on_messages, LIMITS, expected_id=0)
    link.connection_made(transport)
    return link, transport


def established(owner: Owner, *, followed_by: bytes = b"") -> tuple[Link, FakeTransport]:
    link, transport = opened(owner)
    peer = dialer()
    link.data_received(peer.start())
    link.data_received(peer.receive(transport.take()))
    link.data_received(peer.receive(transport.take()) + followed_by)
    transport.take()
    return link, transport


def test_a_link_tells_its_owner_what_happens() -> None:
    owner = Owner()
    link, transport = established(owner)
    link.connection_lost(ConnectionResetError("reset"))
    assert owner.events == ["opened 127.0.0.1", "established 2 client-2:9000", "closed: reset"]
    assert not transport.aborted
    assert link.closed.is_set()


def test_what_waits_when_the_connection_is_lost_is_not_written() -> None:
    """uvloop raises for a write to a lost connection, and the node stopped."""
    link, transport = established(Owner())
    assert link.enqueue(SMALL)
    link.connection_lost(None)
    link.flush()
    assert transport.written == []


def test_frames_behind_the_handshake_are_delivered() -> None:
    owner = Owner()
    established(owner, followed_by=encode_frame([SMALL]) + PING + encode_frame([SMALL])[:-1])
    assert owner.received == [[[1]]]


def test_an_objection_of_the_owner_closes_before_anything_is_said() -> None:
    owner = Owner(objection="not you")
    link, transport = opened(owner)
    assert transport.aborted
    link.data_received(dialer().start())
    assert transport.written == []
    assert link.reason == "not you"


def test_what_is_queued_in_one_turn_is_one_frame_in_one_write() -> None:
    link, transport = established(Owner())
    assert link.enqueue(SMALL)
    assert link.enqueue(SMALL)
    assert transport.written == []
    link.flush()
    link.flush()
    assert transport.written == [encode_frame([SMALL, SMALL])]


def test_a_turn_above_the_frame_limit_takes_several_frames() -> None:
    link, transport = established(Owner())
    messages = [bytes([0xC4, 38]) + bytes([i]) * 38 for i in range(5)]
    for message in messages:
        assert link.enqueue(message)
    link.flush()
    assert transport.written == [
        encode_frame(messages[:2]),
        encode_frame(messages[2:4]),
        encode_frame(messages[4:]),
    ]


def test_a_turn_of_very_many_messages_takes_several_frames() -> None:
    limits = LinkLimits(1 << 20, 1 << 20, 4)
    transport = FakeTransport()
    owner = Owner()
    link = Link(acceptor(), owner, owner.on_messages, limits, expected_id=0)
    link.connection_made(transport)
    for _ in range(ITEMS_MAX + 1):
        assert link.enqueue(SMALL)
    link.flush()
    assert len(transport.written) == 2


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    link, transport = established(Owner())
    transport.unsent_bytes = 390
    assert link.enqueue(bytes(10))
    assert not link.enqueue(b"x")
    assert transport.aborted
    assert link.closing
    assert link.reason == "more than 400 bytes wait for it"
    link.flush()
    assert transport.written == []


def test_room_is_measured_anew_each_turn() -> None:
    link, transport = established(Owner())
    for _ in range(20):
        assert link.enqueue(bytes(90))
        link.flush()
    assert not transport.aborted
    transport.unsent_bytes = 320
    assert not link.enqueue(bytes(90))


def test_a_bad_frame_closes_the_link_and_delivers_nothing_more() -> None:
    owner = Owner()
    link, transport = established(owner)
    link.data_received(encode_frame([SMALL])[:-1] + b"?")
    assert transport.aborted
    assert link.reason == "frame with a wrong checksum"
    link.data_received(encode_frame([SMALL]))
    assert owner.received == []


def test_leftovers_of_a_dropped_link_are_not_delivered() -> None:
    owner = Owner()
    link, _ = established(owner)
    link.drop("replaced")
    link.data_received(encode_frame([SMALL]))
    assert owner.received == []


def test_a_link_closed_by_a_message_delivers_no_further_one() -> None:
    class Closing(Owner):
        def on_messages(self, node_id: int, messages: list[Message]) -> None:
            super().on_messages(node_id, messages)
            link.drop("enough")

    owner = Closing()
    link, _ = established(owner)
    link.data_received(encode_frame([SMALL]) * 3)
    assert len(owner.received) == 1


def test_the_first_reason_stays() -> None:
    link, _ = established(Owner())
    link.drop("first")
    link.drop("second")
    link.connection_lost(None)
    assert link.reason == "first"


def test_a_silent_link_is_closed() -> None:
    link, transport = established(Owner())
    for _ in range(4):
        link.tick()
    assert not transport.aborted
    link.tick()
    assert transport.aborted
    assert "nothing was heard" in link.reason
    transport.take()
    link.tick()
    assert transport.written == []


def test_any_byte_shows_that_a_peer_lives() -> None:
    link, transport = established(Owner())
    frame = encode_frame([SMALL])
    for position in range(len(frame)):
        for _ in range(4):
            link.tick()
        link.data_received(frame[position : position + 1])
    assert not transport.aborted


def test_pings_go_out_on_an_idle_link_only() -> None:
    link, transport = established(Owner())
    link.tick()
    assert transport.take() == b""  # the handshake was sent within this interval
    link.tick()
    assert transport.take() == PING
    link.enqueue(SMALL)
    link.flush()
    transport.take()
    link.tick()
    assert transport.take() == b""
    link.tick()
    assert transport.take() == PING


def test_two_idle_links_keep_each_other_alive() -> None:
    links: list[tuple[Link, FakeTransport]] = []
    for side, expected_id in ((dialer(), 1), (acceptor(), 0)):
        owner, transport = Owner(), FakeTransport()
        link = Link(side, owner, owner.on_messages, LIMITS, expected_id=expected_id)
        link.connection_made(transport)
        links.append((link, transport))
    (one, sent_by_one), (other, sent_by_other) = links
    for _ in range(40):
        for link, _ in links:
            if link.established:
                link.tick()
        other.data_received(sent_by_one.take())
        one.data_received(sent_by_other.take())
    assert one.established
    assert other.established
    assert not one.closing
    assert not other.closing


@pytest.mark.parametrize("count", [1, 47, 48, 300])
def test_garbage_instead_of_a_handshake_closes(count: int) -> None:
    owner = Owner()
    link, transport = opened(owner)
    link.data_received(b"\x00" * count)
    assert transport.aborted == (count >= 48)
    assert transport.written == []


def test_a_lost_connection_without_an_error_is_one_the_peer_closed() -> None:
    link, _ = established(Owner())
    link.connection_lost(None)
    assert link.reason == "it closed the connection"


def test_what_was_queued_in_the_turn_of_the_loss_is_not_written() -> None:
    link, transport = established(Owner())
    assert link.enqueue(SMALL)
    link.connection_lost(ConnectionResetError("reset"))
    link.flush()
    assert transport.written == []


def test_the_link_is_an_asyncio_protocol() -> None:
    link, _ = opened(Owner())
    assert isinstance(link, asyncio.Protocol)
