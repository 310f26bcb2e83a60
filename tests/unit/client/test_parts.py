"""The client's parts that need no server: sessions, slots, deadlines, retry policy, errors."""

import asyncio
import math
from collections.abc import Callable
from typing import cast

import pytest

import flo
from flo._call import Call, Era
from flo._deadlines import TICK_S, Deadlines
from flo._sessions import WINDOW_MAX, Session, Sessions
from flo._slots import Slots
from flo._tasks import TaskOwner
from flo._transport import EXPIRED, Reply
from flo.exceptions import (
    OverloadedError,
)
from flo.retry import RetryPolicy
from flo.wire.messages import KvPut


class TestSession:
    def test_floor_is_the_lowest_awaited_sequence(self) -> None:
        session = Session(7)
        first, second, third = session.begin(), session.begin(), session.begin()
        assert (first, second, third, session.floor) == (1, 2, 3, 1)
        session.end(second)
        assert session.floor == 1
        session.end(first)
        assert session.floor == 3
        session.end(third)
        assert session.floor == 4

    def test_is_full_when_one_call_holds_the_floor(self) -> None:
        session = Session(7)
        held = session.begin()
        for _ in range(WINDOW_MAX - 1):
            session.end(session.begin())
        assert session.full
        session.end(held)
        assert not session.full

    async def test_many_callers_open_one_session(self) -> None:
        opened: list[int] = []
        gate = asyncio.Event()

        async def open_session(partition: int, _deadline: float) -> int:
            await gate.wait()
            opened.append(partition)
            return 70 + len(opened)

        sessions = Sessions(open_session)
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(sessions.obtain(3, 0.0)) for _ in range(5)]
            gate.set()
        assert opened == [3]
        assert {task.result().session_id for task in waiting} == {71}
        assert sessions.current(3) is waiting[0].result()

    async def test_discarded_and_full_sessions_are_not_given_out_again(self) -> None:
        numbers = iter(range(100))

        async def open_session(_partition: int, _deadline: float) -> int:
            return next(numbers)

        sessions = Sessions(open_session)
        first = await sessions.obtain(0, 0.0)
        sessions.discard(0, first)
        second = await sessions.obtain(0, 0.0)
        sessions.discard(0, first)  # somebody comes late with the news
        assert sessions.current(0) is second
        for _ in range(WINDOW_MAX):
            second.begin()
        assert sessions.current(0) is None
        assert (await sessions.obtain(0, 0.0)).session_id == 2
        sessions.discard_all()
        assert sessions.current(0) is None

    async def test_a_failed_open_lets_the_next_caller_try(self) -> None:
        async def open_session(_partition: int, deadline: float) -> int:
            if deadline == 1.0:
                raise OverloadedError("busy")
            return 5

        sessions = Sessions(open_session)
        with pytest.raises(OverloadedError):
            await sessions.obtain(0, 1.0)
        assert (await sessions.obtain(0, 2.0)).session_id == 5


class TestCall:
    def test_triple_stays_the_same_from_try_to_try(self) -> None:
        session = Session(9)
        earlier = session.begin()
        call = Call(KvPut(b"n", b"k", b"v"), 0, 0.0, 5.0, Era(), is_write=True)
        call.enter(session)
        first = call.context(5.0)
        session.end(earlier)
        second = call.context(1.0)
        assert (first.session, first.sequence, first.floor) == (9, 2, 1)
        assert second[:3] == first[:3]

    def test_server_gets_a_little_less_time_than_is_left(self) -> None:
        call = Call(KvPut(b"n", b"k", b"v"), 0, 0.0, 5.0, Era(), is_write=True)
        assert call.context(5.0).deadline_ms == 4800
        assert call.context(0.1).deadline_ms == 90
        assert call.context(-1.0).deadline_ms == 1


class TestSlots:
    async def test_waiters_are_served_in_order(self) -> None:
        slots = Slots(1)
        assert slots.take()
        assert not slots.take()
        order: list[int] = []

        async def wait(number: int) -> None:
            await slots.wait()
            order.append(number)
            slots.release()

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(wait(number))
            await asyncio.sleep(0)
            slots.release()
        assert order == [0, 1, 2, 3]
        assert slots.take()

    async def test_a_cancelled_waiter_loses_no_slot(self) -> None:
        slots = Slots(1)
        slots.take()
        waiting = asyncio.create_task(slots.wait())
        handed_over = asyncio.create_task(slots.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        slots.release()  # skips the cancelled one
        handed_over.cancel()  # in the same turn in which it got the slot
        await asyncio.wait((waiting, handed_over))
        assert slots.take()
        assert not slots.take()


class FakeLoop:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, [], asyncio.get_running_loop())
        self.timers.append((when, callback, handle))
        return handle

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback, handle in due:
            if not handle.cancelled():
                callback()


class TestDeadlines:
    async def test_futures_expire_at_their_time_and_not_before(self) -> None:
        loop = FakeLoop()
        deadlines = Deadlines(cast(asyncio.AbstractEventLoop, loop))
        replies: list[asyncio.Future[Reply]] = [
            asyncio.get_running_loop().create_future() for _ in range(3)
        ]
        deadlines.add(replies[0], loop.now + 5.0)
        deadlines.add(replies[1], loop.now + 1.0)
        deadlines.add(replies[2], loop.now + 1.0).discard(replies[2])
        loop.advance(0.99)
        assert not replies[1].done()
        loop.advance(0.01 + TICK_S)
        assert replies[1].result() is EXPIRED
        assert not replies[0].done()
        assert not replies[2].done()
        loop.advance(4.0)
        assert replies[0].result() is EXPIRED

    async def test_nothing_expires_after_close(self) -> None:
        loop = FakeLoop()
        deadlines = Deadlines(cast(asyncio.AbstractEventLoop, loop))
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        deadlines.add(reply, loop.now + 1.0)
        deadlines.close()
        loop.advance(10.0)
        assert not reply.done()


class TestRetryPolicy:
    def test_pauses_double_to_their_maximum(self) -> None:
        policy = RetryPolicy(initial_backoff_ms=10, max_backoff_ms=100)
        for retries, ceiling_ms in ((1, 10), (2, 20), (4, 80), (5, 100), (1000, 100)):
            assert ceiling_ms / 2000 <= policy.pause_s(retries) <= ceiling_ms / 1000

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ((0, 1, 2), (1, 1, 2)),
            ((-3, 1, 2), (1, 1, 2)),
            ((math.nan, 1, 2), (1, 1, 2)),
            ((2.9, 1, 2), (2, 1, 2)),
            ((math.inf, 1, 2), (math.inf, 1, 2)),
            ((1, -1, 2), (1, 0, 2)),
            ((1, math.nan, 2), (1, 0, 2)),
            ((1, 3, 2), (1, 3, 3)),
            ((1, 1, math.inf), (1, 1, 1)),
        ],
    )
    def test_puts_odd_values_right(
        self, given: tuple[float, float, float], expected: tuple[float, float, float]
    ) -> None:
        policy = RetryPolicy(*given)
        fields = (policy.max_attempts, policy.initial_backoff_ms, policy.max_backoff_ms)
        assert fields == expected


class TestTaskOwner:
    async def test_close_ends_every_task(self) -> None:
        owner = TaskOwner()
        await owner.start()
        task = owner.spawn(_forever(), "forever")
        await asyncio.sleep(0)
        await owner.close()
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_close_without_start_does_nothing(self) -> None:
        await TaskOwner().close()


async def _forever() -> None:
    await asyncio.Event().wait()


def test_package_exports_what_it_lists() -> None:
    assert sorted(flo.__all__) == sorted(set(flo.__all__))
    for name in flo.__all__:
        assert hasattr(flo, name), name
    public = {
        name
        for name, value in vars(flo).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("flo")
    }
    assert public <= set(flo.__all__)
