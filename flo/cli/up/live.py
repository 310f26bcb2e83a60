"""A live table on a terminal. The only module that needs `rich`."""

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flo.cli.overview import listed
from flo.cli.up.picture import NodeRow, Picture

_COLOURS = {"up": "green", "starting": "yellow", "ready": "yellow", "ended": "red", "silent": "red"}


class LiveScreen:
    """The table stays at the bottom, lines go above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        # Drawn when something changed and at no other time.
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> "LiveScreen":
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        # Long lines are commands to be copied: they are not cut, the terminal breaks them.
        self._console.print(line, soft_wrap=True)

    def show(self, picture: Picture) -> None:
        self._live.update(render(picture), refresh=True)


def render(picture: Picture) -> RenderableType:
    """The table of the nodes, and a line below it."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("NODE", "ADDRESS", "STATE"):
        table.add_column(name, no_wrap=True)
    for name in ("LEADS", "LAG", "WRITES/S", "READS/S", "PID", "MEMORY"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in picture.rows:
        table.add_row(*_cells(row))
    return Group(Text(), table, Text(), _foot(picture))


def _cells(row: NodeRow) -> tuple[RenderableType, ...]:
    memory = None if row.memory_bytes is None else row.memory_bytes / (1 << 20)
    return (
        str(row.node_id),
        row.address,
        Text(row.state, style=_COLOURS.get(row.state, "yellow")),
        "-" if row.replicas is None else f"{row.leads}/{row.replicas}",
        _number(row.lag),
        _number(row.writes_per_s),
        _number(row.reads_per_s),
        "-" if row.pid is None else str(row.pid),
        "-" if memory is None else f"{memory:,.0f} MB",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _foot(picture: Picture) -> Text:
    if picture.progress:
        return Text(picture.progress, style="yellow")
    if picture.leaderless:
        return Text(f"no leader: {listed('partition', picture.leaderless)}", style="red")
    writes = sum(row.writes_per_s or 0 for row in picture.rows)
    reads = sum(row.reads_per_s or 0 for row in picture.rows)
    return Text(
        f"{picture.partitions} partitions, each has a leader. {writes:,.0f} writes/s,"
        f" {reads:,.0f} reads/s. Ctrl-C stops.",
        style="dim",
    )
