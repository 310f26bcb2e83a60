"""The links of one node to all others: one per pair, dialed by the node with the higher id."""

import asyncio
import errno
import random as _random
import secrets
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address, ip_address

from cluster.addresses import Address
from cluster.peers.config import PeerConfig, PeerHandler
from cluster.peers.dialing import Backoff, keep_dialing
from cluster.peers.frames import FRAME_OVERHEAD_BYTES
from cluster.peers.handshake import NONCE_BYTES, Handshake, Role
from cluster.peers.identity import Identity, RefusalCode, Refused
from cluster.peers.link import Link, LinkLimits
from cluster.peers.packing import pack_message
from cluster.peers.timers import LoopTimers, Timer, Timers
from cluster.peers.troubles import TroubleLog, logger

_ROOM_SHARE = 8
"""Of what may wait for a peer, what messages may take that can wait."""


class ListenError(Exception):
    """The peer address cannot be listened on; the message names it and says what to do."""


class MessageTooLargeError(ValueError):
    """A message above the frame limit: the caller's mistake, nothing was queued."""


class PeerNetwork:
    """Messages to and from the other nodes, in order per link, each at most once.

    Not thread-safe: all calls from the event loop that ran `start`.
    """

    def __init__(
        self,
        config: PeerConfig,
        handler: PeerHandler,
        *,
        timers: Timers | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._config = config
        self._handler = handler
        self._timers = timers or LoopTimers()
        self._random = random
        self._limits = LinkLimits(
            config.frame_bytes_max, config.unsent_bytes_max, config.silent_ticks_max
        )
        self._message_bytes_max = config.frame_bytes_max - FRAME_OVERHEAD_BYTES
        self._open: set[Link] = set()
        self._links: dict[int, Link] = {}
        """The established link of each peer, until its loss has been reported."""
        self._queued: list[Link] = []
        self._troubles = TroubleLog()
        self._stopping = False
        self._server: asyncio.Server | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._tick_timer: Timer | None = None

    async def start(self) -> None:
        """Listen and begin to dial; returns at once. Raises ListenError."""
        config = self._config
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                partial(self._new_link, 0), config.listen.host, config.listen.port
            )
        except (OSError, UnicodeError) as error:
            raise _listen_error(config.listen, error) from error
        self._dialing = loop.create_task(self._keep_dialing(), name="peer dialing")
        self._schedule_tick()

    async def close(self) -> None:
        """Close every link and stop; nothing is running when this returns."""
        self._stopping = True
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        if self._server is not None:
            self._server.close()
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait((self._dialing,))
        for link in tuple(self._open):
            link.drop("this node is stopping")
            await link.closed.wait()
        self._links.clear()
        if self._server is not None:
            await self._server.wait_closed()
        if self._dialing is not None and not self._dialing.cancelled():
            self._dialing.result()  # raises if dialing had ended by a bug

    @property
    def listen_address(self) -> Address:
        """Where this node listens, with the real port when 0 was configured."""
        assert self._server is not None, "start() first"
        host, port, *_ = self._server.sockets[0].getsockname()
        return Address(host, port)

    def connected(self, node_id: int) -> bool:
        """Whether `send` would take a message for this node."""
        link = self._links.get(node_id)
        return link is not None and not link.closing

    def has_room(self, node_id: int) -> bool:
        """Whether the peer keeps up: little of what may wait for it does.

        For messages that can wait or be asked for again. The rest of the room is for those that
        cannot, and heartbeats are not far behind what others have queued.
        """
        link = self._links.get(node_id)
        return (
            link is not None
            and not link.closing
            and link.unsent_bytes * _ROOM_SHARE < self._config.unsent_bytes_max
        )

    def send(self, node_id: int, message: list[object] | tuple[object, ...]) -> bool:
        """Queue `[kind, ...]` until `flush`; false, and nothing queued, when not connected.

        True promises nothing: whether it arrived, only an answer can tell. Raises
        MessageTooLargeError.
        """
        if not self.connected(node_id):
            return False
        return self.send_packed(node_id, pack_message(message))

    def send_packed(self, node_id: int, packed: bytes) -> bool:
        """`send` for a message that `pack_message` has packed, perhaps for several peers."""
        link = self._links.get(node_id)
        if link is None or link.closing:
            return False
        if len(packed) > self._message_bytes_max:
            raise MessageTooLargeError(
                f"message of {len(packed)} bytes for node {node_id}: the frame limit leaves "
                f"{self._message_bytes_max} (frame_bytes_max)"
            )
        if not link.queue:
            self._queued.append(link)
        return link.enqueue(packed)

    def flush(self) -> None:
        """Write what is queued: one frame and one write per peer, more only at the frame limit."""
        for link in self._queued:
            link.flush()
        self._queued.clear()

    # Called by the links

    def link_opened(self, link: Link) -> str | None:
        """See LinkEvents."""
        self._open.add(link)
        timeout_s = self._config.handshake_timeout_s
        link.deadline = self._timers.call_later(
            timeout_s, lambda: link.drop(f"the handshake took more than {timeout_s} s")
        )
        if self._stopping:
            return "this node is stopping"
        if self._config.secret is None and not is_loopback(link.host):
            return (
                "it is not on the loopback interface, and without a cluster secret no other peer "
                "is accepted: give all nodes the same secret file"
            )
        unauthenticated = sum(not (other.established or other.expected_id) for other in self._open)
        if not link.expected_id and unauthenticated > self._config.unauthenticated_max:
            return "too many connections are waiting for their handshake"
        return None

    def link_established(self, link: Link) -> None:
        """See LinkEvents."""
        node_id = link.node_id
        if link.deadline is not None:
            link.deadline.cancel()
        old = self._links.get(node_id)
        if old is not None:
            # The peer has given the old one up. Its leftovers must not follow what comes here.
            old.drop("a newer connection has replaced it")
            self._report_loss(old)
        self._links[node_id] = link
        self._troubles.settle(f"node {node_id}")
        logger.info("node %d: connected", node_id)
        self._handler.on_connected(node_id, link.client_address)

    def link_closed(self, link: Link) -> None:
        """See LinkEvents."""
        self._open.discard(link)
        if link.deadline is not None:
            link.deadline.cancel()
        if self._stopping:
            return
        if not link.established:
            self._report_failure(link)
        elif self._links.get(link.node_id) is link:
            self._report_loss(link)

    def _report_loss(self, link: Link) -> None:
        del self._links[link.node_id]
        self._troubles.report(f"node {link.node_id}", f"connection lost: {link.reason}")
        self._handler.on_disconnected(link.node_id)

    def _report_failure(self, link: Link) -> None:
        """The handshake came to nothing: say why, once."""
        handshake = link.handshake
        if handshake.peer is not None:
            source = f"node {handshake.peer.node_id}"
        elif link.expected_id:
            source = f"node {link.expected_id}"
        else:
            source = f"connection from {link.host}"
        trouble = link.reason
        if handshake.refused_by_us is not None:
            trouble = f"refused by this node: {handshake.refused_by_us.message}"
        if handshake.refused_by_peer is not None:
            trouble = f"it refuses this node: {handshake.refused_by_peer.message}"
        elif handshake.awaits_trust:
            trouble += " (does it have the same cluster secret?)"
        is_news = self._troubles.report(source, trouble)
        if is_news and handshake.refused_by_peer is not None and handshake.peer is not None:
            self._handler.on_refused(handshake.peer.node_id, handshake.refused_by_peer)

    def _new_link(self, expected_id: int) -> Link:
        handshake = Handshake(
            Role.DIALER if expected_id else Role.ACCEPTOR,
            self._config.identity,
            secret=self._config.secret or b"",
            nonce=secrets.token_bytes(NONCE_BYTES),
            verify=partial(self._verify, expected_id),
        )
        return Link(
            handshake, self, self._handler.on_messages, self._limits, expected_id=expected_id
        )

    def _verify(self, expected_id: int, identity: Identity) -> Refused | None:
        refused = self._handler.verify(identity)
        if refused is not None:
            return refused
        node_id, own_id = identity.node_id, self._config.identity.node_id
        if expected_id and node_id != expected_id:
            return Refused(
                RefusalCode.WRONG_NODE,
                f"node {own_id} expected node {expected_id} at the address where node {node_id} "
                "answers: correct the addresses in the member list",
            )
        if node_id not in self._config.peers:
            return Refused(
                RefusalCode.UNKNOWN_NODE, f"node {own_id} does not know a node {node_id}"
            )
        if not expected_id and node_id < own_id:
            return Refused(
                RefusalCode.WRONG_NODE,
                f"node {node_id} dialed node {own_id}: the node with the higher id dials",
            )
        return None

    async def _keep_dialing(self) -> None:
        own_id = self._config.identity.node_id
        async with asyncio.TaskGroup() as group:
            for node_id in self._config.peers:
                if node_id < own_id:
                    backoff = Backoff(
                        first_s=self._config.redial_first_s,
                        max_s=self._config.redial_max_s,
                        random=self._random,
                    )
                    dial = partial(self._dial, node_id)
                    group.create_task(keep_dialing(dial, self._timers, backoff))

    async def _dial(self, node_id: int) -> Link | None:
        address = self._config.peers[node_id]
        link = self._new_link(node_id)
        connected = False
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: link, address.host, address.port
                )
            connected = True
        except (OSError, UnicodeError) as error:
            trouble = str(error) or "no answer"
            self._troubles.report(f"node {node_id}", f"cannot connect to {address}: {trouble}")
            return None
        finally:
            if not connected and link in self._open:
                # Given up between connection_made and its own return, uvloop's create_connection
                # closes the connection and never calls connection_lost.
                link.drop("the attempt to connect was given up")
                link.connection_lost(None)
        return link

    def _schedule_tick(self) -> None:
        self._tick_timer = self._timers.call_later(self._config.ping_interval_s, self._tick)

    def _tick(self) -> None:
        for link in tuple(self._links.values()):
            link.tick()
        self._schedule_tick()


def is_loopback(host: str) -> bool:
    """Whether a socket's peer address is on this machine's loopback interface."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _listen_error(address: Address, error: OSError | UnicodeError) -> ListenError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ListenError(
            f"peer address {address} is already in use: stop the process that listens there, or "
            "choose another peer address"
        )
    return ListenError(f"cannot listen on peer address {address}: {error}")
