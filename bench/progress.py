"""Says on a terminal what a long run is doing, without a trace in what is printed."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_CLEAR_LINE = "\r\x1b[2K"


class Progress:
    """One line on `stream`, which is overwritten again and again; nothing when no terminal."""

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._clock = clock
        self._begun = clock()
        self._done = 0

    def doing(self, what: str) -> None:
        """The next of `total` steps has begun."""
        left = ""
        if self._done:
            seconds = (self._clock() - self._begun) * (self._total / self._done - 1)
            left = f", about {_duration(seconds)} left"
        self._done += 1
        self._show(f"{self._done}/{self._total} {what}{left}")

    def clear(self) -> None:
        """Removes the line, so that something else can be printed."""
        self._show("")

    def _show(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write(_CLEAR_LINE + text)
            self._stream.flush()


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.0f} s"
