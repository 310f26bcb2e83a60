"""`python -m bench counters`: what 1,000 operations cost in things that can be counted.

Times depend on the machine and its mood; counts in a simulated cluster do not, so a change that
makes a call dearer shows at once. `counters.json` has what was agreed on, and a test compares.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import click

from bench.counters_cluster import COUNTERS, REPLICAS, CountedCluster
from bench.counters_workloads import NAMESPACE, WORKLOADS, Workload
from flo.wire.routing import partition_of
from flo.wire.status import Refusal

if TYPE_CHECKING:
    from bench.counters_workloads import Dialogue
    from cluster.operation import Answer
    from flo.wire.messages import Body

Counts: TypeAlias = Mapping[str, int]
"""By the names in `COUNTERS`, for 1,000 operations."""

BOUNDS = Path(__file__).with_name("counters.json")
WRITE_COMMAND = "python -m bench counters --write"
OUTSTANDING = {1: 200, 64: 1_000}
"""Operations under way at a time, and how many are measured: one after the other they are alike."""
_WARM_UP = 60
_BEGIN_AT_ONCE = 8
"""So that not all operations go in step."""
_ABOVE, _BELOW = 1.05, 0.8
"""How far a count may be from its bound. Far below, the bound would let too much pass."""


class _Client:
    """One operation after the other, until there are no more."""

    def __init__(
        self, cluster: CountedCluster, dialogues: "Iterator[tuple[int, Dialogue]]"
    ) -> None:
        self._cluster = cluster
        self._dialogues = dialogues
        self.ended = False
        self.refusal: Refusal | None = None
        self._next()

    def _next(self) -> None:
        following = next(self._dialogues, None)
        if following is None:
            self.ended = True
        else:
            self._partition, self._dialogue = following
            self._ask(next(self._dialogue))

    def _ask(self, body: "Body") -> None:
        self._cluster.ask(self._partition, body, self._answered)

    def _answered(self, answer: "Answer") -> None:
        if isinstance(answer, Refusal):
            self.refusal = answer
            return
        try:
            body = self._dialogue.send(answer)
        except StopIteration:
            self._next()
        else:
            self._ask(body)


def measure(workload: Workload, outstanding: int) -> dict[str, int]:
    """The counts of 1,000 operations, in a cluster of its own; the same each time."""
    cluster = CountedCluster()
    names = _names()
    measured = OUTSTANDING[outstanding]
    if workload.fill is not None:
        share = (measured + _WARM_UP) // len(names) + 1
        fills = [workload.fill(name, share) for name in names]
        _run(cluster, enumerate(fills), len(names))
    operations = (
        (number % len(names), workload.begin(names[number % len(names)], number))
        for number in itertools.count()
    )
    _run(cluster, itertools.islice(operations, _WARM_UP), outstanding)
    cluster.store()
    before = cluster.counts()
    _run(cluster, itertools.islice(operations, measured), outstanding)
    cluster.store()
    after = cluster.counts()
    return {each: 1000 * (after[each] - before[each]) // measured for each in COUNTERS}


def _run(
    cluster: CountedCluster, dialogues: "Iterator[tuple[int, Dialogue]]", outstanding: int
) -> None:
    clients: list[_Client] = []
    while not (len(clients) == outstanding and all(client.ended for client in clients)):
        begin = min(_BEGIN_AT_ONCE, outstanding - len(clients))
        clients += [_Client(cluster, dialogues) for _ in range(begin)]
        cluster.round()
        for client in clients:
            if client.refusal is not None:
                raise RuntimeError(f"a simulated node refused: {client.refusal}")
    cluster.settle()


def _names() -> list[bytes]:
    """One that lives in each partition."""
    found: dict[int, bytes] = {}
    for number in itertools.count():
        name = b"{bench-%d}" % number
        found.setdefault(partition_of(NAMESPACE, name, len(REPLICAS)), name)
        if len(found) == len(REPLICAS):
            break
    return [found[partition] for partition in sorted(found)]


# --- bounds ---


def row_name(workload: str, outstanding: int) -> str:
    """What a row is called in the file."""
    return f"{workload} {outstanding}"


def read_bounds(path: Path = BOUNDS) -> dict[str, Counts]:
    """What was written, by row; nothing when there is no such file."""
    if not path.exists():
        return {}
    return cast("dict[str, Counts]", json.loads(path.read_text()))


def write_bounds(rows: Mapping[str, Counts], path: Path = BOUNDS) -> None:
    """One row a line, so that a change shows what became dearer."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def out_of_bounds(name: str, found: Counts, bounds: Counts) -> list[str]:
    """What is wrong with a row, a sentence each."""
    wrong: list[str] = []
    for counter in COUNTERS:
        count, bound = found[counter], bounds.get(counter)
        if bound is None:
            wrong.append(f"{name} outstanding: {counter} {count:,} has no bound: {WRITE_COMMAND}")
        elif count > bound * _ABOVE:
            wrong.append(
                f"{name} outstanding: {counter} {count:,} for 1,000 operations, the bound is"
                f" {bound:,}. If this cost is meant: {WRITE_COMMAND}"
            )
        elif count < bound * _BELOW:
            wrong.append(
                f"{name} outstanding: {counter} {count:,} for 1,000 operations, so the bound of"
                f" {bound:,} lets too much pass. Lower it: {WRITE_COMMAND}"
            )
    return wrong


# --- the command ---


@click.command
@click.option("--operations", default=",".join(WORKLOADS), show_default=True, help="only these")
@click.option("--write", is_flag=True, help="take the counts as new bounds")
@click.option(
    "--bounds",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=BOUNDS,
    help="the file of the bounds, instead of bench/counters.json",
)
def counters(*, operations: str, write: bool, path: Path) -> None:
    """Count what 1,000 operations cost three simulated nodes.

    Round trips, as one client sees them; Raft entries; syncs and bytes of the logs, frames and
    messages between nodes, and calls of LMDB, of all nodes together. Exit code 1: a count is out of
    its bounds.
    """
    workloads = [_workload(name) for name in operations.split(",")]
    bounds = read_bounds(path)
    click.echo(_title())
    wrong: list[str] = []
    for workload, outstanding in itertools.product(workloads, OUTSTANDING):
        name, counts = row_name(workload.name, outstanding), measure(workload, outstanding)
        click.echo(_line(name, counts))
        if write:
            bounds[name] = counts
        else:
            wrong += out_of_bounds(name, counts, bounds.get(name, {}))
    if write:
        write_bounds(bounds, path)
    for each in wrong:
        click.echo(f"bench: {each}", err=True)
    if wrong:
        raise SystemExit(1)


def _workload(name: str) -> Workload:
    if name not in WORKLOADS:
        raise click.BadParameter(
            f"{name!r} is none of {', '.join(WORKLOADS)}", param_hint="--operations"
        )
    return WORKLOADS[name]


def _width(counter: str) -> int:
    return max(8, len(counter) + 1)


def _title() -> str:
    return "operation, outstanding".ljust(22) + "".join(
        f"{each:>{_width(each)}}" for each in COUNTERS
    )


def _line(name: str, counts: Counts) -> str:
    return f"{name:<22}" + "".join(f"{counts[each]:>{_width(each)}}" for each in COUNTERS)
