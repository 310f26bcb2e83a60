"""What is wrong with a history, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.histories.operations import NEVER, Operation, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.histories.linearizable import Search

_ROWS_MAX = 40


class Violation(Exception):
    """No correct cluster gives such answers. The message explains, with the calls as a table."""


def table(operations: Iterable[Operation]) -> str:
    """One line for each call, in the order of their starts."""
    rows = [("start", "end", "client", "key", "call")]
    for each in sorted(operations, key=lambda one: one.start):
        end = "-" if each.end == NEVER else str(each.end)
        rows.append((str(each.start), end, str(each.client), each.key, str(each)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  " + "  ".join([*(row[n].rjust(widths[n]) for n in range(4)), row[4]]) for row in rows
    )


def explain(search: Search) -> str:
    """The call at which no order goes on, what it could have found, and what led there."""
    wrong = next(each for each in search.answered if each.end == search.furthest_end)
    states = sorted({str(each.state) for each in search.furthest})
    shown, left_out = _around(search, wrong)
    lines = [
        f"{wrong.key}: no order of the calls explains client {wrong.client}:"
        f" {wrong} (from {wrong.start} to {wrong.end})",
        "All calls that ended before it can be put in order. Then the key is: "
        + "; or ".join(states),
        f"The calls from the last moment at which none was under way{left_out}:",
        table(shown),
    ]
    unused = [
        each
        for index, each in enumerate(search.open)
        if each.start < wrong.end and not all(one.used >> index & 1 for one in search.furthest)
    ]
    if unused:
        lines += ["Calls without an answer that might have come in between:", table(unused)]
    return "\n".join(lines)


def _around(search: Search, wrong: Operation) -> tuple[list[Operation], str]:
    """The answered calls since the last quiet moment, and before it the one that wrote last."""
    before = [each for each in search.answered if each.start <= wrong.end]
    quiet = wrong.start
    for each in sorted(before, key=lambda one: -one.end):
        if each.end < quiet:
            break
        quiet = min(quiet, each.start)
    recent = [each for each in before if each.end >= quiet]
    earlier = [each for each in before if each.end < quiet and each.outcome is Outcome.OK]
    found = [*sorted(earlier, key=lambda one: one.end)[-3:], *recent]
    if len(found) <= _ROWS_MAX:
        return found, " and the three before"
    newest = sorted(found, key=lambda one: one.end)[-_ROWS_MAX:]
    return newest, f" (the last {_ROWS_MAX} of {len(found)})"
