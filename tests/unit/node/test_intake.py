"""Whose requests are run next, and who may send more, when clients send too much."""

import asyncio
from collections.abc import Callable
from typing import cast

from cluster.intake import PASS_S, READ_BYTES, Intake

MAX = 100 * READ_BYTES
STALL_S = 30.0


class FakeTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.timers: list[FakeTimer] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeTimer:
        assert seconds == STALL_S
        self.timers.append(FakeTimer(callback))
        return self.timers[-1]

    def run_pass(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Bench:
    """An intake whose time moves only when a sender runs something."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.loop = FakeLoop()
        self.intake = Intake(
            cast(asyncio.AbstractEventLoop, self.loop),
            bytes_max=MAX,
            stall_s=STALL_S,
            clock=lambda: self.now,
        )
        self.ran: list[str] = []


class FakeSender:
    """Has `portions` to run, each of which takes `takes_s`."""

    def __init__(self, bench: Bench, name: str, portions: int, takes_s: float = PASS_S / 2) -> None:
        self.bench = bench
        self.name = name
        self.portions = portions
        self.takes_s = takes_s
        self.may_read = True
        self.ended = False

    def run_more(self) -> bool:
        self.portions -= 1
        self.bench.now += self.takes_s
        self.bench.ran.append(self.name)
        return self.portions > 0

    def read_on(self) -> None:
        self.may_read = True

    def end_unfinished(self) -> None:
        self.ended = True
        self.bench.intake.forget(self)

    def hold(self, nbytes: int) -> None:
        if not self.bench.intake.hold(self, nbytes):
            self.may_read = False


# --- time ---


def test_requests_are_run_at_once_until_the_time_of_a_pass_is_over() -> None:
    bench = Bench()
    assert bench.intake.begin()
    bench.now += PASS_S
    assert not bench.intake.begin()
    bench.loop.run_pass()
    assert bench.intake.begin()


def test_a_pass_ends_in_time_and_the_next_one_goes_on() -> None:
    bench = Bench()
    for name in "abcd":
        bench.intake.wait(FakeSender(bench, name, 1))
    bench.loop.run_pass()
    assert bench.ran == ["a", "b"]
    bench.loop.run_pass()
    assert bench.ran == ["a", "b", "c", "d"]
    bench.loop.run_pass()
    assert not bench.loop.soon, "nothing is left to do"


def test_even_one_that_takes_long_does_not_stop_the_others() -> None:
    bench = Bench()
    bench.intake.wait(FakeSender(bench, "slow", 3, takes_s=10 * PASS_S))
    bench.intake.wait(FakeSender(bench, "other", 1))
    for _ in range(4):
        bench.loop.run_pass()
    assert bench.ran == ["slow", "other", "slow", "slow"]


def test_who_has_just_begun_comes_before_those_that_send_without_end() -> None:
    bench = Bench()
    for name in "abc":
        bench.intake.wait(FakeSender(bench, name, 100))
    for _ in range(5):
        bench.loop.run_pass()
    bench.ran.clear()
    bench.intake.wait(FakeSender(bench, "new", 1))
    bench.loop.run_pass()
    assert bench.ran[0] == "new"


def test_while_others_wait_nobody_jumps_the_queue() -> None:
    bench = Bench()
    bench.intake.wait(FakeSender(bench, "a", 2))
    assert not bench.intake.begin()


# --- memory ---


def full(bench: Bench) -> FakeSender:
    """A sender that holds all there is."""
    sender = FakeSender(bench, "full", 1)
    sender.hold(MAX)
    assert sender.may_read
    return sender


def test_small_requests_are_always_read() -> None:
    bench = Bench()
    full(bench).hold(2 * MAX)
    other = FakeSender(bench, "small", 1)
    other.hold(READ_BYTES)
    assert other.may_read
    assert bench.intake.held_bytes == 2 * MAX


def test_past_the_bound_one_reads_on_and_the_others_wait_for_it() -> None:
    bench = Bench()
    holder = full(bench)
    first, second, third = (FakeSender(bench, str(number), 1) for number in range(3))
    for sender in (first, second, third):
        sender.hold(2 * READ_BYTES)
    assert [each.may_read for each in (first, second, third)] == [True, False, False]
    bench.intake.forget(first)
    assert [each.may_read for each in (first, second, third)] == [True, True, False]
    bench.intake.forget(holder)
    assert third.may_read
    assert bench.intake.held_bytes == 4 * READ_BYTES


def test_a_sender_that_is_gone_holds_nothing_and_holds_up_nobody() -> None:
    bench = Bench()
    holder = full(bench)
    first, second = FakeSender(bench, "1", 1), FakeSender(bench, "2", 1)
    first.hold(2 * READ_BYTES)
    second.hold(2 * READ_BYTES)
    for sender in (first, second, holder):
        bench.intake.forget(sender)
    assert bench.intake.held_bytes == 0


def test_while_others_wait_requests_that_do_not_go_on_are_ended() -> None:
    bench = Bench()
    holder = full(bench)
    senders = [FakeSender(bench, str(number), 1) for number in range(3)]
    slow, quick, waits = senders
    for sender in senders:
        sender.hold(2 * READ_BYTES)
    bench.intake.forget(slow)
    slow.hold(READ_BYTES + 1)
    quick.hold(3 * READ_BYTES)
    bench.loop.timers[-1].callback()
    assert holder.ended
    assert [each.ended for each in (quick, waits)] == [False, False]
    assert waits.may_read


def test_a_request_that_goes_on_is_not_ended() -> None:
    bench = Bench()
    holder = full(bench)
    first, second = FakeSender(bench, "1", 1), FakeSender(bench, "2", 1)
    for sender in (first, second):
        sender.hold(2 * READ_BYTES)
    holder.hold(MAX + READ_BYTES)
    first.hold(3 * READ_BYTES)
    bench.loop.timers[0].callback()
    assert not holder.ended
    assert not first.ended
    assert not second.ended, "it may not read, so it is not to blame"
    bench.loop.timers[1].callback()
    assert first.ended
    assert second.may_read


def test_nobody_is_ended_when_nobody_waits() -> None:
    bench = Bench()
    holder = full(bench)
    first, second = FakeSender(bench, "1", 1), FakeSender(bench, "2", 1)
    first.hold(2 * READ_BYTES)
    second.hold(2 * READ_BYTES)
    bench.intake.forget(second)
    bench.loop.timers[0].callback()
    assert len(bench.loop.timers) == 1
    assert not holder.ended
    assert not first.ended
