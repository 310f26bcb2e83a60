"""Stream workers: programs that handle each record of a stream once it comes, many of them at once.

A worker is a consumer of a group, so several workers share the records of a stream. A record is
acknowledged after its handler has returned, given back when the handler raises or takes too long,
and comes again, to any worker of the group, when a worker dies: each is handled at least once.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from itertools import groupby
from time import perf_counter
from typing import TYPE_CHECKING

from flo._observe import RecordHandled, Reporter
from flo.exceptions import FloError
from flo.retry import RetryPolicy
from flo.stream_types import (
    FIRST_ID,
    StreamClaimResult,
    StreamGroupAckOptions,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamGroupTouchOptions,
    StreamID,
    StreamRecord,
)
from flo.worker_types import WORKER_BLOCK_MS_DEFAULT as WORKER_BLOCK_MS_DEFAULT
from flo.worker_types import StreamContext as StreamContext
from flo.worker_types import StreamRecordHandler as StreamRecordHandler
from flo.worker_types import StreamWorkerOptions as StreamWorkerOptions

if TYPE_CHECKING:
    from flo.client import FloClient

RECOVER_INTERVAL_S = 30.0
"""How often a worker looks for records that were given to it, or to a dead one, and got lost."""
HEARD_INTERVAL_S = 10.0
"""How often a worker is heard of that takes nothing because all its handlers run: an exclusive
group takes one for dead that is silent for 30 seconds."""
_LEAVE_S = 5.0
_REPORTS = 3
"""So often an acknowledgement is tried; then the record comes again instead."""
_PAUSES = RetryPolicy(initial_backoff_ms=50, max_backoff_ms=2_000)

_logger = logging.getLogger("flo.worker")


class StreamWorker:
    """A worker on one stream, from `client.new_stream_worker`. It uses the client's connections.

    `start` works until `stop` is called, by the handler or another task. When it is left as a
    context manager, `close` stops it and waits for its end.

    Example:
        async def handle(ctx: StreamContext) -> None:
            print(ctx.payload)  # b'created'
            worker.stop()

        await client.stream.append("events", b"created")
        worker = client.new_stream_worker(stream="events", group="printers", handler=handle)
        async with worker:
            await worker.start()
    """

    def __init__(
        self,
        parent_client: "FloClient",
        handler: StreamRecordHandler,
        *,
        stream: str,
        group: str,
        consumer: str | None = None,
        worker_id: str | None = None,
        concurrency: int = 10,
        batch_size: int = 10,
        block_ms: int = WORKER_BLOCK_MS_DEFAULT,
        message_timeout: float = 300.0,
        redeliver_pending_on_reconnect: bool = True,
        claim_min_idle_ms: int = 0,
    ) -> None:
        """See `FloClient.new_stream_worker`. Raises ValidationError."""
        worker_id = worker_id or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.config: StreamWorkerOptions = StreamWorkerOptions(
            stream,
            group,
            consumer or worker_id,
            worker_id,
            concurrency,
            batch_size,
            block_ms,
            message_timeout,
            redeliver_pending_on_reconnect,
            claim_min_idle_ms,
        )
        self._client = parent_client
        self._handler = handler
        self._reporter = Reporter(parent_client.observer)
        self._tasks: asyncio.TaskGroup | None = None
        self._poller: asyncio.Task[FloError | None] | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._in_hand: set[StreamID] = set()
        self._slot_free = asyncio.Event()
        self._is_member = False
        self._stopping = False
        self._ended = asyncio.Event()
        self._ended.set()
        self._recovered_at_s = 0.0

    async def start(self) -> None:
        """Joins the group and works, until `stop`; then waits for running handlers, and leaves.

        What cannot be reached for a while is tried again for ever. Raises what is refused for good,
        and NotConnectedError once the client is closed.

        Example:
            async def handle(ctx: StreamContext) -> None:
                print(ctx.stream_id, ctx.payload)

            worker = client.new_stream_worker(stream="events", group="printers", handler=handle)
            working = asyncio.create_task(worker.start())
            worker.stop()
            await working
        """
        if not self._ended.is_set():
            raise RuntimeError("the worker runs already")
        self._ended.clear()
        failure: FloError | None = None
        try:
            if not self._stopping:
                failure = await self._work()
        finally:
            self._stopping = False
            self._ended.set()
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """Takes no more records. `start` returns when the running handlers have.

        Example:
            async def handle(ctx: StreamContext) -> None:
                print(ctx.payload)

            worker = client.new_stream_worker(stream="events", group="printers", handler=handle)
            worker.stop()
        """
        self._stopping = True
        if self._poller is not None:
            self._poller.cancel()

    async def close(self) -> None:
        """Stops, and returns when `start` has; at once in a handler, which that waits for.

        Example:
            async def handle(ctx: StreamContext) -> None:
                print(ctx.payload)

            worker = client.new_stream_worker(stream="events", group="printers", handler=handle)
            await worker.close()
        """
        if self._ended.is_set():
            return
        self.stop()
        if asyncio.current_task() not in self._handlers:
            await self._ended.wait()

    async def __aenter__(self) -> "StreamWorker":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _work(self) -> FloError | None:
        """What went wrong for good, if anything."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._poller = self._tasks.create_task(self._poll(), name="flo stream worker")
            # The group has waited for it, and for the handlers.
            return None if self._poller.cancelled() else self._poller.result()
        finally:
            self._poller = self._tasks = None
            await self._leave()

    async def _poll(self) -> FloError | None:
        config, stream = self.config, self._client.stream
        failures = 0
        joined = False
        while True:
            try:
                if not joined:
                    await stream.group_join(config.stream, config.group, config.consumer)
                    self._is_member = joined = True
                    _logger.info("%s: joined as %s", self, config.consumer)
                    self._recovered_at_s = 0.0
                await self._recover_sometimes()
                options = StreamGroupReadOptions(
                    count=await self._free_slots(), block_ms=config.block_ms
                )
                read = stream.group_read(config.stream, config.group, config.consumer, options)
                self._take((await read).records)
                failures = 0
            except FloError as error:
                if not error.retryable:
                    _logger.error("%s: stopped working: %s", self, error)
                    return error
                # Whoever comes back may have been forgotten, and given something meanwhile.
                joined = False
                failures += 1
                pause_s = _PAUSES.pause_s(failures)
                _logger.warning("%s: the next try in %.2f s: %s", self, pause_s, error)
                await asyncio.sleep(pause_s)

    async def _free_slots(self) -> int:
        """How many records to take: no more than can be handled at once, or they would age here."""
        while len(self._handlers) >= self.config.concurrency:
            self._slot_free.clear()
            try:
                async with asyncio.timeout(HEARD_INTERVAL_S):
                    await self._slot_free.wait()
            except TimeoutError:
                await self._say_something()
        return min(self.config.batch_size, self.config.concurrency - len(self._handlers))

    async def _say_something(self) -> None:
        config = self.config
        options = StreamGroupTouchOptions(consumer=config.consumer)
        with suppress(FloError):  # The next read says what is wrong.
            await self._client.stream.group_touch(config.stream, config.group, [], options)

    def _take(self, records: Iterable[StreamRecord]) -> None:
        assert self._tasks is not None, "records are taken between start and its end"
        for record in records:
            if record.id in self._in_hand:
                continue
            self._in_hand.add(record.id)
            task = self._tasks.create_task(self._handle(record), name=f"{self} {record.id}")
            self._handlers.add(task)
            task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._handlers.discard(task)
        self._slot_free.set()

    async def _handle(self, record: StreamRecord) -> None:
        began_s = perf_counter()
        try:
            error = await self._run_handler(record)
            if error is not None:
                _logger.error("%s: record %s failed", self, record.id, exc_info=error)
            duration_ms = (perf_counter() - began_s) * 1000
            stream, group = self.config.stream, self.config.group
            self._reporter.report(RecordHandled(stream, group, record.id, duration_ms, error))
            await self._report(record.id, done=error is None)
        finally:
            self._in_hand.discard(record.id)

    async def _run_handler(self, record: StreamRecord) -> Exception | None:
        config = self.config
        namespace = self._client.namespace
        context = StreamContext(record, namespace, config.stream, config.group, config.consumer)
        limit = asyncio.timeout(config.message_timeout)
        try:
            async with limit:
                await self._handler(context)
        except Exception as error:  # A program's own: its record is delivered again.
            if limit.expired():
                return TimeoutError(f"the handler took longer than {config.message_timeout:g} s")
            return error
        return None

    async def _report(self, place: StreamID, *, done: bool) -> None:
        """Acknowledges a record, or gives it back. When that fails it is delivered again."""
        for attempt in range(1, _REPORTS + 1):
            try:
                return await self._settle([place], done=done)
            except FloError as error:
                if not error.retryable or attempt == _REPORTS:
                    _logger.error("%s: record %s will come again: %s", self, place, error)
                    return None
                await asyncio.sleep(_PAUSES.pause_s(attempt))
        return None

    def _settle(self, ids: list[StreamID], *, done: bool) -> Coroutine[None, None, None]:
        config, stream = self.config, self._client.stream
        if done:
            ack = StreamGroupAckOptions(consumer=config.consumer)
            return stream.group_ack(config.stream, config.group, ids, ack)
        nack = StreamGroupNackOptions(consumer=config.consumer)
        return stream.group_nack(config.stream, config.group, ids, nack)

    async def _recover_sometimes(self) -> None:
        """Takes over what got lost: answers with records, and the records of dead consumers."""
        now = asyncio.get_running_loop().time()
        if self._recovered_at_s and now - self._recovered_at_s < RECOVER_INTERVAL_S:
            return
        if self.config.redeliver_pending_on_reconnect:
            for run in await self._lost():
                await self._claim_run(run)
        if self.config.claim_min_idle_ms:
            await self._claim_idle()
        self._recovered_at_s = now

    async def _lost(self) -> list[list[StreamID]]:
        """What was given to this worker, and is not in its hands: in runs without such between."""
        config = self.config
        pending = await self._client.stream.group_pending(
            config.stream, config.group, config.consumer
        )
        runs = groupby((entry.id for entry in pending), self._in_hand.__contains__)
        return [list(run) for in_hand, run in runs if not in_hand]

    async def _claim_run(self, lost: list[StreamID]) -> None:
        """Asks for these once more, and for nothing that is in hand."""
        while lost:
            count = min(await self._free_slots(), len(lost))
            self._take((await self._claim(0, lost[0], count)).records)
            lost = lost[count:]

    async def _claim_idle(self) -> None:
        start, done = FIRST_ID, False
        while not done:
            count = await self._free_slots()
            claimed = await self._claim(self.config.claim_min_idle_ms, start, count)
            self._take(claimed.records)
            start, done = claimed.next_cursor, claimed.done

    async def _claim(self, min_idle_ms: int, start: StreamID, count: int) -> StreamClaimResult:
        config = self.config
        return await self._client.stream.group_claim(
            config.stream, config.group, config.consumer, min_idle_ms, start, count
        )

    async def _leave(self) -> None:
        """Gives back what nobody handled, so that others need not wait for it, and leaves."""
        config = self.config
        if not self._is_member:
            return
        self._is_member = False
        try:
            async with asyncio.timeout(_LEAVE_S):
                lost = [each for run in await self._lost() for each in run]
                if lost:
                    await self._settle(lost, done=False)
                await self._client.stream.group_leave(config.stream, config.group, config.consumer)
        except (FloError, TimeoutError) as error:
            _logger.warning("%s: could not leave: %s", self, error)
        else:
            _logger.info("%s: left", self)

    def __str__(self) -> str:
        return f"worker of {self.config.group!r} on {self.config.stream!r}"
