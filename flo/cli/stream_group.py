"""`flo stream group`: consumers that share the records of a stream."""

import click

from flo.cli import group_records, output
from flo.cli import parameters as given
from flo.cli.connecting import with_client
from flo.cli.group_records import names
from flo.cli.groups import Group
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import Start, duration_option
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.exceptions import NotFoundError
from flo.stream_types import FIRST_ID, GroupInfo, GroupMode, StreamGroupCreateOptions

_MODES = {
    "shared": GroupMode.SHARED,
    "exclusive": GroupMode.EXCLUSIVE,
    "key-shared": GroupMode.KEY_SHARED,
}
_NAMES = {mode: name for name, mode in _MODES.items()}


@click.group("group", cls=Group)
def groups() -> None:
    """Share the records of a stream among consumers.

    Each record of STREAM is delivered to one CONSUMER of GROUP, and again to one if it is not
    acknowledged in time. Group and consumer are made as needed.

    \b
    Example: flo stream group read events billing worker-1
    """


for _command in (
    group_records.ack,
    group_records.claim,
    group_records.nack,
    group_records.pending,
    group_records.read,
    group_records.touch,
):
    groups.add_command(_command)


@groups.command("create")
@names("stream", "group")
@click.option(
    "--mode",
    type=click.Choice(list(_MODES)),
    default="shared",
    show_default=True,
    help="Records go to whoever asks, to one holder, or those of one key to one consumer.",
)
@click.option(
    "--start",
    metavar="ID|$",
    callback=given.start,
    help="Begin at this record, or ($) with what comes; without it at the first one.",
)
@duration_option(
    "--ack-timeout",
    "What is not acknowledged in time is delivered again; 0: never. [330000]",
    least=0,
)
@click.option(
    "--max-deliver",
    metavar="N",
    type=click.IntRange(0, 255),
    help="After so many deliveries a record goes to STREAM.dlq; 0: without end. [10]",
)
@click.option(
    "--max-standbys",
    metavar="N",
    type=click.IntRange(0, (1 << 16) - 1),
    help="How many may stand by in an exclusive group; further ones are refused.",
)
@global_options
@pass_settings
def create(
    settings: Settings,
    stream: str,
    group: str,
    *,
    mode: str,
    start: Start,
    ack_timeout: int | None,
    max_deliver: int | None,
    max_standbys: int | None,
) -> None:
    """Make a group that is not as others are; those need not be made.

    Exit code 1 when it is there in another mode.

    \b
    JSON: {"stream", "group", "mode"}

    \b
    Example: flo stream group create events billing --start $ --max-deliver 3
    """
    options = StreamGroupCreateOptions(
        mode=_MODES[mode],
        start=start.place,
        tail=start.tail,
        ack_timeout_ms=ack_timeout,
        max_deliver=max_deliver,
        max_standbys=max_standbys,
    )

    async def work(client: FloClient) -> int:
        await client.stream.group_create(stream, group, options)
        document = {"stream": stream, "group": group, "mode": mode}
        output.print_result(document, "created", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@groups.command("join")
@names("stream", "group", "consumer")
@global_options
@pass_settings
def join(settings: Settings, stream: str, group: str, consumer: str) -> None:
    """Make CONSUMER a member of GROUP; reading does so too.

    \b
    JSON: {"stream", "group", "consumer"}

    \b
    Example: flo stream group join events billing worker-1
    """

    async def work(client: FloClient) -> int:
        await client.stream.group_join(stream, group, consumer)
        document = {"stream": stream, "group": group, "consumer": consumer}
        output.print_result(document, "joined", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@groups.command("leave")
@names("stream", "group", "consumer")
@global_options
@pass_settings
def leave(settings: Settings, stream: str, group: str, consumer: str) -> None:
    """Take CONSUMER out of GROUP. What it has not acknowledged stays pending.

    \b
    JSON: {"stream", "group", "consumer"}

    \b
    Example: flo stream group leave events billing worker-1
    """

    async def work(client: FloClient) -> int:
        await client.stream.group_leave(stream, group, consumer)
        document = {"stream": stream, "group": group, "consumer": consumer}
        output.print_result(document, "left", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@groups.command("info")
@names("stream", "group")
@global_options
@pass_settings
def info(settings: Settings, stream: str, group: str) -> None:
    """Print how far GROUP is, and who is in it.

    CURSOR is the last record that was delivered, LAG how many come after it. Exit code 1 when there
    is no such group.

    \b
    JSON: {"stream", "group", "mode", "cursor", "pending", "lag", "ack_timeout_ms",
      "max_deliver", "consumers": [{"consumer", "pending", "active"}]}

    \b
    Example: flo stream group info events billing
    """

    async def work(client: FloClient) -> int:
        found = await client.stream.group_info(stream, group)
        if not await _is_there(client, stream, group, found):
            output.print_not_found(f"no such group: {group}", settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            output.print_json(_document(stream, group, found))
        else:
            _print(group, found)
        return EXIT_OK

    with_client(settings, work)


@groups.command("delete")
@names("stream", "group")
@global_options
@pass_settings
def delete(settings: Settings, stream: str, group: str) -> None:
    """Remove GROUP; the records stay. Exit code 1 when it did not exist.

    \b
    JSON: {"stream", "group", "deleted"}

    \b
    Example: flo stream group delete events billing
    """

    async def work(client: FloClient) -> int:
        deleted = await client.stream.group_delete(stream, group)
        if deleted or settings.output_format == "json":
            document = {"stream": stream, "group": group, "deleted": deleted}
            output.print_result(document, "deleted", settings.output_format)
        else:
            output.print_not_found(f"no such group: {group}", settings.output_format)
        return EXIT_OK if deleted else EXIT_NO

    with_client(settings, work)


async def _is_there(client: FloClient, stream: str, group: str, found: GroupInfo) -> bool:
    """The server says of a group that is not there what it says of one that was just made."""
    if found.consumers or found.pending or found.cursor != FIRST_ID:
        return True
    try:
        # Nothing is acknowledged, but whose group is not there is told.
        await client.stream.group_ack(stream, group, [])
    except NotFoundError:
        return False
    return True


def _document(stream: str, group: str, found: GroupInfo) -> dict[str, object]:
    return {
        "stream": stream,
        "group": group,
        "mode": _NAMES[found.mode],
        "cursor": str(found.cursor),
        "pending": found.pending,
        "lag": found.lag,
        "ack_timeout_ms": found.ack_timeout_ms,
        "max_deliver": found.max_deliver,
        "consumers": [
            {"consumer": each.name, "pending": each.pending, "active": each.active}
            for each in found.consumers
        ],
    }


def _print(group: str, found: GroupInfo) -> None:
    output.print_table(
        ("GROUP", "MODE", "CURSOR", "PENDING", "LAG"),
        [(group, _NAMES[found.mode], found.cursor, found.pending, found.lag)],
        align=("<", "<", "<", ">", ">"),
    )
    if not found.consumers:
        return
    click.echo()
    output.print_table(
        ("CONSUMER", "PENDING", "STATE"),
        [
            (each.name, each.pending, "active" if each.active else "stands by")
            for each in found.consumers
        ],
        align=("<", ">", "<"),
    )
