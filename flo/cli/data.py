"""What a command is given to store: as an argument, from stdin, or from a file."""

from pathlib import Path

import click

from flo._kv_forms import VALUE_BYTES_MAX

STDIN = "-"


def value_of(value: str | None, file: Path | None, name: str = "VALUE") -> bytes:
    """One value: the argument `name`, or the file. Raises UsageError."""
    if (value is None) == (file is None):
        raise click.UsageError(f"give either {name} or --file: {name} - reads stdin")
    if file is not None:
        return _read(file)
    return _argument(value or "")


def values_of(values: tuple[str, ...], file: Path | None) -> list[bytes]:
    """One value or more: the arguments DATA, or the file. Raises UsageError."""
    if bool(values) == (file is not None):
        raise click.UsageError("give either DATA or --file: DATA - reads stdin")
    if values.count(STDIN) > 1:
        raise click.UsageError("stdin can be read once: give one - only")
    return [_argument(value) for value in values] if file is None else [_read(file)]


def _argument(value: str) -> bytes:
    return _read(None) if value == STDIN else value.encode("utf-8", "surrogateescape")


def _read(file: Path | None) -> bytes:
    try:
        with file.open("rb") if file else click.open_file(STDIN, "rb") as stream:
            data = stream.read(VALUE_BYTES_MAX + 1)
    except (OSError, RuntimeError) as error:
        # A stdin that was closed is a RuntimeError.
        reason = error.strerror if isinstance(error, OSError) else "it is closed"
        raise click.UsageError(f"cannot read {file or 'stdin'}: {reason}") from error
    if len(data) > VALUE_BYTES_MAX:
        raise click.UsageError(f"the value is longer than {VALUE_BYTES_MAX} bytes")
    return data
