"""`flo stream create`, `alter`, `info`, `ls`, `trim` and `delete`: streams as a whole."""

from typing import Literal, TypedDict, Unpack

import click

from flo.cli import output, records
from flo.cli import parameters as given
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import limit_option, number_option, prefix_argument
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.stream_types import (
    StreamAlterOptions,
    StreamCreateOptions,
    StreamID,
    StreamListOptions,
    StreamSummary,
    StreamTrimOptions,
)
from flo.wire.limits import STREAM_LIST_LIMIT_MAX, STREAM_PARTITIONS_MAX, TTL_MS_MAX

_ALIGN: tuple[Literal["<", ">"], ...] = ("<", ">", ">", ">", "<", "<")
_AGE_S_MAX = TTL_MS_MAX // 1000

_retention = number_option(
    "--retention", "H", "Keep records for so many hours.", least=0, most=_AGE_S_MAX // 3600
)
_maxlen = number_option("--maxlen", "N", "Keep so many records, the newest.", least=0)
_maxbytes = number_option("--maxbytes", "N", "Keep so many bytes of payload.", least=0)


class _Bounds(TypedDict):
    retention: int | None
    maxlen: int | None
    maxbytes: int | None


def _age_s(hours: int | None) -> int | None:
    return None if hours is None else hours * 3600


@click.command("create")
@click.argument("stream")
@click.option(
    "--partitions",
    default=1,
    show_default=True,
    type=click.IntRange(1, STREAM_PARTITIONS_MAX),
    metavar="N",
    help="How many partitions; that never changes.",
)
@_retention
@_maxlen
@_maxbytes
@global_options
@pass_settings
def create(settings: Settings, stream: str, partitions: int, **bounds: Unpack[_Bounds]) -> None:
    """Make STREAM with several partitions, or with bounds; others need not be made.

    Exit code 1 when it is there with another number of partitions.

    \b
    JSON: {"stream", "partitions"}

    \b
    Example: flo stream create clicks --partitions 4 --retention 24
    """
    options = StreamCreateOptions(
        partitions=partitions,
        max_len=bounds["maxlen"] or None,
        max_age_seconds=_age_s(bounds["retention"]) or None,
        max_bytes=bounds["maxbytes"] or None,
    )

    async def work(client: FloClient) -> int:
        await client.stream.create(stream, options)
        document = {"stream": stream, "partitions": partitions}
        output.print_result(document, "created", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("alter")
@click.argument("stream")
@_retention
@_maxlen
@_maxbytes
@global_options
@pass_settings
def alter(settings: Settings, stream: str, **bounds: Unpack[_Bounds]) -> None:
    """Change what STREAM keeps: 0 lifts a bound, one that is not given stays.

    Exit code 1 when there is no such stream.

    \b
    JSON: {"stream", "retention_h", "maxlen", "maxbytes"}; null for what was not given

    \b
    Example: flo stream alter events --retention 168
    """
    if (bounds["retention"], bounds["maxlen"], bounds["maxbytes"]) == (None, None, None):
        raise click.UsageError("give --retention, --maxlen or --maxbytes")
    options = StreamAlterOptions(
        max_len=bounds["maxlen"],
        max_age_seconds=_age_s(bounds["retention"]),
        max_bytes=bounds["maxbytes"],
    )

    async def work(client: FloClient) -> int:
        await client.stream.alter(stream, options)
        document = {
            "stream": stream,
            "retention_h": bounds["retention"],
            "maxlen": bounds["maxlen"],
            "maxbytes": bounds["maxbytes"],
        }
        output.print_result(document, "altered", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("info")
@click.argument("stream")
@global_options
@pass_settings
def info(settings: Settings, stream: str) -> None:
    """Print how many records STREAM has, and from which id to which.

    Ids are 0-0 when it has none. Exit code 1 when there is no such stream.

    \b
    JSON: {"stream", "count", "bytes", "partitions", "first_id", "last_id"}

    \b
    Example: flo stream info events
    """

    async def work(client: FloClient) -> int:
        found = await client.stream.info(stream)
        # The server says of one that is not there that it is empty.
        if not found.count and await records.find(client, stream) is None:
            output.print_not_found(f"no such stream: {stream}", settings.output_format)
            return EXIT_NO
        document: dict[str, object] = {
            "stream": stream,
            "count": found.count,
            "bytes": found.bytes_size,
            "partitions": found.partition_count,
            "first_id": str(found.first_id),
            "last_id": str(found.last_id),
        }
        if settings.output_format == "json":
            output.print_json(document)
        else:
            _print_table([document], ("first_id", "last_id"))
        return EXIT_OK

    with_client(settings, work)


@click.command("ls")
@prefix_argument
@limit_option
@global_options
@pass_settings
def list_streams(settings: Settings, prefix: str, limit: int) -> None:
    """Print the streams whose names begin with PREFIX, with their numbers of records.

    \b
    JSON: {"streams": [{"stream", "count", "bytes", "partitions", "last_id"}], "more"};
      more: whether --limit left some out

    \b
    Example: flo stream ls
    """

    async def work(client: FloClient) -> int:
        found, more = await _streams(client, prefix, limit)
        documents = [_fields(each) for each in found]
        if settings.output_format == "json":
            output.print_json({"streams": documents, "more": more})
        else:
            _print_table(documents, ("last_id",))
            output.print_more(limit, "streams", more=more)
        return EXIT_OK

    with_client(settings, work)


async def _streams(client: FloClient, prefix: str, limit: int) -> tuple[list[StreamSummary], bool]:
    found: list[StreamSummary] = []
    cursor: bytes | None = None
    while True:
        some = min(limit - len(found), STREAM_LIST_LIMIT_MAX)
        page = await client.stream.list(StreamListOptions(prefix=prefix, limit=some, cursor=cursor))
        found += page.streams
        cursor = page.cursor
        if cursor is None or len(found) >= limit:
            return found, cursor is not None


class _TrimOptions(TypedDict):
    maxlen: int | None
    before: StreamID | None
    maxage: int | None
    maxbytes: int | None
    dry_run: bool


@click.command("trim")
@click.argument("stream")
@number_option("--maxlen", "N", "All but the newest N records.")
@click.option("--before", metavar="ID", callback=given.last_id, help="Up to this record, included.")
@number_option("--maxage", "S", "Records older than so many seconds.", most=_AGE_S_MAX)
@number_option("--maxbytes", "N", "All but the newest with N bytes of payload.")
@click.option("--dry-run", is_flag=True, help="Only count, remove nothing.")
@global_options
@pass_settings
def trim(settings: Settings, stream: str, **options: Unpack[_TrimOptions]) -> None:
    """Remove the oldest records of STREAM; of several bounds all apply.

    \b
    JSON: {"stream", "removed", "dry_run"}

    \b
    Example: flo stream trim events --maxlen 10000 --dry-run
    """
    dry_run = options["dry_run"]
    bounds = (options["before"], options["maxlen"], options["maxage"], options["maxbytes"])
    if bounds == (None, None, None, None):
        raise click.UsageError("give --maxlen, --before, --maxage or --maxbytes")
    what = StreamTrimOptions(
        before=options["before"],
        max_len=options["maxlen"],
        max_age_seconds=options["maxage"],
        max_bytes=options["maxbytes"],
        dry_run=dry_run,
    )

    async def work(client: FloClient) -> int:
        removed = (await client.stream.trim(stream, what)).removed
        document = {"stream": stream, "removed": removed, "dry_run": dry_run}
        text = f"{'would remove' if dry_run else 'removed'} {removed:,} records"
        output.print_result(document, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("delete")
@click.argument("stream")
@click.option("--force", is_flag=True, help="Also if it has records or consumer groups.")
@global_options
@pass_settings
def delete(settings: Settings, stream: str, *, force: bool) -> None:
    """Remove STREAM with all its records; exit code 1 when it did not exist.

    One that has records or consumer groups is only removed with --force; else that is exit code 1
    too.

    \b
    JSON: {"stream", "deleted"}

    \b
    Example: flo stream delete events --force
    """

    async def work(client: FloClient) -> int:
        deleted = await client.stream.delete(stream, force=force)
        if deleted or settings.output_format == "json":
            document = {"stream": stream, "deleted": deleted}
            output.print_result(document, "deleted", settings.output_format)
        else:
            output.print_not_found(f"no such stream: {stream}", settings.output_format)
        return EXIT_OK if deleted else EXIT_NO

    with_client(settings, work)


def _fields(stream: StreamSummary) -> dict[str, object]:
    return {
        "stream": stream.name,
        "count": stream.count,
        "bytes": stream.bytes_size,
        "partitions": stream.partition_count,
        "last_id": str(stream.last_id),
    }


def _print_table(documents: list[dict[str, object]], ids: tuple[str, ...]) -> None:
    columns = ("stream", "count", "bytes", "partitions", *ids)
    header = tuple(column.removesuffix("_id").upper() for column in columns)
    rows = [tuple(each[column] for column in columns) for each in documents]
    output.print_table(header, rows, align=_ALIGN[: len(columns)])
