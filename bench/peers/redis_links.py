"""Connections to Redis: commands one behind the other, their replies in the same order."""

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from bench.dialogues import RanDryError
from bench.peers.closed_loop import Link
from bench.peers.resp import RefusedError, Reply, cut_replies, encode
from bench.window import Sample


class CommandLink(Link):
    """Each operation is a command that is known before."""

    def __init__(self, sample: Sample, commands: Iterator[bytes], *, takes: bool = False) -> None:
        """takes: a command that finds nothing means that nothing is left."""
        super().__init__(sample)
        self._commands = commands
        self._takes = takes
        self._begun: deque[float] = deque()

    def greet(self) -> None:
        self.welcome()

    def begin(self, count: int) -> None:
        commands = list(islice(self._commands, count))
        self._begun.extend([time.perf_counter()] * len(commands))
        self.transport.write(b"".join(commands))

    def take(self, data: bytes) -> None:
        replies, self.rest = cut_replies(data)
        now = time.perf_counter()
        for reply in replies:
            waited = now - self._begun.popleft()
            if reply is None and self._takes:
                raise RanDryError
            if reply is None or isinstance(reply, RefusedError):
                self.sample.errors += 1
            else:
                self.sample.latencies.append(waited)
        self.begin(len(replies))


class _Step(NamedTuple):
    """A command of an operation of two: a read, then its acknowledgement."""

    begun: float
    is_read: bool


class GroupLink(Link):
    """Each operation reads one entry as a member of a group, and acknowledges it."""

    def __init__(self, sample: Sample, stream: bytes, group: bytes) -> None:
        super().__init__(sample)
        self._read = encode(
            *(b"XREADGROUP", b"GROUP", group, b"consumer", b"COUNT", b"1"),
            *(b"STREAMS", stream, b">"),
        )
        self._acknowledge = b"*4\r\n$4\r\nXACK\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (
            *(len(stream), stream),
            *(len(group), group),
        )
        self._steps: deque[_Step] = deque()

    def greet(self) -> None:
        self.welcome()

    def begin(self, count: int) -> None:
        self._steps.extend([_Step(time.perf_counter(), True)] * count)
        self.transport.write(self._read * count)

    def take(self, data: bytes) -> None:
        replies, self.rest = cut_replies(data)
        now = time.perf_counter()
        commands: list[bytes] = []
        for reply in replies:
            step = self._steps.popleft()
            if step.is_read and isinstance(reply, list):
                entry = _entry_of(reply)
                commands.append(b"%s$%d\r\n%s\r\n" % (self._acknowledge, len(entry), entry))
                self._steps.append(_Step(step.begun, False))
                continue
            if reply is None:
                raise RanDryError
            if reply == 1:
                self.sample.latencies.append(now - step.begun)
            else:
                self.sample.errors += 1
            commands.append(self._read)
            self._steps.append(_Step(now, True))
        self.transport.write(b"".join(commands))


def _entry_of(reply: list[Reply]) -> bytes:
    """The id of the one entry that was read: streams, their entries, and of those the fields."""
    match reply:
        case [[_, [[bytes(entry), *_]]]]:
            return entry
        case _:
            raise ValueError("not what XREADGROUP answers")
