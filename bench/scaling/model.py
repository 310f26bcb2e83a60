"""What an operation costs: cost = command + entry / batch + byte * bytes + turn / outstanding.

A command costs something by itself, so does a log entry, whatever is in it, and a byte that is
sent, written and kept. What is under way at a time shares turns of the nodes, with their messages
and syncs, whatever partition it is for.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Observation(NamedTuple):
    """One measured row."""

    batch: float
    """Commands in one log entry."""
    outstanding: int
    value_bytes: int
    cost_ms: float
    """CPU time of all nodes for one operation."""


class Costs(NamedTuple):
    """In milliseconds of CPU time of all nodes."""

    command: float
    entry: float
    byte: float
    turn: float = 0.0
    """0 where the rows do not tell turns from entries: with a single partition they are the same.
    """

    def of(self, batch: float, outstanding: float, value_bytes: float) -> float:
        """Of one operation."""
        return self.command + self.entry / batch + self.byte * value_bytes + self.turn / outstanding

    def error(self, seen: Observation) -> float:
        """By what share it foretells too much (above 0) or too little."""
        return self.of(seen.batch, seen.outstanding, seen.value_bytes) / seen.cost_ms - 1


class CannotFitError(ValueError):
    """The rows do not tell the costs apart; the message says what is missing."""


def fit(seen: Sequence[Observation]) -> Costs:
    """The costs whose relative errors have the least squares. Raises CannotFitError.

    Relative, so that cheap operations count as much as those with large values.
    """
    rows = [
        [value / each.cost_ms for value in _factors(each.batch, each.value_bytes, each.outstanding)]
        for each in seen
    ]
    found = _least_squares(rows) or _least_squares([row[:-1] for row in rows])
    if found is None:
        raise CannotFitError("it needs rows with different batches and different sizes of values")
    return Costs(*found)


def _factors(batch: float, value_bytes: float, outstanding: float) -> tuple[float, ...]:
    """What the costs are multiplied with, in their order."""
    return 1.0, 1 / batch, value_bytes, 1 / outstanding


_ALIKE = 1e-4
"""So little of a column is its own when the ones before it foretell it."""


def _least_squares(rows: list[list[float]]) -> list[float] | None:
    """What to multiply the columns with to get nearest to 1 in each row, by the normal equations.

    None when a column is nearly foretold by the ones before it.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    if not columns:
        return None
    # They differ by many orders of magnitude: each by its length, and back at the end.
    lengths = [sum(value**2 for value in column) ** 0.5 for column in columns]
    scaled = [
        [value / length for value in column]
        for column, length in zip(columns, lengths, strict=True)
    ]
    equations = [[*(_product(one, other) for other in scaled), sum(one)] for one in scaled]
    for at, own in enumerate(equations):
        if own[at] < _ALIKE:
            return None
        for number, row in enumerate(equations):
            if number != at:
                factor = row[at] / own[at]
                equations[number] = [
                    value - factor * each for value, each in zip(row, own, strict=True)
                ]
    return [
        row[-1] / row[at] / length
        for at, (row, length) in enumerate(zip(equations, lengths, strict=True))
    ]


def _product(one: list[float], other: list[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))
