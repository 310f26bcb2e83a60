"""Where the asynchronous client runs for blocking callers: an event loop in a thread of its own.

A blocking method hands its coroutine to the loop and waits on a lock. Calls of many threads meet
in the loop, so they are pipelined as those of many tasks are. What a crossing costs is one wake-up
of the loop, shared by all calls posted until it runs, and one of the caller.
"""

import asyncio
import os
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import copy_context
from threading import Event, Lock, Thread
from typing import Generic, TypeAlias, TypeVar

import uvloop

from flo.exceptions import NotConnectedError, WrongLoopError

CLOSE_GRACE_S = 1.0
"""How long calls that were under way at `close` may take to notice it."""

LOOK_UP_S = 0.5
"""How late Ctrl-C may be noticed. It interrupts a waiting lock only if the system gives the signal
to the waiting thread, and not in the moment before it waits."""

_T = TypeVar("_T")
Work: TypeAlias = Coroutine[object, object, _T]
Tasks: TypeAlias = "set[asyncio.Task[None]]"


class Runner:
    """Runs coroutines for one client and the views of it.

    The thread lives from `open` to `close`. A view has a runner of its own, which neither starts
    nor ends the thread.
    """

    def __init__(self, origin: "Runner | None" = None) -> None:
        # None and not itself: a cycle would keep a forgotten client until the next collection.
        self._origin = origin
        self._lifecycle = Lock()
        self._openers = 0
        self._thread: LoopThread | None = None

    def view(self) -> "Runner":
        """A runner for a view of the client."""
        return Runner(self._origin or self)

    def run(self, work: Work[_T]) -> _T:
        """What the coroutine gives or raises. Raises NotConnectedError, WrongLoopError."""
        thread = (self._origin or self)._thread
        if thread is None:
            work.close()
            what = "client" if self._origin is None else "client that this one is a view of"
            raise NotConnectedError(f"the {what} is not connected: use `with`, or `connect()`")
        return thread.run(work)

    def call(self, function: Callable[[], _T]) -> _T:
        """What the function gives, called in the loop's thread when there is one."""
        if (self._origin or self)._thread is None:
            return function()
        return self.run(_call(function))

    def iterate(self, items: AsyncGenerator[_T, None]) -> Iterator[_T]:
        """The items, one call for each."""
        try:
            while found := self.run(_next(items)):
                yield found[0]
        finally:
            # Forgotten later than the client, or by the thread of its loop: that ends it itself.
            with suppress(NotConnectedError, WrongLoopError):
                self.run(items.aclose())

    def open(self, work: Work[_T]) -> _T:
        """Runs what opens the client; the thread stays when it succeeds."""
        if self._origin is not None:
            return self.run(work)
        _refuse_in_loop(work)
        self._forget_forked()
        with self._lifecycle:
            thread = self._thread
            if thread is None:
                try:
                    thread = self._thread = LoopThread()
                except BaseException:
                    work.close()
                    raise
            self._openers += 1
        try:
            result = thread.run(work)
            thread.opened = True
            return result
        finally:
            with self._lifecycle:
                self._openers -= 1
                if not (thread.opened or self._openers):
                    self._end(thread)

    def close(self, work: Work[None]) -> None:
        """Runs what closes the client, then ends the thread. Several threads may ask for it."""
        _refuse_in_loop(work)
        self._forget_forked()
        with self._lifecycle:
            thread = self._thread
            if thread is None:
                # A view, or not open.
                work.close()
                return
            try:
                thread.run(work)
            finally:
                self._end(thread)

    def _forget_forked(self) -> None:
        """After a fork the thread is the parent's, and so is whoever holds the lock."""
        if self._thread is not None and self._thread.forked:
            self._thread, self._lifecycle, self._openers = None, Lock(), 0

    def _end(self, thread: "LoopThread") -> None:
        if self._thread is thread:
            self._thread = None
        thread.stop()

    def __del__(self) -> None:
        thread = self._thread
        if thread is not None and not thread.forked:
            warnings.warn(
                "a blocking FloClient was not closed", ResourceWarning, stacklevel=2, source=self
            )
            thread.stop_soon()


class LoopThread:
    """A thread with a running event loop. It does not keep the interpreter from ending."""

    def __init__(self) -> None:
        self.opened = False
        self._process = os.getpid()
        # Guards the two below; whoever posts into an empty list wakes the loop.
        self._lock = Lock()
        self._posted: list[Callable[[asyncio.AbstractEventLoop, Tasks], None]] = []
        self._stopped = False
        self._running: Tasks = set()
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._failure: BaseException | None = None
        started = Event()
        self._thread = Thread(
            target=self._run, args=(started,), name="flo blocking client", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def forked(self) -> bool:
        """Whether the thread belongs to the parent of this process: here it does not run."""
        return self._process != os.getpid()

    def run(self, work: Work[_T]) -> _T:
        """What the coroutine gives or raises; it is cancelled when the wait is interrupted."""
        if self.forked:
            work.close()
            raise WrongLoopError(
                "this process was forked after the client was opened, and shares its connections"
                " with the parent: make and open a client after the fork"
            )
        _refuse_in_loop(work)
        job = Job(work)
        self._post(job)
        try:
            while not job.done.acquire(timeout=LOOK_UP_S):
                continue  # Python handles here the signals that did not interrupt the wait.
        except BaseException:
            # Ctrl-C, or what else a signal handler raises.
            self._cancel(job)
            raise
        return job.outcome()

    def stop_soon(self) -> None:
        """No new work is taken; what is under way ends within the grace."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        """The same, and returns when the thread has ended."""
        self.stop_soon()
        self._thread.join()

    def _post(self, job: "Job[_T]") -> None:
        with self._lock:
            if not self._stopped:
                if not self._posted:
                    self._loop.call_soon_threadsafe(self._start_posted)
                self._posted.append(job.start)
                return
        job.work.close()
        raise NotConnectedError("the client was closed")

    def _cancel(self, job: "Job[_T]") -> None:
        with self._lock:
            if not self._stopped:
                self._loop.call_soon_threadsafe(job.cancel)

    # --- in the thread ---

    def _run(self, started: Event) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._live(started))
        except BaseException as error:
            # As when there are no file descriptors left for a loop; whoever starts it raises this.
            if started.is_set():
                raise
            self._failure = error
            started.set()

    async def _live(self, started: Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        started.set()
        await self._stopping.wait()
        self._start_posted()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=CLOSE_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late)

    def _start_posted(self) -> None:
        with self._lock:
            posted, self._posted = self._posted, []
        for start in posted:
            start(self._loop, self._running)


class Job(Generic[_T]):
    """A coroutine on its way to the loop, and its outcome on the way back."""

    __slots__ = ("_context", "_error", "_result", "_task", "done", "work")

    def __init__(self, work: Work[_T]) -> None:
        self.work = work
        # Tracing finds the caller's span there.
        self._context = copy_context()
        self._error: BaseException | None = None
        self._result: _T
        # Cheaper than an Event, and Ctrl-C interrupts waiting for it.
        self.done = Lock()
        self.done.acquire()
        self._task: asyncio.Task[None]

    def start(self, loop: asyncio.AbstractEventLoop, running: Tasks) -> None:
        """In the loop. `running` keeps the task from being collected."""
        self._task = loop.create_task(self._serve(running), context=self._context)
        running.add(self._task)

    def cancel(self) -> None:
        """In the loop."""
        # A turn later: a task that is cancelled before its first step never runs `_serve`.
        self._task.get_loop().call_soon(self._task.cancel)

    def outcome(self) -> _T:
        """Once it is done."""
        error = self._error
        if error is None:
            return self._result
        try:
            if isinstance(error, asyncio.CancelledError):
                raise NotConnectedError(
                    "the client was closed during the call; a write may have been executed",
                    outcome="unknown",
                )
            raise error
        finally:
            # The traceback holds this frame, which would hold the traceback.
            self._error = None
            del error

    async def _serve(self, running: Tasks) -> None:
        try:
            self._result = await self.work
        except BaseException as error:  # The caller's thread raises it.
            self._error = error
        finally:
            running.discard(self._task)
            self.done.release()


async def _call(function: Callable[[], _T]) -> _T:
    return function()


async def _next(items: AsyncGenerator[_T, None]) -> tuple[_T] | None:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return None


def _refuse_in_loop(work: Work[_T]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    work.close()
    raise WrongLoopError(
        "a blocking call would stop the event loop of this thread: await flo.FloClient instead, or"
        " make the call in another thread with asyncio.to_thread"
    )
