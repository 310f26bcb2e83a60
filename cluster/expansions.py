"""Results that are kept short, and what becomes of them when the leader answers.

A result is kept with its session until the client says that it has it. Messages and records are
in the state anyway, so their ids are kept and their contents are looked up for the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from cluster.state.group_commands import GROUP_CLAIM, GROUP_READ
from cluster.state.group_reads import expand as expand_records
from cluster.state.queue_commands import DEQUEUE
from cluster.state.queue_reads import expand as expand_dequeue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.replica import Replica
    from cluster.state.commands import Result
    from cluster.state.store import ReadTransaction

Expansion: TypeAlias = "Callable[[ReadTransaction, Result], Result]"

EXPANSIONS: dict[object, Expansion] = {
    DEQUEUE: expand_dequeue,
    GROUP_READ: expand_records,
    GROUP_CLAIM: expand_records,
}
"""By the code of the command. A result that is no success is never expanded.

What is kept for a sequence may be the result of another command: an expansion leaves it as it is.
"""


def expand_all(
    replica: Replica, expansions: Sequence[Expansion | None] | None, results: list[Result]
) -> list[Result]:
    """The answers to the commands of an entry, from their results as they are kept."""
    if expansions is None:
        return results
    with replica.view() as (txn, _):
        return [
            expand(txn, result) if expand and result[0] == 0 else result
            for expand, result in zip(expansions, results, strict=True)
        ]
