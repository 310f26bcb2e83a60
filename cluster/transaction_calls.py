"""What a node does with requests in transactions: each goes to the leader that holds it."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias, cast

from cluster.operation import Placed, refusal_of, to_answer
from cluster.transactions import (
    TXN_BEGIN,
    TXN_COMMIT_ASKED,
    TXN_DO,
    TXN_READ,
    TXN_ROLLBACK,
    partition_of_id,
)
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted, TxnRollback
from flo.wire.routing import partition_of
from flo.wire.status import Ran, Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.calls import Outcome
    from cluster.dispatch import Dispatcher
    from cluster.operation import Answer, Operation
    from cluster.queries import Result
    from flo.wire.connection import Request

    DoneCallback: TypeAlias = Callable[[Answer], None]


class TransactionCalls:
    """Begins, ends and uses transactions; any node and connection may."""

    def __init__(self, dispatcher: Dispatcher, partition_count: int) -> None:
        self._dispatcher = dispatcher
        self._partition_count = partition_count

    def begin(self, request: Request, done: DoneCallback) -> None:
        body = cast("TxnBegin", request.body)
        routed = body.namespace + b"\x00" + body.routing_key
        pinned = int.from_bytes(blake2b(routed, digest_size=8).digest(), "little")
        partition = partition_of(body.namespace, body.routing_key, self._partition_count)

        def begun(result: Result) -> wire.Result:
            return TxnBegun(cast("int", result[1]), cast("int", result[2]))

        args = (body.namespace, pinned)
        self._call(request, partition, TXN_BEGIN, args, _answering(begun, done))

    def commit(self, request: Request, done: DoneCallback) -> None:
        body = cast("TxnCommit", request.body)

        def committed(result: Result) -> wire.Result:
            return TxnCommitted(cast("int", result[1]), cast("int", result[2]))

        self._end(request, TXN_COMMIT_ASKED, body, _answering(committed, done))

    def rollback(self, request: Request, done: DoneCallback) -> None:
        body = cast("TxnRollback", request.body)
        self._end(request, TXN_ROLLBACK, body, _answering(lambda _: wire.Done(), done))

    def operate(self, request: Request, operation: Operation, txn: int, done: DoneCallback) -> None:
        """An operation inside a transaction."""
        body = cast("Placed", request.body)
        name = operation.name(body)
        partition = partition_of(body.namespace, name, self._partition_count)
        if partition != partition_of_id(txn):
            done(self._astray(txn, name, partition))
            return
        answer = operation.in_transaction
        if answer is None:
            text = f"{request.op.name} cannot be part of a transaction"
            done(Refusal(Reason.CONFLICTING_FIELDS, Ran.NO, text))
            return
        in_transaction = operation._replace(answer=answer)

        def finished(outcome: Outcome) -> None:
            done(outcome if isinstance(outcome, Refusal) else to_answer(in_transaction, outcome))

        if operation.is_write:
            command = (operation.code, *operation.arguments(body))
            self._call(request, partition, TXN_DO, (body.namespace, txn, command), finished)
        else:
            args = (body.namespace, txn, operation.code, name)
            self._call(request, partition, TXN_READ, args, finished)

    def _end(
        self,
        request: Request,
        code: int,
        body: TxnCommit | TxnRollback,
        finished: Callable[[Outcome], None],
    ) -> None:
        partition = partition_of_id(body.txn)
        if partition >= self._partition_count:
            finished(_unknown(body.txn))
        else:
            self._call(request, partition, code, (body.namespace, body.txn), finished)

    def _call(
        self,
        request: Request,
        partition: int,
        code: int,
        args: tuple[object, ...],
        finished: Callable[[Outcome], None],
    ) -> None:
        self._dispatcher.write(partition, code, args, request.context, finished)

    def _astray(self, txn: int, name: bytes, partition: int) -> Refusal:
        pinned = partition_of_id(txn)
        if pinned >= self._partition_count:
            return _unknown(txn)
        text = (
            f"the key {name[:64].decode(errors='replace')!r} is in partition {partition}, the"
            f" transaction in partition {pinned}: give the keys of one transaction the same"
            " {tag} in braces, and begin it with such a key"
        )
        return Refusal(Reason.WRONG_ROUTING_KEY, Ran.NO, text)


def _answering(
    answer: Callable[[Result], wire.Result], done: DoneCallback
) -> Callable[[Outcome], None]:
    def finished(outcome: Outcome) -> None:
        if isinstance(outcome, Refusal):
            done(outcome)
        else:
            done(refusal_of(outcome) if outcome[0] != 0 else answer(outcome))

    return finished


def _unknown(txn: int) -> Refusal:
    return Refusal(Reason.NO_SUCH_TRANSACTION, Ran.NO, f"transaction {txn} is not open")
