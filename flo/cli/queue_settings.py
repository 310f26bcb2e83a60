"""`flo queue ls`, `info`, `configure` and `purge`: queues as a whole."""

import click

from flo.cli import output
from flo.cli.connecting import with_client
from flo.cli.output import EXIT_OK
from flo.cli.parameters import duration_option, limit_option, number_option, prefix_argument
from flo.cli.settings import Settings, global_options, pass_settings
from flo.client import FloClient
from flo.queue_types import Delivery, QueueConfigureOptions, QueueInfo, QueueListOptions
from flo.wire.limits import QUEUE_LIST_LIMIT_MAX

_ATTEMPTS_MAX = (1 << 16) - 1


@click.command("ls")
@prefix_argument
@limit_option
@global_options
@pass_settings
def list_queues(settings: Settings, prefix: str, limit: int) -> None:
    """Print the queues whose names begin with PREFIX, with their numbers of messages.

    \b
    JSON: {"queues": [{"queue", "ready", "delayed", "leased", "dead", "delivery"}], "more"};
      more: whether --limit left some out

    \b
    Example: flo queue ls
    """

    async def work(client: FloClient) -> int:
        queues, more = await _queues(client, prefix, limit)
        if settings.output_format == "json":
            output.print_json({"queues": [_fields(each) for each in queues], "more": more})
        else:
            _print_table(queues)
            output.print_more(limit, "queues", more=more)
        return EXIT_OK

    with_client(settings, work)


async def _queues(client: FloClient, prefix: str, limit: int) -> tuple[list[QueueInfo], bool]:
    queues: list[QueueInfo] = []
    cursor: bytes | None = None
    while True:
        some = min(limit - len(queues), QUEUE_LIST_LIMIT_MAX)
        page = await client.queue.list(QueueListOptions(prefix=prefix, limit=some, cursor=cursor))
        queues += page.queues
        cursor = page.cursor
        if cursor is None or len(queues) >= limit:
            return queues, cursor is not None


@click.command("info")
@click.argument("queue")
@global_options
@pass_settings
def info(settings: Settings, queue: str) -> None:
    """Print how many messages of QUEUE are ready, delayed, leased and dead.

    A queue that is not there has none.

    \b
    JSON: {"queue", "ready", "delayed", "leased", "dead", "delivery"}; delivery: lease or consume

    \b
    Example: flo queue info mail
    """

    async def work(client: FloClient) -> int:
        found = await client.queue.info(queue)
        if settings.output_format == "json":
            output.print_json(_fields(found))
        else:
            _print_table([found])
        return EXIT_OK

    with_client(settings, work)


@click.command("configure")
@click.argument("queue")
@click.option(
    "--delivery",
    type=click.Choice(["lease", "consume"]),
    help="lease: at least once; consume: a message is gone when it is dequeued, at most once.",
)
@duration_option("--visibility", "How long dequeued messages are leased.")
@number_option(
    "--max-attempts",
    "N",
    "After so many deliveries a message is a dead letter.",
    most=_ATTEMPTS_MAX,
)
@global_options
@pass_settings
def configure(
    settings: Settings,
    queue: str,
    *,
    delivery: str | None,
    visibility: int | None,
    max_attempts: int | None,
) -> None:
    """Change settings of QUEUE, which need not exist; those that are not given stay.

    \b
    JSON: {"queue", "delivery", "visibility_ms", "max_attempts"}; null for what was not given

    \b
    Example: flo queue configure mail --visibility 60000 --max-attempts 10
    """
    if (delivery, visibility, max_attempts) == (None, None, None):
        raise click.UsageError("give --delivery, --visibility or --max-attempts")
    options = QueueConfigureOptions(
        delivery=None if delivery is None else Delivery[delivery.upper()],
        visibility_ms=visibility,
        max_attempts=max_attempts,
    )

    async def work(client: FloClient) -> int:
        await client.queue.configure(queue, options)
        document = {
            "queue": queue,
            "delivery": delivery,
            "visibility_ms": visibility,
            "max_attempts": max_attempts,
        }
        output.print_result(document, "configured", settings.output_format)
        return EXIT_OK

    with_client(settings, work)


@click.command("purge")
@click.argument("queue")
@global_options
@pass_settings
def purge(settings: Settings, queue: str) -> None:
    """Throw all messages of QUEUE away, leased ones too, but not the dead letters.

    \b
    JSON: {"queue", "removed"}

    \b
    Example: flo queue purge mail
    """

    async def work(client: FloClient) -> int:
        removed = await client.queue.purge(queue)
        text = f"threw away {removed:,} messages"
        output.print_result({"queue": queue, "removed": removed}, text, settings.output_format)
        return EXIT_OK

    with_client(settings, work)


def _fields(queue: QueueInfo) -> dict[str, object]:
    return {
        "queue": queue.name,
        "ready": queue.ready,
        "delayed": queue.delayed,
        "leased": queue.leased,
        "dead": queue.dead,
        "delivery": queue.delivery.name.lower(),
    }


def _print_table(queues: list[QueueInfo]) -> None:
    header = ("QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "DELIVERY")
    output.print_table(
        header,
        [tuple(_fields(each).values()) for each in queues],
        align=("<", ">", ">", ">", ">", "<"),
    )
