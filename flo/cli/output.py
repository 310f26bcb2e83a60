"""Results to stdout, messages to stderr, and the exit code."""

import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import click

from flo.cli.settings import Format
from flo.exceptions import (
    ConflictError,
    FloError,
    InvalidEndpointError,
    NotFoundError,
    Outcome,
    ValidationError,
)
from flo.wire.status import Ran, Reason

EXIT_OK = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130
"""What shells report for a program that Ctrl-C ended: no answer, so not 1."""


def exit_code(error: FloError) -> int:
    """1 when the answer is no, 2 when the request was wrong, 3 when there was no good answer."""
    if isinstance(error, NotFoundError | ConflictError):
        return EXIT_NO
    if isinstance(error, ValidationError | InvalidEndpointError):
        return EXIT_USAGE
    return EXIT_FAILED


def print_error(error: FloError, output_format: Format, *, hint: str = "") -> None:
    """One line to stderr; a hint for the reader is not part of the JSON message."""
    if output_format == "json":
        print_error_fields(error.code, str(error), outcome=error.outcome, retryable=error.retryable)
        return
    unknown = " (outcome unknown)" * (error.outcome == "unknown")
    advice = f". {hint}" if hint else ""
    click.echo(f"flo: {error}{unknown}{advice}", err=True)


def print_error_fields(
    code: str, message: str, *, outcome: Outcome = "not_applied", retryable: bool = False
) -> None:
    """An error as it stands in JSON."""
    fields = {"code": code, "message": message, "outcome": outcome, "retryable": retryable}
    click.echo(json.dumps({"error": fields}), err=True)


def print_missing(key: str, output_format: Format) -> None:
    """What stands on stderr in the place of a value that is not there."""
    print_not_found(f"no such key: {key}", output_format)


def print_not_found(message: str, output_format: Format) -> None:
    """What stands on stderr where there is nothing to print on stdout."""
    print_error(NotFoundError(message, reason=Reason.NOT_FOUND, ran=Ran.NO), output_format)


def print_more(limit: int, things: str, *, more: bool) -> None:
    """Says when `--limit` left some out."""
    if more:
        click.echo(f"flo: there are more than {limit} {things}: raise --limit", err=True)


def is_terminal(name: Literal["stdout", "stderr"]) -> bool:
    """Whether a person may be looking."""
    return (sys.stdout if name == "stdout" else sys.stderr).isatty()


def print_json(document: Mapping[str, object]) -> None:
    """One JSON object to stdout, on one line."""
    click.echo(json.dumps(document))


def print_with_json(document: Mapping[str, object], name: str, text: bytes) -> None:
    """The object with one member more, which is JSON text: its numbers stay as they are written."""
    # Between the parts of JSON a line break is a space; in strings there is none.
    on_one_line = text.translate(bytes.maketrans(b"\r\n", b"  ")).strip()
    print_raw(f'{json.dumps(document)[:-1]}, "{name}": '.encode() + on_one_line + b"}\n")


def print_result(document: Mapping[str, object], text: str, output_format: Format) -> None:
    """The object, or the line that says the same."""
    if output_format == "json":
        print_json(document)
    else:
        click.echo(text)


def print_raw(value: bytes) -> None:
    """A value as it is, with nothing before or after it."""
    sys.stdout.buffer.write(value)


def flush() -> None:
    """What was printed raw shall be seen now."""
    sys.stdout.buffer.flush()


def print_value(value: bytes) -> None:
    """A value as it is; on a terminal the prompt then starts on a line of its own."""
    print_raw(value)
    if is_terminal("stdout") and not value.endswith(b"\n"):
        print_raw(b"\n")


def print_name(name: str, end: str = "\n") -> None:
    """A key as it is, also when it is not UTF-8."""
    print_raw(name.encode("utf-8", "surrogateescape") + end.encode())


def print_line(*columns: str, value: bytes) -> None:
    """What a value belongs to, a tab after each; then the value as it is."""
    print_raw("".join(f"{column}\t" for column in columns).encode() + value + b"\n")


def value_fields(value: bytes, name: str = "value") -> dict[str, object]:
    """How a value stands in JSON."""
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, align: Sequence[Literal["<", ">"]]
) -> None:
    """Columns as wide as they need to be."""
    lines = [tuple(header), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            f"{cell:{side}{width}}" for cell, side, width in zip(line, align, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())
