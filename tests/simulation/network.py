"""The links of a simulated cluster: what is on its way, and what each end believes."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.forwarding import FORWARD, FORWARD_REPLY
from cluster.peers.packing import array_header, pack_message, unpack_messages

if TYPE_CHECKING:
    from cluster.raft.types import NodeId
    from tests.simulation.world import World

_FULL_AT = 4
"""A link that holds so many times its room is given up: its other end does not read."""


class Link:
    """One direction between two nodes: first in, first out while connected.

    `up` is what the sending end believes. The other end may know better, or hear of it later.
    """

    def __init__(self) -> None:
        self.up = False
        self.cut = False
        """Sent messages vanish, the sender notices nothing."""
        self.slow = False
        """Messages take long."""
        self.queue: deque[bytes] = deque()
        self.leftovers: deque[bytes] = deque()
        """In flight when the connection broke; an old socket may still deliver them."""
        self.unsent: list[bytes] = []
        self.writes = 0
        """How often its sender wrote: a frame each."""

    def leave_over(self) -> None:
        """What is in flight may come late, or never.

        That is more than the peer network does: it closes an old connection before a new one says
        anything. The Raft layer stands it; forwarding, which counts its calls, need not.
        """
        self.leftovers.extend(each for each in self.queue if not is_forwarded(each))
        self.queue.clear()


def unpacked(packed: bytes) -> list[object]:
    """One message as the peer network unpacks it."""
    (message,) = unpack_messages(array_header(1) + packed)
    return message


def unpacked_all(packed: Sequence[bytes]) -> list[list[object]]:
    """The same for several."""
    return unpack_messages(array_header(len(packed)) + b"".join(packed))


def is_forwarded(packed: bytes) -> bool:
    """Whether it is a client's call or the answer to one: behind the array's header comes the
    kind."""
    return packed[1] in (FORWARD, FORWARD_REPLY)


class NodeNetwork:
    """The peer network as one node sees it: for its turns, its forwarding and its leadership."""

    def __init__(self, world: "World", node_id: "NodeId") -> None:
        self._world = world
        self._links = {b: link for (a, b), link in world.links.items() if a == node_id}
        self._node_id = node_id

    def connected(self, node_id: "NodeId") -> bool:
        link = self._links.get(node_id)
        return link is not None and link.up

    def has_room(self, node_id: "NodeId") -> bool:
        link = self._links[node_id]
        room = link.up and len(link.queue) + len(link.unsent) < self._world.link_room
        self._world.faults["link without room"] += link.up and not room
        return room

    def send(self, node_id: "NodeId", message: "list[object] | tuple[object, ...]") -> bool:
        return self.send_packed(node_id, pack_message(message))

    def send_packed(self, node_id: "NodeId", packed: bytes) -> bool:
        link = self._links.get(node_id)
        if link is None or not link.up:
            return False
        if len(link.queue) >= _FULL_AT * self._world.link_room:
            # As the real one: closed at once, and its owner is told a little later.
            self._world.faults["link given up"] += 1
            link.up = False
            self._world.later_lost(self._node_id, node_id)
            return False
        link.unsent.append(packed)
        return True

    def flush(self) -> None:
        for link in self._links.values():
            if link.unsent:
                self._put(link, link.unsent)
                link.unsent = []

    def _put(self, link: Link, messages: Sequence[bytes]) -> None:
        if not link.up:
            return
        link.writes += 1
        if link.cut:
            self._world.faults["message lost"] += len(messages)
        else:
            link.queue.extend(messages)
