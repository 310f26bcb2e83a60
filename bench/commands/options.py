"""Options that several commands have, and the cluster that they describe."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource

from bench.dialogues import RanDryError
from bench.measured_cluster import MeasuredCluster
from bench.plot import CannotDrawError, check_can_draw
from bench.report import PageError, check_marks
from bench.results import header, save
from bench.window import Window

_C = TypeVar("_C", bound=Callable[..., object])
_Check = Callable[[click.Context, click.Parameter, str], tuple[int, ...]]

OUTSTANDING_MAX = 4_096
VALUE_BYTES_MAX = 64 << 10


def numbers(least: int, most: int) -> _Check:
    """Numbers with commas between them."""

    def check(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[int, ...]:
        try:
            found = tuple(int(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r}: give numbers with commas between them") from None
        for each in found:
            if not least <= each <= most:
                raise click.BadParameter(f"{each}: give {least} to {most}")
        return found

    return check


def chosen(
    names: Sequence[str],
) -> Callable[[click.Context, click.Parameter, str], tuple[str, ...]]:
    """Some of these names with commas between them, or "all"."""

    def check(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
        if value == "all":
            return tuple(names)
        found = tuple(dict.fromkeys(value.split(",")))
        for each in found:
            if each not in names:
                raise click.BadParameter(f"{each!r}: give some of {', '.join(names)}; or all")
        return found

    return check


def _writable(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Before the run, which is long."""
    if value is not None and not value.parent.is_dir():
        raise click.BadParameter(f"there is no directory {value.parent}: make it first")
    return value


def _drawable(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        if value.suffix not in (".svg", ".png"):
            raise click.BadParameter(f"{value}: give a name that ends in .svg or .png")
        try:
            check_can_draw()
        except CannotDrawError as error:
            raise click.ClickException(str(error)) from error
    return _writable(ctx, param, value)


def _settings(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if not value.startswith("FLO_") or "=" not in value:
            raise click.BadParameter(f"{value!r}: write it as FLO_LIMITS_LOG_BYTES_MAX=10MiB")
    return values


_FILE = click.Path(dir_okay=False, path_type=Path)


def picture_option(name: str, text: str, *, required: bool = False) -> Callable[[_C], _C]:
    """A file for a picture; it is refused at once when nothing can be drawn."""
    return click.option(
        name, type=_FILE, metavar="FILE", callback=_drawable, required=required, help=text
    )


json_option = click.option(
    "--json",
    type=_FILE,
    metavar="FILE",
    callback=_writable,
    help="Write header and rows to this file too.",
)
page_option = click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the tables into this page, between its marks.",
)
repetitions_option = click.option(
    "--repetitions",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="Of each row; the median is reported.",
)


value_bytes_option = click.option(
    "--value-bytes",
    type=click.IntRange(1, VALUE_BYTES_MAX),
    default=128,
    metavar="N",
    help="Of a value or payload, up to 65536.",
)


def cluster_options(command: _C) -> _C:
    """What `cluster_of` takes, and --json."""
    command = place_options(command)
    command = click.option(
        "--partitions", type=click.IntRange(1, 256), default=8, metavar="N", help="1 to 256."
    )(command)
    return click.option(
        "--nodes", type=click.IntRange(1, 9), default=3, metavar="N", help="Usually 1, 3 or 5."
    )(command)


def place_options(command: _C) -> _C:
    """Those of `cluster_options` but the size of the cluster."""
    options = (
        click.option(
            "--dir",
            "directory",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="Where the nodes keep their data meanwhile, on the disk that is to be measured;"
            " without it the system's directory for temporary files.",
        ),
        click.option(
            "--setting",
            multiple=True,
            callback=_settings,
            metavar="FLO_...=VALUE",
            help="For the nodes, as in their environment; may be repeated.",
        ),
        json_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def window_options(command: _C) -> _C:
    """What `window_of` takes, and --repetitions."""
    options = (
        click.option(
            "--seconds",
            type=click.FloatRange(0, min_open=True),
            default=Window.seconds,
            metavar="S",
            help="Of a measured window.",
        ),
        click.option(
            "--count",
            type=click.IntRange(1),
            metavar="N",
            help="Measure until so many operations were answered, instead of --seconds.",
        ),
        click.option(
            "--warmup",
            type=click.FloatRange(0),
            default=1.0,
            metavar="S",
            help="Seconds of load before it.",
        ),
        repetitions_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def window_of(seconds: float, count: int | None, warmup: float) -> Window:
    """UsageError when both --seconds and --count are given to the command that runs."""
    source = click.get_current_context().get_parameter_source("seconds")
    if count is not None and source is not ParameterSource.DEFAULT:
        raise click.UsageError("--seconds and --count exclude each other")
    return Window(seconds, warmup, count)


@contextmanager
def told_in_a_sentence() -> Generator[None]:
    """What ends a measurement is said without a traceback."""
    try:
        yield
    except RanDryError:
        raise click.ClickException(
            "all that was there was taken: give more --keys (or longer --lengths), fewer --seconds,"
            " or less --outstanding"
        ) from None
    except (ConnectionError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def cluster_of(
    nodes: int, partitions: int, directory: Path | None, setting: tuple[str, ...]
) -> Generator[MeasuredCluster]:
    """A cluster that runs meanwhile."""
    with (
        told_in_a_sentence(),
        MeasuredCluster(nodes, partitions, directory, settings=setting) as cluster,
    ):
        yield cluster


def keep(path: Path | None, rows: Sequence[object]) -> None:
    """Writes what --json asks for: the rows, and the options of the command that runs."""
    if path is not None:
        ctx = click.get_current_context()
        save(path, header(ctx.info_name or "", ctx.params), rows)


def check_page(page: Path | None, name: str) -> None:
    """Before a long run: whether its tables can be written there."""
    if page is not None:
        try:
            check_marks(page, name)
        except PageError as error:
            raise click.ClickException(str(error)) from error
