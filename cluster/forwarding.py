"""Calls that travel to the node that leads their partition, and answers that come back."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from cluster.calls import bytes_of
from cluster.queries import Result, is_query
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId
from cluster.state.commands import Command, is_command
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.calls import Call
    from cluster.partition import Partition

FORWARD = 32
FORWARD_REPLY = 33

_MODES = _READ, _WRITE, _STALE = 0, 1, 2
_RESULT, _NOT_LEADER, _UNKNOWN = 0, 1, 2


class MessageSender(Protocol):
    """The part of the peer network that forwarding uses."""

    def connected(self, node_id: NodeId) -> bool: ...

    def has_room(self, node_id: NodeId) -> bool:
        """Whether the peer keeps up with what it is sent."""
        ...

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
        self._losses: Counter[NodeId] = Counter()
        """How often the link to each node was lost."""

    def is_connected(self, node: NodeId) -> bool:
        return self._network.connected(node)

    def forward(self, call: "Call", node: NodeId) -> bool:
        """Sends the call to `node`; false when nothing was sent, because it is not connected or
        does not keep up: past its bound the link would be closed."""
        if not self._network.has_room(node):
            return False
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
        call.forwarded_to, call.forwarded_as = node, self._next_id
        self._flush_soon()
        return True

    def calls_to(self, node: NodeId) -> int:
        """Calls on their way to `node`, for their bound."""
        return len(self._out.get(node, ()))

    def forget(self, call: "Call") -> None:
        """Nobody waits any more for a call that is on its way."""
        self._out.get(call.forwarded_to, {}).pop(call.forwarded_as, None)

    def peer_lost(self, node: NodeId) -> None:
        """Whatever was sent to `node` may or may not run."""
        self._losses[node] += 1
        for call in self._out.pop(node, {}).values():
            call.on_unknown()

    def receive(self, node: NodeId, message: list[object]) -> None:
        """A FORWARD or FORWARD_REPLY message; raises MalformedMessageError for a bad one."""
        if message[0] == FORWARD:
            self._on_forward(node, message)
        else:
            self._on_reply(node, message)

    def _on_forward(self, node: NodeId, message: list[object]) -> None:
        if not _is_forward(message):
            raise MalformedMessageError("a forwarded call of another shape")
        partition_id, call_id, mode, code = cast(list[int], message[1:5])
        triple, args = cast(list[list[object]], message[5:])
        partition = self._partitions.get(partition_id)
        waiter = _Forwarded(self, node, partition_id, call_id)
        waiter.repeatable = mode != _WRITE
        if partition is None:
            waiter.on_not_leader(0)
        elif mode == _WRITE:
            command = cast(Command, (code, *triple, *args))
            if not is_command(command):
                # A newer node knows an operation that this one must not let into the log.
                waiter.on_result((Reason.UNKNOWN_OP,))
                return
            partition.submit(command, bytes_of(args), waiter)
            self._request_turn(partition)
        elif not is_query(code, args):
            waiter.on_result((Reason.UNKNOWN_OP,))
        elif not self.has_room(node):
            waiter.on_unknown()  # Nothing is read that could not be sent.
        elif mode == _STALE:
            partition.read_stale(code, args, waiter)
        else:
            partition.read(code, args, waiter)
            self._request_turn(partition)

    def _on_reply(self, node: NodeId, message: list[object]) -> None:
        if len(message) != 5 or type(message[2]) is not int:
            raise MalformedMessageError("an answer to a forwarded call of another shape")
        call_id, kind, content = message[2:]
        call = self._out.get(node, {}).pop(cast(int, call_id), None)
        if call is None:
            return  # The link was replaced meanwhile, or its deadline has passed.
        if kind == _RESULT and _is_result(content):
            call.on_result(tuple(cast(list[object], content)))
        elif kind == _NOT_LEADER and isinstance(content, int):
            call.on_not_leader(content)
        else:
            call.on_unknown()

    def losses(self, node: NodeId) -> int:
        """Changes with every link to `node`: what it asked over an older one is not answered."""
        return self._losses[node]

    def has_room(self, node: NodeId) -> bool:
        return self._network.has_room(node)

    def reply(
        self, node: NodeId, partition_id: int, call_id: int, kind: int, content: object
    ) -> None:
        if self._network.send(node, [FORWARD_REPLY, partition_id, call_id, kind, content]):
            self._flush_soon()


class _Forwarded:
    """Waits here for a call of another node. Implements `Waiter`.

    It answers over the link that the call came from, or not at all. The other node may have been
    restarted since, and number another call alike (row 18 of `cluster/raft/DESIGN.md`).
    """

    __slots__ = ("_call_id", "_forwarding", "_losses", "_node", "_partition_id", "repeatable")

    def __init__(
        self, forwarding: Forwarding, node: NodeId, partition_id: int, call_id: int
    ) -> None:
        self._forwarding = forwarding
        self._node = node
        self._partition_id = partition_id
        self._call_id = call_id
        self._losses = forwarding.losses(node)
        self.repeatable = False
        """A read: its answer may be dropped, the other node then asks again a little later."""

    def on_result(self, result: Result) -> None:
        if self.repeatable and not self._forwarding.has_room(self._node):
            self._reply(_UNKNOWN, 0)
        else:
            self._reply(_RESULT, result)

    def on_not_leader(self, leader: NodeId) -> None:
        self._reply(_NOT_LEADER, leader)

    def on_unknown(self) -> None:
        self._reply(_UNKNOWN, 0)

    def _reply(self, kind: int, content: object) -> None:
        if self._forwarding.losses(self._node) != self._losses:
            return
        self._forwarding.reply(self._node, self._partition_id, self._call_id, kind, content)


def _is_forward(message: list[object]) -> bool:
    if len(message) != 7:
        return False
    _, partition_id, call_id, mode, code, triple, args = message
    return (
        type(partition_id) is int
        and type(call_id) is int
        and mode in _MODES
        and type(code) is int
        and type(triple) is list
        and len(cast(list[object], triple)) == 3
        and type(args) is list
    )


def _is_result(content: object) -> bool:
    if type(content) is not list:
        return False
    result = cast(list[object], content)
    return bool(result) and type(result[0]) is int
