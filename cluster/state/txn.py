"""Transactions, as the log sees them: a commit makes all its changes at once, or none.

What a transaction does before that is its leader's business alone (`cluster.transactions`). The
outcome of a commit is remembered for a while, so that a client whose answer was lost can ask again,
also another leader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.state.overlay import Overlay
from cluster.state.txn_outcomes import Outcome, read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.state.commands import Result
    from cluster.state.context import Context
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
        overlay = Overlay(context.txn)
        dead_keys = context.graves.count
        with context.as_one(overlay):
            for code, *arguments in operations:
                result = handlers[code](context, (code, 0, 0, 0, *arguments))
                if result[0] != 0:
                    # What it wrote is dropped; the revision is lost, which nobody can see.
                    context.graves.count = dead_keys
                    return result
        overlay.write_to(context.txn)
        outcome = Outcome(context.stamp_ms, context.revision, len(operations))
        context.outcomes.keep(context.txn, txn_id, outcome)
        return 0, outcome.revision, outcome.operations

    return commit
