"""`python -m bench compare` and `plot`: what was measured before."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from bench.commands.options import picture_option
from bench.compare import comparison, differences, rows_of
from bench.plot import draw
from bench.plot_rows import draw_rows
from bench.results import ResultsError, load
from bench.scaling.picture import draw_points

if TYPE_CHECKING:
    from bench.endurance import Second
    from bench.scaling.points import Point

_RESULTS = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("compare")
@click.argument("first", type=_RESULTS)
@click.argument("second", type=_RESULTS)
def compare(first: Path, second: Path) -> None:
    """Hold two files of --json against each other.

    Row by row: a ratio is SECOND by FIRST. Rows with a ratio beyond 15 % are marked, with what it
    is of.
    """
    try:
        files = [(path, load(path)) for path in (first, second)]
        rows = [rows_of(results, path) for path, results in files]
    except ResultsError as error:
        raise click.UsageError(str(error)) from error
    for name, (path, results) in zip(("first ", "second"), files, strict=True):
        header = results["header"]
        click.echo(f"{name}  {path}: commit {header['commit'] or 'unknown'}, {header['begun']}")
    for each in differences(*(results["header"] for _, results in files)):
        click.echo(f"They were measured differently: {each}")
    click.echo(comparison(*rows))


@click.command("plot")
@click.argument("files", nargs=-1, required=True, type=_RESULTS, metavar="FILE...")
@picture_option("--out", "Where to draw: a name that ends in .svg or .png.", required=True)
def plot(files: tuple[Path, ...], out: Path) -> None:
    """Draw what --json wrote.

    Files of `run` and `peers` together, or one of `endurance` or `scaling`.
    """
    try:
        loaded = [(path, load(path)) for path in files]
        if len(loaded) == 1 and loaded[0][1]["header"]["command"] == "endurance":
            draw(cast("list[Second]", loaded[0][1]["rows"]), out)
        elif len(loaded) == 1 and loaded[0][1]["header"]["command"] == "scaling":
            draw_points(cast("list[Point]", loaded[0][1]["rows"]), out)
        else:
            several = len(loaded) > 1
            draw_rows(
                [
                    (path.stem if several else "", rows_of(results, path))
                    for path, results in loaded
                ],
                out,
            )
    except ResultsError as error:
        raise click.UsageError(str(error)) from error
