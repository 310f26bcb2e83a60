"""One connection to a peer: the handshake, then frames both ways. The network owns it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from cluster.peers.frames import (
    FRAME_OVERHEAD_BYTES,
    PING,
    FrameDecoder,
    FrameError,
    encode_frame,
    split_messages,
)
from cluster.peers.handshake import Handshake, HandshakeError
from cluster.peers.packing import ITEMS_MAX, Message

if TYPE_CHECKING:
    from cluster.peers.timers import Timer


class LinkLimits(NamedTuple):
    """See PeerConfig."""

    frame_bytes_max: int
    unsent_bytes_max: int
    silent_ticks_max: int


class LinkEvents(Protocol):
    """What a link tells its owner; `link_closed` comes last and exactly once."""

    def link_opened(self, link: "Link") -> str | None:
        """Connected, nothing sent or read. A text is the reason to close it at once."""
        ...

    def link_established(self, link: "Link") -> None:
        """Both sides accept each other; `node_id` and `client_address` are set."""
        ...

    def link_closed(self, link: "Link") -> None: ...


class Link(asyncio.Protocol):
    """A connection from its first byte on. Once `closing`, nothing is sent or delivered."""

    def __init__(
        self,
        handshake: Handshake,
        events: LinkEvents,
        on_messages: Callable[[int, list[Message]], None],
        limits: LinkLimits,
        *,
        expected_id: int,
    ) -> None:
        """`expected_id`: the node that was dialed, 0 for an accepted connection."""
        self.expected_id = expected_id
        self.handshake = handshake
        self.node_id = 0
        self.client_address = ""
        self.host = ""
        self.closing = False
        self.established = False
        self.reason = ""
        self.closed = asyncio.Event()
        self.deadline: Timer | None = None
        self.queue: list[bytes] = []
        self._queued_bytes = 0
        self._room_bytes = 0
        self._heard = True
        self._spoke = True
        self._silent_ticks = 0
        self._events = events
        self._on_messages = on_messages
        self._limits = limits
        self._frame_room_bytes = limits.frame_bytes_max - FRAME_OVERHEAD_BYTES
        self._decoder = FrameDecoder(limits.frame_bytes_max)
        self._transport: asyncio.Transport

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Both asyncio and uvloop set TCP_NODELAY on every connection.
        self._transport = cast("asyncio.Transport", transport)
        peer = cast("tuple[object, ...] | None", transport.get_extra_info("peername"))
        self.host = str(peer[0]) if peer else ""
        objection = self._events.link_opened(self)
        if objection is not None:
            self.drop(objection)
            return
        hello = self.handshake.start()
        if hello:
            self._transport.write(hello)

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._heard = True
        if not self.established:
            data = self._shake_hands(data)
            if not data:
                return
        try:
            received = self._decoder.feed(data)
        except FrameError as error:
            self.drop(str(error))
            return
        for messages in received:
            self._on_messages(self.node_id, messages)
            if self.closing:
                return

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed.is_set():
            return
        self.closing = True
        # The flush of this turn is still to come, and uvloop raises for a write after this.
        self.queue.clear()
        if not self.reason:
            self.reason = str(exc) if exc is not None else "it closed the connection"
        self._events.link_closed(self)
        self.closed.set()

    # Called by the network

    def drop(self, reason: str) -> None:
        """Close at once, without sending what waits; the first reason stays."""
        if not self.reason:
            self.reason = reason
        self.closing = True
        self.queue.clear()
        self._transport.abort()

    def enqueue(self, packed: bytes) -> bool:
        """Queue one packed message for the next flush; false when the peer does not keep up."""
        if not self.queue:
            unsent_bytes = self._transport.get_write_buffer_size()
            self._room_bytes = self._limits.unsent_bytes_max - unsent_bytes
            self._queued_bytes = 0
        self._queued_bytes += len(packed)
        if self._queued_bytes > self._room_bytes:
            self.drop(f"more than {self._limits.unsent_bytes_max} bytes wait for it")
            return False
        self.queue.append(packed)
        return True

    @property
    def unsent_bytes(self) -> int:
        """What is queued, and what the transport could not send yet."""
        queued = self._queued_bytes if self.queue else 0
        return queued + self._transport.get_write_buffer_size()

    def flush(self) -> None:
        """Write what is queued as one frame, or as several at the frame limit."""
        queue = self.queue
        if not queue:
            return
        if self._queued_bytes <= self._frame_room_bytes and len(queue) <= ITEMS_MAX:
            self._transport.write(encode_frame(queue))
        else:
            for part in split_messages(queue, self._limits.frame_bytes_max):
                self._transport.write(encode_frame(part))
        queue.clear()
        self._spoke = True

    def tick(self) -> None:
        """A ping interval has passed: close a silent link, ping on an idle one.

        Intervals are counted rather than clocks compared, so that a node that was itself paused
        reads what has arrived meanwhile before it calls a peer dead.
        """
        if self.closing:
            return
        self._silent_ticks = 0 if self._heard else self._silent_ticks + 1
        self._heard = False
        if self._silent_ticks >= self._limits.silent_ticks_max:
            self.drop("nothing was heard of it for too long")
            return
        if not self._spoke:
            self._transport.write(PING)
        self._spoke = False

    def _shake_hands(self, data: bytes) -> bytes:
        """Returns what followed the handshake in `data`."""
        handshake = self.handshake
        try:
            answer = handshake.receive(data)
        except HandshakeError as error:
            self.drop(str(error))
            return b""
        if answer:
            self._transport.write(answer)
        if not handshake.done:
            return b""
        if handshake.refused_by_us is not None or handshake.refused_by_peer is not None:
            # Not abort: our verdict has to reach the peer, which logs it.
            self.closing = True
            self._transport.close()
            return b""
        assert handshake.peer is not None
        self.node_id = handshake.peer.node_id
        self.client_address = handshake.peer.client_address
        self.established = True
        self._events.link_established(self)
        return b"" if self.closing else handshake.leftover
