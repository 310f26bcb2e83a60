"""The background tasks of one client, all ended by one close."""

import asyncio
from collections.abc import Coroutine


class TaskOwner:
    """Runs tasks inside a task group that lives from `start` to `close`.

    `start` and `close` may be called from different tasks, which a task group alone does not allow.
    A task that raises is a bug of ours: it ends all of them, and `close` raises its error.
    """

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the group. Must be awaited before `spawn`."""
        opened = asyncio.Event()
        self._supervisor = asyncio.create_task(self._supervise(opened), name="flo client")
        try:
            await opened.wait()
        except BaseException:
            await self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether `spawn` may be called."""
        return self._group is not None

    def spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Starts a task that `close` cancels if it still runs then."""
        assert self._group is not None, "tasks are spawned between start and close"
        return self._group.create_task(work, name=name)

    async def close(self) -> None:
        """Cancels every task and waits until they have ended."""
        supervisor, self._supervisor, self._group = self._supervisor, None, None
        if supervisor is None:
            return
        supervisor.cancel()
        await asyncio.wait((supervisor,))
        if not supervisor.cancelled():
            supervisor.result()

    async def _supervise(self, opened: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            opened.set()
            await asyncio.get_running_loop().create_future()
