"""Protections of queues and transactions, switched off; see `ablations`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pytest

from cluster.calls import Call
from cluster.partition import Partition
from cluster.partition_reads import CallWaiter
from cluster.state.commands import Result
from cluster.state.context import Context
from cluster.state.sessions import Sessions
from cluster.state.store import WriteTransaction
from cluster.state.timers import Timers
from cluster.state.txn_outcomes import Outcome, Outcomes
from tests.simulation.devices import NodeClock, SimClock

TimerHandlers: TypeAlias = Mapping[int, Callable[[Context, bytes], None]]
Triple: TypeAlias = tuple[int, int, int]


def leases_end_by_the_local_clock(patch: pytest.MonkeyPatch) -> None:
    """When a replica applies an entry, not when its leader made it."""
    clocks: list[SimClock] = []

    def init(self: SimClock) -> None:
        build(self)
        clocks.append(self)

    def run(self: Timers, context: Context, handlers: TimerHandlers) -> None:
        stamp_ms = context.stamp_ms
        context.stamp_ms = NodeClock(clocks[-1]).wall_ms()
        run_due(self, context, handlers)
        context.stamp_ms = stamp_ms

    build, run_due = SimClock.__init__, Timers.run
    patch.setattr(SimClock, "__init__", init)
    patch.setattr(Timers, "run", run)


def repeated_dequeues_run_again(patch: pytest.MonkeyPatch) -> None:
    """What was taken is not kept with the session."""
    remember = Sessions.keep

    def keep(self: Sessions, session_id: int, sequence: int, result: Result) -> None:
        if result[1:2] != (b"leased",):
            remember(self, session_id, sequence, result)

    patch.setattr(Sessions, "keep", keep)


def outcomes_of_transactions_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Who asks again for a commit that was made hears that there is no such transaction."""

    def keep(self: Outcomes, txn: WriteTransaction, txn_id: int, outcome: Outcome) -> None:
        pass

    patch.setattr(Outcomes, "keep", keep)


def calls_of_transactions_are_never_in_progress(patch: pytest.MonkeyPatch) -> None:
    """A commit in the log of this node, whose deadline has passed, is told as not run."""
    transact = Partition.transact

    def forget(
        self: Partition, code: int, triple: Triple, args: Sequence[object], waiter: CallWaiter
    ) -> None:
        if isinstance(waiter, Call):
            waiter.in_progress = False
        transact(self, code, triple, args, waiter)

    patch.setattr(Partition, "transact", forget)
