"""The two steps of a commit at a leader: its operations are collected, then proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.sizes import bytes_of
from cluster.state.commands import BELOW_FLOOR, SESSION_UNKNOWN
from cluster.state.txn_commands import TXN_COMMIT
from cluster.transactions import PROPOSE
from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from cluster.partition_reads import CallWaiter, Waiter
    from cluster.queries import Result
    from cluster.raft.types import NodeId
    from cluster.state.commands import Command
    from cluster.transactions import Transactions

    Submit: TypeAlias = Callable[[Command, int, Waiter], None]

_NOT_RUN = (
    Reason.SHARD_BUSY,
    Reason.WRITES_STOPPED,
    Reason.TOO_MANY_PROPOSALS,
    Reason.INTERNAL,
    SESSION_UNKNOWN,
    BELOW_FLOOR,
)
"""Answers of a commit that leave the transaction as it was."""


class Collecting:
    """Waits for the operations of a transaction, and proposes them. Implements `CallWaiter`."""

    __slots__ = ("_submit", "_transactions", "_triple", "_txn_id", "_waiter")

    def __init__(
        self,
        transactions: Transactions,
        txn_id: int,
        triple: tuple[int, int, int],
        submit: Submit,
        waiter: CallWaiter,
    ) -> None:
        self._transactions = transactions
        self._txn_id = txn_id
        self._triple = triple
        self._submit = submit
        self._waiter = waiter

    @property
    def finished(self) -> bool:
        return self._waiter.finished

    def on_result(self, result: Result) -> None:
        if result[0] != PROPOSE:
            self._waiter.on_result(result)
            return
        operations = result[1]
        command: Command = (TXN_COMMIT, *self._triple, self._txn_id, operations)  # type: ignore[assignment]
        waiter = _Committing(self._transactions, self._txn_id, self._waiter)
        self._submit(command, bytes_of(command), waiter)

    def on_not_leader(self, leader: NodeId) -> None:
        self._waiter.on_not_leader(leader)

    def on_unknown(self) -> None:
        self._waiter.on_unknown()


class _Committing:
    """Waits for the outcome. Implements `Waiter`."""

    __slots__ = ("_transactions", "_txn_id", "_waiter")

    def __init__(self, transactions: Transactions, txn_id: int, waiter: Waiter) -> None:
        self._transactions = transactions
        self._txn_id = txn_id
        self._waiter = waiter

    def on_result(self, result: Result) -> None:
        if result[0] not in _NOT_RUN:
            self._transactions.forget(self._txn_id)
            self._waiter.on_result(result)
        elif self._transactions.reopen(self._txn_id):
            # This copy was not run, but another one may be: it is asked for again.
            self._waiter.on_unknown()
        else:
            self._waiter.on_result(result)

    def on_not_leader(self, leader: NodeId) -> None:
        # It hands over, and may yet stay.
        self._transactions.reopen(self._txn_id)
        self._waiter.on_not_leader(leader)

    def on_unknown(self) -> None:
        self._waiter.on_unknown()
