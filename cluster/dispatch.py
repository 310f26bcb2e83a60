"""Brings calls to the leaders of their partitions, and back again after a leader change."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, cast

from cluster import refusals
from cluster.calls import Call, Outcome, Wait, WaiterElsewhere
from cluster.node_sessions import NodeSession
from cluster.raft.types import NodeId
from cluster.sizes import bytes_of
from cluster.state.commands import OPEN_SESSION, Command, is_command
from cluster.transactions import TRANSACTION_CALLS
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.forwarding import Forwarding
    from cluster.partition import Partition
    from cluster.queries import Result
    from flo.wire.messages import CallContext

_BUCKET_S = 0.05
_REDIRECTS_MAX = 3
_RETRIES, _RETRIES_PER_TICK = 4096, 256
"""Parked calls of one partition that are tried again at once when there is news, and by a tick.
Without a leader, or without room on the way to it, all of them would only come back."""
_PARKED_MAX = 1024
"""Calls of one partition that wait for a way to its leader which is there but busy."""


class Dispatcher:
    """All unanswered calls of this node's clients."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        replicas: tuple[tuple[NodeId, ...], ...],
        partitions: "dict[int, Partition]",
        forwarding: "Forwarding",
        clock: "Clock",
        rng: Random,
        limits: "Limits",
        request_timeout_ms: int,
        request_turn: "Callable[[Partition], None]",
    ) -> None:
        self._node_id = node_id
        self._replicas = replicas
        self._partitions = partitions
        self._forwarding = forwarding
        forwarding.wait_here = self.wait_for_peer
        self._clock = clock
        self._limits = limits
        self._timeout_s = request_timeout_ms / 1000
        self._request_turn = request_turn
        self._hints: list[NodeId] = [0] * len(replicas)
        self._parked: list[list[Call]] = [[] for _ in replicas]
        self._buckets: dict[int, dict[Call, None]] = {}
        self._guesses = 0
        self.unanswered = 0
        self.unanswered_bytes = 0
        """Of writes: what they carry is held until they are answered."""
        self._sessions = [
            NodeSession(partition, rng, self._open_session) for partition in range(len(replicas))
        ]

    # --- entry points ---

    def write(
        self,
        partition: int,
        code: int,
        args: tuple[object, ...],
        context: "CallContext | None",
        done: Callable[[Outcome], None],
        *,
        wait: Wait | None = None,
    ) -> Call | None:
        """Runs a command exactly once, or says that it did not run, or that nobody knows.

        The call is returned while it is unanswered. One that waits uses this node's session
        whatever the context says: its sequence is taken when it is tried, not while it is parked,
        or everything its session did meanwhile would have to be kept.
        """
        size = bytes_of(args)
        if self.unanswered_bytes + size > self._limits.calls_bytes_max:
            done(Refusal(Reason.SHARD_BUSY, Ran.NO, "this node has too many bytes waiting"))
            return None
        call = self._call(partition, code, args, context, done, wait=wait)
        if call is None:
            return None
        call.is_write = True
        call.size = size
        self.unanswered_bytes += size
        # Session 0 means none: a second try of such a command would run again.
        if wait is not None:
            pass
        elif context is not None and context.session and context.sequence is not None:
            call.session, call.sequence = context.session, context.sequence
            call.floor = context.floor or context.sequence
        elif not self._sessions[partition].assign(call):
            return call
        self.try_now(call)
        return None if call.finished else call

    def read(
        self,
        partition: int,
        code: int,
        args: tuple[object, ...],
        context: "CallContext | None",
        done: Callable[[Outcome], None],
        *,
        wait: Wait | None = None,
    ) -> Call | None:
        """A linearizable read, or one of a local replica when the context allows it.

        The call is returned while it is unanswered.
        """
        call = self._call(partition, code, args, context, done, wait=wait)
        if call is None:
            return None
        call.stale = wait is None and context is not None and context.stale
        self.try_now(call)
        return None if call.finished else call

    def wait_for_peer(
        self,
        partition: int,
        code: int,
        args: tuple[object, ...],
        wait: Wait,
        waiter: WaiterElsewhere,
    ) -> Call | None:
        """A call of another node, which waits here while this one leads.

        It is tried as this node's own. Without a leader here the other node is told to look
        elsewhere; what is in the log by then is first brought to its end.
        """

        def done(outcome: Outcome) -> None:
            refusals.tell_peer(waiter, outcome, self.leader_of(partition))

        call = self._call(partition, code, args, None, done, wait=wait)
        if call is None:
            return None
        call.of_peer = True
        call.tell_args = waiter.on_arguments
        call.is_write = is_command((code, 0, 0, 0, *args))
        self.try_now(call)
        return None if call.finished else call

    def open_session(
        self,
        partition: int,
        token: int,
        context: "CallContext | None",
        done: Callable[[Outcome], None],
    ) -> None:
        """Registers a session for a client; the same token gets the same session."""
        call = self._call(partition, OPEN_SESSION, (token,), context, done)
        if call is not None:
            call.is_write = True
            self.try_now(call)

    # --- what happens to the cluster ---

    def leader_changed(self, partition: int, leader: NodeId) -> None:
        """The replica here has learnt of a leader, or that there is none (0)."""
        self._hints[partition] = leader
        if leader:
            self._unpark(partition)

    def peer_changed(self) -> None:
        """A peer came or went: calls that waited for a way may have one now."""
        for partition in range(len(self._parked)):
            self._unpark(partition)

    def tick(self) -> None:
        """Ends calls whose deadline has passed, tries parked ones again."""
        now = self._clock.monotonic()
        current = int(now / _BUCKET_S)
        for number in [each for each in self._buckets if each < current]:
            for call in list(self._buckets.pop(number)):
                call.bucket = None
                call.expire()
        for partition in range(len(self._parked)):
            self._unpark(partition, _RETRIES_PER_TICK)

    def leader_of(self, partition: int) -> NodeId:
        """The leader as far as this node knows, 0 when unknown."""
        local = self._partitions.get(partition)
        if local is not None and not local.broken and local.group.leader:
            return local.group.leader
        return self._hints[partition]

    # --- one call ---

    def now(self) -> float:
        return self._clock.monotonic()

    def nothing_yet(self, call: Call, result: "Result") -> None:
        """Parks a call that found nothing. A result may say how to ask from now on."""
        if len(result) > 1:
            call.resolve(tuple(cast("tuple[object, ...]", result[1])))
        self._release_sequence(call)
        call.ambiguous = False
        call.redirects = 0
        local = self._partitions.get(call.partition)
        if local is None or not local.group.is_leader:
            # Tried by its sequence at another node, because an earlier try might have run.
            self._park(call)
        elif local.waiting.park(call):
            call.parked_in = local.waiting
        else:
            call.finish(Refusal(Reason.TOO_MANY_WAITERS, Ran.NO, "too many calls wait here"))

    def try_again(self, call: Call, leader: NodeId) -> None:
        """A try ended without a result; `leader` is where it should go, 0 when unknown."""
        self._hints[call.partition] = leader
        call.redirects += 1
        call.parked_in = None
        if leader and leader != self._node_id and call.redirects <= _REDIRECTS_MAX:
            self._forward(call, leader)
        else:
            # Everybody may be a step behind: wait for news or the next tick.
            self._park(call)

    def renew_session(self, call: Call) -> None:
        session = self._sessions[call.partition]
        session.lost(call.session)
        call.node_session, call.session = None, 0
        if session.assign(call):
            self.try_now(call)

    def timeout_refusal(self, call: Call) -> Refusal:
        partition = call.partition
        replicas = self._replicas[partition]
        if call.is_write and (call.ambiguous or call.in_progress):
            return refusals.answer_lost(partition)
        leader = self.leader_of(partition)
        if leader and self._is_reachable(leader):
            return refusals.busy_way(partition, leader)
        missing = [node for node in replicas if not self._is_reachable(node)]
        return refusals.no_leader(partition, len(replicas), missing)

    def forget(self, call: Call) -> None:
        self.unanswered -= 1
        self.unanswered_bytes -= call.size
        if call.bucket is not None:
            call.bucket.pop(call, None)
            call.bucket = None
        if call.in_progress and call.forwarded_to:
            self._forwarding.forget(call)
        if call.parked_in is not None:
            call.parked_in.cancel(call)
            call.parked_in = None
        elif call.node_session is None and call.is_write and not call.session:
            self._sessions[call.partition].withdraw(call)
        if call.woken_in is not None and call.is_write and not call.in_progress:
            call.woken_in.wake({call.topics[0]: 1})
        self._release_sequence(call)

    def _release_sequence(self, call: Call) -> None:
        if call.node_session is not None:
            call.node_session.answered(call.session, call.sequence)
            call.node_session, call.session = None, 0

    def _park(self, call: Call) -> None:
        if call.of_peer and not call.ambiguous:
            call.finish(refusals.ASTRAY)
        else:
            self._parked[call.partition].append(call)

    def _call(
        self,
        partition: int,
        code: int,
        args: tuple[object, ...],
        context: "CallContext | None",
        done: Callable[[Outcome], None],
        *,
        wait: Wait | None = None,
    ) -> Call | None:
        if self.unanswered >= self._limits.calls_max:
            done(Refusal(Reason.SHARD_BUSY, Ran.NO, "this node has too many requests waiting"))
            return None
        call = Call(self, partition, code, args, done)
        now = self._clock.monotonic()
        wait_s = 0.0 if wait is None else wait.seconds
        call.deadline = now + self._timeout_s + wait_s
        if context is not None and context.deadline_ms is not None:
            # It is for the whole call, the wait included.
            timeout_s = min(context.deadline_ms / 1000, 10 * self._timeout_s + wait_s)
            call.deadline = now + timeout_s
        if wait is not None:
            call.wait_until = now + wait_s
            call.topics = wait.topics
        number = int(call.deadline / _BUCKET_S)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
        bucket[call] = None
        call.bucket = bucket
        self.unanswered += 1
        return call

    def try_now(self, call: Call) -> None:
        """Sends a call on its way, here or to another node."""
        partition = call.partition
        local = self._partitions.get(partition)
        if local is None or local.broken or not local.takes_part:
            self._forward(call, self._elsewhere(partition))
        elif call.stale:
            local.read_stale(call.code, call.args, call)
        elif local.group.is_leader:
            self._submit(local, call)
        else:
            self._forward(call, self.leader_of(partition))

    def _forward(self, call: Call, leader: NodeId) -> None:
        parked = self._parked[call.partition]
        astray = call.of_peer and not call.ambiguous
        is_lost = leader in (0, self._node_id) or not self._forwarding.is_connected(leader)
        if astray or is_lost:
            self._park(call)
        elif self._forwarding.calls_to(leader) < self._limits.peer_calls_max and (
            self._forwarding.forward(call, leader)
        ):
            call.in_progress = True
        elif len(parked) < _PARKED_MAX:
            parked.append(call)
        else:
            busy = refusals.busy_way(call.partition, leader)
            call.finish(call.refusal(busy.reason, busy.message))

    def _submit(self, local: "Partition", call: Call) -> None:
        if not call.is_write:
            local.read(call.code, call.args, call)
        elif (
            call.wait_until and not call.session and not self._sessions[call.partition].assign(call)
        ):
            return
        elif call.code in TRANSACTION_CALLS:
            local.transact(call.code, (call.session, call.sequence, call.floor), call.args, call)
        elif local.group.accepts_proposals:
            command = (call.code, call.session, call.sequence, call.floor, *call.args)
            call.in_progress = True
            local.submit(cast(Command, command), call.size, call)
        else:
            self._parked[call.partition].append(call)
            return
        self._request_turn(local)

    def _elsewhere(self, partition: int) -> NodeId:
        """Where to ask when the replica here is of no use: the leader, if it can be reached, or
        any replica: it answers, or knows who does. They take turns, as one may know nothing."""
        is_connected = self._forwarding.is_connected
        hint = self._hints[partition]
        if is_connected(hint):
            return hint
        reachable = [node for node in self._replicas[partition] if is_connected(node)]
        if not reachable:
            return 0
        self._guesses += 1
        return reachable[self._guesses % len(reachable)]

    def _is_reachable(self, node: NodeId) -> bool:
        return node == self._node_id or self._forwarding.is_connected(node)

    def _unpark(self, partition: int, most: int = _RETRIES) -> None:
        """Tries parked calls again, those that wait longest."""
        if self._parked[partition]:
            parked = [call for call in self._parked[partition] if not call.finished]
            again, self._parked[partition] = parked[:most], parked[most:]
            for call in again:
                if not call.finished:
                    call.redirects = 0
                    self.try_now(call)

    def _open_session(self, partition: int, token: int) -> None:
        def done(outcome: Outcome) -> None:
            session = self._sessions[partition]
            if isinstance(outcome, Refusal) or outcome[0] != 0:
                waiting = session.failed()
                if not refusals.is_timeout(outcome):
                    for call in waiting:
                        if not call.finished:
                            call.finish(refusals.no_session(outcome))
                    return
                # The calls have deadlines of their own, and came later than this one.
            else:
                waiting = session.opened(cast(int, outcome[1]))
            for call in waiting:
                if not call.finished and session.assign(call):
                    self.try_now(call)

        self.open_session(partition, token, None, done)
