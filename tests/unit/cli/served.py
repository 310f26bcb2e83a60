"""A fake cluster in a thread, so that the command line can run its own event loop."""

import asyncio
import threading
from types import TracebackType

from tests.unit.client.fake_node import FakeCluster


class ServedCluster:
    """Starts a `FakeCluster` in another thread; the test may look into it between commands."""

    def __init__(self, node_count: int = 1) -> None:
        self.cluster = FakeCluster(node_count)
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "ServedCluster":
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        async with self.cluster:
            self._started.set()
            await self._stop.wait()
