"""Arguments and options that several commands have, and the numbers they take."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from flo.stream_types import StreamID
from flo.wire.limits import TTL_MS_MAX, WAIT_MS_MAX

_C = TypeVar("_C", bound=Callable[..., object])

_U32_MAX = (1 << 32) - 1
_U64_MAX = (1 << 64) - 1

SEQUENCE = click.IntRange(0, _U64_MAX)
"""A number that the server gave."""
WAIT_MS = click.IntRange(0, WAIT_MS_MAX)


def number_option(
    name: str,
    metavar: str,
    text: str,
    *,
    least: int = 1,
    most: int = _U64_MAX,
    default: int | None = None,
) -> Callable[[_C], _C]:
    """An option for a number. Its help is silent about the upper end, which nobody comes near."""

    def check(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
        if value is not None and value > most:
            raise click.BadParameter(f"{value} is more than {most}")
        return value

    kind = click.IntRange(least)
    return click.option(
        name, metavar=metavar, type=kind, default=default, callback=check, help=text
    )


def duration_option(
    name: str, text: str, *, least: int = 1, default: int | None = None
) -> Callable[[_C], _C]:
    """An option for a time of up to 49 days in milliseconds."""
    return number_option(name, "MS", text, least=least, most=_U32_MAX, default=default)


file_option = click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read it from this file.",
)
txn_option = number_option("--txn", "ID", "As a part of this transaction; see flo kv begin.")
cas_option = number_option("--cas", "V", "Only if the key has version V.", least=0)
block_option = click.option(
    "--block", metavar="MS", type=WAIT_MS, default=0, help="Wait so long for a first one."
)
prefix_argument = click.argument("prefix", default="")
limit_option = click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="How many to print at most.",
)


class Start(NamedTuple):
    """Where to begin in a stream: at an id, at what comes next (`tail`), or at its first record."""

    place: StreamID | None = None
    tail: bool = False


def milliseconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A time as the program has it, from the seconds that were given."""
    if value is None:
        return None
    try:
        given_s = float(value)
    except ValueError:
        given_s = 0
    # Not-a-number is in no range, so it is asked this way round.
    if not 0 < given_s <= TTL_MS_MAX / 1000:
        raise click.BadParameter(f"{value!r} is no time to live: give seconds, more than 0")
    return max(1, round(given_s * 1000))


def start(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Start:
    """What `--start ID|$` says."""
    if value == "$":
        return Start(tail=True)
    return Start(None if value is None else _stream_id(value))


def first_id(_ctx: click.Context, _param: click.Parameter, value: str | None) -> StreamID | None:
    """An id; of a time alone the first one."""
    return None if value is None else _stream_id(value)


def last_id(_ctx: click.Context, _param: click.Parameter, value: str | None) -> StreamID | None:
    """An id that is included; of a time alone the last one."""
    if value is None:
        return None
    place = _stream_id(value)
    return place if "-" in value else StreamID(place.timestamp_ms, _U64_MAX)


def stream_ids(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> list[StreamID]:
    """Ids of records."""
    return [_stream_id(value) for value in values]


def headers(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """Headers, each of them written name=value."""
    found: dict[str, str] = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.BadParameter(f"{each!r} is no header: write NAME=VALUE")
        found[name] = value
    return found or None


def _stream_id(text: str) -> StreamID:
    try:
        place = StreamID.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not (0 <= place.timestamp_ms <= _U64_MAX and 0 <= place.sequence <= _U64_MAX):
        raise click.BadParameter(f"{text!r} is no stream id: write it as 1700000000000-0")
    return place
