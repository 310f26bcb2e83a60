"""How messages of a queue are named and printed."""

from collections.abc import Sequence

import click

from flo.cli import output
from flo.cli.output import EXIT_NO, EXIT_OK
from flo.cli.parameters import SEQUENCE
from flo.cli.settings import Settings
from flo.queue_types import Message

SEQUENCES = click.argument("sequences", nargs=-1, required=True, type=SEQUENCE, metavar="SEQ...")


def print_messages(settings: Settings, queue: str, messages: list[Message]) -> int:
    """`seq<TAB>payload` for each, or one object; the exit code."""
    if settings.output_format == "json":
        output.print_json({"queue": queue, "messages": [_fields(each) for each in messages]})
        return EXIT_OK if messages else EXIT_NO
    if not messages:
        output.print_not_found(f"no messages in {queue}", settings.output_format)
        return EXIT_NO
    for message in messages:
        output.print_line(str(message.seq), value=message.payload)
    return EXIT_OK


def print_asked(settings: Settings, queue: str, sequences: Sequence[int], text: str) -> None:
    """What was asked for these messages: nobody tells which of them were there."""
    document = {"queue": queue, "asked": list(sequences)}
    output.print_result(document, f"asked to {text}", settings.output_format)


def _fields(message: Message) -> dict[str, object]:
    return {
        "seq": message.seq,
        **output.value_fields(message.payload, "payload"),
        "priority": message.priority,
        "delivery_count": message.delivery_count,
        "enqueued_at_ms": message.enqueued_at_ms,
    }
