"""`flo kv begin`, `commit` and `rollback`: transactions that last over several commands."""

import click

from flo.cli import output
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_OK
from flo.cli.parameters import SEQUENCE
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient


@click.command("begin")
@click.argument("routing_key")
@global_options
@pass_settings
def begin(settings: Settings, routing_key: str) -> None:
    """Begin a transaction, and print its ID for --txn, commit and rollback.

    It takes keys that live where ROUTING_KEY does: with the same tag in braces, or the same first
    two segments. What is written with --txn is held back until the commit, and seen only by reads
    with --txn. It is forgotten after a minute of silence, and when its partition gets another
    leader.

    \b
    JSON: {"txn", "routing_key"}; txn is text, since it may be too large for a number in JSON

    \b
    Example: flo kv begin {order:7}
    """

    async def work(client: FloClient) -> int:
        begun = await client.kv.begin(routing_key)
        document = {"txn": str(begun.id), "routing_key": routing_key}
        output.print_result(document, str(begun.id), settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("commit")
@click.argument("txn", metavar="ID", type=SEQUENCE)
@global_options
@pass_settings
def commit(settings: Settings, txn: int) -> None:
    """Make all changes of transaction ID at once.

    Exit code 1 when a condition (--cas, --nx, --xx) does not hold any more, or the transaction is
    not open: nothing is changed then. A commit whose outcome is unknown may be repeated: it is
    done once.

    \b
    JSON: {"txn", "operations", "version"}; version is the one that all written keys got

    \b
    Example: flo kv commit 281475010265089
    """

    async def work(client: FloClient) -> int:
        done = await client.kv.resume(txn).commit()
        document = {"txn": str(txn), "operations": done.op_count, "version": done.commit_index}
        operations = "1 operation" if done.op_count == 1 else f"{done.op_count} operations"
        text = f"committed {operations}, version {done.commit_index}"
        output.print_result(document, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("rollback")
@click.argument("txn", metavar="ID", type=SEQUENCE)
@global_options
@pass_settings
def rollback(settings: Settings, txn: int) -> None:
    """Forget all changes of transaction ID.

    Exit code 1 when it is not open: it was committed or rolled back, or is forgotten.

    \b
    JSON: {"txn"}

    \b
    Example: flo kv rollback 281475010265089
    """

    async def work(client: FloClient) -> int:
        await client.kv.resume(txn).rollback()
        output.print_result({"txn": str(txn)}, "rolled back", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


def print_held(settings: Settings, key: str, txn: int) -> int:
    """What a write says that is a part of a transaction; the exit code."""
    document = {"key": key, "txn": str(txn)}
    output.print_result(document, f"held until the commit of {txn}", settings.output_format)
    return EXIT_OK
