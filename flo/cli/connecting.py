"""From the global options to a connected client, and from what fails to one line and a code."""

import asyncio
import errno
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import click

from flo._endpoints import parse_endpoints
from flo._observe import CallRetried, ClientEvent, Connected
from flo.cli import output
from flo.cli.output import EXIT_FAILED, EXIT_INTERRUPTED
from flo.cli.settings import Settings
from flo.client import FloClient
from flo.exceptions import ConnectionFailedError, FloError

FIRST_ANSWER_MS = 3000
"""A node says within this what partitions it has: whatever stays silent longer is none."""
FIRST_TRIES_MAX = 6
"""As many answers that are none, within half a second or so, and it is none either."""
_LOOPBACK = ("localhost", "127.", "::1")


def with_client(settings: Settings, work: Callable[[FloClient], Awaitable[int]]) -> NoReturn:
    """Connects, does the work, and ends the program with its exit code, or with its error's."""
    try:
        code = asyncio.run(_with_client(settings, work))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except OSError as error:
        if error.errno == errno.EPIPE:
            # Whoever read the output has read enough.
            raise
        click.echo(f"flo: cannot write the result: {error.strerror}", err=True)
        code = EXIT_FAILED
    raise SystemExit(code)


async def _with_client(settings: Settings, work: Callable[[FloClient], Awaitable[int]]) -> int:
    contact = _FirstContact(settings)
    try:
        client = FloClient(
            settings.host,
            namespace=settings.namespace,
            timeout_ms=settings.timeout_ms,
            observer=contact.observe,
        )
        try:
            await contact.make(client)
            return await work(client)
        finally:
            await client.close()
    except FloError as error:
        output.print_error(error, settings.output_format, hint=contact.hint(error))
        return output.exit_code(error)


class _FirstContact:
    """Connects; with one address it does not try for long what is no node."""

    def __init__(self, settings: Settings) -> None:
        self._host = settings.host
        self._timeout_ms = settings.timeout_ms
        self._scope: asyncio.Timeout | None = None
        self._somebody_listens = False
        self._tries = 0
        self._cause = ""

    def observe(self, event: ClientEvent) -> None:
        """Notes what the client tells while it connects."""
        if isinstance(event, Connected):
            self._somebody_listens = True
        elif isinstance(event, CallRetried) and self._scope is not None:
            self._cause = event.cause
            self._tries += 1
            if self._tries == FIRST_TRIES_MAX:
                self._scope.reschedule(asyncio.get_running_loop().time())

    async def make(self, client: FloClient) -> None:
        """Connects. Raises FloError."""
        if len(parse_endpoints(self._host)) > 1:
            await client.connect()
            return
        limit_ms = min(FIRST_ANSWER_MS, self._timeout_ms)
        try:
            async with asyncio.timeout(limit_ms / 1000) as self._scope:
                await client.connect()
        except TimeoutError as error:
            why = self._cause or f"no answer within {limit_ms / 1000:g} s"
            raise ConnectionFailedError(
                f"{self._host} does not answer as a Flo node: {why}. Check that it is the client"
                " address of a node"
            ) from error
        finally:
            self._scope = None

    def hint(self, error: FloError) -> str:
        """What to do where nothing listens; empty for other errors."""
        if self._somebody_listens or not isinstance(error, ConnectionFailedError):
            return ""
        here = all(each.host.startswith(_LOOPBACK) for each in parse_endpoints(self._host))
        return "Start one with `flo up`, or name another with --host" if here else ""
