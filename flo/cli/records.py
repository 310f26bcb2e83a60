"""How records of a stream are read and printed."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import NamedTuple

from flo.cli import output
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import Start
from flo.cli.settings import Settings
from flo.client import FloClient
from flo.exceptions import BadRequestError
from flo.stream_types import (
    StreamID,
    StreamListOptions,
    StreamReadOptions,
    StreamRecord,
    StreamSummary,
)
from flo.wire.limits import READ_LIMIT_MAX
from flo.wire.status import Ran, Reason


class Wanted(NamedTuple):
    """What to read of a stream."""

    stream: str
    start: Start
    end: StreamID | None
    partition: int | None
    limit: int | None
    block_ms: int


async def find(client: FloClient, stream: str) -> StreamSummary | None:
    """The stream, None when it is not there; most questions take that for an empty one."""
    # Streams are listed by name: the first one with this prefix is it, or it is not there.
    page = await client.stream.list(StreamListOptions(prefix=stream, limit=1))
    return next((each for each in page.streams if each.name == stream), None)


async def refuse_partition(client: FloClient, wanted: Wanted) -> None:
    """Raises BadRequestError when the stream is there and has no such partition."""
    if not wanted.partition:
        return
    stream = await find(client, wanted.stream)
    if stream is not None and wanted.partition >= stream.partition_count:
        raise BadRequestError(
            f"partition {wanted.partition} of a stream with {stream.partition_count}:"
            " they count from 0",
            reason=Reason.OUT_OF_RANGE,
            ran=Ran.NO,
        )


async def print_found(client: FloClient, settings: Settings, wanted: Wanted) -> int:
    """Prints what there is: lines as they come, or one object; the exit code."""
    if settings.output_format == "text":
        count = 0
        async for records in _pages(client, wanted):
            print_lines(records)
            count += len(records)
        return exit_code(settings, wanted.stream, count)
    found = [record async for records in _pages(client, wanted) for record in records]
    next_id = str(found[-1].id.next()) if found else None
    document = {"stream": wanted.stream, "records": list(map(fields, found)), "next": next_id}
    output.print_json(document)
    return exit_code(settings, wanted.stream, len(found))


async def _pages(client: FloClient, wanted: Wanted) -> AsyncIterator[list[StreamRecord]]:
    """Pages until the limit, or until nothing more is there. Only the first one is waited for."""
    left = READ_LIMIT_MAX if wanted.limit is None else wanted.limit
    (place, tail), block_ms = wanted.start, wanted.block_ms
    while left > 0:
        options = StreamReadOptions(
            start=place,
            end=wanted.end,
            tail=tail,
            partition=wanted.partition,
            count=min(left, READ_LIMIT_MAX),
            block_ms=block_ms,
        )
        records = (await client.stream.read(wanted.stream, options)).records
        if not records:
            return
        yield records
        left -= len(records)
        place, tail, block_ms = records[-1].id.next(), False, 0


async def follow(client: FloClient, settings: Settings, wanted: Wanted) -> int:
    """Prints records as they come, each on a line of its own, until the limit or Ctrl-C."""
    options = StreamReadOptions(
        start=wanted.start.place,
        end=wanted.end,
        tail=wanted.start.tail,
        partition=wanted.partition,
        count=READ_LIMIT_MAX if wanted.limit is None else min(wanted.limit, READ_LIMIT_MAX),
    )
    count = 0
    async with aclosing(client.stream.follow(wanted.stream, options)) as records:
        async for record in records:
            if settings.output_format == "json":
                output.print_json(fields(record))
            else:
                print_lines([record])
            output.flush()
            count += 1
            if count == wanted.limit:
                break
    return exit_code(settings, wanted.stream, count)


def exit_code(settings: Settings, place: str, count: int) -> int:
    """1 when there were no records, which is said where it does not show."""
    if not count and settings.output_format == "text":
        output.print_not_found(f"no records in {place}", settings.output_format)
    return EXIT_OK if count else EXIT_NO


def print_lines(records: Iterable[StreamRecord]) -> None:
    """`id<TAB>payload` for each."""
    for record in records:
        output.print_line(str(record.id), value=record.payload)
    output.flush()


def fields(record: StreamRecord) -> dict[str, object]:
    """How a record stands in JSON."""
    return {
        "id": str(record.id),
        **output.value_fields(record.payload, "payload"),
        "headers": record.headers or {},
        "partition": record.partition,
    }
