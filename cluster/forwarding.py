"""Calls that travel to the node that leads their partition, and answers that come back."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from cluster.leader_wait import Asked, LeaderWait, WaitingWaiter
from cluster.queries import Result, is_query
from cluster.raft.messages import MalformedMessageError
from cluster.raft.types import NodeId
from cluster.sizes import bytes_of
from cluster.state.commands import Command, is_command
from cluster.topics import topics_of
from cluster.transactions import is_transaction_call
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.calls import Call
    from cluster.partition import Partition

FORWARD = 32
FORWARD_REPLY = 33
FORWARD_CANCEL = 34
FORWARD_STOP = 35
FORWARD_KINDS = (FORWARD, FORWARD_REPLY, FORWARD_CANCEL, FORWARD_STOP)

_MODES = _READ, _WRITE, _STALE, _WAIT, _WAIT_AGAIN = 0, 1, 2, 3, 4
"""The last is a call that waits, and stood in line before or may have taken something already.
Those two send how many milliseconds they wait in place of the floor: theirs is their sequence."""
_RESULT, _NOT_LEADER, _UNKNOWN, _ARGUMENTS = 0, 1, 2, 3
"""Kinds of replies; the last is none yet, but says how the call waits from now on."""


_WaitHere: TypeAlias = "Callable[[Partition, Asked, WaitingWaiter], LeaderWait]"


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
        self._out_waits: dict[NodeId, dict[int, Call]] = {}
        """The same for calls that wait there, which are not counted with the others."""
        self._next_id = 0
        self._waiting: dict[NodeId, dict[int, LeaderWait]] = {}
        """Calls of other nodes that wait here, by the id they have there."""
        self.wait_here: _WaitHere
        """Makes a call of another node that may wait here; set by the dispatcher."""
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
        out, triple = self._out, (call.session, call.sequence, call.floor)
        if call.wait_until:
            left_ms = 1000 * (call.wait_until - call.dispatcher.now())
            out, triple = self._out_waits, (*triple[:2], max(0, round(left_ms)))
            mode = _WAIT_AGAIN if call.ambiguous or call.renewed else _WAIT
        else:
            mode = _WRITE if call.is_write else _STALE if call.stale else _READ
        message: list[object] = [
            *(FORWARD, call.partition, self._next_id, mode, call.code),
            *(triple, call.args),
        ]
        if not self._network.send(node, message):
            return False
        out.setdefault(node, {})[self._next_id] = call
        call.forwarded_to, call.forwarded_as = node, self._next_id
        self._flush_soon()
        return True

    def calls_to(self, node: NodeId) -> int:
        """Calls on their way to `node`, for their bound; without those that wait there."""
        return len(self._out.get(node, ()))

    def forget(self, call: "Call") -> None:
        """Nobody waits any more for a call that is on its way."""
        node, call_id = call.forwarded_to, call.forwarded_as
        self._out.get(node, {}).pop(call_id, None)
        if self._out_waits.get(node, {}).pop(call_id, None) is not None:
            self._network.send(node, [FORWARD_CANCEL, call.partition, call_id])
            self._flush_soon()

    def stop(self, call: "Call") -> None:
        """A call that waits elsewhere is to be answered: with what its try there has taken, if
        one is under way, otherwise with nothing."""
        node, call_id = call.forwarded_to, call.forwarded_as
        if call_id in self._out_waits.get(node, {}):
            self._network.send(node, [FORWARD_STOP, call.partition, call_id])
            self._flush_soon()

    def peer_lost(self, node: NodeId) -> None:
        """Whatever was sent to `node` may or may not run. Who sent it asks again with the same
        session and sequence, and is told what became of it."""
        self._losses[node] += 1
        out = {**self._out.pop(node, {}), **self._out_waits.pop(node, {})}
        for call_id in sorted(out):
            out[call_id].on_unknown()
        for waiting in self._waiting.pop(node, {}).values():
            waiting.cancel()

    def receive(self, node: NodeId, message: list[object]) -> None:
        """A message of one of the kinds above; raises MalformedMessageError for a bad one."""
        if message[0] == FORWARD:
            self._on_forward(node, message)
        elif message[0] == FORWARD_REPLY:
            self._on_reply(node, message)
        else:
            self._on_end(node, message)

    def _on_forward(self, node: NodeId, message: list[object]) -> None:
        if not _is_forward(message):
            raise MalformedMessageError("a forwarded call of another shape")
        partition_id, call_id, mode, code = cast(list[int], message[1:5])
        triple, args = cast(list[list[object]], message[5:])
        partition = self._partitions.get(partition_id)
        waiter = _Forwarded(self, node, partition_id, call_id)
        waiter.repeatable = mode in (_READ, _STALE)
        if partition is None:
            waiter.on_not_leader(0)
        elif mode in (_WAIT, _WAIT_AGAIN):
            self._wait(partition, waiter, _asked(code, triple, args, is_new=mode == _WAIT))
        elif mode == _WRITE:
            command = cast(Command, (code, *triple, *args))
            if is_transaction_call(code, args):
                partition.transact(code, cast("tuple[int, int, int]", tuple(triple)), args, waiter)
                self._request_turn(partition)
                return
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

    def _wait(self, partition: "Partition", waiter: "_Forwarded", asked: Asked | None) -> None:
        if asked is None:
            waiter.on_result((Reason.UNKNOWN_OP,))
            return
        waiting = self.wait_here(partition, asked, waiter)
        self._waiting.setdefault(waiter.node, {})[waiter.call_id] = waiting
        waiting.start()

    def _on_end(self, node: NodeId, message: list[object]) -> None:
        if len(message) != 3 or type(message[2]) is not int:
            raise MalformedMessageError("the end of a waiting call of another shape")
        calls = self._waiting.get(node, {})
        if message[2] not in calls:
            return  # It has been answered meanwhile.
        if message[0] == FORWARD_STOP:
            calls[message[2]].stop()
        else:
            calls.pop(message[2]).cancel()

    def _on_reply(self, node: NodeId, message: list[object]) -> None:
        if len(message) != 5 or type(message[2]) is not int:
            raise MalformedMessageError("an answer to a forwarded call of another shape")
        call_id, kind, content = message[2:]
        if kind == _ARGUMENTS:
            waiting = self._out_waits.get(node, {}).get(cast(int, call_id))
            if waiting is not None:
                if not _is_wait(waiting.code, content, is_write=waiting.is_write):
                    raise MalformedMessageError("a call that would wait for nothing known")
                waiting.on_arguments(tuple(cast(list[object], content)))
            return
        call = self._take(node, cast(int, call_id))
        if call is None:
            return  # The link was replaced meanwhile, or its deadline has passed.
        if kind == _RESULT and _is_result(content):
            call.on_result(tuple(cast(list[object], content)))
        elif kind == _NOT_LEADER and isinstance(content, int):
            call.on_not_leader(content)
        else:
            call.on_unknown()

    def _take(self, node: NodeId, call_id: int) -> "Call | None":
        call = self._out.get(node, {}).pop(call_id, None)
        return call or self._out_waits.get(node, {}).pop(call_id, None)

    def losses(self, node: NodeId) -> int:
        """Changes with every link to `node`: what it asked over an older one is not answered."""
        return self._losses[node]

    def has_room(self, node: NodeId) -> bool:
        return self._network.has_room(node)

    def tell_arguments(
        self, node: NodeId, partition_id: int, call_id: int, args: tuple[object, ...]
    ) -> None:
        if self._network.send(node, [FORWARD_REPLY, partition_id, call_id, _ARGUMENTS, args]):
            self._flush_soon()

    def reply(
        self, node: NodeId, partition_id: int, call_id: int, kind: int, content: object
    ) -> None:
        self._waiting.get(node, {}).pop(call_id, None)
        if self._network.send(node, [FORWARD_REPLY, partition_id, call_id, kind, content]):
            self._flush_soon()


class _Forwarded:
    """Waits here for a call of another node. Implements `WaitingWaiter`.

    It answers over the link that the call came from, or not at all. The other node may have been
    restarted since, and number another call alike (row 18 of `cluster/raft/DESIGN.md`).
    """

    __slots__ = ("_forwarding", "_losses", "call_id", "node", "partition_id", "repeatable")

    def __init__(
        self, forwarding: Forwarding, node: NodeId, partition_id: int, call_id: int
    ) -> None:
        self._forwarding = forwarding
        self.node = node
        self.partition_id = partition_id
        self.call_id = call_id
        self._losses = forwarding.losses(node)
        self.repeatable = False
        """A read: its answer may be dropped, the other node then asks again a little later."""

    @property
    def finished(self) -> bool:
        """The link it came from is lost: the other node tries again."""
        return self._forwarding.losses(self.node) != self._losses

    def on_result(self, result: Result) -> None:
        if self.repeatable and not self._forwarding.has_room(self.node):
            self._reply(_UNKNOWN, 0)
        else:
            self._reply(_RESULT, result)

    def on_arguments(self, args: tuple[object, ...]) -> None:
        """What the call waits for is known now, whichever node it waits at next."""
        self._forwarding.tell_arguments(self.node, self.partition_id, self.call_id, args)

    def on_not_leader(self, leader: NodeId) -> None:
        self._reply(_NOT_LEADER, leader)

    def on_unknown(self) -> None:
        self._reply(_UNKNOWN, 0)

    def _reply(self, kind: int, content: object) -> None:
        if self.finished:
            return
        self._forwarding.reply(self.node, self.partition_id, self.call_id, kind, content)


def _asked(code: int, triple: list[object], args: list[object], *, is_new: bool) -> Asked | None:
    """A call of another node that waits; None when this version does not know it."""
    session, sequence, wait_ms = triple
    if type(session) is not int or type(sequence) is not int or type(wait_ms) is not int:
        return None
    is_write = not is_query(code, args)
    if is_write and not session:
        return None  # Each try of it might take something.
    if not _is_wait(code, args, is_write=is_write, head=(session, sequence, sequence)):
        return None
    wait_s = max(0, wait_ms) / 1000
    return Asked(code, (session, sequence, sequence), tuple(args), is_write, wait_s, is_new)


def _is_wait(
    code: int, content: object, *, is_write: bool, head: tuple[int, int, int] = (1, 1, 1)
) -> bool:
    """Whether these are arguments of a call that waits; another node may have sent anything."""
    if type(content) is not list:
        return False
    args = cast(list[object], content)
    command = cast(Command, (code, *head, *args))
    known = is_command(command) if is_write else is_query(code, args)
    return known and topics_of(code, args) is not None


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
