"""`flo kv incr`, `touch` and `persist`: changes of what is there."""

import click

from flo.cli import kv_txn, output
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import milliseconds, txn_option
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.exceptions import NoSuchTransactionError, NotFoundError
from flo.types import KVIncrOptions


@click.command("incr")
@click.argument("key")
@click.option("--by", default=1, show_default=True, type=int, metavar="N", help="What to add.")
@txn_option
@global_options
@pass_settings
def increment(settings: Settings, key: str, *, by: int, txn: int | None) -> None:
    """Add to the counter KEY, which begins at 0, and print its new value.

    \b
    JSON: {"key", "value", "version"}, with --txn {"key", "txn"}

    \b
    Example: flo kv incr visits --by 5
    """

    async def work(client: FloClient) -> int:
        if txn is not None:
            await client.kv.resume(txn).incr(key, by)
            return kv_txn.print_held(settings, key, txn)
        counter = await client.kv.incr(key, KVIncrOptions(delta=by))
        document = {"key": key, "value": counter.value, "version": counter.version}
        output.print_result(document, str(counter.value), settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("touch")
@click.argument("key")
@click.option(
    "--ttl", metavar="S", callback=milliseconds, required=True, help="Seconds to live from now."
)
@txn_option
@global_options
@pass_settings
def touch_key(settings: Settings, key: str, *, ttl: int, txn: int | None) -> None:
    """Let KEY expire after a time, keeping its value and version; exit code 1 without KEY.

    \b
    JSON: {"key", "ttl_ms"}, with --txn {"key", "txn"}

    \b
    Example: flo kv touch session:9 --ttl 60
    """
    _expire(settings, key, ttl, txn)


@click.command("persist")
@click.argument("key")
@txn_option
@global_options
@pass_settings
def persist_key(settings: Settings, key: str, *, txn: int | None) -> None:
    """Clear the TTL of KEY: it lives until it is deleted; exit code 1 without KEY.

    \b
    JSON: {"key", "ttl_ms": null}, with --txn {"key", "txn"}

    \b
    Example: flo kv persist session:9
    """
    _expire(settings, key, 0, txn)


def _expire(settings: Settings, key: str, ttl_ms: int, txn: int | None) -> None:
    async def work(client: FloClient) -> int:
        try:
            if txn is not None:
                await client.kv.resume(txn).expire(key, ttl_ms)
                return kv_txn.print_held(settings, key, txn)
            await client.kv.expire(key, ttl_ms)
        except NoSuchTransactionError:
            raise
        except NotFoundError:
            output.print_missing(key, settings.output_format)
            return EXIT_NO
        text = f"expires in {ttl_ms / 1000:g} s" if ttl_ms else "does not expire"
        output.print_result({"key": key, "ttl_ms": ttl_ms or None}, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)
