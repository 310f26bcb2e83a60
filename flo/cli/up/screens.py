"""Where `flo up` says what happens: plain lines, or a live table on a terminal."""

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

import click

from flo.cli.up.picture import Picture

_PROGRESS_INTERVAL_S = 2.0


class Screen(Protocol):
    """A context manager: leaving it gives the terminal back."""

    def __enter__(self) -> "Screen": ...

    def __exit__(self, *args: object) -> None: ...

    def say(self, line: str) -> None:
        """A line that stays."""
        ...

    def show(self, picture: Picture) -> None:
        """How it stands now."""
        ...


def print_line(line: str) -> None:
    """A line to stdout, as long as anybody reads it: as in `flo up | head -1`, the nodes go on."""
    try:
        click.echo(line)
    except BrokenPipeError:
        # What comes later, and what is left in the buffer, goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class PlainScreen:
    """Lines only; of the picture nothing but what the start waits for, and that not too often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._progress = ""
        self._said_at_s = float("-inf")

    def __enter__(self) -> "PlainScreen":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        print_line(line)

    def show(self, picture: Picture) -> None:
        now_s = self._clock()
        if picture.progress in ("", self._progress):
            return
        if now_s - self._said_at_s >= _PROGRESS_INTERVAL_S:
            self._progress, self._said_at_s = picture.progress, now_s
            self.say(picture.progress)
