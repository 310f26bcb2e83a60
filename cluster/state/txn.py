"""Transactions, as the log sees them: a commit makes all its changes at once, or none.

What a transaction does before that is its leader's business alone (`cluster.transactions`). The
outcome of a commit is remembered for a while, so that a client whose answer was lost can ask again,
also another leader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state import history, keyspace
from cluster.state.overlay import Overlay
from cluster.state.txn_outcomes import Outcome, read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.state.commands import Result
    from cluster.state.context import Context
    from cluster.state.store import ReadTransaction
    from cluster.state.txn_commands import TxnCommitCommand


def make_commit(
    handlers: Mapping[int, Callable[..., Result]],
) -> Callable[[Context, TxnCommitCommand], Result]:
    """The handler of a commit, whose operations are run by `handlers`."""

    def commit(context: Context, command: TxnCommitCommand) -> Result:
        """Makes all changes under one revision, or answers as the first that failed."""
        txn_id, operations = command[4:]
        known = read_outcome(context.txn, txn_id)
        if known is not None:
            return 0, known.revision, known.operations
        below, overlay = context.txn, Overlay(context.txn)
        with context.as_one(overlay):
            for code, *arguments in operations:
                result = handlers[code](context, (code, 0, 0, 0, *arguments))
                if result[0] != 0:
                    # What it wrote is dropped; the revision is lost, which nobody can see.
                    return result
            _keep_history(context, below)
        overlay.write_to(below)
        outcome = Outcome(context.stamp_ms, context.revision, len(operations))
        context.outcomes.keep(context.txn, txn_id, outcome)
        return 0, outcome.revision, outcome.operations

    return commit


def _keep_history(context: Context, below: ReadTransaction) -> None:
    """Earlier versions are those that somebody could see: not what the commit itself overwrites.

    `below` is the state before it.
    """
    for full in context.changed:
        before, after = keyspace.get(below, full), keyspace.get(context.txn, full)
        if after is None:
            if before is not None:
                history.bury(context, full, before)
            continue
        if before is not None:
            history.keep(context.txn, full, before)
            writes = before.writes + 1
        else:
            writes = history.revive(context, full) + 1 if context.graves.count else 1
        if after.writes != writes:
            keyspace.put(context.txn, full, after._replace(writes=writes))
