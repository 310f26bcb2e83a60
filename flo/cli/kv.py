"""`flo kv`: key-value commands."""

import sys
from pathlib import Path
from typing import TypedDict, Unpack

import click

from flo.cli import output
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.kv import VALUE_BYTES_MAX
from flo.types import (
    Condition,
    DeleteOptions,
    KVIncrOptions,
    MGetEntry,
    PutOptions,
    ScanOptions,
)
from flo.wire.limits import MGET_KEYS_MAX, V1_SCAN_LIMIT_MAX

_Seconds = click.FloatRange(0, min_open=True)


@click.group("kv")
def kv_group() -> None:
    """Read and write keys."""


class _SetOptions(TypedDict):
    file: Path | None
    ttl: float | None
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
@click.option("--ttl", metavar="S", type=_Seconds, help="Seconds after which the key expires.")
@click.option("--nx", is_flag=True, help="Only if the key does not exist.")
@click.option("--xx", is_flag=True, help="Only if the key exists.")
@click.option("--cas", metavar="V", type=click.IntRange(0), help="Only if the key has version V.")
@global_options
@pass_settings
def set_key(
    settings: Settings, key: str, value: str | None, **options: Unpack[_SetOptions]
) -> None:
    """Store VALUE under KEY; `-` reads it from stdin.

    \b
    Example: flo kv set greeting hello --ttl 60
    """
    data = _value(value, options["file"])
    if options["nx"] and options["xx"]:
        raise click.UsageError("--nx and --xx exclude each other")
    condition = Condition.IF_ABSENT if options["nx"] else Condition.ALWAYS
    put = PutOptions(
        ttl_ms=_ttl_ms(options["ttl"]),
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

    output.with_client(settings, work)


@kv_group.command("get")
@click.argument("key")
@global_options
@pass_settings
def get_key(settings: Settings, key: str) -> None:
    """Print the value of KEY as it is; exit code 1 when there is none.

    \b
    Example: flo kv get greeting
    """

    async def work(client: FloClient) -> int:
        found = await client.kv.get(key)
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

    output.with_client(settings, work)


@kv_group.command("mget")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@global_options
@pass_settings
def get_keys(settings: Settings, keys: tuple[str, ...]) -> None:
    """Print several keys with their values; exit code 1 when one is missing.

    \b
    Example: flo kv mget user:7 user:8
    """

    async def work(client: FloClient) -> int:
        entries = await _values(client, list(keys))
        if settings.output_format == "json":
            output.print_json({"entries": [_entry_fields(entry) for entry in entries]})
        else:
            for entry in entries:
                _print_entry(entry)
        return EXIT_OK if all(entry.found for entry in entries) else EXIT_NO

    output.with_client(settings, work)


@kv_group.command("delete")
@click.argument("key")
@click.option("--cas", metavar="V", type=click.IntRange(0), help="Only if the key has version V.")
@global_options
@pass_settings
def delete_key(settings: Settings, key: str, cas: int | None) -> None:
    """Remove KEY; exit code 1 when it did not exist.

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

    output.with_client(settings, work)


@kv_group.command("list")
@click.argument("prefix", default="")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), metavar="N")
@click.option("--keys-only", is_flag=True, help="Leave the values out.")
@global_options
@pass_settings
def list_keys(settings: Settings, prefix: str, limit: int, keys_only: bool) -> None:
    """Print the keys that begin with PREFIX, in byte order, with their values.

    \b
    Example: flo kv list user: --keys-only
    """

    async def work(client: FloClient) -> int:
        names, more = await _names(client, prefix, limit)
        entries = [] if keys_only else await _values(client, names)
        if settings.output_format == "json":
            listed: dict[str, object] = {"keys": names}
            if not keys_only:
                # A key may have gone between its name and its value.
                listed = {"entries": [_entry_fields(entry) for entry in entries if entry.found]}
            output.print_json({**listed, "more": more})
            return EXIT_OK
        for name in names if keys_only else []:
            output.print_name(name)
        for entry in entries:
            if entry.found:
                _print_entry(entry)
        if more:
            click.echo(f"flo: there are more than {limit} keys: raise --limit", err=True)
        return EXIT_OK

    output.with_client(settings, work)


@kv_group.command("incr")
@click.argument("key")
@click.option("--by", default=1, show_default=True, type=int, metavar="N", help="What to add.")
@global_options
@pass_settings
def increment(settings: Settings, key: str, by: int) -> None:
    """Add to the counter KEY, which begins at 0, and print its new value.

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

    output.with_client(settings, work)


@kv_group.command("exists")
@click.argument("key")
@global_options
@pass_settings
def key_exists(settings: Settings, key: str) -> None:
    """Print true, or false with exit code 1.

    \b
    Example: flo kv exists greeting
    """

    async def work(client: FloClient) -> int:
        exists = await client.kv.exists(key)
        if settings.output_format == "json":
            output.print_json({"key": key, "exists": exists})
        else:
            click.echo("true" if exists else "false")
        return EXIT_OK if exists else EXIT_NO

    output.with_client(settings, work)


@kv_group.command("touch")
@click.argument("key")
@click.option("--ttl", metavar="S", type=_Seconds, required=True, help="Seconds to live from now.")
@global_options
@pass_settings
def touch_key(settings: Settings, key: str, ttl: float) -> None:
    """Let KEY expire after a time, keeping its value and version.

    \b
    Example: flo kv touch session:9 --ttl 60
    """
    _expire(settings, key, _ttl_ms(ttl) or 0)


@kv_group.command("persist")
@click.argument("key")
@global_options
@pass_settings
def persist_key(settings: Settings, key: str) -> None:
    """Clear the TTL of KEY: it lives until it is deleted.

    \b
    Example: flo kv persist session:9
    """
    _expire(settings, key, 0)


def _expire(settings: Settings, key: str, ttl_ms: int) -> None:
    async def work(client: FloClient) -> int:
        await client.kv.expire(key, ttl_ms)
        if settings.output_format == "json":
            output.print_json({"key": key, "ttl_ms": ttl_ms or None})
        else:
            click.echo(f"expires in {ttl_ms / 1000:g} s" if ttl_ms else "does not expire")
        return EXIT_OK

    output.with_client(settings, work)


def _ttl_ms(ttl_s: float | None) -> int | None:
    return None if ttl_s is None else max(1, round(ttl_s * 1000))


def _value(value: str | None, file: Path | None) -> bytes:
    if (value is None) == (file is None):
        raise click.UsageError("give either VALUE or --file")
    if file is not None:
        with file.open("rb") as stream:
            data = stream.read(VALUE_BYTES_MAX + 1)
    elif value == "-":
        data = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    else:
        return (value or "").encode("utf-8", "surrogateescape")
    if len(data) > VALUE_BYTES_MAX:
        raise click.UsageError(f"the value is longer than {VALUE_BYTES_MAX} bytes")
    return data


async def _names(client: FloClient, prefix: str, limit: int) -> tuple[list[str], bool]:
    """Up to `limit` names, and whether there are more."""
    names: list[str] = []
    cursor: bytes | None = None
    while True:
        page_limit = min(limit - len(names), V1_SCAN_LIMIT_MAX)
        page = await client.kv.scan(prefix, ScanOptions(cursor=cursor, limit=page_limit))
        names += page.names
        cursor = page.cursor
        if cursor is None or len(names) >= limit:
            return names, cursor is not None


async def _values(client: FloClient, names: list[str]) -> list[MGetEntry]:
    entries: list[MGetEntry] = []
    for start in range(0, len(names), MGET_KEYS_MAX):
        entries += await client.kv.mget(names[start : start + MGET_KEYS_MAX])
    return entries


def _entry_fields(entry: MGetEntry) -> dict[str, object]:
    if not entry.found:
        return {"key": entry.key, "found": False}
    fields = output.value_fields(entry.value)
    return {"key": entry.key, "found": True, **fields, "version": entry.version}


def _print_entry(entry: MGetEntry) -> None:
    """`key<TAB>value`; a missing key has no tab."""
    if not entry.found:
        output.print_name(entry.key)
        return
    output.print_name(entry.key, end="\t")
    output.print_raw(entry.value + b"\n")
