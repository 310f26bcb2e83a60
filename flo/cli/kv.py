"""`flo kv`: key-value commands."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from flo._kv_forms import VALUE_BYTES_MAX
from flo.cli import listing, output
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.exceptions import NotFoundError
from flo.types import (
    Condition,
    DeleteOptions,
    GetOptions,
    KVExistsOptions,
    KVIncrOptions,
    PutOptions,
)
from flo.wire.limits import TTL_MS_MAX


def _milliseconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A time to live as the program has it, from the seconds that were given."""
    if value is None:
        return None
    try:
        ttl_s = float(value)
    except ValueError:
        ttl_s = 0
    # Not-a-number is in no range, so it is asked this way round.
    if not 0 < ttl_s <= TTL_MS_MAX / 1000:
        raise click.BadParameter(f"{value!r} is no time to live: give seconds, more than 0")
    return max(1, round(ttl_s * 1000))


_stale = click.option(
    "--stale", is_flag=True, help="Let any replica answer, which may be behind: cheaper."
)


@click.group("kv", cls=Group)
def kv_group() -> None:
    """Read and write keys.

    A key is text of up to 4095 bytes less its namespace, a value any bytes, up to what the nodes
    take (1 MiB). Every command takes --help, and tells there what it prints as JSON.

    \b
    Example: flo kv set greeting hello
    """


class _SetOptions(TypedDict):
    file: Path | None
    ttl: int | None
    nx: bool
    xx: bool
    cas: int | None


@kv_group.command("set")
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the value from this file.",
)
@click.option(
    "--ttl", metavar="S", callback=_milliseconds, help="Seconds after which the key expires."
)
@click.option("--nx", is_flag=True, help="Only if the key does not exist.")
@click.option("--xx", is_flag=True, help="Only if the key exists.")
@click.option("--cas", metavar="V", type=click.IntRange(0), help="Only if the key has version V.")
@global_options
@pass_settings
def set_key(
    settings: Settings, key: str, value: str | None, **options: Unpack[_SetOptions]
) -> None:
    """Store VALUE under KEY; `-` reads it from stdin.

    Without --ttl the key does not expire. A VALUE that begins with a dash goes after two dashes:
    flo kv set -- balance -5

    \b
    JSON: {"key", "version"}

    \b
    Example: flo kv set greeting hello --ttl 60
    """
    data = _value(value, options["file"])
    if options["nx"] and options["xx"]:
        raise click.UsageError("--nx and --xx exclude each other")
    condition = Condition.IF_ABSENT if options["nx"] else Condition.ALWAYS
    put = PutOptions(
        ttl_ms=options["ttl"],
        condition=Condition.IF_PRESENT if options["xx"] else condition,
        cas_version=options["cas"],
    )

    async def work(client: FloClient) -> int:
        stored = await client.kv.put(key, data, put)
        if settings.output_format == "json":
            output.print_json({"key": key, "version": stored.version})
        else:
            click.echo(f"version {stored.version}")
        return EXIT_OK

    with_client(settings, work)


@kv_group.command("get")
@click.argument("key")
@_stale
@global_options
@pass_settings
def get_key(settings: Settings, key: str, stale: bool) -> None:
    """Print the value of KEY as it is; exit code 1 when there is none.

    \b
    JSON: {"key", "value", "version"}; value_base64 in the place of value if it is not UTF-8

    \b
    Example: flo kv get greeting
    """

    async def work(client: FloClient) -> int:
        found = await client.kv.get(key, GetOptions(stale=stale))
        if found is None:
            output.print_missing(key, settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            output.print_json(
                {"key": key, **output.value_fields(found.value), "version": found.version}
            )
        else:
            output.print_value(found.value)
        return EXIT_OK

    with_client(settings, work)


@kv_group.command("mget")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@_stale
@global_options
@pass_settings
def get_keys(settings: Settings, keys: tuple[str, ...], stale: bool) -> None:
    """Print several keys with their values; exit code 1 when one is missing.

    One line for each: the key, a tab, the value; a missing key stands alone.

    \b
    JSON: {"entries": [{"key", "found": true, "value", "version"}, {"key", "found": false}]}

    \b
    Example: flo kv mget user:7 user:8
    """

    async def work(client: FloClient) -> int:
        entries = await listing.values(client, keys, stale=stale)
        if settings.output_format == "json":
            output.print_json({"entries": [listing.entry_fields(entry) for entry in entries]})
        else:
            for entry in entries:
                listing.print_entry(entry)
        return EXIT_OK if all(entry.found for entry in entries) else EXIT_NO

    with_client(settings, work)


@kv_group.command("delete")
@click.argument("key")
@click.option("--cas", metavar="V", type=click.IntRange(0), help="Only if the key has version V.")
@global_options
@pass_settings
def delete_key(settings: Settings, key: str, cas: int | None) -> None:
    """Remove KEY; exit code 1 when it did not exist.

    \b
    JSON: {"key", "deleted"}

    \b
    Example: flo kv delete greeting
    """

    async def work(client: FloClient) -> int:
        deleted = await client.kv.delete(key, DeleteOptions(cas_version=cas))
        if settings.output_format == "json":
            output.print_json({"key": key, "deleted": deleted})
        elif deleted:
            click.echo("deleted")
        else:
            output.print_missing(key, settings.output_format)
        return EXIT_OK if deleted else EXIT_NO

    with_client(settings, work)


@kv_group.command("list")
@click.argument("prefix", default="")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="How many keys to print at most.",
)
@click.option("--keys-only", is_flag=True, help="Leave the values out.")
@_stale
@global_options
@pass_settings
def list_keys(settings: Settings, prefix: str, limit: int, *, keys_only: bool, stale: bool) -> None:
    """Print the keys that begin with PREFIX, in byte order, with their values.

    One line for each: the key, a tab, the value. Lines are printed as they come; a key that is
    written or removed meanwhile may or may not be among them.

    \b
    JSON: {"entries": [{"key", "found": true, "value", "version"}], "more"},
      with --keys-only {"keys": [...], "more"}; more: whether --limit left some out

    \b
    Example: flo kv list user: --keys-only
    """
    wanted = listing.Wanted(prefix, limit, keys_only=keys_only, stale=stale)

    async def work(client: FloClient) -> int:
        if settings.output_format == "json":
            await listing.print_as_json(client, wanted)
        else:
            await listing.print_as_lines(client, wanted)
        return EXIT_OK

    with_client(settings, work)


@kv_group.command("incr")
@click.argument("key")
@click.option("--by", default=1, show_default=True, type=int, metavar="N", help="What to add.")
@global_options
@pass_settings
def increment(settings: Settings, key: str, by: int) -> None:
    """Add to the counter KEY, which begins at 0, and print its new value.

    \b
    JSON: {"key", "value", "version"}

    \b
    Example: flo kv incr visits --by 5
    """

    async def work(client: FloClient) -> int:
        counter = await client.kv.incr(key, KVIncrOptions(delta=by))
        if settings.output_format == "json":
            output.print_json({"key": key, "value": counter.value, "version": counter.version})
        else:
            click.echo(counter.value)
        return EXIT_OK

    with_client(settings, work)


@kv_group.command("exists")
@click.argument("key")
@_stale
@global_options
@pass_settings
def key_exists(settings: Settings, key: str, stale: bool) -> None:
    """Print true, or false with exit code 1.

    \b
    JSON: {"key", "exists"}

    \b
    Example: flo kv exists greeting
    """

    async def work(client: FloClient) -> int:
        exists = await client.kv.exists(key, KVExistsOptions(stale=stale))
        if settings.output_format == "json":
            output.print_json({"key": key, "exists": exists})
        else:
            click.echo("true" if exists else "false")
        return EXIT_OK if exists else EXIT_NO

    with_client(settings, work)


@kv_group.command("touch")
@click.argument("key")
@click.option(
    "--ttl", metavar="S", callback=_milliseconds, required=True, help="Seconds to live from now."
)
@global_options
@pass_settings
def touch_key(settings: Settings, key: str, ttl: int) -> None:
    """Let KEY expire after a time, keeping its value and version; exit code 1 without KEY.

    \b
    JSON: {"key", "ttl_ms"}

    \b
    Example: flo kv touch session:9 --ttl 60
    """
    _expire(settings, key, ttl)


@kv_group.command("persist")
@click.argument("key")
@global_options
@pass_settings
def persist_key(settings: Settings, key: str) -> None:
    """Clear the TTL of KEY: it lives until it is deleted; exit code 1 without KEY.

    \b
    JSON: {"key", "ttl_ms": null}

    \b
    Example: flo kv persist session:9
    """
    _expire(settings, key, 0)


def _expire(settings: Settings, key: str, ttl_ms: int) -> None:
    async def work(client: FloClient) -> int:
        try:
            await client.kv.expire(key, ttl_ms)
        except NotFoundError:
            output.print_missing(key, settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            output.print_json({"key": key, "ttl_ms": ttl_ms or None})
        else:
            click.echo(f"expires in {ttl_ms / 1000:g} s" if ttl_ms else "does not expire")
        return EXIT_OK

    with_client(settings, work)


def _value(value: str | None, file: Path | None) -> bytes:
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file: VALUE - reads stdin")
    if file is None and value != "-":
        return (value or "").encode("utf-8", "surrogateescape")
    try:
        with file.open("rb") if file else click.open_file("-", "rb") as stream:
            data = stream.read(VALUE_BYTES_MAX + 1)
    except (OSError, RuntimeError) as error:
        # A stdin that was closed is a RuntimeError.
        reason = error.strerror if isinstance(error, OSError) else "it is closed"
        raise click.UsageError(f"cannot read {file or 'stdin'}: {reason}") from error
    if len(data) > VALUE_BYTES_MAX:
        raise click.UsageError(f"the value is longer than {VALUE_BYTES_MAX} bytes")
    return data
