"""What is wrong with a configuration, as the program prints it."""

from typing import IO

import click


class ConfigurationError(click.UsageError):
    """A setting that cannot be used; the message says where it stands and what to do."""

    def show(self, file: IO[str] | None = None) -> None:
        """One line: how the command is called is not what was wrong."""
        click.echo(f"flo: {self.format_message()}", file=file, err=True)
