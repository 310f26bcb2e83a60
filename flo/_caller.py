"""One request from the caller's task to its answer: routing, deadline, retries, exactly once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from threading import get_ident
from typing import Final, TypeVar, cast

from flo import _failures as failures
from flo._call import Call, Era
from flo._deadlines import Deadlines
from flo._endpoints import Endpoint
from flo._home import Home
from flo._observe import CallRetried, Reporter
from flo._router import Router
from flo._sessions import Session, Sessions
from flo._slots import Slots
from flo._transport import Channel, Expired, Lost, Reply
from flo._watch import CallWatch
from flo.exceptions import (
    FloError,
    NotConnectedError,
    UnexpectedEofError,
    ValidationError,
)
from flo.retry import RetryPolicy
from flo.wire.messages import (
    Body,
    OpenSession,
    PartitionTable,
    PartitionTableRequest,
    Result,
    SessionOpened,
)
from flo.wire.status import Ran, Reason, Refusal

# A day. Whoever gives more means "for ever", and gets a day.
TIMEOUT_MS_MAX = 86_400_000
# With less time than this left, another try has no chance.
_TRY_MIN_S = 0.02
# A node gives up at most so much of a call's time before us, see `Call.context`, and a little more.
_LEADER_WAIT_SHARE = 0.15

_FAILED: Final = (Refusal, Lost, Expired)

_T = TypeVar("_T")


class Caller:
    """Makes calls. Past `in_flight_max` of them further ones wait, first come first served.

    `watch` is told about every call of the program; None is free.
    """

    def __init__(
        self,
        router: Router,
        reporter: Reporter,
        *,
        timeout_ms: float,
        retry: RetryPolicy,
        in_flight_max: int,
        watch: CallWatch | None = None,
    ) -> None:
        self._router = router
        self._reporter = reporter
        self._timeout_s = timeout_s(timeout_ms)
        self._retry = retry
        self._in_flight_max = in_flight_max
        self._watch = watch
        self.slots = Slots(in_flight_max)
        self.home = Home()
        self._loop = self.home.loop
        self._deadlines = Deadlines(self._loop)
        self.sessions = Sessions(self._open_session)
        self._era = Era()

    def partition_of(self, namespace: bytes, key: bytes) -> int:
        """Where a key lives."""
        return self._router.partition_of(namespace, key)

    @property
    def partition_count(self) -> int:
        """How many partitions the cluster has."""
        return self._router.partition_count

    def close(self) -> None:
        """Calls that are under way end with NotConnectedError, or as what they were answered."""
        self._era.ended = Lost(NotConnectedError, "the client was closed")
        self._deadlines.close()

    def interrupt(self) -> None:
        """Calls that are under way end as soon as their connection does; new ones may be made."""
        self._era.ended = Lost(UnexpectedEofError, "interrupted by the program")
        self._era = Era()

    def call(
        self,
        body: Body,
        *,
        partition: int | None = None,
        is_write: bool = False,
        timeout_ms: float | None = None,
        wait_ms: int = 0,
        stale: bool = False,
    ) -> Coroutine[None, None, Result]:
        """The result. `wait_ms`, the time the server may wait, comes on top of the time-out.

        A `stale` read is asked of any node, in turn, and says that any replica may answer.

        Raises FloError: everything but success.
        """
        if get_ident() != self.home.thread or not self._loop.is_running():
            self.home.check()
        wait_s = wait_ms / 1000
        budget_s = wait_s + (self._timeout_s if timeout_ms is None else timeout_s(timeout_ms))
        call = Call(
            body,
            partition,
            self._loop.time() + budget_s,
            budget_s,
            self._era,
            is_write=is_write,
            stale=stale,
            wait_s=wait_s,
        )
        if self._watch is None:
            return self._run(call)
        return self._watch.watch(call, self._run(call))

    def call_node(
        self, endpoint: Endpoint, body: Body, *, timeout_ms: float | None = None
    ) -> Coroutine[None, None, Result]:
        """The result of one node and no other, without another try. Raises FloError."""
        self.home.check()
        call = self._plain_call(body, timeout_ms)
        work = self._run_at(endpoint, call)
        return work if self._watch is None else self._watch.watch(call, work)

    async def partition_table(self, timeout_ms: float | None = None) -> PartitionTable:
        """The partition table of any node. The program's watch is not told. Raises FloError."""
        call = self._plain_call(PartitionTableRequest(), timeout_ms)
        return cast(PartitionTable, await self._run(call))

    def _plain_call(self, body: Body, timeout_ms: float | None) -> Call:
        """A read that is about no partition."""
        budget_s = self._timeout_s if timeout_ms is None else timeout_s(timeout_ms)
        deadline = self._loop.time() + budget_s
        return Call(body, None, deadline, budget_s, self._era, is_write=False)

    async def _run_at(self, endpoint: Endpoint, call: Call) -> Result:
        channel = await self._within(
            call, self._router.pool.open(endpoint), lambda: f"no connection to {endpoint}"
        )
        reply = await self._attempt(call, channel)
        if isinstance(reply, _FAILED):
            raise self._error(call, reply)
        return reply

    async def _open_session(self, partition: int, deadline: float) -> int:
        # A retry may leave a session that nobody uses; it expires. So this needs no session itself.
        budget_s = deadline - self._loop.time()
        body = OpenSession(partition)
        call = Call(body, partition, deadline, budget_s, self._era, is_write=False)
        while True:
            reply = await self._attempt(call)
            if not isinstance(reply, _FAILED):
                return cast(SessionOpened, reply).session
            await self._recover(call, reply)

    async def _run(self, call: Call) -> Result:
        if not self.slots.take():
            await self._wait_for_slot(call)
        try:
            while True:
                reply = await self._attempt(call)
                if not isinstance(reply, _FAILED):
                    return reply
                await self._recover(call, reply)
        finally:
            call.leave()
            self.slots.release()

    async def _attempt(self, call: Call, channel: Channel | None = None) -> Reply:
        """Sends the request, on `channel` if given, and waits for what comes of it."""
        if call.era.ended is not None:
            raise failures.ended_error(call, call.era.ended)
        call.attempts += 1
        if call.is_write and call.session is None:
            session = self.sessions.current(cast(int, call.partition))
            call.enter(await self._new_session(call) if session is None else session)
        if channel is None:
            if call.attempts == 1:
                channel = self._router.channel(call.partition)
            else:
                channel = self._router.other_channel(call.partition, call.channel)
            if channel is None or channel.congested:
                channel = await self._within(
                    call, self._usable_channel(call), self._unreachable_message
                )
        call.channel = channel
        remaining_s = call.deadline - self._loop.time()
        reply = channel.send(call.request(remaining_s), call.context(remaining_s))
        waiting = self._deadlines.add(reply, call.deadline)
        try:
            return await reply
        finally:
            waiting.discard(reply)

    async def _recover(self, call: Call, reply: Refusal | Lost | Expired) -> None:
        """Returns, after a pause, when another try makes sense; else raises the call's error."""
        if isinstance(reply, Expired):
            raise self._error(call, reply)
        if isinstance(reply, Lost):
            call.may_have_run = True
            if call.era.ended is not None:
                raise self._error(call, reply)
            self._router.refresh()
        elif reply.reason is Reason.SESSION_UNKNOWN:
            self._forget_session(call, reply)
        elif not failures.may_try_again(reply):
            raise self._error(call, reply)
        else:
            call.may_have_run = call.may_have_run or reply.ran is not Ran.NO
            if failures.is_stale_route(reply):
                self._router.refresh()
        remaining_s = call.deadline - self._loop.time()
        least_s = _TRY_MIN_S
        if isinstance(reply, Refusal) and reply.reason is Reason.LEADER_UNKNOWN:
            # The node has waited for a leader nearly all of the time: what it says is the answer.
            least_s = max(least_s, (call.budget_s - call.wait_s) * _LEADER_WAIT_SHARE)
        if call.attempts >= self._retry.max_attempts or remaining_s < least_s:
            raise self._error(call, reply)
        pause_s = min(self._retry.pause_s(call.attempts), remaining_s / 2)
        self._reporter.report(
            CallRetried(
                call.operation,
                call.partition,
                call.endpoint,
                call.attempts,
                pause_s * 1000,
                reply.message,
            )
        )
        await asyncio.sleep(pause_s)

    def _forget_session(self, call: Call, refusal: Refusal) -> None:
        """Makes room for a new session if the write certainly has not run in the old one."""
        if call.session is None or call.partition is None:
            raise self._error(call, refusal)
        self.sessions.discard(call.partition, call.session)
        if call.may_have_run or refusal.ran is not Ran.NO:
            raise self._error(call, refusal)
        call.leave()

    def _error(self, call: Call, reply: Refusal | Lost | Expired) -> FloError:
        if isinstance(reply, Refusal):
            return failures.refusal_error(call, reply)
        call.may_have_run = True
        if isinstance(reply, Expired):
            return failures.timeout_error(call)
        if call.era.ended is not None:
            return failures.ended_error(call, call.era.ended)
        return failures.lost_error(call, reply)

    async def _new_session(self, call: Call) -> Session:
        partition = call.partition
        assert partition is not None, "a write has a key, and so a partition"
        return await self._within(
            call,
            self.sessions.obtain(partition, call.deadline),
            lambda: "no session could be opened",
        )

    async def _usable_channel(self, call: Call) -> Channel:
        while True:
            channel = self._router.other_channel(call.partition, call.channel)
            if channel is None:
                await self._router.pool.wait_ready()
            elif channel.congested:
                await channel.writable()
            else:
                return channel
            if call.era.ended is not None:
                raise failures.ended_error(call, call.era.ended)

    def _unreachable_message(self) -> str:
        pool = self._router.pool
        if pool.connected:
            return "the node took no request for the whole time: it is overloaded"
        return f"no node could be reached: {pool.describe_failures()}"

    async def _within(self, call: Call, work: Awaitable[_T], message: Callable[[], str]) -> _T:
        """What the work gives. Raises ConnectionFailedError when the call's time ends first."""
        try:
            async with asyncio.timeout_at(call.deadline):
                return await work
        except TimeoutError as error:
            if isinstance(error, FloError):
                raise
            raise failures.unreachable_error(call, message()) from None

    async def _wait_for_slot(self, call: Call) -> None:
        try:
            async with asyncio.timeout_at(call.deadline):
                await self.slots.wait()
        except TimeoutError:
            raise failures.slots_error(call, self._in_flight_max) from None


def timeout_s(timeout_ms: float) -> float:
    """The seconds of a time-out given in milliseconds. Raises ValidationError."""
    if not timeout_ms > 0:
        raise ValidationError(f"timeout_ms of {timeout_ms}: it must be more than 0")
    return min(timeout_ms, TIMEOUT_MS_MAX) / 1000
