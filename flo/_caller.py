"""One request from the caller's task to its answer: routing, deadline, retries, exactly once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from flo import _failures as failures
from flo._endpoints import Endpoint
from flo._retry import RetryPolicy
from flo._router import Router
from flo._sessions import Session, Sessions
from flo._transport import EXPIRED, Channel, Expired, Lost, Reply
from flo.exceptions import (
    ConnectionFailedError,
    FloError,
    NotConnectedError,
    Outcome,
    OverloadedError,
    RequestTimeoutError,
    ValidationError,
)
from flo.types import StatusCode
from flo.wire.messages import (
    Body,
    CallContext,
    OpenSession,
    PartitionTable,
    PartitionTableRequest,
    Result,
    SessionOpened,
)
from flo.wire.status import Ran, Reason, Refusal

TIMEOUT_MS_MAX = 86_400_000
# The server shall give up a little before us: its refusal says more than silence.
_ANSWER_MARGIN_MAX_MS = 200


class Call:
    """What one call has gone through so far."""

    __slots__ = (
        "attempts",
        "body",
        "channel",
        "deadline",
        "is_write",
        "may_have_run",
        "partition",
        "sequence",
        "session",
    )

    def __init__(
        self, body: Body, partition: int | None, deadline: float, *, is_write: bool
    ) -> None:
        self.body = body
        self.partition = partition
        self.deadline = deadline
        self.is_write = is_write
        self.attempts = 0
        self.channel: Channel | None = None
        # Set for a write once it has its place in a session; floor and sequence stay the same from try
        # to try, which is what makes the tries one write.
        self.session: Session | None = None
        self.sequence = (0, 0)
        self.may_have_run = False

    @property
    def outcome(self) -> Outcome:
        """What is known if the call ended here. A read has no effect that could be unknown."""
        return "unknown" if self.is_write and self.may_have_run else "not_applied"

    def enter(self, session: Session) -> None:
        """Takes a place in a session. The floor is noted now: it must not pass the sequence."""
        sequence = session.begin()
        self.session = session
        self.sequence = (sequence, session.floor)

    def leave(self) -> None:
        """Gives the place up: nobody awaits that sequence any more."""
        if self.session is not None:
            self.session.end(self.sequence[0])
            self.session = None

    def context(self, remaining_s: float) -> CallContext:
        remaining_ms = int(remaining_s * 1000)
        margin_ms = min(remaining_ms // 10, _ANSWER_MARGIN_MAX_MS)
        deadline_ms = max(1, remaining_ms - margin_ms)
        session = self.session
        if session is None:
            return CallContext(None, None, None, False, deadline_ms)
        sequence, floor = self.sequence
        return CallContext(session.session_id, sequence, floor, False, deadline_ms)


class Caller:
    """Makes calls. Bounded: past `in_flight_max` calls, further ones wait, first come first served."""

    def __init__(
        self, router: Router, *, timeout_ms: float, retry: RetryPolicy, in_flight_max: int
    ) -> None:
        self._router = router
        self._timeout_s = _seconds(timeout_ms)
        self._retry = retry
        self._in_flight_max = in_flight_max
        self._slots = asyncio.Semaphore(in_flight_max)
        self._loop = asyncio.get_running_loop()
        self.sessions = Sessions(self._open_session)
        self._closed = False

    def close(self) -> None:
        """Calls that are under way end with NotConnectedError, or as what they were answered."""
        self._closed = True

    async def call(
        self,
        body: Body,
        *,
        partition: int | None = None,
        is_write: bool = False,
        timeout_ms: float | None = None,
        wait_ms: int = 0,
    ) -> Result:
        """The result. `wait_ms`, the time the server may wait, comes on top of the time-out.

        Raises FloError: everything but success.
        """
        timeout_s = self._timeout_s if timeout_ms is None else _seconds(timeout_ms)
        call = Call(
            body, partition, self._loop.time() + timeout_s + wait_ms / 1000, is_write=is_write
        )
        if self._slots.locked():
            await self._wait_for_slot(call)
        else:
            await self._slots.acquire()
        try:
            while True:
                reply = await self._attempt(call)
                if not isinstance(reply, Refusal | Lost | Expired):
                    return reply
                await self._recover(call, reply)
        finally:
            call.leave()
            self._slots.release()

    async def call_node(
        self, endpoint: Endpoint, body: Body, *, timeout_ms: float | None = None
    ) -> Result:
        """The result of one node and no other, without another try. Raises FloError."""
        timeout_s = self._timeout_s if timeout_ms is None else _seconds(timeout_ms)
        call = Call(body, None, self._loop.time() + timeout_s, is_write=False)
        channel = await self._within(
            call, self._router.pool.open(endpoint), lambda: f"no connection to {endpoint} in time"
        )
        reply = await self._exchange(call, channel)
        if isinstance(reply, Refusal | Lost | Expired):
            raise self._error(call, reply)
        return reply

    async def partition_table(self) -> PartitionTable:
        """The partition table of any node. Raises FloError."""
        return cast(PartitionTable, await self.call(PartitionTableRequest()))

    async def _open_session(self, partition: int, deadline: float) -> int:
        # A retry may leave a session that nobody uses; it expires. So this needs no session itself.
        call = Call(OpenSession(partition), partition, deadline, is_write=False)
        while True:
            reply = await self._attempt(call)
            if not isinstance(reply, Refusal | Lost | Expired):
                return cast(SessionOpened, reply).session
            await self._recover(call, reply)

    async def _attempt(self, call: Call) -> Reply:
        if self._closed:
            raise NotConnectedError("the client is closed", outcome=call.outcome)
        call.attempts += 1
        if call.is_write and call.session is None:
            await self._enter_session(call)
        if call.attempts == 1:
            channel = self._router.channel(call.partition)
        else:
            channel = self._router.other_channel(call.partition, call.channel)
        if channel is None or channel.congested:
            channel = await self._within(
                call, self._usable_channel(call), self._unreachable_message
            )
        return await self._exchange(call, channel)

    async def _exchange(self, call: Call, channel: Channel) -> Reply:
        """Sends a request and waits for what comes of it, within the call's time."""
        loop = self._loop
        call.channel = channel
        reply = channel.send(call.body, call.context(call.deadline - loop.time()))
        timer = loop.call_at(call.deadline, _expire, reply)
        try:
            return await reply
        finally:
            timer.cancel()

    async def _recover(self, call: Call, reply: Refusal | Lost | Expired) -> None:
        """Returns, after a pause, when another try makes sense. Raises the call's error otherwise."""
        if isinstance(reply, Expired):
            raise self._error(call, reply)
        if isinstance(reply, Lost):
            call.may_have_run = True
            self._router.refresh()
        elif reply.reason is Reason.SESSION_UNKNOWN:
            self._forget_session(call, reply)
        elif not failures.may_try_again(reply):
            raise self._error(call, reply)
        else:
            call.may_have_run = call.may_have_run or reply.ran is not Ran.NO
            if failures.is_stale_route(reply):
                self._router.refresh()
        if call.attempts >= self._retry.max_attempts:
            raise self._error(call, reply)
        pause_s = self._retry.pause_s(call.attempts)
        if self._loop.time() + pause_s >= call.deadline:
            raise self._error(call, reply)
        await asyncio.sleep(pause_s)

    def _forget_session(self, call: Call, refusal: Refusal) -> None:
        """Makes room for a new session if the write certainly has not run in the old one."""
        assert call.partition is not None
        if call.session is not None:
            self.sessions.discard(call.partition, call.session)
        if call.may_have_run or refusal.ran is not Ran.NO:
            call.may_have_run = True
            raise self._error(call, refusal)
        call.leave()

    def _error(self, call: Call, reply: Refusal | Lost | Expired) -> FloError:
        if isinstance(reply, Lost):
            if self._closed:
                return NotConnectedError("the client was closed", outcome=call.outcome)
            return failures.lost_error(reply, call.outcome)
        if isinstance(reply, Expired):
            call.may_have_run = True
            return _timeout(call, "no answer within the time-out")
        known = call.outcome
        if call.is_write and reply.ran is not Ran.NO:
            known = "unknown"
        elif not failures.is_of_the_node(reply):
            known = "not_applied"
        return failures.refusal_error(reply, known)

    async def _enter_session(self, call: Call) -> None:
        partition = call.partition
        assert partition is not None, "a write has a key, and so a partition"
        session = self.sessions.current(partition)
        if session is None:
            session = await self._within(
                call,
                self.sessions.obtain(partition, call.deadline),
                lambda: "no session could be opened within the time-out",
            )
        call.enter(session)

    async def _usable_channel(self, call: Call) -> Channel:
        while True:
            channel = self._router.other_channel(call.partition, call.channel)
            if channel is None:
                await self._router.pool.wait_ready()
            elif channel.congested:
                await channel.writable()
            else:
                return channel
            if self._closed:
                raise NotConnectedError("the client was closed", outcome=call.outcome)

    def _unreachable_message(self) -> str:
        pool = self._router.pool
        if pool.connected:
            return "the node did not take the request within the time-out: it is overloaded"
        return f"no node could be reached within the time-out: {pool.describe_failures()}"

    async def _within(
        self, call: Call, work: Awaitable[_T], message: Callable[[], str]
    ) -> _T:
        """What the work gives, in the call's time. Raises RequestTimeoutError with the message."""
        try:
            async with asyncio.timeout_at(call.deadline):
                return await work
        except TimeoutError as error:
            if isinstance(error, FloError):
                raise
            raise ConnectionFailedError(message(), outcome=call.outcome) from None

    async def _wait_for_slot(self, call: Call) -> None:
        try:
            async with asyncio.timeout_at(call.deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise OverloadedError(
                f"{self._in_flight_max} calls of this client were under way for the whole time-out:"
                " make fewer at a time, or raise in_flight_max",
                StatusCode.OVERLOADED,
                reason=Reason.TOO_MANY_PROPOSALS,
                ran=Ran.NO,
            ) from None
