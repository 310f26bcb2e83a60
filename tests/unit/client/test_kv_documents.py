"""History, parts of documents and waiting gets, as they travel and come back."""

from collections.abc import AsyncIterator

import pytest

from flo import (
    BadRequestError,
    FloClient,
    GetJsonResult,
    GetOptions,
    HistoryOptions,
    KVJsonOptions,
    NotFoundError,
    ProtocolError,
    PutResult,
    RequestTimeoutError,
    ValidationError,
    ValueTooLargeError,
    VersionEntry,
    WaitFor,
)
from flo._kv_forms import VALUE_BYTES_MAX
from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.kv_messages import (
    History,
    HistoryEntry,
    KvHistory,
    KvJsonDelete,
    KvJsonGet,
    KvJsonSet,
)
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.client.fake_node import Answer, FakeCluster, FakeNode, Hold

MISSING = Refusal(Reason.NOT_FOUND, Ran.NO, "no such key")


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster() as cluster:
        yield cluster


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[FloClient]:
    async with FloClient(cluster.endpoints) as client:
        yield client


def answering(cluster: FakeCluster, answer: Answer) -> FakeNode:
    """The node, which gives this answer to whatever is about a key."""
    node = cluster.nodes[0]

    def script(request: Request) -> Answer | None:
        return answer if hasattr(request.body, "key") else None

    node.script = script
    return node


async def test_history(client: FloClient, cluster: FakeCluster) -> None:
    node = answering(cluster, History((HistoryEntry(4, 1700, b"new"), HistoryEntry(2, 1600, b""))))
    assert await client.kv.history("k") == [
        VersionEntry(4, 1700, b"new"),
        VersionEntry(2, 1600, b""),
    ]
    assert node.requests[-1].body == KvHistory(b"default", b"k", 10)
    await client.kv.history(b"k", HistoryOptions("other", 65, "routing"))
    assert node.requests[-1].body == KvHistory(b"other", b"k", 65)
    answering(cluster, MISSING)
    assert await client.kv.history("k") == []
    for limit in (0, 66):
        with pytest.raises(ValidationError, match="1 to 65"):
            await client.kv.history("k", HistoryOptions(limit=limit))


async def test_json_get(client: FloClient, cluster: FakeCluster) -> None:
    node = answering(cluster, wire.Value(7, b' {"a": [1, null]} '))
    assert await client.kv.json_get("k") == GetJsonResult({"a": [1, None]}, 7)
    assert node.requests[-1].body == KvJsonGet(b"default", b"k", b"$")
    found = await client.kv.json_get("k")
    assert found is not None
    assert found.text == b' {"a": [1, null]} '
    await client.kv.json_get("k", "$.größe", KVJsonOptions("other"))
    assert node.requests[-1].body == KvJsonGet(b"other", b"k", "$.größe".encode())
    answering(cluster, MISSING)
    assert await client.kv.json_get("k", ".a") is None
    answering(cluster, Refusal(Reason.WRONG_TYPE, Ran.NO, "no document"))
    with pytest.raises(BadRequestError, match="no document"):
        await client.kv.json_get("k")


async def test_a_number_that_python_does_not_read(client: FloClient, cluster: FakeCluster) -> None:
    answering(cluster, wire.Value(1, b"9" * 10_000))
    with pytest.raises(ProtocolError, match="cannot be read"):
        await client.kv.json_get("k")


@pytest.mark.parametrize("given", ['{"ä":1}', '{"ä":1}'.encode(), bytearray('{"ä":1}'.encode())])
async def test_json_set(
    client: FloClient, cluster: FakeCluster, given: str | bytes | bytearray
) -> None:
    node = answering(cluster, wire.Stored(9))
    assert await client.kv.json_set("k", "$.a", given) == PutResult(9)
    assert node.requests[-1].body == KvJsonSet(b"default", b"k", b"$.a", '{"ä":1}'.encode())
    context = node.requests[-1].context
    assert context is not None
    assert context.sequence, "a write in a session"


async def test_json_del(client: FloClient, cluster: FakeCluster) -> None:
    node = answering(cluster, wire.Stored(9))
    assert await client.kv.json_del("k", ".a") == PutResult(9)
    assert node.requests[-1].body == KvJsonDelete(b"default", b"k", b".a")
    answering(cluster, wire.Stored(None))
    assert await client.kv.json_del("k") is None
    answering(cluster, MISSING)
    with pytest.raises(NotFoundError):
        await client.kv.json_del("k")


async def test_what_no_server_takes_is_not_sent(client: FloClient, cluster: FakeCluster) -> None:
    before = len(cluster.nodes[0].requests)
    with pytest.raises(ValidationError, match="path of 1025 bytes"):
        await client.kv.json_get("k", "." + "a" * 1024)
    with pytest.raises(ValidationError, match="path: no valid text"):
        await client.kv.json_del("k", ".\ud800")
    with pytest.raises(ValidationError, match="json_value: no valid text"):
        await client.kv.json_set("k", "$", '"\ud800"')
    with pytest.raises(ValueTooLargeError):
        await client.kv.json_set("k", "$", bytes(VALUE_BYTES_MAX + 1))
    assert len(cluster.nodes[0].requests) == before


async def test_a_wait_comes_on_top_of_the_time_out(client: FloClient, cluster: FakeCluster) -> None:
    """The node may wait as long as it was asked to, and then has its usual time to answer."""
    node = answering(cluster, MISSING)
    options = GetOptions(wait_ms=60_000, wait_for=WaitFor.CHANGE)
    assert await client.kv.get("k", options, timeout_ms=500) is None
    context = node.requests[-1].context
    assert context is not None
    assert context.deadline_ms is not None
    assert node.requests[-1].body == wire.KvGet(b"default", b"k", 60_000, wait_for_change=True)
    assert context.deadline_ms > 60_000


async def test_a_wait_that_is_never_answered_ends(client: FloClient, cluster: FakeCluster) -> None:
    cluster.nodes[0].script = lambda request: (
        Hold() if isinstance(request.body, wire.KvGet) else None
    )
    with pytest.raises(RequestTimeoutError):
        await client.kv.get("k", GetOptions(wait_ms=1), timeout_ms=1)
