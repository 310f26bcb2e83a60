"""What a node does with its peers: whom it accepts, and where their messages go."""

import logging
from typing import TYPE_CHECKING

from cluster.forwarding import FORWARD_KINDS
from cluster.founding import DataDirectory
from cluster.peers.admission import admit
from cluster.raft.messages import KINDS, MalformedMessageError
from cluster.sealed_files import DataDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.clock import Clock
    from cluster.describe import NodeDescription
    from cluster.dispatch import Dispatcher
    from cluster.forwarding import Forwarding
    from cluster.partition import Partition
    from cluster.peers.identity import Identity, Refused
    from cluster.raft.types import NodeId

logger = logging.getLogger("flo.node")


class NodePeerHandler:
    """Implements the peer network's `PeerHandler`.

    A node takes part in a partition only once enough of its replicas have accepted its
    incarnation: before, it could be one that lost its disk (`DataDirectory.may_vote`).
    """

    def __init__(self, directory: DataDirectory, clock: "Clock") -> None:
        self._directory = directory
        self._clock = clock
        self._partitions: dict[int, Partition] = {}
        self._takes_part: set[int] = set()
        self._forwarding: Forwarding
        self._dispatcher: Dispatcher
        self._describe: NodeDescription
        self._request_turn: Callable[[Partition], None]

    def attach(
        self,
        *,
        partitions: "dict[int, Partition]",
        forwarding: "Forwarding",
        dispatcher: "Dispatcher",
        describe: "NodeDescription",
        request_turn: "Callable[[Partition], None]",
    ) -> None:
        """The network needs its handler first; what the handler serves comes after it."""
        self._partitions = partitions
        self._forwarding = forwarding
        self._dispatcher = dispatcher
        self._describe = describe
        self._request_turn = request_turn
        self._find_who_takes_part()

    def may_take_part(self, partition: int) -> bool:
        return partition in self._takes_part

    # --- PeerHandler ---

    def verify(self, identity: "Identity") -> "Refused | None":
        return admit(self._directory, identity)

    def on_connected(self, node_id: "NodeId", client_address: str) -> None:
        try:
            self._directory.record_met(node_id)
        except DataDirectoryError as error:
            # It is asked again at the next connection; until then this peer does not count.
            logger.error("node %d is not remembered: %s", node_id, error)
        self._find_who_takes_part()
        self._describe.learn_address(node_id, client_address)
        for number, partition in self._partitions.items():
            partition.group.peer_connected(node_id)
            if number in self._takes_part:
                self._request_turn(partition)
        self._dispatcher.peer_changed()

    def on_disconnected(self, node_id: "NodeId") -> None:
        for number, partition in self._partitions.items():
            partition.group.peer_disconnected(node_id)
            if number in self._takes_part:
                # The first in rank campaigns at once, not at the next tick of the timer.
                partition.tick()
                self._request_turn(partition)
        self._forwarding.peer_lost(node_id)
        self._dispatcher.peer_changed()

    def on_refused(self, node_id: "NodeId", refused: "Refused") -> None:
        logger.error("node %d refuses this node: %s", node_id, refused.message)

    def on_messages(self, node_id: "NodeId", messages: "list[list[object]]") -> None:
        for message in messages:
            try:
                self._take(node_id, message)
            except MalformedMessageError as error:
                logger.warning("node %d sent a bad message, dropped: %s", node_id, error)

    # --- inside ---

    def _take(self, node_id: "NodeId", message: list[object]) -> None:
        kind = message[0]
        if kind in FORWARD_KINDS:
            self._forwarding.receive(node_id, message)
            return
        number = message[1] if len(message) > 1 else None
        if kind not in KINDS or not isinstance(number, int):
            raise MalformedMessageError(f"message of kind {kind!r}")
        partition = self._partitions.get(number)
        if partition is not None and number in self._takes_part:
            partition.step(node_id, message)
            self._request_turn(partition)

    def _find_who_takes_part(self) -> None:
        for number, partition in self._partitions.items():
            if number not in self._takes_part:
                replicas = partition.group.config.replicas
                partition.takes_part = self._directory.may_vote(replicas)
                if partition.takes_part:
                    self._takes_part.add(number)
                    self._request_turn(partition)
