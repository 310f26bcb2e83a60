"""The settings of the peer network, their limits, and what it tells its user."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cluster.addresses import Address
from cluster.peers.frames import DEFAULT_FRAME_BYTES_MAX
from cluster.peers.identity import Identity, Refused
from cluster.peers.packing import Message


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Raises ValueError, naming both settings, when two of them do not fit."""

    identity: Identity
    listen: Address
    peers: Mapping[int, Address]
    """Peer address of every other node. Only those with a lower id are dialed."""
    secret: bytes | None = None
    """Without one only peers on the loopback interface are accepted."""
    frame_bytes_max: int = DEFAULT_FRAME_BYTES_MAX
    """Of the messages in one frame, so of one message; the same on every node."""
    unsent_bytes_max: int = 32 << 20
    """What may wait for a peer that does not read; past this the link is closed."""
    ping_interval_s: float = 0.5
    dead_after_s: float = 2.0
    """A link without a byte for this long is closed; it may take a ping interval longer."""
    connect_timeout_s: float = 2.0
    handshake_timeout_s: float = 5.0
    redial_first_s: float = 0.1
    redial_max_s: float = 1.0
    unauthenticated_max: int = 64
    """Accepted connections whose handshake is not done; further ones are closed at once."""

    def __post_init__(self) -> None:
        if self.identity.node_id in self.peers:
            raise ValueError(f"node {self.identity.node_id} is listed among its own peers")
        if self.unsent_bytes_max < self.frame_bytes_max:
            raise ValueError(
                f"unsent_bytes_max ({self.unsent_bytes_max}) must be at least "
                f"frame_bytes_max ({self.frame_bytes_max})"
            )
        # A peer that sends nothing else pings at least every second interval.
        if self.dead_after_s < 3 * self.ping_interval_s:
            raise ValueError(
                f"dead_after_s ({self.dead_after_s}) must be at least three times "
                f"ping_interval_s ({self.ping_interval_s})"
            )
        if not 0 < self.redial_first_s <= self.redial_max_s:
            raise ValueError(
                f"redial_first_s ({self.redial_first_s}) must be above 0 and at most "
                f"redial_max_s ({self.redial_max_s})"
            )

    @property
    def silent_ticks_max(self) -> int:
        """`dead_after_s` in ping intervals."""
        return math.ceil(self.dead_after_s / self.ping_interval_s)


class PeerHandler(Protocol):
    """The user of the network. All calls come from the event loop; none comes out of `send` or
    `flush`, and none after `close` has begun."""

    def verify(self, identity: Identity) -> Refused | None:
        """Judge a peer that has proved to know the secret; None accepts it. Must not raise."""
        ...

    def on_connected(self, node_id: int, client_address: str) -> None:
        """Both sides accept each other; messages may be sent from now on."""
        ...

    def on_disconnected(self, node_id: int) -> None:
        """What was sent on that link may or may not have arrived."""
        ...

    def on_messages(self, node_id: int, messages: list[Message]) -> None:
        """One frame: the messages of one turn of the peer, in order, at least one."""
        ...

    def on_refused(self, node_id: int, refused: Refused) -> None:
        """That node turned us away. Called once, and again when the reason changes."""
        ...
