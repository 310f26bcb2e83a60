"""The crossing between blocked threads and the client's event loop."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from flo import NotConnectedError, WrongLoopError
from flo.sync._runner import Job, Runner

THREAD_NAME = "flo blocking client"


def loop_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == THREAD_NAME]


async def nothing() -> None:
    """Opens and closes."""


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail() -> None:
    raise ValueError("no")


def opened() -> Runner:
    runner = Runner()
    runner.open(nothing())
    return runner


def test_what_the_coroutine_gives_or_raises_reaches_the_caller() -> None:
    runner = opened()
    assert runner.run(give(7)) == 7
    with pytest.raises(ValueError, match="no"):
        runner.run(fail())
    assert runner.run(give(8)) == 8
    runner.close(nothing())


def test_before_open_and_after_close_nothing_is_run() -> None:
    runner = Runner()
    for _ in range(2):
        with pytest.raises(NotConnectedError, match="use `with`"):
            runner.run(give(1))
        runner.open(nothing())
        assert runner.run(give(1)) == 1
        runner.close(nothing())
        runner.close(nothing())
    with pytest.raises(NotConnectedError):
        runner.run(give(1))
    assert not loop_threads()


def test_a_failed_open_leaves_no_thread() -> None:
    runner = Runner()
    with pytest.raises(ValueError, match="no"):
        runner.open(fail())
    assert not loop_threads()
    # Opening again what is open may fail, and changes nothing.
    runner.open(nothing())
    with pytest.raises(ValueError, match="no"):
        runner.open(fail())
    assert runner.run(give(1)) == 1
    runner.close(nothing())


def test_a_failed_open_does_not_end_that_of_another_thread() -> None:
    runner = Runner()
    begun, failed = threading.Event(), asyncio.Event()

    async def wait() -> int:
        begun.set()
        await failed.wait()
        return 5

    async def let_go() -> None:
        failed.set()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(runner.open, wait())
        begun.wait()
        with pytest.raises(ValueError, match="no"):
            runner.open(fail())
        runner.run(let_go())
        assert other.result() == 5
    assert runner.run(give(1)) == 1
    runner.close(nothing())


async def test_a_thread_with_a_running_loop_is_refused() -> None:
    runner = Runner()
    with pytest.raises(WrongLoopError, match=r"await flo\.FloClient"):
        runner.open(nothing())
    await asyncio.to_thread(runner.open, nothing())
    for use in (runner.run, runner.open, runner.close):
        with pytest.raises(WrongLoopError):
            use(nothing())
    assert await asyncio.to_thread(runner.run, give(3)) == 3
    await asyncio.to_thread(runner.close, nothing())


def test_the_loop_thread_itself_is_refused() -> None:
    runner = opened()

    async def call_back() -> int:
        return runner.run(give(1))

    with pytest.raises(WrongLoopError):
        runner.run(call_back())
    runner.close(nothing())


def test_calls_of_many_threads_are_under_way_together() -> None:
    threads = 32
    runner = opened()
    present: list[int] = []
    all_present = asyncio.Event()

    async def meet(number: int) -> int:
        present.append(number)
        if len(present) == threads:
            all_present.set()
        await all_present.wait()
        return number

    with ThreadPoolExecutor(threads) as pool:
        calls = [pool.submit(runner.run, meet(number)) for number in range(threads)]
        assert [call.result() for call in calls] == list(range(threads))
    runner.close(nothing())


def interrupted_by(signal_sender: Callable[[], None], runner: Runner) -> bool:
    """Whether the coroutine was cancelled that a signal kept its caller from waiting for."""
    cancelled = threading.Event()

    async def wait() -> None:
        signal_sender()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        runner.run(wait())
    return cancelled.wait(30)


def test_ctrl_c_is_noticed_though_it_does_not_interrupt_the_wait() -> None:
    # The system may give the signal to any thread, or just before the wait begins: then the wait
    # goes on as if nothing had happened. Without a look now and then this hung for ever.
    runner = opened()
    assert interrupted_by(lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT), runner)
    runner.close(nothing())


def test_ctrl_c_cancels_the_call_and_leaves_the_client_usable() -> None:
    runner = opened()
    assert interrupted_by(lambda: os.kill(os.getpid(), signal.SIGINT), runner)
    assert runner.run(give(4)) == 4
    runner.close(nothing())


async def test_a_call_cancelled_in_the_turn_it_came_leaves_no_coroutine_behind() -> None:
    tasks: set[asyncio.Task[None]] = set()
    job = Job(asyncio.sleep(60))
    job.start(asyncio.get_running_loop(), tasks)
    (task,) = tasks
    job.cancel()
    await task
    assert not tasks
    # Nobody awaits it any more but a client that was closed.
    with pytest.raises(NotConnectedError):
        job.outcome()


def test_close_ends_the_calls_of_other_threads() -> None:
    runner = opened()
    waiting = threading.Event()

    async def wait() -> None:
        waiting.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(runner.run, wait())
        waiting.wait()
        runner.close(nothing())
        with pytest.raises(NotConnectedError) as raised:
            call.result()
    assert raised.value.outcome == "unknown"
    assert not loop_threads()


def test_calls_that_notice_the_close_say_themselves_what_became_of_them() -> None:
    runner = opened()
    waiting, closed = threading.Event(), asyncio.Event()

    async def notice() -> None:
        waiting.set()
        await closed.wait()
        await asyncio.sleep(0.05)  # a call may be in a pause between two tries
        raise NotConnectedError("closed, and certainly not applied")

    async def close() -> None:
        closed.set()

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(runner.run, notice())
        waiting.wait()
        runner.close(close())
        with pytest.raises(NotConnectedError, match="certainly"):
            call.result()


def test_many_threads_may_close() -> None:
    runner = opened()
    closed: list[int] = []

    async def close() -> None:
        closed.append(1)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(lambda: runner.close(close())) for _ in range(8)]:
            each.result()
    assert closed == [1]
    assert not loop_threads()


def test_no_call_hangs_that_races_with_close() -> None:
    for _ in range(30):
        runner = opened()

        def use(runner: Runner = runner) -> int:
            count = 0
            try:
                while True:
                    runner.run(give(1))
                    count += 1
            except NotConnectedError:
                return count

        with ThreadPoolExecutor(4) as pool:
            users = [pool.submit(use) for _ in range(4)]
            runner.run(give(1))
            runner.close(nothing())
            for user in users:
                user.result()


def test_a_view_runs_where_its_origin_runs_and_ends_nothing() -> None:
    origin = Runner()
    view = origin.view()
    with pytest.raises(NotConnectedError, match="a view of"):
        view.run(give(1))
    origin.open(nothing())
    assert view.open(give(2)) == 2
    view.close(nothing())
    assert view.view().run(give(3)) == 3
    origin.close(nothing())
    with pytest.raises(NotConnectedError):
        view.run(give(1))


def test_plain_functions_are_called_in_the_loop_thread_while_there_is_one() -> None:
    runner = Runner()
    assert runner.call(threading.current_thread) is threading.current_thread()
    runner.open(nothing())
    assert runner.call(threading.current_thread) is loop_threads()[0]
    runner.close(nothing())


async def test_the_callers_context_is_seen() -> None:
    span: ContextVar[str] = ContextVar("span", default="none")

    async def current() -> str:
        return span.get()

    jobs: list[Job[str]] = []
    for caller in ("first", "second"):
        span.set(caller)
        jobs.append(Job(current()))
    span.set("neither")
    tasks: set[asyncio.Task[None]] = set()
    for job in jobs:
        job.start(asyncio.get_running_loop(), tasks)
    await asyncio.wait(tasks)
    assert [job.outcome() for job in jobs] == ["first", "second"]


def test_an_iterator_gives_the_items_and_is_ended_when_it_is_left_early() -> None:
    ended: list[bool] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                yield await give(number)
        finally:
            ended.append(True)

    runner = opened()
    assert list(runner.iterate(numbers())) == [0, 1, 2]
    items = runner.iterate(numbers())
    assert next(items) == 0
    del items
    assert ended == [True, True]
    runner.close(nothing())


def test_a_client_that_nobody_closed_warns_and_ends_its_thread() -> None:
    runner = opened()
    (thread,) = loop_threads()
    owners = [runner]
    del runner
    with pytest.warns(ResourceWarning, match="not closed"):
        owners.clear()
    thread.join(30)
    assert not thread.is_alive()


def test_a_loop_that_cannot_be_made_is_an_error_and_no_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_files_left() -> asyncio.AbstractEventLoop:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("uvloop.new_event_loop", no_files_left)
    runner = Runner()
    with pytest.raises(OSError, match="Too many open files"):
        runner.open(nothing())
    assert not loop_threads()
