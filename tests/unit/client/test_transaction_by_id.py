"""`client.kv.resume`: a transaction that somebody else has begun."""

import pytest

from flo import NoSuchTransactionError, TxnFinishedError, ValidationError
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnCommit, TxnCommitted, TxnRollback
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.client.scripted import scripted

TXN = 2 << 48 | 7 << 24 | 1
"""An id as nodes give it, of partition 2."""


async def test_it_is_used_where_its_id_says() -> None:
    async with scripted() as there:
        there.answers |= {wire.KvPut: wire.Stored(None), TxnCommit: TxnCommitted(40, 1)}
        txn = there.client.with_namespace("orders").kv.resume(TXN)
        assert (txn.id, txn.pinned_hash) == (TXN, 0)
        await txn.put("{a}1", b"one")
        assert there.last() == wire.KvPut(b"orders", b"{a}1", b"one", txn=TXN)
        assert (await txn.commit()).op_count == 1
        assert there.last() == TxnCommit(b"orders", None, TXN)
        with pytest.raises(TxnFinishedError, match="begin another one"):
            await txn.put("{a}1", b"one")


async def test_a_rollback_of_one_that_is_not_open_is_refused() -> None:
    """It may be committed: only who has begun it, and not committed it, may take it for gone."""
    async with scripted() as there:
        there.answers[TxnRollback] = Refusal(Reason.NO_SUCH_TRANSACTION, Ran.NO, "not open")
        with pytest.raises(NoSuchTransactionError, match="not open"):
            await there.client.kv.resume(TXN).rollback()
        async with there.client.kv.resume(TXN):
            pass


async def test_a_number_that_is_no_id() -> None:
    async with scripted() as there:
        with pytest.raises(NoSuchTransactionError, match="there is no transaction") as refused:
            there.client.kv.resume(1 << 63)
        assert (refused.value.code, refused.value.outcome) == (
            "NO_SUCH_TRANSACTION",
            "not_applied",
        )
        for number in (0, -1, 1 << 64):
            with pytest.raises(ValidationError):
                there.client.kv.resume(number)
