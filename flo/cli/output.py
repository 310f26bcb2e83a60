"""Results to stdout, messages to stderr, and the exit code."""

import asyncio
import base64
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal, NoReturn

import click

from flo.cli.settings import Format, Settings
from flo.client import FloClient
from flo.exceptions import (
    ConflictError,
    FloError,
    InvalidEndpointError,
    NotFoundError,
    ServerError,
    ValidationError,
)
from flo.wire.status import Ran, Reason

EXIT_OK = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_FAILED = 3


def with_client(settings: Settings, work: Callable[[FloClient], Awaitable[int]]) -> NoReturn:
    """Connects, does the work, and ends the program with its exit code, or with its error's."""
    raise SystemExit(asyncio.run(_with_client(settings, work)))


async def _with_client(settings: Settings, work: Callable[[FloClient], Awaitable[int]]) -> int:
    try:
        client = FloClient(
            settings.host, namespace=settings.namespace, timeout_ms=settings.timeout_ms
        )
        async with client:
            return await work(client)
    except FloError as error:
        print_error(error, settings.output_format)
        return exit_code(error)


def exit_code(error: FloError) -> int:
    """1 when the answer is no, 2 when the request was wrong, 3 when there was no good answer."""
    if isinstance(error, NotFoundError | ConflictError):
        return EXIT_NO
    if isinstance(error, ValidationError | InvalidEndpointError):
        return EXIT_USAGE
    return EXIT_FAILED


def error_code(error: FloError) -> str:
    """A stable name: the server's reason, else the error's own name."""
    if isinstance(error, ServerError):
        return error.reason.name
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def print_error(error: FloError, output_format: Format) -> None:
    """One line to stderr."""
    if output_format == "json":
        fields = {
            "code": error_code(error),
            "message": str(error),
            "outcome": error.outcome,
            "retryable": error.retryable,
        }
        click.echo(json.dumps({"error": fields}), err=True)
        return
    unknown = " (outcome unknown: it may have been executed)" * (error.outcome == "unknown")
    click.echo(f"flo: {error}{unknown}", err=True)


def print_missing(key: str, output_format: Format) -> None:
    """What stands on stderr in the place of a value that is not there."""
    print_error(
        NotFoundError(f"no such key: {key}", reason=Reason.NOT_FOUND, ran=Ran.NO), output_format
    )


def print_json(document: Mapping[str, object]) -> None:
    """One JSON object to stdout, on one line."""
    click.echo(json.dumps(document))


def print_raw(value: bytes) -> None:
    """A value as it is, with nothing before or after it."""
    sys.stdout.buffer.write(value)


def print_value(value: bytes) -> None:
    """A value as it is; on a terminal the prompt then starts on a line of its own."""
    print_raw(value)
    if sys.stdout.isatty() and not value.endswith(b"\n"):
        print_raw(b"\n")


def print_name(name: str, end: str = "\n") -> None:
    """A key as it is, also when it is not UTF-8."""
    print_raw(name.encode("utf-8", "surrogateescape") + end.encode())


def value_fields(value: bytes) -> dict[str, object]:
    """How a value stands in JSON."""
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode()}


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
