"""Keys and their values, page by page."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import click

from flo.cli import output
from flo.client import FloClient
from flo.exceptions import ServerError
from flo.types import KVMGetOptions, MGetEntry, ScanOptions
from flo.wire.limits import MGET_KEYS_MAX, V1_SCAN_LIMIT_MAX
from flo.wire.status import Reason

_SILENCE_S = 1.0


class Wanted(NamedTuple):
    """What to list."""

    prefix: str
    limit: int
    keys_only: bool
    stale: bool = False


class Page(NamedTuple):
    """Some of the keys, with their values if these are wanted; `more` if others follow."""

    names: list[str]
    entries: list[MGetEntry]
    more: bool


async def print_as_lines(client: FloClient, wanted: Wanted) -> None:
    """Prints each page as it comes; nothing is held but one page."""
    # The lines show how far it is, if somebody sees them.
    progress = Progress(shown=output.is_terminal("stderr") and not output.is_terminal("stdout"))
    more = False
    async for page in pages(client, wanted):
        for name in page.names if wanted.keys_only else ():
            output.print_name(name)
        for entry in page.entries:
            print_entry(entry)
        output.flush()
        progress.add(len(page.names))
        more = page.more
    progress.clear()
    output.print_more(wanted.limit, "keys", more=more)


async def print_as_json(client: FloClient, wanted: Wanted) -> None:
    """Prints one object when everything is there."""
    progress = Progress(shown=output.is_terminal("stderr"))
    names: list[str] = []
    entries: list[dict[str, object]] = []
    more = False
    async for page in pages(client, wanted):
        names += page.names
        entries += map(entry_fields, page.entries)
        progress.add(len(page.names))
        more = page.more
    progress.clear()
    listed = {"keys": names} if wanted.keys_only else {"entries": entries}
    output.print_json({**listed, "more": more})


async def pages(client: FloClient, wanted: Wanted) -> AsyncIterator[Page]:
    """Pages until the limit or the last key."""
    left = wanted.limit
    cursor: bytes | None = None
    while True:
        options = ScanOptions(cursor=cursor, limit=min(left, V1_SCAN_LIMIT_MAX), stale=wanted.stale)
        found = await client.kv.scan(wanted.prefix, options)
        left -= len(found.names)
        cursor = found.cursor
        entries = [] if wanted.keys_only else await values(client, found.names, stale=wanted.stale)
        # A key may have gone between its name and its value.
        there = [entry for entry in entries if entry.found]
        yield Page(found.names, there, more=cursor is not None)
        if cursor is None or left <= 0:
            return


async def values(
    client: FloClient, names: Sequence[str], *, stale: bool = False
) -> list[MGetEntry]:
    """The entries of any number of keys, in their order."""
    options = KVMGetOptions(stale=stale)
    entries: list[MGetEntry] = []
    for start in range(0, len(names), MGET_KEYS_MAX):
        entries += await _values(client, names[start : start + MGET_KEYS_MAX], options)
    return entries


async def _values(
    client: FloClient, names: Sequence[str], options: KVMGetOptions
) -> list[MGetEntry]:
    try:
        return await client.kv.mget(names, options)
    except ServerError as error:
        # Long values: one answer cannot hold so many of them.
        if error.reason is not Reason.FIELD_TOO_LONG or len(names) == 1:
            raise
    half = len(names) // 2
    first = await _values(client, names[:half], options)
    return [*first, *await _values(client, names[half:], options)]


def entry_fields(entry: MGetEntry) -> dict[str, object]:
    """How an entry stands in JSON."""
    if not entry.found:
        return {"key": entry.key, "found": False}
    fields = output.value_fields(entry.value)
    return {"key": entry.key, "found": True, **fields, "version": entry.version}


def print_entry(entry: MGetEntry) -> None:
    """`key<TAB>value`; a missing key has no tab."""
    if not entry.found:
        output.print_name(entry.key)
        return
    output.print_name(entry.key, end="\t")
    output.print_raw(entry.value + b"\n")


class Progress:
    """How many keys there are by now, on stderr, once a listing has taken more than a second."""

    def __init__(self, *, shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._shown = shown
        self._clock = clock
        self._count = 0
        self._quiet_until_s = clock() + _SILENCE_S
        self._written = False

    def add(self, count: int) -> None:
        """So many more were listed."""
        self._count += count
        if self._shown and self._clock() >= self._quiet_until_s:
            click.echo(f"\r{self._count:,} keys ...", err=True, nl=False)
            self._written = True

    def clear(self) -> None:
        """Takes the line away again."""
        if self._written:
            click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
