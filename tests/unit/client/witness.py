"""An observer that keeps what it was told, so that tests can wait for events."""

import asyncio
from typing import TypeVar

from flo import ClientEvent

_E = TypeVar("_E", bound=ClientEvent)


class Witness:
    """`FloClient(..., observer=witness)`, then `await witness.until(Disconnected)`."""

    def __init__(self) -> None:
        self.events: list[ClientEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: ClientEvent) -> None:
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[_E]) -> list[_E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[_E], count: int = 1) -> list[_E]:
        """Returns all of a kind once there are so many."""
        while len(self.of(kind)) < count:
            self._news.clear()
            await self._news.wait()
        return self.of(kind)
