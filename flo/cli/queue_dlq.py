"""`flo queue dlq`: the dead letters of a queue."""

import click

from flo.cli import output
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.messages import SEQUENCES, print_asked, print_messages
from flo.cli.output import EXIT_OK
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.queue_types import DlqListOptions
from flo.wire.limits import QUEUE_DLQ_LIMIT_MAX


@click.group("dlq", cls=Group)
def dlq_group() -> None:
    """Look at the dead letters of a queue: messages that nobody acknowledged after five deliveries.

    A queue keeps the last 10,000.

    \b
    Example: flo queue dlq list mail
    """


@dlq_group.command("list")
@click.argument("queue")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, QUEUE_DLQ_LIMIT_MAX),
    metavar="N",
    help="How many to print at most.",
)
@global_options
@pass_settings
def list_letters(settings: Settings, queue: str, limit: int) -> None:
    """Print the dead letters of QUEUE, the oldest first; exit code 1 when there are none.

    One line for each: the sequence number, a tab, the payload.

    \b
    JSON: {"queue", "messages": [...]}, as of flo queue dequeue

    \b
    Example: flo queue dlq list mail
    """

    async def work(client: FloClient) -> int:
        found = await client.queue.dlq_list(queue, DlqListOptions(limit=limit))
        return print_messages(settings, queue, found.messages)

    with_client(settings, work)


@dlq_group.command("requeue")
@click.argument("queue")
@SEQUENCES
@global_options
@pass_settings
def requeue(settings: Settings, queue: str, sequences: tuple[int, ...]) -> None:
    """Put dead letters back into QUEUE, as if they had never been delivered.

    Numbers that are no dead letters are left alone.

    \b
    JSON: {"queue", "asked"}; which of them were dead letters is not told

    \b
    Example: flo queue dlq requeue mail 3
    """

    async def work(client: FloClient) -> int:
        await client.queue.dlq_requeue(queue, sequences)
        print_asked(settings, queue, sequences, f"put back {len(sequences):,}")
        return EXIT_OK

    with_client(settings, work)


@dlq_group.command("purge")
@click.argument("queue")
@global_options
@pass_settings
def purge(settings: Settings, queue: str) -> None:
    """Throw all dead letters of QUEUE away.

    \b
    JSON: {"queue", "removed"}

    \b
    Example: flo queue dlq purge mail
    """

    async def work(client: FloClient) -> int:
        removed = await client.queue.dlq_purge(queue)
        text = f"threw away {removed:,} dead letters"
        output.print_result({"queue": queue, "removed": removed}, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)
