"""Calls that travel to the node that leads their partition, and answers that come back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from cluster.queries import QUERIES, Result
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId
from cluster.state.commands import Command, is_command
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.calls import Call
    from cluster.partition import Partition

FORWARD = 32
FORWARD_REPLY = 33

_READ, _WRITE, _STALE = 0, 1, 2
_RESULT, _NOT_LEADER, _UNKNOWN = 0, 1, 2


class MessageSender(Protocol):
    """The part of the peer network that forwarding uses."""

    def connected(self, node_id: NodeId) -> bool: ...

    def send(self, node_id: NodeId, message: list[object]) -> bool:
        """Queues a message; false when the peer is not connected."""
        ...


class Forwarding:
    """Both directions. A lost connection makes every call on its way `unknown` at once."""

    def __init__(
        self,
        network: MessageSender,
        partitions: "dict[int, Partition]",
        *,
        flush_soon: Callable[[], None],
        request_turn: "Callable[[Partition], None]",
    ) -> None:
        self._network = network
        self._partitions = partitions
        self._flush_soon = flush_soon
        self._request_turn = request_turn
        self._out: dict[NodeId, dict[int, Call]] = {}
        self._next_id = 0

    def is_connected(self, node: NodeId) -> bool:
        return self._network.connected(node)

    def forward(self, call: "Call", node: NodeId) -> bool:
        """Sends the call to `node`; false when there is no connection, and nothing was sent."""
        self._next_id += 1
        mode = _WRITE if call.is_write else _STALE if call.stale else _READ
        message: list[object] = [
            FORWARD,
            call.partition,
            self._next_id,
            mode,
            call.code,
            (call.session, call.sequence, call.floor),
            call.args,
        ]
        if not self._network.send(node, message):
            return False
        self._out.setdefault(node, {})[self._next_id] = call
        self._flush_soon()
        return True

    def peer_lost(self, node: NodeId) -> None:
        """Whatever was sent to `node` may or may not run."""
        for call in self._out.pop(node, {}).values():
            call.on_unknown()

    def receive(self, node: NodeId, message: list[object]) -> None:
        """A FORWARD or FORWARD_REPLY message; raises MalformedMessageError for a bad one."""
        if message[0] == FORWARD:
            self._on_forward(node, message)
        else:
            self._on_reply(node, message)

    def _on_forward(self, node: NodeId, message: list[object]) -> None:
        if len(message) != 7:
            raise MalformedMessageError("a forwarded call of another shape")
        _, partition_id, call_id, mode, code, triple, args = message
        partition = self._partitions.get(cast(int, partition_id))
        waiter = _Forwarded(self, node, cast(int, partition_id), cast(int, call_id))
        if partition is None:
            waiter.on_not_leader(0)
            return
        if not isinstance(args, list) or not isinstance(triple, list):
            raise MalformedMessageError("a forwarded call without arguments or triple")
        arguments = tuple(cast(list[object], args))
        command = cast(Command, (code, *cast(list[object], triple), *arguments))
        if not (is_command(command) if mode == _WRITE else code in QUERIES):
            # A newer node knows an operation that this one must not let into the log.
            waiter.on_result((Reason.UNKNOWN_OP,))
        elif mode == _WRITE:
            size = sum(len(arg) for arg in command if isinstance(arg, bytes))
            partition.submit(command, size, waiter)
            self._request_turn(partition)
        elif mode == _STALE:
            partition.read_stale(cast(int, code), arguments, waiter)
        else:
            partition.read(cast(int, code), arguments, waiter)
            self._request_turn(partition)

    def _on_reply(self, node: NodeId, message: list[object]) -> None:
        if len(message) != 5:
            raise MalformedMessageError("an answer to a forwarded call of another shape")
        _, _, call_id, kind, content = message
        call = self._out.get(node, {}).pop(cast(int, call_id), None)
        if call is None:
            return  # The link was replaced meanwhile; the call has been told already.
        if kind == _RESULT and isinstance(content, list):
            call.on_result(tuple(cast(list[object], content)))
        elif kind == _NOT_LEADER and isinstance(content, int):
            call.on_not_leader(content)
        else:
            call.on_unknown()

    def reply(
        self, node: NodeId, partition_id: int, call_id: int, kind: int, content: object
    ) -> None:
        if self._network.send(node, [FORWARD_REPLY, partition_id, call_id, kind, content]):
            self._flush_soon()


class _Forwarded:
    """Waits here for a call of another node. Implements `Waiter`."""

    __slots__ = ("_call_id", "_forwarding", "_node", "_partition_id")

    def __init__(
        self, forwarding: Forwarding, node: NodeId, partition_id: int, call_id: int
    ) -> None:
        self._forwarding = forwarding
        self._node = node
        self._partition_id = partition_id
        self._call_id = call_id

    def on_result(self, result: Result) -> None:
        self._reply(_RESULT, result)

    def on_not_leader(self, leader: NodeId) -> None:
        self._reply(_NOT_LEADER, leader)

    def on_unknown(self) -> None:
        self._reply(_UNKNOWN, 0)

    def _reply(self, kind: int, content: object) -> None:
        self._forwarding.reply(self._node, self._partition_id, self._call_id, kind, content)
