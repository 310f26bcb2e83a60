"""Stream operations, reached as `client.stream`.

A stream is there once something is appended to it. Records stay until they are trimmed, in the
order of their ids, whoever reads them. A consumer group shares the records of a stream among its
consumers: each is delivered to one of them, and again to one if it is not acknowledged in time.

Every operation may be given `timeout_ms`, else the client's counts. All raise `FloError`.
"""

from collections.abc import AsyncGenerator, Iterable
from typing import cast

from flo._checks import block_ms_of, limit_of, options_of, within
from flo._names import decode_key, encode_prefix, encode_text
from flo._stream_forms import (
    id_of,
    item_of,
    partition_of,
    read_result,
    records_limit,
    retention_of,
    steps_of,
    wire_id,
)
from flo._stream_groups import GroupOperations
from flo.exceptions import ValidationError
from flo.stream_types import (
    StreamAlterOptions,
    StreamAppendOptions,
    StreamAppendResult,
    StreamCreateOptions,
    StreamID,
    StreamInfo,
    StreamInfoOptions,
    StreamItem,
    StreamListOptions,
    StreamListResult,
    StreamReadOptions,
    StreamReadResult,
    StreamRecord,
    StreamSummary,
    StreamTrimOptions,
    StreamTrimResult,
)
from flo.wire import stream_messages as wire
from flo.wire.limits import RETENTION_AGE_S_MAX, STREAM_PARTITIONS_MAX
from flo.wire.messages import Deleted

_FOLLOW_BLOCK_MS = 30_000


class StreamOperations(GroupOperations):
    """The stream operations of one client.

    Example:
        await client.stream.append("events", b"created")
        for record in (await client.stream.read("events")).records:
            print(record.id, record.payload)
    """

    async def append(
        self,
        stream: str,
        payload: bytes | bytearray | memoryview,
        options: StreamAppendOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamAppendResult:
        """Appends a record, exactly once; returns its id.

        Example:
            options = StreamAppendOptions(headers={"type": "created"})
            appended = await client.stream.append("events", b"{}", options)
            print(appended.id)
        """
        options = options_of(options, StreamAppendOptions)
        item = StreamItem(payload, options.headers)
        (first,) = await self._append(stream, [item], options, timeout_ms)
        return StreamAppendResult(first)

    async def append_batch(
        self,
        stream: str,
        items: Iterable[bytes | bytearray | memoryview | StreamItem],
        options: StreamAppendOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> list[StreamID]:
        """Appends many records; returns their ids, in the same order.

        Up to 1,000 of them, and up to 512 KiB, are appended in one step, all or none; longer lists
        take several, and an error says nothing about the steps before. The headers in `options` are
        for plain payloads.

        Example:
            await client.stream.append_batch("events", [b"created", b"paid"])
        """
        options = options_of(options, StreamAppendOptions)
        whole = [
            item if isinstance(item, StreamItem) else StreamItem(item, options.headers)
            for item in items
        ]
        return await self._append(stream, whole, options, timeout_ms)

    async def read(
        self,
        stream: str,
        options: StreamReadOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamReadResult:
        """Reads records, the oldest first. One that is not there is no error.

        Example:
            page = await client.stream.read("events", StreamReadOptions(count=10))
            if page.records:
                rest = StreamReadOptions(start=page.records[-1].id.next())
                await client.stream.read("events", rest)
        """
        options = options_of(options, StreamReadOptions)
        wait_ms = block_ms_of(options.block_ms)
        namespace, name = self._place(stream, options.namespace)
        body = wire.StreamRead(
            namespace,
            name,
            wire_id(options.start),
            wire_id(options.end),
            options.tail,
            partition_of(options.partition),
            records_limit(options.count),
            wait_ms,
        )
        return read_result(await self._read(body, name, timeout_ms, wait_ms))

    async def follow(
        self, stream: str, options: StreamReadOptions | None = None
    ) -> AsyncGenerator[StreamRecord, None]:
        """Records from `start` on, then new ones as they come, for ever.

        Goes on by itself where it was when a node or a connection is lost. With an `end` it stops
        once a record after that comes.

        Example:
            await client.stream.append("events", b"created")
            async for record in client.stream.follow("events"):
                print(record.payload)  # b'created'
                break
        """
        given = options_of(options, StreamReadOptions)
        block_ms = given.block_ms or _FOLLOW_BLOCK_MS
        start, tail = given.start, given.tail
        if tail:
            # What is there now does not count, and what comes between two reads does.
            info = await self.info(stream, StreamInfoOptions(given.namespace))
            start = info.last_id.next()
        while True:
            # Without the end: only a record after it says that no other one comes before it.
            options = StreamReadOptions(
                given.namespace,
                start,
                partition=given.partition,
                count=given.count,
                block_ms=block_ms,
            )
            for record in (await self.read(stream, options)).records:
                if given.end is not None and record.id > given.end:
                    return
                start = record.id.next()
                yield record

    async def info(
        self,
        stream: str,
        options: StreamInfoOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamInfo:
        """How many records a stream has, and from which id to which. Zeros when it is not there.

        Example:
            print((await client.stream.info("events")).count)
        """
        namespace, name = self._place(stream, options_of(options, StreamInfoOptions).namespace)
        found = await self._read(wire.StreamInfo(namespace, name), name, timeout_ms)
        first, last, count, size, partitions = cast(wire.StreamInfoResult, found)
        return StreamInfo(count, size, id_of(first), id_of(last), partitions)

    async def trim(
        self,
        stream: str,
        options: StreamTrimOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> StreamTrimResult:
        """Removes the oldest records: what the options say, which must name a bound.

        Example:
            await client.stream.trim("events", StreamTrimOptions(max_len=10_000))
        """
        options = options_of(options, StreamTrimOptions)
        namespace, name = self._place(stream, options.namespace)
        _check_bounds(options)
        body = wire.StreamTrim(
            namespace,
            name,
            wire_id(options.before),
            options.max_len,
            options.max_age_seconds,
            options.max_bytes,
            options.dry_run,
        )
        removed, first = cast(wire.Trimmed, await self._write(body, name, timeout_ms))
        return StreamTrimResult(removed, first)

    async def create(
        self,
        stream: str,
        options: StreamCreateOptions | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Makes a stream with several partitions, or with bounds. Others need not be made.

        Raises ConflictError when it is there with another number of partitions.

        Example:
            await client.stream.create("clicks", StreamCreateOptions(partitions=4, max_len=100_000))
        """
        options = options_of(options, StreamCreateOptions)
        namespace, name = self._place(stream, options.namespace)
        partitions = within("partitions", options.partitions, 1, STREAM_PARTITIONS_MAX)
        body = wire.StreamCreate(namespace, name, partitions, retention_of(options))
        await self._write(body, name, timeout_ms)

    async def alter(
        self,
        stream: str,
        options: StreamAlterOptions,
        *,
        timeout_ms: float | None = None,
    ) -> None:
        """Changes what a stream keeps. Raises NotFoundError.

        Example:
            await client.stream.append("events", b"created")
            await client.stream.alter("events", StreamAlterOptions(max_age_seconds=86_400))
        """
        namespace, name = self._place(stream, options.namespace)
        body = wire.StreamAlter(namespace, name, retention_of(options))
        await self._write(body, name, timeout_ms)

    async def delete(
        self,
        stream: str,
        *,
        force: bool = False,
        namespace: str | None = None,
        timeout_ms: float | None = None,
    ) -> bool:
        """Removes a stream with all its records; says whether it was there.

        One that has records or consumer groups is only removed with `force`; else that is a
        ConflictError.

        Example:
            await client.stream.delete("events", force=True)
        """
        space, name = self._place(stream, namespace)
        result = await self._write(wire.StreamDelete(space, name, force), name, timeout_ms)
        return bool(cast(Deleted, result).existed)

    async def _append(
        self,
        stream: str,
        items: list[StreamItem],
        options: StreamAppendOptions,
        timeout_ms: float | None,
    ) -> list[StreamID]:
        namespace, name = self._place(stream, options.namespace)
        key = options.partition_key
        encoded = encode_text(key, "partition_key") if isinstance(key, str) else key
        partition = partition_of(options.partition)
        ids: list[StreamID] = []
        for batch in steps_of([item_of(item) for item in items]):
            body = wire.StreamAppend(namespace, name, batch, partition, encoded)
            result = await self._write(body, name, timeout_ms)
            time, sequence = cast(wire.Appended, result).id
            ids += (StreamID(time, sequence + place) for place in range(len(batch)))
        return ids

    async def list(
        self, options: StreamListOptions | None = None, *, timeout_ms: float | None = None
    ) -> StreamListResult:
        """The streams of a namespace, in the order of names.

        Example:
            for stream in (await client.stream.list()).streams:
                print(stream.name, stream.count)
        """
        options = options_of(options, StreamListOptions)
        namespace = self._namespace(options.namespace)
        prefix = encode_prefix(namespace, options.prefix, "prefix")
        body = wire.StreamList(namespace, prefix, limit_of(options.limit), options.cursor or b"")
        result = await self._caller().call(body, timeout_ms=timeout_ms)
        streams, cursor = cast(wire.StreamListing, result)
        return StreamListResult(
            [
                StreamSummary(decode_key(name), count, size, partitions, id_of(last))
                for name, count, size, partitions, last in streams
            ],
            cursor,
        )


def _check_bounds(options: StreamTrimOptions) -> None:
    """What no server takes: a mistake here must not empty a stream."""
    bounds = (options.max_len, options.max_age_seconds, options.max_bytes)
    if options.before is None and bounds == (None, None, None):
        raise ValidationError("trim: give before, max_len, max_age_seconds or max_bytes")
    if any(bound is not None and bound < 1 for bound in bounds):
        raise ValidationError("trim: a bound is at least 1; delete removes a whole stream")
    within("max_age_seconds", options.max_age_seconds or 0, 0, RETENTION_AGE_S_MAX)
