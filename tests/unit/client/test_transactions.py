"""Transactions as they travel, and what ends them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from flo import (
    Condition,
    ConflictError,
    CrossShardError,
    DeleteOptions,
    FloClient,
    GetResult,
    KVCommitResult,
    KVExpireOptions,
    NoSuchTransactionError,
    PutOptions,
    PutResult,
    RetryPolicy,
    Transaction,
    TxnFinishedError,
    UnexpectedEofError,
    ValidationError,
    sync,
)
from flo.wire import messages as wire
from flo.wire.kv_messages import TxnBegin, TxnBegun, TxnCommit, TxnCommitted, TxnRollback
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.client.fake_node import Lose
from tests.unit.client.scripted import Scripted, scripted

SPACE = b"default"
UNKNOWN = Refusal(Reason.NO_SUCH_TRANSACTION, Ran.NO, "no such transaction")


@pytest.fixture
async def there() -> AsyncIterator[Scripted]:
    async with scripted() as there:
        there.answers |= {
            TxnBegin: TxnBegun(7, 1234),
            TxnCommit: TxnCommitted(40, 2),
            TxnRollback: wire.Done(),
            wire.KvPut: wire.Stored(None),
            wire.KvDelete: wire.Deleted(None),
            wire.KvIncr: wire.Counter(None, None),
            wire.KvExpire: wire.Done(),
        }
        yield there


async def begin(there: Scripted) -> Transaction:
    return await there.client.kv.begin("{a}")


async def test_what_is_said_of_it(there: Scripted) -> None:
    txn = await begin(there)
    assert there.last() == TxnBegin(SPACE, b"{a}")
    assert not there.last_is_exactly_once
    assert (txn.id, txn.pinned_hash) == (7, 1234)


async def test_operations_carry_its_number(there: Scripted) -> None:
    txn = await begin(there)
    assert await txn.put("{a}1", bytearray(b"x")) == PutResult(0)
    assert there.last() == wire.KvPut(SPACE, b"{a}1", b"x", txn=7)
    assert there.last_is_exactly_once, "it counts once, though it is sent twice"
    options = PutOptions(ttl_ms=9, condition=Condition.IF_ABSENT, cas_version=3)
    await txn.put("{a}1", b"x", options)
    assert there.last() == wire.KvPut(SPACE, b"{a}1", b"x", 9, if_absent=True, cas=3, txn=7)
    await txn.delete("{a}1", DeleteOptions(cas_version=3))
    assert there.last() == wire.KvDelete(SPACE, b"{a}1", 3, txn=7)
    await txn.incr("{a}n", -2)
    assert there.last() == wire.KvIncr(SPACE, b"{a}n", -2, txn=7)
    await txn.expire("{a}1", 50, KVExpireOptions(cas_version=3))
    assert there.last() == wire.KvExpire(SPACE, b"{a}1", 50, 3, txn=7)
    there.answers[wire.KvGet] = wire.Value(0, b"x")
    assert await txn.get("{a}1") == GetResult(b"x", 0)
    assert there.last() == wire.KvGet(SPACE, b"{a}1", txn=7)
    there.answers[wire.KvExists] = wire.Exists(True, 0)
    assert await txn.exists("{a}1")
    assert there.last() == wire.KvExists(SPACE, b"{a}1", txn=7)


async def test_a_missing_key_is_told_from_a_missing_transaction(there: Scripted) -> None:
    txn = await begin(there)
    there.answers[wire.KvGet] = Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")
    assert await txn.get("{a}1") is None
    there.answers[wire.KvGet] = UNKNOWN
    with pytest.raises(NoSuchTransactionError):
        await txn.get("{a}1")


async def test_commit_ends_it(there: Scripted) -> None:
    txn = await begin(there)
    assert await txn.commit() == KVCommitResult(commit_index=40, op_count=2)
    assert there.last() == TxnCommit(SPACE, None, 7)
    await txn.rollback()
    assert there.last() == TxnCommit(SPACE, None, 7), "there is nothing left to roll back"
    for use in (txn.commit(), txn.put("{a}1", b""), txn.get("{a}1"), txn.scan("")):
        with pytest.raises(TxnFinishedError):
            await use


async def test_rollback_may_be_repeated_and_forgotten(there: Scripted) -> None:
    txn = await begin(there)
    there.answers[TxnRollback] = UNKNOWN
    await txn.rollback()
    await txn.rollback()
    assert there.bodies(TxnRollback) == [TxnRollback(SPACE, None, 7)]


async def test_the_block_commits(there: Scripted) -> None:
    block = there.client.kv.transaction("{a}")
    assert not there.bodies(TxnBegin), "it begins with the block"
    async with block as txn:
        assert there.last() == TxnBegin(SPACE, b"{a}")
        await txn.put("{a}1", b"x")
    assert there.last() == TxnCommit(SPACE, None, 7)
    with pytest.raises(TxnFinishedError):
        await txn.put("{a}1", b"x")


async def test_a_block_that_ended_it_does_nothing_more(there: Scripted) -> None:
    async with there.client.kv.transaction("{a}") as txn:
        await txn.rollback()
    assert not there.bodies(TxnCommit)
    async with there.client.kv.transaction("{a}") as txn:
        await txn.commit()
    assert len(there.bodies(TxnCommit)) == 1
    assert len(there.bodies(TxnRollback)) == 1


async def test_a_block_is_entered_once(there: Scripted) -> None:
    block = there.client.kv.transaction("{a}")
    async with block:
        with pytest.raises(ValidationError, match="entered before"):
            await block.__aenter__()
    with pytest.raises(ValidationError, match="entered before"):
        async with block:
            pytest.fail("the second time")
    assert len(there.bodies(TxnBegin)) == len(there.bodies(TxnCommit)) == 1


async def test_what_the_commit_raises_comes_out_of_the_block(there: Scripted) -> None:
    there.answers[TxnCommit] = Refusal(Reason.CAS_MISMATCH, Ran.NO, "the version is 9")
    kept: list[Transaction] = []
    with pytest.raises(ConflictError):
        async with there.client.kv.transaction("{a}") as txn:
            kept.append(txn)
    await kept[0].rollback()
    assert not there.bodies(TxnRollback), "it has ended"


async def test_what_begin_raises_comes_out_of_the_block(there: Scripted) -> None:
    with pytest.raises(ValidationError, match="routing key is empty"):
        async with there.client.kv.transaction(""):
            pytest.fail("it has begun")


async def test_a_block_of_begin_rolls_back_unless_commit_is_called(there: Scripted) -> None:
    async with await begin(there) as txn:
        await txn.put("{a}1", b"x")
    assert there.last() == TxnRollback(SPACE, None, 7)
    assert not there.bodies(TxnCommit)
    async with await begin(there) as txn:
        await txn.commit()
    async with there.client.kv.resume(9) as txn:
        await txn.put("{a}1", b"x")
    assert there.bodies(TxnCommit) == [TxnCommit(SPACE, None, 7)]
    assert there.bodies(TxnRollback)[1:] == [TxnRollback(SPACE, None, 9)]


Block: TypeAlias = AbstractAsyncContextManager[Transaction]
Begin: TypeAlias = Callable[[FloClient], Awaitable[Block]]


async def of_begin(client: FloClient) -> Block:
    return await client.kv.begin("{a}")


async def of_transaction(client: FloClient) -> Block:
    return client.kv.transaction("{a}")


both_blocks = pytest.mark.parametrize("block", [of_begin, of_transaction])


@both_blocks
async def test_an_exception_in_the_block_rolls_back(there: Scripted, block: Begin) -> None:
    there.answers[TxnRollback] = UNKNOWN
    with pytest.raises(ZeroDivisionError):
        async with await block(there.client):
            raise ZeroDivisionError
    assert there.last() == TxnRollback(SPACE, None, 7)
    assert not there.bodies(TxnCommit)


@both_blocks
async def test_a_cancelled_block_rolls_back(there: Scripted, block: Begin) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        async with await block(there.client):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert there.last() == TxnRollback(SPACE, None, 7)


async def test_a_refused_write_leaves_it_open(there: Scripted) -> None:
    there.answers[wire.KvPut] = Refusal(Reason.WRONG_ROUTING_KEY, Ran.NO, "elsewhere")
    async with there.client.kv.transaction("{a}") as txn:
        with pytest.raises(CrossShardError):
            await txn.put("other", b"")
    assert there.last() == TxnCommit(SPACE, None, 7)


async def test_a_conflict_at_the_commit_ends_it(there: Scripted) -> None:
    there.answers[TxnCommit] = Refusal(Reason.CAS_MISMATCH, Ran.NO, "the version is 9")
    txn = await begin(there)
    with pytest.raises(ConflictError):
        await txn.commit()
    with pytest.raises(TxnFinishedError):
        await txn.commit()


@both_blocks
async def test_a_commit_without_an_answer_may_be_repeated(there: Scripted, block: Begin) -> None:
    """Also after the block, which does not roll back then."""
    there.answers[TxnCommit] = Lose(executed=False)
    kept: list[Transaction] = []

    async def commit_in(block: Block) -> None:
        async with block as txn:
            kept.append(txn)
            await txn.commit()

    once = RetryPolicy(max_attempts=1)
    async with FloClient(there.node.address, timeout_ms=60_000, retry=once) as client:
        with pytest.raises(UnexpectedEofError) as caught:
            await commit_in(await block(client))
        assert caught.value.outcome == "unknown"
        there.answers[TxnCommit] = TxnCommitted(40, 2)
        assert (await kept[0].commit()).commit_index == 40
        assert not there.bodies(TxnRollback)


async def test_it_has_one_namespace(there: Scripted) -> None:
    txn = await there.client.with_namespace("shop").kv.begin("{a}")
    await txn.put("{a}1", b"", PutOptions(namespace="shop"))
    assert there.last() == wire.KvPut(b"shop", b"{a}1", b"", txn=7)
    with pytest.raises(ValidationError, match="one namespace, 'shop'"):
        await txn.put("{a}1", b"", PutOptions(namespace="other"))
    with pytest.raises(ValidationError, match="routing key is empty"):
        await there.client.kv.begin("")


async def test_its_blocking_twin(there: Scripted) -> None:
    def use(endpoint: str) -> None:
        with sync.FloClient(endpoint) as client:
            with client.kv.transaction("{a}") as txn:
                assert isinstance(txn, sync.Transaction)
                assert txn.id == 7
                txn.incr("{a}n")
            with pytest.raises(ZeroDivisionError), client.kv.transaction("{a}"):
                raise ZeroDivisionError
            with client.kv.begin("{a}") as txn:
                txn.incr("{a}n")
            with client.kv.begin("{a}") as txn:
                txn.commit()

    await asyncio.to_thread(use, there.node.address)
    assert there.bodies(TxnCommit) == [TxnCommit(SPACE, None, 7)] * 2
    assert there.bodies(TxnRollback) == [TxnRollback(SPACE, None, 7)] * 2
