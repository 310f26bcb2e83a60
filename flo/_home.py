"""Where a client was opened: it may be used in that event loop, thread and process only."""

import asyncio
import os
from threading import get_ident
from weakref import WeakSet

from flo.exceptions import WrongLoopError


class Home:
    """The running loop, its thread and this process.

    `check` is for calls that happen seldom. The others compare `thread` themselves, and ask whether
    `loop` runs: a loop that runs in this thread is the one that runs the caller.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        # No thread has this number after a fork, so that one comparison finds both out.
        self.thread = get_ident()
        _homes.add(self)

    @property
    def gone(self) -> bool:
        """Whether what was opened there can be neither used nor closed any more."""
        return not self.thread or self.loop.is_closed()

    def check(self) -> None:
        """Raises WrongLoopError when this is another loop, thread or process."""
        if not self.thread:
            raise WrongLoopError(
                "this process was forked after the client was opened, and shares its connections"
                " with the parent: make and open a client after the fork"
            )
        if self.thread != get_ident():
            raise WrongLoopError(
                "the client was opened in another thread: make a client for this one, or hand the"
                " call over with asyncio.run_coroutine_threadsafe"
            )
        if not self.loop.is_running():
            raise WrongLoopError(
                "the client was opened in another event loop, as by an earlier asyncio.run: make"
                " and open a client in this one, or keep one loop for the whole program"
            )


_homes: WeakSet[Home] = WeakSet()


def _forked() -> None:
    for home in _homes:
        home.thread = 0
    _homes.clear()


os.register_at_fork(after_in_child=_forked)
