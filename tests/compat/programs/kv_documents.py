"""Earlier versions, JSON documents, and gets that wait."""

import asyncio

from flo import (
    GetOptions,
    HistoryOptions,
    KVJsonOptions,
    PutOptions,
    WaitFor,
)

from .common import Cluster, Seen, failure, text_of

WAIT_MS = 20_000


async def history_is_newest_first(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        versions = [(await client.kv.put("k", b"%d" % number)).version for number in range(70)]
        entries = await client.kv.history("k")
        deep = await client.kv.history("k", HistoryOptions(limit=65))
        await client.kv.delete("k")
        gone = await client.kv.history("k", HistoryOptions(limit=2))
        times = [entry.at_ms for entry in deep]
        return {
            "default": [entry.value.decode() for entry in entries],
            "versions": [entry.version for entry in entries] == versions[:-11:-1],
            "all": len(deep),
            "times": times == sorted(times, reverse=True) and times[-1] > 1_600_000_000_000,
            "of a deleted key": [entry.value.decode() for entry in gone],
            "of none": await client.kv.history("missing"),
            "limit 0": await failure(client.kv.history("k", HistoryOptions(limit=0))),
        }


async def json_documents_change_in_place(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        kv = client.kv
        first = await kv.json_set("doc", "$", b'{"name" : "Ada","n":1.50}')
        second = await kv.json_set("doc", "$.tags", b'["a"]')
        await kv.json_set("doc", "$.tags[1]", b'{"b": true}')
        part = await kv.json_get("doc", "$.tags[1].b")
        whole = await kv.json_get("doc")
        left = await kv.json_del("doc", "$.name")
        assert part is not None
        assert whole is not None
        assert left is not None
        text = await text_of(client, "doc")
        return {
            "versions": first.version < second.version < part.version < left.version,
            "the version of the whole": part.version == whole.version,
            "part": part.value,
            "whole": whole.value,
            "text": text,
            "nothing there": [await kv.json_get("doc", "$.x"), await kv.json_get("missing")],
            "deleted": [await kv.json_del("doc"), await text_of(client, "doc")],
        }


async def json_keeps_a_time_to_live_and_a_namespace(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("doc", b"{}", PutOptions(namespace="documents", ttl_ms=2_000))
        there = KVJsonOptions(namespace="documents")
        await client.kv.json_set("doc", "$.a", b"1", there)
        seen = await client.kv.json_get("doc", "$.a", there)
        async with asyncio.timeout(30):
            while await client.kv.json_get("doc", "$", there) is not None:
                await asyncio.sleep(0.05)
        return [seen is not None, await client.kv.json_get("doc")]


async def json_refuses_what_is_no_document(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        kv = client.kv
        await kv.put("text", b"hello")
        await kv.json_set("doc", "$", b"{}")
        return {
            "value": await failure(kv.json_get("text", "$.a")),
            "set in it": await failure(kv.json_set("text", "$.a", b"1")),
            "path": await failure(kv.json_get("doc", "$..a")),
            "document": await failure(kv.json_set("doc", "$.a", b"{")),
            "parent": await failure(kv.json_set("doc", "$.a.b", b"1")),
            "delete": await failure(kv.json_del("doc", "$.a")),
            "key": await failure(kv.json_set("missing", "$.a", b"1")),
            "reserved": await failure(kv.json_get("_sys:x")),
            "replaced": (await kv.json_set("text", "$", b"[]")).version > 0,
        }


async def changes_of_different_fields_are_all_kept(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.json_set("doc", "$", b"{}")
        await asyncio.gather(
            *(client.kv.json_set("doc", f"$.f{number}", b"%d" % number) for number in range(30))
        )
        found = await client.kv.json_get("doc")
        assert found is not None
        return found.value == {f"f{number}": number for number in range(30)}


async def a_get_waits_for_what_it_is_asked_to(cluster: Cluster) -> Seen:
    async with cluster.client() as client, cluster.client(1) as other:
        exists = GetOptions(wait_ms=WAIT_MS)
        change = GetOptions(wait_ms=WAIT_MS, wait_for=WaitFor.CHANGE)
        waiting = asyncio.create_task(client.kv.get("k", exists))
        await asyncio.sleep(0.1)
        await other.kv.put("k", b"1")
        first = await waiting
        at_once = await client.kv.get("k", exists)
        waiting = asyncio.create_task(client.kv.get("k", change))
        await asyncio.sleep(0.1)
        await other.kv.delete("k")
        while not waiting.done():
            # Until one comes after the request is there.
            await other.kv.put("k", b"2")
        second = await waiting
        assert first is not None
        assert at_once is not None
        assert second is not None
        return {
            "created": first.value.decode(),
            "at once": at_once.version == first.version,
            "changed": second.value.decode(),
            "in vain": await client.kv.get("missing", GetOptions(wait_ms=50)),
            "in vain for a change": await client.kv.get(
                "k", GetOptions(wait_ms=50, wait_for=WaitFor.CHANGE)
            ),
        }
