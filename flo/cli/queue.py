"""`flo queue`: messages that are handed out one by one, until they are acknowledged."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from flo.cli import data, output, queue_dlq, queue_settings
from flo.cli.connecting import with_client
from flo.cli.groups import Group
from flo.cli.messages import SEQUENCES, print_asked, print_messages
from flo.cli.output import EXIT_OK
from flo.cli.parameters import block_option, duration_option, file_option, number_option
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.queue_types import (
    DequeueOptions,
    EnqueueOptions,
    NackOptions,
    QueueTouchOptions,
)
from flo.wire.limits import QUEUE_COUNT_MAX, TTL_MS_MAX

_count = click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, QUEUE_COUNT_MAX),
    metavar="N",
    help="How many messages at most.",
)


@click.group("queue", cls=Group)
def queue_group() -> None:
    """Put messages into queues, and take them out.

    A queue is there once something is put into it. A message that is dequeued is leased: it is gone
    when it is acknowledged, and comes back when it is not, in time; after five deliveries it is a
    dead letter. Every command takes --help, and tells there what it prints as JSON.

    \b
    Example: flo queue enqueue mail 'to Ada'
    """


for _command in (
    queue_dlq.dlq_group,
    queue_settings.configure,
    queue_settings.info,
    queue_settings.list_queues,
    queue_settings.purge,
):
    queue_group.add_command(_command)


class _EnqueueOptions(TypedDict):
    file: Path | None
    priority: int
    delay: int
    dedup_key: str | None


@queue_group.command("enqueue")
@click.argument("queue")
@click.argument("payloads", nargs=-1, metavar="DATA...")
@file_option
@click.option(
    "--priority",
    default=0,
    show_default=True,
    type=click.IntRange(0, 255),
    metavar="N",
    help="0 to 255, the lower the sooner.",
)
@number_option("--delay", "MS", "So long nobody gets it.", least=0, most=TTL_MS_MAX, default=0)
@click.option(
    "--dedup-key",
    metavar="K",
    help="Take an earlier message with this key, of the last five minutes, for this one.",
)
@global_options
@pass_settings
def enqueue(
    settings: Settings, queue: str, payloads: tuple[str, ...], **options: Unpack[_EnqueueOptions]
) -> None:
    """Put messages into QUEUE, and print their sequence numbers; `-` reads DATA from stdin.

    Several DATA are put there together, all or none, as long as they are not more than 1,000 or
    512 KiB. DATA that begins with a dash goes after two dashes: flo queue enqueue mail -- -5

    \b
    JSON: {"queue", "seqs"}

    \b
    Example: flo queue enqueue mail 'to Ada' 'to Alan' --delay 60000
    """
    given = data.values_of(payloads, options["file"])
    if options["dedup_key"] is not None and len(given) > 1:
        raise click.UsageError("--dedup-key is for one message: give one DATA")
    how = EnqueueOptions(
        priority=options["priority"], delay_ms=options["delay"], dedup_key=options["dedup_key"]
    )

    async def work(client: FloClient) -> int:
        if len(given) == 1:
            sequences = [await client.queue.enqueue(queue, given[0], how)]
        else:
            sequences = await client.queue.enqueue_batch(queue, given, how)
        document = {"queue": queue, "seqs": sequences}
        output.print_result(document, "\n".join(map(str, sequences)), settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@queue_group.command("dequeue")
@click.argument("queue")
@_count
@block_option
@duration_option(
    "--visibility", "How long they are leased; the queue's setting (30 s) when it is not given."
)
@global_options
@pass_settings
def dequeue(
    settings: Settings, queue: str, *, count: int, block: int, visibility: int | None
) -> None:
    """Take messages out of QUEUE; exit code 1 when there are none.

    One line for each: the sequence number, a tab, the payload. Acknowledge each one when it is
    done, or it comes back.

    \b
    JSON: {"queue", "messages": [{"seq", "payload", "priority", "delivery_count",
      "enqueued_at_ms"}]}; payload_base64 in the place of payload if it is not UTF-8

    \b
    Example: flo queue dequeue mail --count 10 --block 5000
    """
    options = DequeueOptions(block_ms=block, visibility_ms=visibility)

    async def work(client: FloClient) -> int:
        taken = await client.queue.dequeue(queue, count, options)
        return print_messages(settings, queue, taken.messages)

    with_client(settings, work)


@queue_group.command("peek")
@click.argument("queue")
@_count
@global_options
@pass_settings
def peek(settings: Settings, queue: str, *, count: int) -> None:
    """Print the messages of QUEUE that come next, without taking them; exit code 1 for none.

    One line for each: the sequence number, a tab, the payload.

    \b
    JSON: {"queue", "messages": [...]}, as of flo queue dequeue

    \b
    Example: flo queue peek mail --count 10
    """

    async def work(client: FloClient) -> int:
        found = await client.queue.peek(queue, count)
        return print_messages(settings, queue, found.messages)

    with_client(settings, work)


@queue_group.command("ack")
@click.argument("queue")
@SEQUENCES
@global_options
@pass_settings
def ack(settings: Settings, queue: str, sequences: tuple[int, ...]) -> None:
    """Say that leased messages of QUEUE are done: they are gone. Others are left alone.

    \b
    JSON: {"queue", "asked"}; which of them were leased is not told

    \b
    Example: flo queue ack mail 1 2
    """

    async def work(client: FloClient) -> int:
        await client.queue.ack(queue, sequences)
        print_asked(settings, queue, sequences, f"acknowledge {len(sequences):,}")
        return EXIT_OK

    with_client(settings, work)


@queue_group.command("nack")
@click.argument("queue")
@SEQUENCES
@click.option("--dlq", is_flag=True, help="Put them to the dead letters.")
@global_options
@pass_settings
def nack(settings: Settings, queue: str, sequences: tuple[int, ...], *, dlq: bool) -> None:
    """Give leased messages back to QUEUE, to be delivered again. Others are left alone.

    \b
    JSON: {"queue", "asked"}; which of them were leased is not told

    \b
    Example: flo queue nack mail 3 --dlq
    """

    async def work(client: FloClient) -> int:
        await client.queue.nack(queue, sequences, NackOptions(to_dlq=dlq))
        count = f"{len(sequences):,}"
        text = f"put {count} to the dead letters" if dlq else f"give back {count}"
        print_asked(settings, queue, sequences, text)
        return EXIT_OK

    with_client(settings, work)


@queue_group.command("touch")
@click.argument("queue")
@SEQUENCES
@duration_option("--extend", "How long from now; the queue's setting (30 s) when it is not given.")
@global_options
@pass_settings
def touch(
    settings: Settings, queue: str, sequences: tuple[int, ...], *, extend: int | None
) -> None:
    """Keep messages of QUEUE leased for longer. Those that are not leased are left alone.

    \b
    JSON: {"queue", "asked"}; which of them were leased is not told

    \b
    Example: flo queue touch mail 3 --extend 60000
    """

    async def work(client: FloClient) -> int:
        await client.queue.touch(queue, sequences, QueueTouchOptions(extend_ms=extend))
        print_asked(settings, queue, sequences, f"keep {len(sequences):,} leased for longer")
        return EXIT_OK

    with_client(settings, work)
