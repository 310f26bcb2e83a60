"""`flo stream`: records that stay, in the order they were appended."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from flo.cli import data, output, records, stream_group, stream_settings
from flo.cli import parameters as given
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.output import EXIT_OK
from flo.cli.parameters import WAIT_MS, Start, file_option, number_option
from flo.cli.records import Wanted
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.stream_types import StreamAppendOptions, StreamID
from flo.wire.limits import STREAM_PARTITIONS_MAX

_LIMIT_DEFAULT = 100

partition_option = click.option(
    "--partition",
    metavar="N",
    type=click.IntRange(0, STREAM_PARTITIONS_MAX - 1),
    help="Of this partition; the first one is 0.",
)


@click.group("stream", cls=Group)
def streams() -> None:
    """Append records to streams, and read them.

    A stream is there once something is appended to it. Records stay until they are trimmed. An ID
    is a time in unix milliseconds, a dash, and a number within that time. Every command takes
    --help, and tells there what it prints as JSON.

    \b
    Example: flo stream append events created
    """


for _command in (
    stream_group.groups,
    stream_settings.alter,
    stream_settings.create,
    stream_settings.delete,
    stream_settings.info,
    stream_settings.list_streams,
    stream_settings.trim,
):
    streams.add_command(_command)


class _AppendOptions(TypedDict):
    file: Path | None
    headers: dict[str, str] | None
    partition: int | None
    partition_key: str | None


@streams.command("append")
@click.argument("stream")
@click.argument("payloads", nargs=-1, metavar="DATA...")
@file_option
@click.option(
    "-H",
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    callback=given.headers,
    help="A header of each record; may be given several times.",
)
@partition_option
@click.option("--partition-key", metavar="K", help="Records with the same key share a partition.")
@global_options
@pass_settings
def append(
    settings: Settings, stream: str, payloads: tuple[str, ...], **options: Unpack[_AppendOptions]
) -> None:
    """Append records to STREAM, and print their ids; `-` reads DATA from stdin.

    Several DATA are appended together, all or none, as long as they are not more than 1,000 or 512
    KiB. DATA that begins with a dash goes after two dashes: flo stream append events -- -5

    \b
    JSON: {"stream", "ids"}

    \b
    Example: flo stream append events created paid -H source=shop
    """
    items = data.values_of(payloads, options["file"])
    if options["partition"] is not None and options["partition_key"] is not None:
        raise click.UsageError("--partition and --partition-key exclude each other")
    how = StreamAppendOptions(
        headers=options["headers"],
        partition=options["partition"],
        partition_key=options["partition_key"],
    )

    async def work(client: FloClient) -> int:
        ids = [str(each) for each in await client.stream.append_batch(stream, items, how)]
        output.print_result({"stream": stream, "ids": ids}, "\n".join(ids), settings.output_format)
        return EXIT_OK

    with_client(settings, work)


class _ReadOptions(TypedDict):
    start: Start
    end: StreamID | None
    limit: int | None
    block: int | None
    follow: bool
    partition: int | None


@streams.command("read")
@click.argument("stream")
@click.option(
    "--start",
    metavar="ID|$",
    callback=given.start,
    help="From this record on, or ($) only what comes from now on.",
)
@click.option("--end", metavar="ID", callback=given.last_id, help="Up to this record, included.")
@number_option(
    "--limit", "N", f"How many records at most. [{_LIMIT_DEFAULT}, with --follow no limit]"
)
@click.option("--block", metavar="MS", type=WAIT_MS, help="Wait so long for a first one.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@partition_option
@global_options
@pass_settings
def read(settings: Settings, stream: str, **options: Unpack[_ReadOptions]) -> None:
    """Print the records of STREAM, the oldest first; exit code 1 when there are none.

    One line for each: the id, a tab, the payload. An ID may be a time alone, in unix milliseconds.
    --follow prints each record when it comes, and goes on by itself when a node is lost.

    \b
    JSON: {"stream", "records": [{"id", "payload", "headers", "partition"}], "next"};
      payload_base64 in the place of payload if it is not UTF-8; next: the --start that goes on
      after the last record, null for none; with --follow a line for each record

    \b
    Example: flo stream read events --start $ --follow
    """
    if options["follow"] and options["block"] is not None:
        raise click.UsageError("--follow waits already: leave --block out")
    if options["start"].tail and not (options["follow"] or options["block"]):
        raise click.UsageError("--start $ is about what comes: give --follow or --block")
    limit = options["limit"]
    if limit is None and not options["follow"]:
        limit = _LIMIT_DEFAULT
    wanted = Wanted(
        stream,
        options["start"],
        options["end"],
        options["partition"],
        limit,
        options["block"] or 0,
    )

    async def work(client: FloClient) -> int:
        await records.refuse_partition(client, wanted)
        if options["follow"]:
            return await records.follow(client, settings, wanted)
        return await records.print_found(client, settings, wanted)

    with_client(settings, work)
