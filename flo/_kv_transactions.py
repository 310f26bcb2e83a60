"""How transactions are begun and found: a part of `client.kv`."""

from collections.abc import Callable
from functools import partial
from typing import cast

from flo._caller import Caller
from flo._names import encode_key
from flo.exceptions import NoSuchTransactionError, ValidationError
from flo.kv_txn import Transaction
from flo.kv_txn_block import TransactionBlock
from flo.types import KVBeginResult
from flo.wire.kv_messages import TxnBegin, TxnBegun
from flo.wire.status import Ran, Reason


class TransactionOperations:
    """The operations that give transactions."""

    _caller: Callable[[], Caller]
    _default_namespace: bytes

    def transaction(
        self, routing_key: str | bytes, *, timeout_ms: float | None = None
    ) -> TransactionBlock:
        """A block that is a transaction on keys that live where `routing_key` does.

        It begins with the block, commits at its end, and rolls back after an exception. What
        `begin` and `commit` raise comes out of the block: after a ConflictError nothing was
        changed. `timeout_ms` is that of `begin`. One call makes one transaction.

        Example:
            async with client.kv.transaction("{order:7}") as txn:
                await txn.put("{order:7}:state", b"paid")
                await txn.incr("{order:7}:payments")
        """
        return TransactionBlock(partial(self.begin, routing_key, timeout_ms=timeout_ms))

    async def begin(
        self, routing_key: str | bytes, *, timeout_ms: float | None = None
    ) -> Transaction:
        """Begins a transaction that lasts until `commit` or `rollback`; see `flo.kv_txn`.

        As a context manager it rolls back at the end of its block, unless `commit` was called;
        `transaction` is the block that commits.

        Example:
            async with await client.kv.begin("{order:7}") as txn:
                await txn.put("{order:7}:state", b"paid")
                await txn.commit()
        """
        namespace = self._default_namespace
        encoded = encode_key(namespace, routing_key, "routing key")
        caller = self._caller()
        partition = caller.partition_of(namespace, encoded)
        # Begun twice, the first is never used, and forgotten.
        begun = await caller.call(
            TxnBegin(namespace, encoded), partition=partition, timeout_ms=timeout_ms
        )
        opened = KVBeginResult(*cast(TxnBegun, begun))
        return Transaction(self._caller, namespace, partition, opened)

    def resume(self, txn_id: int) -> Transaction:
        """An open transaction by its id: what another connection or program has begun.

        Nothing is sent: whether it is still open shows with its first operation. Its namespace is
        this client's. As a context manager it is as one from `begin`. Raises
        NoSuchTransactionError for a number that is no id in this cluster.

        Example:
            begun = await client.kv.begin("{order:7}")
            await client.kv.resume(begun.id).put("{order:7}:state", b"paid")
            print((await client.kv.resume(begun.id).commit()).op_count)  # 1
        """
        if not 0 < txn_id < 1 << 64:
            raise ValidationError(f"transaction {txn_id}: give an id that begin has given")
        caller = self._caller()
        # The upper 16 bits of an id are where the transaction lives.
        partition = txn_id >> 48
        if partition >= caller.partition_count:
            raise NoSuchTransactionError(
                f"there is no transaction {txn_id}", reason=Reason.NO_SUCH_TRANSACTION, ran=Ran.NO
            )
        opened = KVBeginResult(txn_id, 0)
        return Transaction(
            self._caller, self._default_namespace, partition, opened, is_resumed=True
        )
