"""Brings calls to the leaders of their partitions, and back again after a leader change."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, cast

from cluster import refusals
from cluster.calls import Call, Outcome
from cluster.leader_wait import Asked, LeaderWait, WaitingWaiter
from cluster.node_sessions import NodeSession, WaitSessions
from cluster.raft.types import NodeId
from cluster.sizes import bytes_of
from cluster.state.commands import OPEN_SESSION, Command
from cluster.transactions import TRANSACTION_CALLS, TXN_COMMIT_ASKED
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.config import Limits
    from cluster.forwarding import Forwarding
    from cluster.partition import Partition
    from flo.wire.messages import CallContext

_BUCKET_S = 0.05
_MARGIN_S = 0.1
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
        forwarding.wait_here = self.wait_here
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
        self.waiting = 0
        """Those of the unanswered that wait for something to come: they may be there for minutes,
        and others must have room beside them."""

        def make(partition: int) -> NodeSession:
            return NodeSession(partition, rng, self._open_session)

        self._sessions = [make(number) for number in range(len(replicas))]
        self._wait_sessions = [
            WaitSessions(partial(make, number)) for number in range(len(replicas))
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
        wait_s: float = 0.0,
    ) -> Call | None:
        """Runs a command exactly once, or says that it did not run, or that nobody knows.

        The call is returned while it is unanswered. One that waits, for `wait_s` seconds at most,
        has a session of this node for itself, whatever the context says: in one that it shared,
        everything done meanwhile would have to be kept.
        """
        size = bytes_of(args)
        if self.unanswered_bytes + size > self._limits.calls_bytes_max:
            done(Refusal(Reason.SHARD_BUSY, Ran.NO, "this node has too many bytes waiting"))
            return None
        call = self._call(partition, code, args, context, done, wait_s=wait_s)
        if call is None:
            return None
        call.is_write = True
        call.size = size
        self.unanswered_bytes += size
        # Session 0 means none: a second try of such a command would run again.
        if wait_s:
            session = self._wait_sessions[partition].take(self._clock.monotonic())
        elif context is not None and context.session and context.sequence is not None:
            call.session, call.sequence = context.session, context.sequence
            call.floor = context.floor or context.sequence
            session = None
        else:
            session = self._sessions[partition]
        if session is not None and not session.assign(call):
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
        wait_s: float = 0.0,
    ) -> Call | None:
        """A linearizable read, or one of a local replica when the context allows it.

        The call is returned while it is unanswered.
        """
        call = self._call(partition, code, args, context, done, wait_s=wait_s)
        if call is None:
            return None
        call.stale = not wait_s and context is not None and context.stale
        self.try_now(call)
        return None if call.finished else call

    def wait_here(self, partition: "Partition", asked: Asked, waiter: WaitingWaiter) -> LeaderWait:
        """A call that waits at this node's replica, of a client here or of another node; to be
        started by whoever asks."""
        now = self._clock.monotonic()
        return LeaderWait(partition, asked, waiter, now=now, request_turn=self._request_turn)

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

    def hurry(self, call: Call) -> None:
        self._set_deadline(call, min(call.deadline, self._clock.monotonic() + self._timeout_s))

    def stop_elsewhere(self, call: Call) -> None:
        self._forwarding.stop(call)

    def try_again(self, call: Call, leader: NodeId) -> None:
        """A try ended without a result; `leader` is where it should go, 0 when unknown."""
        self._hints[call.partition] = leader
        call.redirects += 1
        if leader and leader != self._node_id and call.redirects <= _REDIRECTS_MAX:
            self._forward(call, leader)
        else:
            # Everybody may be a step behind: wait for news or the next tick.
            self._parked[call.partition].append(call)

    def renew_session(self, call: Call) -> None:
        session = cast(NodeSession, call.node_session)
        session.lost(call.session)
        call.session = 0
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
        self.waiting -= call.waits
        if call.bucket is not None:
            call.bucket.pop(call, None)
            call.bucket = None
        if call.waits_here is not None:
            call.waits_here.cancel()
            call.waits_here = None
        elif call.in_progress and call.forwarded_to:
            self._forwarding.forget(call)
        self._release_session(call)

    def _release_session(self, call: Call) -> None:
        session, call.node_session = call.node_session, None
        if session is None:
            return
        if call.session:
            session.answered(call.session, call.sequence)
        else:
            session.withdraw(call)
        if call.waits:
            self._wait_sessions[call.partition].give_back(session)

    def _call(
        self,
        partition: int,
        code: int,
        args: tuple[object, ...],
        context: "CallContext | None",
        done: Callable[[Outcome], None],
        *,
        wait_s: float = 0.0,
    ) -> Call | None:
        if self.unanswered >= self._limits.calls_max:
            done(Refusal(Reason.SHARD_BUSY, Ran.NO, "this node has too many requests waiting"))
            return None
        if wait_s and self.waiting >= self._limits.waiting_max:
            done(Refusal(Reason.TOO_MANY_WAITERS, Ran.NO, "too many calls wait at this node"))
            return None
        call = Call(self, partition, code, args, done)
        now = self._clock.monotonic()
        timeout_s = self._timeout_s + wait_s
        if context is not None and context.deadline_ms is not None:
            # It is for the whole call, the wait included.
            timeout_s = min(context.deadline_ms / 1000, 10 * self._timeout_s + wait_s)
        self._set_deadline(call, now + timeout_s)
        if wait_s:
            call.waits = True
            # What it brings, or that it is over, is to arrive before the deadline.
            call.wait_until = now + min(wait_s, timeout_s - min(_MARGIN_S, timeout_s / 10))
            self.waiting += 1
        self.unanswered += 1
        return call

    def _set_deadline(self, call: Call, deadline: float) -> None:
        if call.bucket is not None:
            call.bucket.pop(call, None)
        call.deadline = deadline
        call.bucket = self._buckets.setdefault(int(deadline / _BUCKET_S), {})
        call.bucket[call] = None

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
        if leader in (0, self._node_id) or not self._forwarding.is_connected(leader):
            parked.append(call)
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
        if call.code in TRANSACTION_CALLS:
            # The others are done in memory when they are answered, and never when they are over.
            call.in_progress = call.code == TXN_COMMIT_ASKED
            local.transact(call.code, (call.session, call.sequence, call.floor), call.args, call)
        elif call.is_write and not local.group.accepts_proposals:
            self._parked[call.partition].append(call)
            return
        elif call.wait_until:
            self._wait(local, call)
        elif call.is_write:
            command = (call.code, call.session, call.sequence, call.floor, *call.args)
            call.in_progress = True
            local.submit(cast(Command, command), call.size, call)
        else:
            local.read(call.code, call.args, call)
        self._request_turn(local)

    def _wait(self, local: "Partition", call: Call) -> None:
        triple = (call.session, call.sequence, call.floor)
        wait_s = call.wait_until - self._clock.monotonic()
        is_new = not (call.ambiguous or call.renewed)
        asked = Asked(call.code, triple, call.args, call.is_write, wait_s, is_new)
        call.in_progress = True
        call.waits_here = self.wait_here(local, asked, call)
        call.waits_here.start()

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

    def _open_session(self, session: NodeSession, token: int) -> None:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Refusal) or outcome[0] != 0:
                self._no_session(session, outcome)
                return
            calls = session.opened(cast(int, outcome[1]), self._clock.monotonic())
            if not calls and session is not self._sessions[session.partition]:
                self._wait_sessions[session.partition].give_back(session)
            for call in calls:
                if not call.finished and session.assign(call):
                    self.try_now(call)

        self.open_session(session.partition, token, None, done)

    def _no_session(self, session: NodeSession, outcome: Outcome) -> None:
        for call in session.failed():
            if call.finished:
                continue
            if refusals.is_timeout(outcome):
                # It has a deadline of its own, and came later than the one that is over.
                session.assign(call)
            else:
                call.finish(refusals.no_session(outcome))
