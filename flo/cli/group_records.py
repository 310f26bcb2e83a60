"""`flo stream group read`, `ack`, `nack`, `touch`, `pending` and `claim`: what a group delivers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from flo.cli import output, records
from flo.cli import parameters as given
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_OK
from flo.cli.parameters import block_option, duration_option
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.stream_types import (
    FIRST_ID,
    StreamGroupNackOptions,
    StreamGroupReadOptions,
    StreamGroupTouchOptions,
    StreamID,
    StreamRecord,
)
from flo.wire.limits import READ_LIMIT_MAX

_C = TypeVar("_C", bound=Callable[..., object])

_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...", callback=given.stream_ids)
_count = click.option(
    "--count",
    "--limit",
    "count",
    default=100,
    show_default=True,
    type=click.IntRange(1, READ_LIMIT_MAX),
    metavar="N",
    help="How many records at most.",
)


def names(*arguments: str) -> Callable[[_C], _C]:
    """The arguments that say which stream, which group, which consumer."""

    def named(command: _C) -> _C:
        for name in reversed(arguments):
            command = click.argument(name)(command)
        return command

    return named


@click.command("read")
@names("stream", "group", "consumer")
@_count
@block_option
@global_options
@pass_settings
def read(
    settings: Settings, stream: str, group: str, consumer: str, *, count: int, block: int
) -> None:
    """Take records for CONSUMER; exit code 1 when there are none.

    First those that are due once more, then new ones. One line for each: the id, a tab, the
    payload. Acknowledge each one when it is done, or it is delivered again.

    \b
    JSON: {"stream", "group", "records": [{"id", "payload", "headers", "partition"}]};
      payload_base64 in the place of payload if it is not UTF-8

    \b
    Example: flo stream group read events billing worker-1 --count 10 --block 5000
    """
    options = StreamGroupReadOptions(count=count, block_ms=block)

    async def work(client: FloClient) -> int:
        found = (await client.stream.group_read(stream, group, consumer, options)).records
        return _print_records(settings, {"stream": stream, "group": group}, found)

    with_client(settings, work)


@click.command("ack")
@names("stream", "group")
@_ids
@global_options
@pass_settings
def ack(settings: Settings, stream: str, group: str, ids: list[StreamID]) -> None:
    """Say that records are done. IDs that are not pending are left alone.

    Exit code 1 when there is no such stream or group.

    \b
    JSON: {"stream", "group", "asked"}; which of them were pending is not told

    \b
    Example: flo stream group ack events billing 1700000000000-0
    """

    async def work(client: FloClient) -> int:
        await client.stream.group_ack(stream, group, ids)
        return _print_asked(settings, (stream, group), ids, "acknowledge {}")

    with_client(settings, work)


@click.command("nack")
@names("stream", "group")
@_ids
@duration_option("--delay", "Deliver them again after so long.", least=0, default=0)
@global_options
@pass_settings
def nack(settings: Settings, stream: str, group: str, ids: list[StreamID], *, delay: int) -> None:
    """Give records back, to be delivered again. IDs that are not pending are left alone.

    \b
    JSON: {"stream", "group", "asked"}; which of them were pending is not told

    \b
    Example: flo stream group nack events billing 1700000000000-0 --delay 5000
    """

    async def work(client: FloClient) -> int:
        options = StreamGroupNackOptions(delay_ms=delay)
        await client.stream.group_nack(stream, group, ids, options)
        return _print_asked(settings, (stream, group), ids, "give back {}")

    with_client(settings, work)


@click.command("touch")
@names("stream", "group")
@_ids
@duration_option("--extend", "How long from now; the group's ack timeout when it is not given.")
@global_options
@pass_settings
def touch(
    settings: Settings, stream: str, group: str, ids: list[StreamID], *, extend: int | None
) -> None:
    """Say that pending records take longer. IDs that are not pending are left alone.

    \b
    JSON: {"stream", "group", "asked"}; which of them were pending is not told

    \b
    Example: flo stream group touch events billing 1700000000000-0 --extend 60000
    """

    async def work(client: FloClient) -> int:
        options = StreamGroupTouchOptions(extend_ms=extend)
        await client.stream.group_touch(stream, group, ids, options)
        return _print_asked(settings, (stream, group), ids, "keep {} pending for longer")

    with_client(settings, work)


@click.command("pending")
@names("stream", "group")
@click.option("--consumer", metavar="NAME", default="", help="Only what this consumer has.")
@global_options
@pass_settings
def pending(settings: Settings, stream: str, group: str, *, consumer: str) -> None:
    """Print what is delivered and not acknowledged, in the order of ids; at most 1,000.

    \b
    JSON: {"stream", "group", "pending": [{"id", "consumer", "delivery_count"}]}

    \b
    Example: flo stream group pending events billing --consumer worker-1
    """

    async def work(client: FloClient) -> int:
        entries = await client.stream.group_pending(stream, group, consumer)
        if settings.output_format == "json":
            shown = [
                {
                    "id": str(each.id),
                    "consumer": each.consumer,
                    "delivery_count": each.delivery_count,
                }
                for each in entries
            ]
            output.print_json({"stream": stream, "group": group, "pending": shown})
        else:
            rows = [(each.id, each.consumer, each.delivery_count) for each in entries]
            output.print_table(("ID", "CONSUMER", "DELIVERIES"), rows, align=("<", "<", ">"))
        return EXIT_OK

    with_client(settings, work)


@click.command("claim")
@names("stream", "group", "consumer")
@duration_option(
    "--min-idle",
    "Also those of others that were delivered so long ago; 0: only the consumer's own.",
    least=0,
    default=0,
)
@click.option("--start", metavar="ID", callback=given.first_id, help="From this record on.")
@_count
@global_options
@pass_settings
def claim(
    settings: Settings,
    stream: str,
    group: str,
    consumer: str,
    *,
    min_idle: int,
    start: StreamID | None,
    count: int,
) -> None:
    """Take pending records over for CONSUMER; exit code 1 when there are none to take.

    \b
    JSON: {"stream", "group", "records": [{"id", "payload", "headers", "partition"}], "next"};
      next: the --start that goes on with what is pending after them, null at the end

    \b
    Example: flo stream group claim events billing worker-2 --min-idle 60000
    """
    first = FIRST_ID if start is None else start

    async def work(client: FloClient) -> int:
        found = await client.stream.group_claim(stream, group, consumer, min_idle, first, count)
        next_id = None if found.done else str(found.next_cursor)
        document: dict[str, object] = {"stream": stream, "group": group, "next": next_id}
        return _print_records(settings, document, found.records)

    with_client(settings, work)


def _print_records(
    settings: Settings, document: dict[str, object], found: Sequence[StreamRecord]
) -> int:
    if settings.output_format == "json":
        output.print_json(document | {"records": [records.fields(each) for each in found]})
    else:
        records.print_lines(found)
    return records.exit_code(settings, str(document["group"]), len(found))


def _print_asked(
    settings: Settings, group: tuple[str, str], ids: Sequence[StreamID], text: str
) -> int:
    asked = [str(each) for each in ids]
    document = {"stream": group[0], "group": group[1], "asked": asked}
    output.print_result(document, f"asked to {text.format(len(asked))}", settings.output_format)
    return EXIT_OK
