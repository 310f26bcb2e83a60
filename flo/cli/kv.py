"""`flo kv`: key-value commands."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from flo.cli import data, kv_documents, kv_txn, kv_updates, listing, output
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import (
    WAIT_MS,
    cas_option,
    file_option,
    limit_option,
    milliseconds,
    prefix_argument,
    txn_option,
)
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.types import (
    Condition,
    DeleteOptions,
    GetOptions,
    GetResult,
    KVExistsOptions,
    PutOptions,
    WaitFor,
)

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


for _command in (
    kv_documents.history,
    kv_documents.json_del,
    kv_documents.json_get,
    kv_documents.json_set,
    kv_txn.begin,
    kv_txn.commit,
    kv_txn.rollback,
    kv_updates.increment,
    kv_updates.persist_key,
    kv_updates.touch_key,
):
    kv_group.add_command(_command)


class _SetOptions(TypedDict):
    file: Path | None
    ttl: int | None
    nx: bool
    xx: bool
    cas: int | None
    txn: int | None


@kv_group.command("set")
@click.argument("key")
@click.argument("value", required=False)
@file_option
@click.option(
    "--ttl", metavar="S", callback=milliseconds, help="Seconds after which the key expires."
)
@click.option("--nx", is_flag=True, help="Only if the key does not exist.")
@click.option("--xx", is_flag=True, help="Only if the key exists.")
@cas_option
@txn_option
@global_options
@pass_settings
def set_key(
    settings: Settings, key: str, value: str | None, **options: Unpack[_SetOptions]
) -> None:
    """Store VALUE under KEY; `-` reads it from stdin.

    Without --ttl the key does not expire. A VALUE that begins with a dash goes after two dashes:
    flo kv set -- balance -5

    \b
    JSON: {"key", "version"}, with --txn {"key", "txn"}

    \b
    Example: flo kv set greeting hello --ttl 60
    """
    stored_value = data.value_of(value, options["file"])
    txn = options["txn"]
    if options["nx"] and options["xx"]:
        raise click.UsageError("--nx and --xx exclude each other")
    condition = Condition.IF_ABSENT if options["nx"] else Condition.ALWAYS
    put = PutOptions(
        ttl_ms=options["ttl"],
        condition=Condition.IF_PRESENT if options["xx"] else condition,
        cas_version=options["cas"],
    )

    async def work(client: FloClient) -> int:
        if txn is not None:
            await client.kv.resume(txn).put(key, stored_value, put)
            return kv_txn.print_held(settings, key, txn)
        stored = await client.kv.put(key, stored_value, put)
        document = {"key": key, "version": stored.version}
        output.print_result(document, f"version {stored.version}", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


class _GetOptions(TypedDict):
    block: int
    wait: int
    txn: int | None
    stale: bool


@kv_group.command("get")
@click.argument("key")
@click.option(
    "--block", metavar="MS", type=WAIT_MS, default=0, help="Wait so long until the key exists."
)
@click.option(
    "--wait", metavar="MS", type=WAIT_MS, default=0, help="Wait so long for the next change."
)
@txn_option
@_stale
@global_options
@pass_settings
def get_key(settings: Settings, key: str, **options: Unpack[_GetOptions]) -> None:
    """Print the value of KEY as it is; exit code 1 when there is none.

    With --block it waits for KEY if it is not there; with --wait it waits for a newer version than
    the present one, or for the first. When nothing came in time the exit code is 1.

    \b
    JSON: {"key", "value", "version"}; value_base64 in the place of value if it is not UTF-8

    \b
    Example: flo kv get greeting
    """
    if sum(map(bool, (options["block"], options["wait"], options["stale"]))) > 1:
        raise click.UsageError("--block, --wait and --stale exclude each other")
    if options["txn"] is not None and any((options["block"], options["wait"], options["stale"])):
        raise click.UsageError("--txn goes without --block, --wait and --stale")

    async def work(client: FloClient) -> int:
        found = await _get(client, key, options)
        if found is None:
            late = f"no newer version of {key} came" if options["wait"] else f"no such key: {key}"
            output.print_not_found(late, settings.output_format)
            return EXIT_NO
        if settings.output_format == "json":
            output.print_json(
                {"key": key, **output.value_fields(found.value), "version": found.version}
            )
        else:
            output.print_value(found.value)
        return EXIT_OK

    with_client(settings, work)


async def _get(client: FloClient, key: str, options: _GetOptions) -> GetResult | None:
    if options["txn"] is not None:
        return await client.kv.resume(options["txn"]).get(key)
    wanted = GetOptions(
        wait_ms=options["block"] or options["wait"],
        wait_for=WaitFor.CHANGE if options["wait"] else WaitFor.EXISTS,
        stale=options["stale"],
    )
    return await client.kv.get(key, wanted)


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
@cas_option
@txn_option
@global_options
@pass_settings
def delete_key(settings: Settings, key: str, *, cas: int | None, txn: int | None) -> None:
    """Remove KEY; exit code 1 when it did not exist.

    \b
    JSON: {"key", "deleted"}, with --txn {"key", "txn"}

    \b
    Example: flo kv delete greeting
    """

    async def work(client: FloClient) -> int:
        if txn is not None:
            await client.kv.resume(txn).delete(key, DeleteOptions(cas_version=cas))
            return kv_txn.print_held(settings, key, txn)
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
@prefix_argument
@limit_option
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


@kv_group.command("exists")
@click.argument("key")
@txn_option
@_stale
@global_options
@pass_settings
def key_exists(settings: Settings, key: str, *, txn: int | None, stale: bool) -> None:
    """Print true, or false with exit code 1.

    \b
    JSON: {"key", "exists"}

    \b
    Example: flo kv exists greeting
    """
    if txn is not None and stale:
        raise click.UsageError("--txn goes without --stale")

    async def work(client: FloClient) -> int:
        if txn is None:
            exists = await client.kv.exists(key, KVExistsOptions(stale=stale))
        else:
            exists = await client.kv.resume(txn).exists(key)
        document = {"key": key, "exists": exists}
        output.print_result(document, "true" if exists else "false", settings.output_format)
        return EXIT_OK if exists else EXIT_NO

    with_client(settings, work)
