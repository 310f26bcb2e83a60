"""One request from the caller's task to its answer: routing, deadline, retries, exactly once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from flo import _failures as failures
from flo._deadlines import Deadlines
from flo._endpoints import Endpoint
from flo._retry import RetryPolicy
from flo._router import Router
from flo._sessions import Session, Sessions
from flo._slots import Slots
from flo._transport import Channel, Expired, Lost, Reply
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
# With less time than this left, another try has no chance.
_TRY_MIN_S = 0.02

_FAILED: Final = (Refusal, Lost, Expired)

_T = TypeVar("_T")


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
        # Set for a write once it has its place in a session; floor and sequence stay the same from
        # try to try, which is what makes the tries one write.
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
    """Makes calls. Past `in_flight_max` of them further ones wait, first come first served."""

    def __init__(
        self, router: Router, *, timeout_ms: float, retry: RetryPolicy, in_flight_max: int
    ) -> None:
        self._router = router
        self._timeout_s = _seconds(timeout_ms)
        self._retry = retry
        self._in_flight_max = in_flight_max
        self._slots = Slots(in_flight_max)
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self.sessions = Sessions(self._open_session)
        self._closed = False

    def partition_of(self, namespace: bytes, key: bytes) -> int:
        """Where a key lives."""
        return self._router.partition_of(namespace, key)

    def close(self) -> None:
        """Calls that are under way end with NotConnectedError, or as what they were answered."""
        self._closed = True
        self._deadlines.close()

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
        if not self._slots.take():
            await self._wait_for_slot(call)
        try:
            while True:
                reply = await self._attempt(call)
                if not isinstance(reply, _FAILED):
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
        if isinstance(reply, _FAILED):
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
            if not isinstance(reply, _FAILED):
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
        call.channel = channel
        reply = channel.send(call.body, call.context(call.deadline - self._loop.time()))
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
        remaining_s = call.deadline - self._loop.time()
        if remaining_s < _TRY_MIN_S:
            raise self._error(call, reply)
        await asyncio.sleep(min(self._retry.pause_s(call.attempts), remaining_s / 2))

    def _forget_session(self, call: Call, refusal: Refusal) -> None:
        """Makes room for a new session if the write certainly has not run in the old one."""
        if call.session is None or call.partition is None:
            raise self._error(call, refusal)
        self.sessions.discard(call.partition, call.session)
        if call.may_have_run or refusal.ran is not Ran.NO:
            raise self._error(call, refusal)
        call.leave()

    def _error(self, call: Call, reply: Refusal | Lost | Expired) -> FloError:
        if isinstance(reply, Lost):
            if self._closed:
                return NotConnectedError("the client was closed", outcome=call.outcome)
            return failures.lost_error(reply, call.outcome)
        if isinstance(reply, Expired):
            call.may_have_run = True
            return RequestTimeoutError(
                f"no answer within the time-out, in {call.attempts} tries: a write may have been"
                " executed, so read before you repeat it",
                outcome=call.outcome,
            )
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

    async def _within(self, call: Call, work: Awaitable[_T], message: Callable[[], str]) -> _T:
        """What the work gives. Raises ConnectionFailedError when the call's time ends first."""
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
                await self._slots.wait()
        except TimeoutError:
            raise OverloadedError(
                f"{self._in_flight_max} calls of this client were under way for the whole time-out:"
                " make fewer at a time, or raise in_flight_max",
                StatusCode.OVERLOADED,
                reason=Reason.TOO_MANY_PROPOSALS,
                ran=Ran.NO,
            ) from None


def _seconds(timeout_ms: float) -> float:
    if not 0 < timeout_ms <= TIMEOUT_MS_MAX:
        raise ValidationError(f"timeout_ms of {timeout_ms}: more than 0, at most {TIMEOUT_MS_MAX}")
    return timeout_ms / 1000
