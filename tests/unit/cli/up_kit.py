"""Nodes that are none: processes that only say that they are ready, and a screen that remembers."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from flo.cli.overview import Partition, Replica
from flo.cli.up.children import Child
from flo.cli.up.picture import Picture

READY = "import sys; print('flo node ready', flush=True); sys.stdin.read(); sys.exit(5)"
"""Ends when its stdin is closed."""


async def started(node_id: int, directory: Path, script: str = READY) -> Child:
    """A child whose process runs a script instead of a node."""
    child = Child(node_id, 9000, directory)
    await child.start([], program=(sys.executable, "-c", script))
    return child


def replica(node: int, *, role: str = "follower", commands: int = 0, reads: int = 0) -> Replica:
    """A replica in good health that has applied 9 entries."""
    return Replica(node, role, 1, 9, 9, 9, True, False, None, commands, reads)


def partition(number: int, leader: int, *replicas: Replica) -> Partition:
    """A partition of which every replica answered."""
    return Partition(number, leader, 1, replicas, ())


class Recorder:
    """A screen that remembers, and lets a test wait for what it wants to see."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pictures: list[Picture] = []
        self._news = asyncio.Event()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    def show(self, picture: Picture) -> None:
        self.pictures.append(picture)
        self._news.set()

    async def until(self, condition: Callable[["Recorder"], bool]) -> None:
        """Returns when the condition holds."""
        while not condition(self):
            self._news.clear()
            await self._news.wait()
