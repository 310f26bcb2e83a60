"""Transactions: keys that belong together have the same first two segments in their names."""

import copy
from collections.abc import Awaitable

from flo import (
    Condition,
    FloError,
    NotFoundError,
    PutOptions,
    ServerError,
    Transaction,
    TxnFinishedError,
    TxnUnsupportedOpError,
)

from .common import Cluster, Seen, failure, text_of

HOME = "user:1"
ENDED = (TxnFinishedError, TxnUnsupportedOpError)


async def a_commit_applies_everything_at_once(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        await other.kv.put("user:1:old", b"v")
        await other.kv.put("user:1:kept", b"v")
        txn = await client.kv.begin(HOME)
        put = await txn.put("user:1:name", b"Ada")
        await txn.incr("user:1:visits", 5)
        await txn.incr(b"user:1:visits")
        await txn.delete("user:1:old")
        await txn.delete("user:1:missing")
        await txn.expire("user:1:kept", 60_000)
        own = await txn.get("user:1:name")
        before = [await text_of(other, "user:1:name"), await text_of(other, "user:1:old")]
        inside = [await txn.exists("user:1:old"), await txn.get("user:1:old")]
        done = await txn.commit()
        entries = await other.kv.mget(["user:1:name", "user:1:visits", "user:1:kept"])
        assert own is not None
        return {
            "version before": [put.version, own.version],
            "own": own.value.decode(),
            "before": before,
            "inside": inside,
            "ops": done.op_count,
            "versions": [entry.version == done.commit_index for entry in entries],
            "values": [entries[0].value.decode(), int.from_bytes(entries[1].value, "little")],
            "deleted": await text_of(other, "user:1:old"),
            "ids": txn.id > 0 and txn.pinned_hash > 0,
        }


async def a_rollback_leaves_nothing(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        await txn.put("user:1:name", b"Ada")
        await txn.rollback()
        await txn.rollback()
        return [await text_of(client, "user:1:name"), await _ended(txn)]


async def an_empty_transaction_commits(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        done = await txn.commit()
        await txn.rollback()
        return [done.op_count, await _ended(txn)]


async def a_block_that_commits(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        async with await client.kv.begin(HOME) as txn:
            await txn.put("user:1:name", b"Ada")
            await txn.commit()
        return await text_of(client, "user:1:name")


async def a_block_that_fails_rolls_back(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        raised = False
        txn = await client.kv.begin(HOME)
        try:
            async with txn:
                await txn.put("user:1:name", b"Ada")
                raise LookupError
        except LookupError:
            raised = True
        return [raised, await text_of(client, "user:1:name"), await _ended(txn)]


async def a_block_that_says_nothing_rolls_back(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        async with await client.kv.begin(HOME) as txn:
            await txn.put("user:1:name", b"Ada")
        return [await text_of(client, "user:1:name"), await _ended(txn)]


async def conditions_are_tested_when_sent(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("user:1:name", b"Ada")
        txn = await client.kv.begin(HOME)
        absent = PutOptions(condition=Condition.IF_ABSENT)
        wrong = [
            await failure(txn.put("user:1:name", b"x", absent)),
            await failure(txn.put("user:1:name", b"x", PutOptions(cas_version=1 << 60))),
            await failure(txn.incr("user:1:name")),
            await failure(txn.expire("user:1:missing", 1)),
            await failure(txn.put("_sys:k", b"x")),
        ]
        return {"wrong": wrong, "ops": (await txn.commit()).op_count}


async def conditions_are_tested_again_at_the_commit(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        stored = await client.kv.put("user:1:name", b"Ada")
        txn = await client.kv.begin(HOME)
        await txn.put("user:1:other", b"x")
        await txn.put("user:1:name", b"Alan", PutOptions(cas_version=stored.version))
        await other.kv.put("user:1:name", b"Grace")
        return {
            "commit": await failure(txn.commit()),
            "values": [await text_of(client, f"user:1:{key}") for key in ("name", "other")],
            "then": await _ended(txn),
        }


async def an_ended_transaction_is_unknown(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        again = copy.copy(txn)
        await txn.put("user:1:name", b"Ada")
        await txn.rollback()
        return [
            await _reason(again.put("user:1:name", b"x")),
            await _reason(again.get("user:1:name")),
            await _reason(again.exists("user:1:name")),
            await _reason(again.commit()),
            await text_of(client, "user:1:name"),
        ]


async def a_commit_said_twice_is_done_once(cluster: Cluster) -> Seen:
    """As a program whose answer was lost does it."""
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        again = copy.copy(txn)
        await txn.incr("user:1:visits")
        first, second = await txn.commit(), await again.commit()
        found = await client.kv.incr("user:1:visits")
        return [first == second, found.value]


async def operations_that_no_transaction_has(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        calls = (txn.scan, txn.mget, txn.json_get, txn.json_set, txn.json_del, txn.history)
        seen = [await _refused(call("user:1:name")) for call in calls]
        return [seen, (await txn.commit()).op_count]


async def keys_of_another_place(cluster: Cluster) -> Seen:
    """With eight partitions, some of forty keys are not where the routing key is."""
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        seen = [await _reason(txn.put(f"user:{n}:name", b"v")) for n in range(2, 42)]
        await txn.put("user:1:name", b"v")
        await txn.commit()
        refused = [answer for answer in seen if answer != "no error"]
        return [refused[0], 0 < len(refused) < len(seen), await text_of(client, "user:1:name")]


async def a_transaction_that_is_too_large(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        txn = await client.kv.begin(HOME)
        for _ in range(256):
            await txn.incr("user:1:visits")
        over = await _reason(txn.incr("user:1:visits"))
        done = await txn.commit()
        return [over, done.op_count, (await client.kv.incr("user:1:visits")).value]


async def a_transaction_needs_a_routing_key(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        return await failure(client.kv.begin(""))


async def _reason(call: Awaitable[object]) -> Seen:
    """Of a refusal, its reason, and whether it is a NotFoundError."""
    try:
        await call
    except ServerError as error:
        return [error.reason.name, error.ran.name, isinstance(error, NotFoundError)]
    return "no error"


async def _ended(txn: Transaction) -> Seen:
    return [await _refused(call) for call in (txn.put("user:1:name", b"x"), txn.commit())]


async def _refused(call: Awaitable[object]) -> Seen:
    try:
        await call
    except (FloError, *ENDED) as error:
        return type(error).__name__
    return "no error"
