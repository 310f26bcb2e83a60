"""`flo kv history`, `jget`, `jset` and `jdel`: older versions, and parts of JSON documents."""

from datetime import UTC, datetime
from pathlib import Path

import click

from flo.cli import data, output
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import file_option
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.types import HistoryOptions, VersionEntry
from flo.wire.limits import HISTORY_ENTRIES_MAX


@click.command("history")
@click.argument("key")
@click.option(
    "--limit",
    default=10,
    show_default=True,
    type=click.IntRange(1, HISTORY_ENTRIES_MAX),
    metavar="N",
    help="How many versions to print at most.",
)
@global_options
@pass_settings
def history(settings: Settings, key: str, limit: int) -> None:
    """Print the last versions of KEY, newest first; exit code 1 when there are none.

    One line for each: the version, a tab, when it was written (UTC), a tab, the value. A key keeps
    the 64 versions before the present one, also for an hour after it was deleted.

    \b
    JSON: {"key", "entries": [{"version", "at_ms", "value"}]}; at_ms is unix milliseconds

    \b
    Example: flo kv history greeting --limit 3
    """

    async def work(client: FloClient) -> int:
        entries = await client.kv.history(key, HistoryOptions(limit=limit))
        if not entries:
            output.print_missing(key, settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            output.print_json({"key": key, "entries": [_fields(entry) for entry in entries]})
        else:
            for entry in entries:
                output.print_line(str(entry.version), _time(entry.at_ms), value=entry.value)
        return EXIT_OK

    with_client(settings, work)


@click.command("jget")
@click.argument("key")
@click.argument("path", default="$")
@global_options
@pass_settings
def json_get(settings: Settings, key: str, path: str) -> None:
    """Print the part of the JSON document KEY at PATH; exit code 1 when nothing is there.

    A PATH is $ (the whole, and the default), then .field and [index] in any number. A shell wants
    it in single quotes. The part is printed as it is stored, byte for byte.

    \b
    JSON: {"key", "path", "version", "value"}; value is the part itself, not text

    \b
    Example: flo kv jget user:7 '$.tags[0]'
    """

    async def work(client: FloClient) -> int:
        found = await client.kv.json_get(key, path)
        if found is None:
            output.print_not_found(f"nothing at {path} of {key}", settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            document = {"key": key, "path": path, "version": found.version}
            output.print_with_json(document, "value", found.text)
        else:
            output.print_raw(found.text.removesuffix(b"\n") + b"\n")
        return EXIT_OK

    with_client(settings, work)


@click.command("jset")
@click.argument("key")
@click.argument("path")
@click.argument("value", metavar="JSON", required=False)
@file_option
@global_options
@pass_settings
def json_set(
    settings: Settings, key: str, path: str, value: str | None, *, file: Path | None
) -> None:
    """Set the part of the JSON document KEY at PATH to JSON; `-` reads it from stdin.

    $ replaces the whole, or makes the key. Else the key must be there and all of PATH but its last
    step, if not the exit code is 1. The other parts and the time to live stay.

    \b
    JSON: {"key", "path", "version"}

    \b
    Example: flo kv jset user:7 '$.name' '"Ada"'
    """
    part = data.value_of(value, file, "JSON")

    async def work(client: FloClient) -> int:
        stored = await client.kv.json_set(key, path, part)
        document = {"key": key, "path": path, "version": stored.version}
        output.print_result(document, f"version {stored.version}", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("jdel")
@click.argument("key")
@click.argument("path", default="$")
@global_options
@pass_settings
def json_del(settings: Settings, key: str, path: str) -> None:
    """Take out the part of the JSON document KEY at PATH; without PATH delete the key.

    Exit code 1 when nothing is there.

    \b
    JSON: {"key", "path", "version"}; version is null when the key was deleted

    \b
    Example: flo kv jdel user:7 '$.tags[0]'
    """

    async def work(client: FloClient) -> int:
        left = await client.kv.json_del(key, path)
        version = None if left is None else left.version
        document = {"key": key, "path": path, "version": version}
        text = "deleted" if version is None else f"version {version}"
        output.print_result(document, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)


def _fields(entry: VersionEntry) -> dict[str, object]:
    fields = output.value_fields(entry.value)
    return {"version": entry.version, "at_ms": entry.at_ms, **fields}


def _time(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
