"""The key-value operations against a healthy node."""

from collections.abc import AsyncIterator

import pytest
import uvloop

from flo import (
    BadRequestError,
    BlockTooLongError,
    Condition,
    ConflictError,
    DeleteOptions,
    FloClient,
    GetOptions,
    GetResult,
    IncrResult,
    KeyTooLargeError,
    KVExistsOptions,
    KVExpireOptions,
    KVIncrOptions,
    KVMGetOptions,
    MGetEntry,
    NamespaceTooLargeError,
    NotFoundError,
    PutOptions,
    PutResult,
    Reason,
    ScanOptions,
    ValidationError,
    ValueTooLargeError,
    WaitFor,
)
from flo._kv_forms import VALUE_BYTES_MAX
from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.status import Ran, Refusal
from tests.unit.client.fake_node import FakeCluster


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster() as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[FloClient]:
    async with FloClient(cluster.endpoints) as client:
        yield client


def _last(cluster: FakeCluster) -> wire.Body:
    return cluster.nodes[0].requests[-1].body


async def test_put_get_delete(client: FloClient) -> None:
    stored = await client.kv.put("key", b"value")
    assert stored == PutResult(version=1)
    assert await client.kv.get("key") == GetResult(b"value", 1)
    assert await client.kv.get(b"key") == GetResult(b"value", 1)
    assert await client.kv.delete("key")
    assert not await client.kv.delete("key")
    assert await client.kv.get("key") is None


async def test_options_of_a_put_travel(client: FloClient, cluster: FakeCluster) -> None:
    options = PutOptions("other", 1500, Condition.IF_ABSENT, 0, "routing")
    await client.kv.put("key", bytearray(b"value"), options)
    assert _last(cluster) == wire.KvPut(
        b"other", b"key", b"value", ttl_ms=1500, if_absent=True, cas=0
    )
    await client.kv.put("key", b"value", PutOptions(ttl_ms=0, condition=Condition.IF_PRESENT))
    assert _last(cluster) == wire.KvPut(b"default", b"key", b"value", if_present=True)


async def test_a_conflict_says_why(client: FloClient) -> None:
    stored = await client.kv.put("key", b"1")
    with pytest.raises(ConflictError) as caught:
        await client.kv.put("key", b"2", PutOptions(cas_version=stored.version + 1))
    assert caught.value.reason is Reason.CAS_MISMATCH
    assert caught.value.outcome == "not_applied"
    assert not caught.value.retryable


async def test_options_of_the_other_operations_travel(
    client: FloClient, cluster: FakeCluster
) -> None:
    await client.kv.get("key", GetOptions("other", 250, WaitFor.CHANGE))
    assert _last(cluster) == wire.KvGet(b"other", b"key", 250, wait_for_change=True)
    await client.kv.delete("key", DeleteOptions("other", 4))
    assert _last(cluster) == wire.KvDelete(b"other", b"key", 4)
    await client.kv.incr("count", KVIncrOptions("other", -5))
    assert _last(cluster) == wire.KvIncr(b"other", b"count", -5)
    await client.kv.expire("count", 70, KVExpireOptions("other", 4))
    assert _last(cluster) == wire.KvExpire(b"other", b"count", 70, 4)
    await client.kv.exists("key", KVExistsOptions("other"))
    assert _last(cluster) == wire.KvExists(b"other", b"key")
    await client.kv.mget(["key"], KVMGetOptions("other"))
    assert _last(cluster) == wire.KvMget(b"other", (b"key",))
    await client.kv.scan("k", ScanOptions("other", b"cursor", 7))
    assert _last(cluster) == wire.KvScan(b"other", b"k", 7, b"cursor", keys_only=True)


async def test_counter_expiry_and_existence(client: FloClient, cluster: FakeCluster) -> None:
    assert await client.kv.incr("count") == IncrResult(value=1, version=1)
    assert (await client.kv.incr("count", KVIncrOptions(delta=41))).value == 42
    assert await client.kv.exists("count")
    assert not await client.kv.exists("nothing")
    await client.kv.touch("count", 500)
    assert cluster.store.ttls[b"count"] == 500
    await client.kv.persist("count")
    assert cluster.store.ttls[b"count"] == 0
    with pytest.raises(NotFoundError):
        await client.kv.touch("nothing", 500)


async def test_mget_keeps_order_and_misses(client: FloClient) -> None:
    await client.kv.put("a", b"1")
    assert await client.kv.mget(["b", "a", b"a"]) == [
        MGetEntry("b", b"", 0, found=False),
        MGetEntry("a", b"1", 1, found=True),
        MGetEntry("a", b"1", 1, found=True),
    ]
    assert await client.kv.mget([]) == []


async def test_scan_pages(client: FloClient) -> None:
    for name in ("user:1", "user:2", "user:3", "other"):
        await client.kv.put(name, b"")
    first = await client.kv.scan("user:", ScanOptions(limit=2))
    assert (first.names, first.has_more) == (["user:1", "user:2"], True)
    second = await client.kv.scan("user:", ScanOptions(limit=2, cursor=first.cursor))
    assert (second.names, second.cursor) == (["user:3"], None)


async def test_names_that_are_not_text_survive_a_scan(client: FloClient) -> None:
    await client.kv.put(b"\xff\x01", b"value")
    (name,) = (await client.kv.scan()).names
    assert await client.kv.get(name) == GetResult(b"value", 1)


async def test_a_missing_transaction_is_no_missing_key(
    client: FloClient, cluster: FakeCluster
) -> None:
    refusal = Refusal(Reason.NO_SUCH_TRANSACTION, Ran.NO, "gone")
    cluster.nodes[0].script = lambda request: (
        refusal if isinstance(request.body, wire.KvGet) else None
    )
    with pytest.raises(NotFoundError, match="gone"):
        await client.kv.get("key")


async def test_a_refusal_of_the_request_is_not_tried_again(
    client: FloClient, cluster: FakeCluster
) -> None:
    def refuse(_request: Request) -> Refusal:
        return Refusal(Reason.WRONG_TYPE, Ran.NO, "the value is no counter")

    cluster.nodes[0].script = refuse
    with pytest.raises(BadRequestError, match="no counter"):
        await client.kv.exists("key")
    assert len(cluster.nodes[0].of_type(wire.KvExists)) == 1


async def test_what_no_server_takes_is_refused_before_it_is_sent(
    client: FloClient, cluster: FakeCluster
) -> None:
    kv = client.kv
    refused = [
        (NamespaceTooLargeError, kv.get("key", GetOptions("n" * 64))),
        (ValidationError, kv.get("key", GetOptions("a\0b"))),
        (ValidationError, kv.get("")),
        (ValidationError, kv.get("a\0b")),
        (KeyTooLargeError, kv.get("k" * 4089)),
        (ValueTooLargeError, kv.put("key", bytes(VALUE_BYTES_MAX + 1))),
        (ValidationError, kv.put("key", "text")),  # type: ignore[arg-type]  # what is tested
        (ValidationError, kv.put("key", b"", PutOptions(ttl_ms=-1))),
        (BlockTooLongError, kv.get("key", GetOptions(wait_ms=300_001))),
        (ValidationError, kv.get("key", GetOptions(wait_ms=-1))),
        (ValidationError, kv.get("key", timeout_ms=0)),
        (ValidationError, kv.mget(["key"] * 257)),
        (ValidationError, kv.scan("", ScanOptions(limit=1025))),
        (ValidationError, kv.incr("key", KVIncrOptions(delta=1 << 63))),
        (ValidationError, kv.expire("key", -1)),
        (ValidationError, kv.touch("key", 0)),
        (ValidationError, kv.put("key", b"", PutOptions(cas_version=-1))),
    ]
    before = [each for each in cluster.nodes[0].requests if each.op.name.startswith("kv.")]
    for error, call in refused:
        with pytest.raises(error) as caught:
            await call
        assert caught.value.outcome == "not_applied"
    after = [each for each in cluster.nodes[0].requests if each.op.name.startswith("kv.")]
    assert after == before


def test_works_on_uvloop() -> None:
    async def program() -> GetResult | None:
        async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
            await client.kv.put("key", b"value")
            return await client.kv.get("key")

    assert uvloop.run(program()) == GetResult(b"value", 1)


@pytest.mark.parametrize("stale", [False, True])
async def test_reads_say_whether_any_replica_may_answer(
    cluster: FakeCluster, client: FloClient, stale: bool
) -> None:
    await client.kv.put("k", b"v")
    await client.kv.get("k", GetOptions(stale=stale))
    await client.kv.mget(["k"], KVMGetOptions(stale=stale))
    await client.kv.exists("k", KVExistsOptions(stale=stale))
    await client.kv.scan("", ScanOptions(stale=stale))
    reads = [
        request.context
        for request in cluster.nodes[0].requests
        if isinstance(request.body, wire.KvGet | wire.KvMget | wire.KvExists | wire.KvScan)
    ]
    assert [context and context.stale for context in reads] == [stale] * 4


async def test_a_stale_get_does_not_wait(client: FloClient) -> None:
    with pytest.raises(ValidationError, match="stale"):
        await client.kv.get("k", GetOptions(stale=True, wait_ms=1))


async def test_a_condition_that_is_none_is_refused(client: FloClient) -> None:
    wrong = PutOptions(condition="if_absent")  # type: ignore[arg-type]  # what programs may do
    with pytest.raises(ValidationError, match="condition of 'if_absent'"):
        await client.kv.put("key", b"value", wrong)
    assert await client.kv.get("key") is None
