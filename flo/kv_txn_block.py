"""The block that commits a transaction at its end."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

from flo.exceptions import TxnFinishedError, ValidationError
from flo.kv_txn import Transaction


class TransactionBlock:
    """A transaction that lasts as long as a block, from `client.kv.transaction`.

    The block may end it before, with `commit` or `rollback`. An error of the commit comes out of
    the block; when its `outcome` is "unknown", `await txn.commit()` may be called after the block.

    Example:
        async with client.kv.transaction("{order:7}") as txn:
            await txn.put("{order:7}state", b"paid")
            await txn.incr("{order:7}payments")
    """

    def __init__(self, begin: Callable[[], Awaitable[Transaction]]) -> None:
        self._begin = begin
        self._entered = False
        self._txn: Transaction | None = None

    async def __aenter__(self) -> Transaction:
        if self._entered:
            raise ValidationError(
                "this block was entered before: call client.kv.transaction for each transaction"
            )
        self._entered = True
        self._txn = await self._begin()
        return self._txn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._txn is not None, "a block that is left was entered"
        if error is not None:
            await self._txn.__aexit__(kind, error, traceback)
            return
        # The block may have ended it.
        with suppress(TxnFinishedError):
            await self._txn.commit()
